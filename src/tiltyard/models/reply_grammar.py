"""Writes a signature's reply as a grammar: the replies that ``dspy.ChatAdapter`` reads, and no others.

>>> reply_format(dspy.Signature("question -> answer: bool")).grammar.splitlines()[-1]
'value0: "True" | "False"'
"""

import enum
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import dspy
from dspy.adapters.types import Type
from dspy.adapters.utils import parse_value
from pydantic import TypeAdapter

from tiltyard.models.constraints import Closing, ReplyFormat

logger = logging.getLogger(__name__)

_NUMBERS = {
    int: r"/-?(0|[1-9][0-9]{0,17})/",
    float: r"/-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?/",
    Decimal: r"/-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,24})?/",
}

_MARK = "[[ ##"
"""What begins a field's header, and stands in no value."""
_PROSE = r"(/(?s:.*)/ & ~/(?s:.*)\[\[ ##(?s:.*)/)"

_JSON = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""JSON as the demonstrations in a prompt have it."""
_FORMATS = {
    *("date", "date-time", "time", "duration"),
    *("email", "hostname", "ipv4", "ipv6", "uri", "uuid"),
}
"""The formats of JSON strings that can be enforced; others are left to pydantic."""
_YEAR = r"(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_LEAP_YEAR = r"(\d\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DAY = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_DATE = rf"({_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_PATTERNS = {
    "date": f"^{_DATE}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "time": f"^{_TIME}$",
    "duration": r"^[^0-9]*([0-9]{1,6}[^0-9]+)*$",
}
"""What pydantic demands beyond a format: dates that exist, no leap seconds, durations that it can hold."""
_LARGEST = 10**15
"""Numbers in JSON stay below, where their type names no bound: a model may write digits without end."""
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_DATA = {"const", "default", "enum", "examples"}
"""Keywords of a JSON schema that hold data and not schemas."""
_NESTED = 5
"""How deep a schema is looked into for the length of its values."""
_UNKNOWN = 24
"""The characters that are kept free to end a value of any form."""


@dataclass(frozen=True)
class _Value:
    """How one field's value may be written."""

    kind: Literal["text", "choice", "number", "json"]
    """A number or text ends where the next header begins; JSON has an end of its own."""
    rule: str = ""
    """The right side of a grammar rule; empty for text."""
    least: int = 0
    """About how many characters bring a value that has begun to its end."""
    may_be_empty: bool = False

    @property
    def open(self) -> bool:
        """Whether the model decides how long it becomes."""
        return self.kind in ("text", "json")


def reply_format(signature: type[dspy.Signature]) -> ReplyFormat | None:
    """The form of a reply: each output field under its header, in order.

    None where an output has no form that can be enforced; the log says so when its type is to blame.
    """
    values = {name: _value(field.annotation) for name, field in signature.output_fields.items()}
    known = {name: value for name, value in values.items() if value is not None}
    if not values or known != values:
        return None
    form = _assemble(known)
    return form if _is_enforceable(form.grammar, signature.__name__) else None


def _assemble(values: dict[str, _Value]) -> ReplyFormat:
    names = list(values)
    ends = [f"\n{_header(name)}\n" for name in names[1:]] + [f"\n{_header('completed')}"]
    # Nothing before the first header: DSPy reads a header that is indented as a part of the value.
    start = [_quoted(_header(names[0]) + "\n")]
    rules = []
    for number, (value, end) in enumerate(zip(values.values(), ends, strict=True)):
        if value.kind == "text":
            # One terminal up to the end of the next header: the lexer takes the longest match, and would
            # take the header's beginning for text.
            start.append(f"TEXT{number}")
            rules.append(f'TEXT{number}: ({_PROSE} "\\n")? {_quoted(end)}')
        else:
            # DSPy shows an empty last value with one line break where others have two.
            gap = ['"\\n"?', _quoted(end)] if value.may_be_empty else [_quoted("\n" + end)]
            start += [f"value{number}", *gap]
            rules.append(f"value{number}: {value.rule}")
    return ReplyFormat("\n".join([f"start: {' '.join(start)}", *rules, ""]), _closings(values, ends))


def _closings(values: dict[str, _Value], ends: list[str]) -> tuple[Closing, ...]:
    """For each field without a bound how it ends, and the least that is to write then."""
    closings: list[Closing] = []
    rest, least, later = "", 0, 0
    for value, end in reversed(list(zip(values.values(), ends, strict=True))):
        if value.kind == "json":
            closings.append(Closing("", "\n" + end + rest, least + value.least, later))
        elif value.kind != "choice":
            closings.append(Closing("\n" + end, rest, least, later))
        rest, least, later = "\n" + end + rest, least + value.least, later + value.open
    return tuple(closings)


