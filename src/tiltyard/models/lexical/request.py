"""Read a request that one of DSPy's adapters made: fields, instructions, demonstrations and the question.

>>> body, reminder = split_reminder(question)
>>> setting = read_setting(system, turns, reminder)     # what all questions to one program share
>>> read_inputs(setting, body)
{'question': 'What were total sales in 2019?', 'context': '| … |'}
"""

import ast
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

from tiltyard.models.lexical.declared import TEXT, Declared, declared


class Format(Enum):
    """How a request and its answer are written."""

    CHAT = "chat"
    """``[[ ## field ## ]]`` markers (``dspy.ChatAdapter``)."""
    JSON = "json"
    """Markers in the question, one JSON object in the answer (``dspy.JSONAdapter``)."""
    XML = "xml"
    """``<field>…</field>`` (``dspy.XMLAdapter``)."""
    PLAIN = "plain"
    """No format that the reader knows: a bare prompt and a bare answer."""


@dataclass(frozen=True)
class OutputField:
    """One answer that the request asks for."""

    name: str
    type: Declared
    description: str = ""
    low: float | None = None
    """The least value that a number may take."""
    high: float | None = None
    """The greatest value that a number may take."""


@dataclass(frozen=True)
class Demonstration:
    """A worked example: the inputs as text, and those outputs that were supplied, as Python values."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """What every question to one program shares."""

    format: Format
    instructions: str
    inputs: tuple[str, ...]
    """The names of the input fields."""
    outputs: tuple[OutputField, ...]
    demonstrations: tuple[Demonstration, ...]


PROMPT, ANSWER = "prompt", "answer"
"""The names of the one input and the one output of a bare prompt."""

_REMINDERS = {
    "\n\nRespond with the corresponding output fields wrapped in XML tags ": Format.XML,
    "\n\nRespond with a JSON object in the following order of fields: ": Format.JSON,
    "\n\nRespond with the corresponding output fields, starting with the field ": Format.CHAT,
}
_OBJECTIVE = "In adhering to this structure, your objective is:"
_FIELD = re.compile(r"^(\d+)\. `(\w+)` \(", re.MULTILINE)
_NOTE = re.compile(r"^\{(\w+)\} +# note: the value you produce (.*)$", re.MULTILINE)
_BOUND = re.compile(r"(greater|less) than(?: or equal to)?: (-?\d+(?:\.\d+)?)")
_MISSING = "Not supplied for this"


def split_reminder(turn: str) -> tuple[str, str]:
    """Cut a user turn into its inputs and the adapter's closing reminder of the format, empty without one."""
    padded = f"\n\n{turn}"
    cut = max(padded.rfind(reminder) for reminder in _REMINDERS)
    return (padded[:cut].strip(), padded[cut:]) if cut >= 0 else (turn, "")


def read_setting(system: str, turns: Sequence[tuple[str, str]], reminder: str) -> Setting:
    """Read what a request says beside its question's inputs.

    Args:
        system: The system prompt.
        turns: The turns before the question, as pairs of role and text.
        reminder: What closes the question; see :func:`split_reminder`.
    """
    form = next((form for start, form in _REMINDERS.items() if reminder.startswith(start)), Format.PLAIN)
    body = system.split(_OBJECTIVE, 1)
    inputs = [name for name, _, _ in _fields(body[0], "Your input fields are:", "Your output fields are:")]
    described = _fields(body[0], "Your output fields are:", "All interactions will be structured")
    if form is Format.PLAIN or not described:
        pairs = _pairs(turns)
        examples = tuple(Demonstration({PROMPT: asked}, {ANSWER: said}) for asked, said in pairs)
        return Setting(Format.PLAIN, system, (PROMPT,), (OutputField(ANSWER, TEXT),), examples)
    notes = _notes(body[0], form)
    outputs = tuple(
        _output(name, annotation, description, notes.get(name, ""), _nested(reminder, name))
        for name, annotation, description in described
    )
    names = tuple(inputs)
    return Setting(
        format=form,
        instructions="\n".join(line.strip() for line in body[1].splitlines()) if len(body) > 1 else "",
        inputs=names,
        outputs=outputs,
        demonstrations=tuple(
            Demonstration(_inputs(form, names, asked), _outputs(form, outputs, said))
            for asked, said in _pairs(turns)
        ),
    )


def read_inputs(setting: Setting, body: str) -> dict[str, str]:
    """The input fields of a question without its reminder, by name; one that was left out is left out."""
    if setting.format is Format.PLAIN:
        return {PROMPT: body}
    return _inputs(setting.format, setting.inputs, body)


