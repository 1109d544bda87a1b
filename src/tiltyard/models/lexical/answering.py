"""Answer one output field: which way of reading its declared type and its demonstrations call for.

A field with declared or listed values is chosen; a question with options is answered with one of them;
anything else is picked out of the inputs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.choosing import Chooser
from tiltyard.models.lexical.declared import LEAF, TEXT, UNKNOWN, Declared
from tiltyard.models.lexical.evidence import Evidence, Examples, Solver, nearest, voters
from tiltyard.models.lexical.options import OptionChooser, chosen_option, find_options
from tiltyard.models.lexical.passages import Option
from tiltyard.models.lexical.picking import list_solver, number_solver, text_extractor, text_solver
from tiltyard.models.lexical.request import OutputField
from tiltyard.models.lexical.similarity import TOGETHER
from tiltyard.models.lexical.words import content, is_figure, normal, shape

_WHOLE = re.compile(r"\s*-?\d+\s*")
if TYPE_CHECKING:
    import numpy as np

_LISTED = re.compile(r"(?<![\w|])[\w-]+(?: ?\| ?[\w-]+)+(?![\w|])")


def solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    """The way to answer a field.

    Args:
        field: What the request says about it.
        values: Each demonstration's value; None where it was not supplied.
        examples: The demonstrations.
    """
    type_ = field.type if field.type.kind not in ("unknown", "leaf") else _type_of(field.type, values)
    if type_.kind == "list":
        return _list_solver(replace(field, type=type_), values, examples)
    if type_.kind == "object":
        return _object_solver(type_, values, examples)
    if type_.kind in ("integer", "number"):
        return number_solver(replace(field, type=type_), values, examples)
    if type_.kind == "boolean":
        return _choice_solver((True, False), values, examples)
    if type_.kind == "choice":
        chosen = _choice_solver(type_.choices, values, examples)
        return _option_solver(type_.choices, values, examples, chosen)
    if listed := _LISTED.search(field.description):
        return _choice_solver([value.strip() for value in listed[0].split("|")], values, examples)
    return _option_solver((), values, examples, _label_solver(values, examples))


def _type_of(stated: Declared, values: Sequence[Any]) -> Declared:
    """The type of a field that does not state one: that of the first value that a demonstration gives it.

    Without a value, a part of an XML structure is a whole number, which is text and a float, too.
    """
    value = next((value for value in values if value is not None), None)
    if isinstance(value, list):
        return Declared("list", item=_type_of(UNKNOWN, value))
    if isinstance(value, dict):
        named = tuple((name, _type_of(UNKNOWN, [part])) for name, part in value.items())
        return Declared("object", properties=named)
    if isinstance(value, bool):
        return Declared("boolean")
    if isinstance(value, float):
        return Declared("number")
    if isinstance(value, int) or (stated is LEAF and (value is None or _WHOLE.fullmatch(str(value)))):
        return Declared("integer")
    return TEXT


def _choice_solver(
    allowed: Sequence[Any], values: Sequence[Any], examples: Examples, declared: bool = True
) -> Solver:
    """Choose an allowed value, as those demonstrations do whose earlier outputs are of the same sort.

    Where none of these has a value, those that lack an earlier output vote by their inputs alone.
    """
    positions: dict[str, int] = {}
    for index, value in enumerate(allowed):
        positions.setdefault(normal(str(value)), index)
    chosen = [None if value is None else positions.get(normal(str(value))) for value in values]

    def chooser(voting: Sequence[bool], similar: "Mapping[str, np.ndarray[Any, Any]]") -> Chooser:
        return Chooser(
            values=[str(value) for value in allowed],
            chosen=[index if may_vote else None for index, may_vote in zip(chosen, voting, strict=True)],
            inputs=examples.inputs,
            similar=similar,
            names=examples.names,
            asked=examples.asked,
            instructions=examples.instructions,
            declared=declared,
            neighbours=examples.neighbours,
            trust=examples.trust,
        )

    taught = {own for own, index in zip(examples.earlier, chosen, strict=True) if index is not None}
    choosers = {
        earlier: chooser([own == earlier for own in examples.earlier], examples.similar)
        for earlier in sorted(taught)
        if all(earlier)
    }
    unlike = chooser([not all(own) for own in examples.earlier], examples.of_inputs())

    def choose(evidence: Evidence) -> tuple[Any, str]:
        known = choosers.get(tuple(evidence.earlier), unlike)
        return allowed[known.choose(evidence.inputs, evidence.similar)], ""

    return choose


def _label_solver(values: Sequence[Any], examples: Examples) -> Solver:
    """Choose a label where most demonstrations give one; else pick the answer out of the inputs.

    A label is an answer in words that the inputs do not hold, or that another demonstration gives too.
    """
    texts = [None if value is None else str(value) for value in values]
    extractor = text_extractor(texts, examples)
    names = [None if text is None else normal(text) for text in texts]
    labels = [
        text
        for text, name, found in zip(texts, names, extractor.found, strict=True)
        if text and not is_figure(shape(text)) and (not found or names.count(name) > 1)
    ]
    if labels and 2 * len(labels) > sum(text is not None for text in texts):
        distinct = {normal(text): text for text in texts if text}
        return _choice_solver(list(distinct.values()), texts, examples, declared=False)
    return text_solver(texts, extractor)


def _option_solver(
    allowed: Sequence[Any], values: Sequence[Any], examples: Examples, otherwise: Solver
) -> Solver:
    """Choose among the options that the inputs offer, where demonstrations did, or could have.

    Args:
        allowed: The values that the field may take; empty for any text.
        values: Each demonstration's value.
        examples: The demonstrations.
        otherwise: Answers where no options are offered, or none that the field may take.
    """
    options = [find_options(inputs) for inputs in examples.inputs]
    chosen = [
        None if value is None else chosen_option(str(value), offered)
        for value, offered in zip(values, options, strict=True)
    ]
    supplied = sum(value is not None for value in values)
    if supplied and 2 * sum(index is not None for index in chosen) < supplied:
        return otherwise
    chooser = OptionChooser(
        options=options,
        chosen=chosen,
        stems=[_stems(inputs, offered) for inputs, offered in zip(examples.inputs, options, strict=True)],
        similar=examples.similar[TOGETHER],
        neighbours=examples.neighbours,
        trust=examples.trust,
    )
    by_text = sum(
        index is not None and normal(str(value)) == normal(offered[index].text)
        for value, offered, index in zip(values, options, chosen, strict=True)
    )
    by_letter = 2 * by_text <= supplied

    def choose(evidence: Evidence) -> tuple[Any, str]:
        offered = find_options(evidence.inputs)
        if not offered or (offered[0].key.isdigit() and not supplied):
            return otherwise(evidence)  # a numbered list is no choice unless demonstrations choose from one
        stems = _stems(evidence.inputs, offered)
        best = offered[chooser.choose(offered, stems, evidence.similar[TOGETHER])]
        preferred = (best.key, best.text) if by_letter else (best.text, best.key)
        answer = next((answer for answer in preferred if not allowed or answer in allowed), None)
        return otherwise(evidence) if answer is None else (answer, best.text)

    return choose


def _stems(inputs: Mapping[str, str], options: Sequence[Option]) -> frozenset[str]:
    """The content words of the inputs that do not hold the options."""
    texts = [text for text in inputs.values() if not options or options[0].text not in text]
    return content(" ".join(texts or inputs.values()))


def _object_solver(type_: Declared, values: Sequence[Any], examples: Examples) -> Solver:
    """Each named part is a field of its own; an open mapping is the nearest demonstration's, or empty."""
    supplied = [value if isinstance(value, dict) else None for value in values]
    if not type_.properties:
        return lambda evidence: (nearest(supplied, evidence) or {}, "")
    parts = {
        name: solver(
            OutputField(name, part), [value.get(name) if value else None for value in supplied], examples
        )
        for name, part in type_.properties
    }

    def fill(evidence: Evidence) -> tuple[Any, str]:
        return {name: solve(evidence)[0] for name, solve in parts.items()}, ""

    return fill