def _header(name: str) -> str:
    return f"{_MARK} {name} ## ]]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@lru_cache(maxsize=1024)  # a program asks for each of its signatures at every call
def _is_enforceable(grammar: str, name: str) -> bool:
    try:
        from llguidance import LLMatcher
    except ImportError:
        return True  # the engine that is asked to enforce it says what to install
    refused, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    if refused:
        reason = str(messages[0]).strip().partition("\n")[0]
        logger.warning("replies to the signature '%s' are not constrained: %s", name, reason)
    return not refused


def _value(annotation: Any) -> _Value | None:
    """How a value of a type is written so that ``dspy.ChatAdapter`` reads it; None where it has no form."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    if annotation in (str, dspy.Reasoning) or (str in members and type(None) in members):
        return _Value("text")
    if annotation is dspy.History or Type.extract_custom_type_from_annotation(annotation):
        return None
    rules: list[str] = []
    options: list[str] = []
    for member in members:
        choices = _choices(member)
        if member in _NUMBERS:
            rules.append(_NUMBERS[member])
        elif choices is None:
            return _json(annotation)
        else:
            written = [_written(choice, annotation) for choice in choices]
            if None in written:
                return None
            options += [text for text in written if text is not None]
    return _Value(
        "number" if rules else "choice",
        " | ".join([*rules, *map(_quoted, options)]),
        least=max([4, *(len(option.encode()) for option in options)]),
        may_be_empty="" in options,
    )


def _choices(member: Any) -> Iterable[Any] | None:
    """The values of a type that has few; None for others."""
    if member is type(None):
        return (None,)
    if member is bool:
        return (True, False)
    if get_origin(member) is Literal:
        return get_args(member)
    return member if isinstance(member, enum.EnumMeta) else None


def _written(choice: Any, annotation: Any) -> str | None:
    """How one of few values is written; None where nothing that could be written is read as it."""
    plain = choice.value if isinstance(choice, enum.Enum) else choice
    for text in (str(plain), json.dumps(plain, default=str), getattr(choice, "name", "")):
        if _MARK not in text and _reads_as(text, choice, annotation):
            return text
    return None


def _reads_as(text: str, choice: Any, annotation: Any) -> bool:
    as_parsed = "\n".join(text.splitlines()).strip()
    try:
        read = parse_value(as_parsed, annotation)
    except ValueError:
        return False
    return type(read) is type(choice) and bool(read == choice)


def _json(annotation: Any) -> _Value:
    schema = _enforceable(TypeAdapter(annotation).json_schema())
    rule = json.dumps({"x-guidance": _JSON, **schema}, ensure_ascii=False)
    return _Value("json", f"%json {rule}", least=_least(schema, schema.get("$defs", {}), _NESTED))


def _enforceable(schema: Any) -> Any:
    """The schema with closed objects and bounded numbers, without keywords that can be left to pydantic."""
    if isinstance(schema, list):
        return [_enforceable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: value if key in _DATA else _enforceable(value)
        for key, value in schema.items()
        if not (key == "uniqueItems" and value is True)
        and not (key == "format" and isinstance(value, str) and value not in _FORMATS)
    }
    if kept.get("format") in _PATTERNS:
        kept.setdefault("pattern", _PATTERNS[kept["format"]])
    if kept.get("type") in ("integer", "number") and not _BOUNDS & kept.keys():
        kept |= {"minimum": -_LARGEST, "maximum": _LARGEST}
    if kept.get("type") == "object" and isinstance(kept.get("properties"), dict):
        kept.setdefault("additionalProperties", False)
    return kept


def _least(schema: Any, definitions: dict[str, Any], depth: int) -> int:
    """About how many characters bring a value that has begun to its end."""
    if not isinstance(schema, dict) or not depth:
        return _UNKNOWN
    if "$ref" in schema:
        return _least(definitions.get(schema["$ref"].rpartition("/")[2]), definitions, depth - 1)
    if "anyOf" in schema:
        return max(_least(option, definitions, depth) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return max(len(json.dumps(option)) for option in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "object" if "properties" in schema:
            required = {key: schema["properties"].get(key) for key in schema.get("required", ())}
            rest = sum(
                len(key) + 6 + _least(value, definitions, depth - 1) for key, value in required.items()
            )
            begun = [_least(value, definitions, depth - 1) for value in schema["properties"].values()]
            return 4 + rest + max(begun, default=0)
        case "object":
            return 8 + _least(schema.get("additionalProperties"), definitions, depth - 1)
        case "array":
            return 4 + _least(schema.get("items"), definitions, depth - 1)
        case "integer" | "number" | "boolean" | "null":
            return 6
        case "string":
            return 30 if "format" in schema else 6
    return _UNKNOWN