def _pairs(turns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Every user turn that an assistant turn answers directly."""
    return [
        (asked, said)
        for (first, asked), (second, said) in pairwise(turns)
        if (first, second) == ("user", "assistant")
    ]


def _fields(text: str, start: str, end: str) -> list[tuple[str, str, str]]:
    """Name, annotation and description of each field in one of the system prompt's two lists."""
    _, found, rest = text.partition(start)
    section = rest.split(end, 1)[0] if found else ""
    heads: list[re.Match[str]] = []
    for head in _FIELD.finditer(section):
        if int(head[1]) == len(heads) + 1:
            heads.append(head)
    fields = []
    ends = [head.start() for head in heads[1:]] + [len(section)]
    for head, stop in zip(heads, ends, strict=False):
        block = section[head.end() : stop]
        annotation, description = _split_annotation(block)
        fields.append((head[2], annotation, description.strip()))
    return fields


def _split_annotation(block: str) -> tuple[str, str]:
    """Cut ``Literal['a (b)', …]): description`` at the parenthesis that closes the annotation."""
    quote, position = "", 0
    while position < len(block):
        mark = block[position]
        if quote:
            if mark == "\\":
                position += 1
            elif mark == quote:
                quote = ""
        elif mark in "\"'":
            quote = mark
        elif mark == ")" and block[position : position + 2] in ("):", ")"):
            return block[:position], block[position + 2 :]
        position += 1
    annotation, _, description = block.partition("):")
    return annotation, description


def _notes(text: str, form: Format) -> dict[str, str]:
    """What the prompt's structure section says that each value must be."""
    if form is Format.JSON:
        _, found, rest = text.partition("Outputs will be a JSON object with the following fields.")
        try:
            shown, _ = json.JSONDecoder().raw_decode(rest.strip()) if found else ({}, 0)
        except ValueError:
            shown = {}
        text = "\n".join(str(line) for line in shown.values())
    return {note[1]: note[2] for note in _NOTE.finditer(text)}


def _nested(reminder: str, name: str) -> str:
    """The nested structure that an XML reminder shows for a field."""
    _, _, shown = reminder.rpartition("Use this nested XML structure: ")
    found = re.search(rf"<{name}>.*?</{name}>", shown)
    return found[0] if found else ""


def _output(name: str, annotation: str, description: str, note: str, example: str) -> OutputField:
    bounds: dict[str, float] = {side: float(value) for side, value in _BOUND.findall(description)}
    return OutputField(
        name,
        declared(annotation, note, example),
        description,
        low=bounds.get("greater"),
        high=bounds.get("less"),
    )


def _inputs(form: Format, names: Sequence[str], text: str) -> dict[str, str]:
    body, _ = split_reminder(text)
    return _tagged(names, body) if form is Format.XML else _marked(names, body)


def _marked(names: Sequence[str], text: str) -> dict[str, str]:
    """The sections under ``[[ ## name ## ]]`` markers, in the fields' order."""
    order = {name: position for position, name in enumerate(names)}
    found: list[tuple[str, int, int]] = []
    for mark in re.finditer(r"^\[\[ ## (\w+) ## \]\][ \t]*$", text, re.MULTILINE):
        position = order.get(mark[1], -1)
        if position > (order[found[-1][0]] if found else -1):
            found.append((mark[1], mark.start(), mark.end()))
    ends = [start for _, start, _ in found[1:]] + [len(text)]
    return {name: text[start:end].strip() for (name, _, start), end in zip(found, ends, strict=True)}


def _tagged(names: Sequence[str], text: str) -> dict[str, str]:
    """The contents of ``<name>…</name>``, in the fields' order; each ends at its last closing tag."""
    found: dict[str, str] = {}
    starts = []
    position = 0
    for name in names:
        if opening := re.compile(rf"^<{name}(?:>| ?/>)", re.MULTILINE).search(text, position):
            starts.append((name, opening.start(), opening.end()))
            position = opening.end()
    ends = [start for _, start, _ in starts[1:]] + [len(text)]
    for (name, _, start), end in zip(starts, ends, strict=True):
        body, _, _ = text[start:end].rpartition(f"</{name}>")
        found[name] = body.strip()
    return found


def _outputs(form: Format, fields: Sequence[OutputField], text: str) -> dict[str, Any]:
    names = [field.name for field in fields]
    types = {field.name: field.type for field in fields}
    if form is Format.JSON:
        try:
            values = json.loads(text)
        except ValueError:
            values = {}
        raw: dict[str, Any] = {name: values[name] for name in names if name in values}
    elif form is Format.XML:
        raw = {name: _untagged(body) for name, body in _tagged(names, text).items()}
    else:
        raw = _marked([*names, "completed"], text)
    supplied = {name: value for name, value in raw.items() if not str(value).startswith(_MISSING)}
    return {name: _value(value, types[name]) for name, value in supplied.items() if name in types}


def _untagged(body: str) -> Any:
    """What a field's XML means: text, or nested elements as lists and mappings."""
    try:
        # The adapter writes "]]>" into demonstrations as it stands, which XML does not allow.
        root = ET.fromstring(f"<root>{body.replace(']]>', ']]&gt;')}</root>")
    except ET.ParseError:
        return body
    return _element(root)


def _element(element: ET.Element) -> Any:
    children = list(element)
    if not children:
        return (element.text or "").strip()
    if all(child.tag == "item" for child in children):
        return [_element(child) for child in children]
    return {child.get("key", child.tag): _element(child) for child in children}


def _value(value: Any, type_: Declared) -> Any:
    """A demonstration's value in its declared type, as far as its text allows."""
    if not isinstance(value, str) or type_.kind in ("text", "choice"):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return [] if type_.kind == "list" and not value else value