def _list_solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    """Texts and numbers are picked out of the inputs, declared values are chosen; of others, there is one."""
    lists = [value if isinstance(value, list) else None for value in values]
    item = field.type.item or TEXT
    if item.kind in ("unknown", "leaf"):
        item = _type_of(item, [part for parts in lists for part in parts or ()])
    if item.kind in ("text", "integer", "number"):
        return list_solver(replace(field, type=item), lists, examples)
    if item.kind in ("choice", "boolean"):
        return _subset_solver(item.choices or (True, False), lists, examples)
    first = [parts[0] if parts else None for parts in lists]
    solve = solver(replace(field, type=item), first, examples)

    def wrap(evidence: Evidence) -> tuple[Any, str]:
        value, quote = solve(evidence)
        return [value], quote

    return wrap


def _subset_solver(
    allowed: Sequence[Any], lists: Sequence[Sequence[Any] | None], examples: Examples
) -> Solver:
    """The declared values that most near demonstrations list; without any, those that the inputs name."""
    texts = [normal(str(value)) for value in allowed]
    listed = [None if parts is None else {normal(str(part)) for part in parts} for parts in lists]

    def choose(evidence: Evidence) -> tuple[Any, str]:
        voting = voters(listed, evidence, examples.neighbours)
        if voting.any():
            votes = zip(voting, listed, strict=True)
            count = dict.fromkeys(texts, 0.0)
            for vote, own in votes:
                for text in count.keys() & (own or set()):
                    count[text] += vote
            return [value for value, text in zip(allowed, texts, strict=True) if count[text] >= 0.5], ""
        said = content(" ".join(evidence.inputs.values()))
        return [value for value in allowed if (stems := content(str(value))) and stems <= said], ""

    return choose
