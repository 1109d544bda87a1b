"""Answer one output field: which way of reading its declared type and its demonstrations call for.

A field with declared or listed values is chosen; a question with options is answered with one of them; anything
else is picked out of the inputs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tiltyard.models.lexical.choosing import Chooser
from tiltyard.models.lexical.declared import TEXT, Declared
from tiltyard.models.lexical.evidence import Evidence, Examples, Solver, nearest, voters
from tiltyard.models.lexical.options import OptionChooser, chosen_option, find_options
from tiltyard.models.lexical.passages import Option
from tiltyard.models.lexical.picking import list_solver, number_solver, text_extractor, text_solver
from tiltyard.models.lexical.request import OutputField
from tiltyard.models.lexical.similarity import TOGETHER
from tiltyard.models.lexical.words import content, is_figure, normal, shape

_LISTED = re.compile(r"(?<![\w|])[\w-]+(?: ?\| ?[\w-]+)+(?![\w|])")


def solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    """The way to answer a field.

    Args:
        field: What the request says about it.
        values: Each demonstration's value; None where it was not supplied.
        examples: The demonstrations.
    """
    type_ = field.type if field.type.kind != "unknown" else _type_of(values)
    if type_.kind == "list":
        return _list_solver(replace(field, type=type_), values, examples)
    if type_.kind == "object":
        return _object_solver(type_, values, examples)
    if type_.kind in ("integer", "number"):
        return number_solver(field, values, examples)
    if type_.kind == "boolean":
        return _choice_solver((True, False), values, examples)
    if type_.kind == "choice":
        chosen = _choice_solver(type_.choices, values, examples)
        return _option_solver(type_.choices, values, examples, chosen)
    if listed := _LISTED.search(field.description):
        return _choice_solver([value.strip() for value in listed[0].split("|")], values, examples)
    return _option_solver((), values, examples, _label_solver(values, examples))


def _type_of(values: Sequence[Any]) -> Declared:
    """The type of an undeclared field, from the first value that a demonstration gives it."""
    value = next((value for value in values if value is not None), "")
    if isinstance(value, list):
        return Declared("list", item=_type_of(value))
    if isinstance(value, dict):
        return Declared("object", properties=tuple((name, _type_of([part])) for name, part in value.items()))
    return TEXT


def _choice_solver(
    allowed: Sequence[Any], values: Sequence[Any], examples: Examples, declared: bool = True
) -> Solver:
    """Choose an allowed value, as those demonstrations do whose earlier outputs are of the same sort."""
    positions: dict[str, int] = {}
    for index, value in enumerate(allowed):
        positions.setdefault(normal(str(value)), index)
    chosen = [None if value is None else positions.get(normal(str(value))) for value in values]

    def chooser(earlier: tuple[str, ...] | None) -> Chooser:
        alike = zip(chosen, examples.earlier, strict=True)
        return Chooser(
            values=[str(value) for value in allowed],
            chosen=[index if earlier == own else None for index, own in alike],
            inputs=examples.inputs,
            similar=examples.similar,
            names=examples.names,
            asked=examples.asked,
            instructions=examples.instructions,
            declared=declared,
            neighbours=examples.neighbours,
            trust=examples.trust,
        )

    choosers = {earlier: chooser(earlier) for earlier in sorted(set(examples.earlier))}
    unlike = chooser(None)

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
    """A list of texts or numbers is picked out of the inputs; of declared values, chosen; of others, one item."""
    item = field.type.item or TEXT
    lists = [value if isinstance(value, list) else None for value in values]
    if item.kind in ("text", "integer", "number", "unknown"):
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
    """The declared values that most of the near demonstrations list; without any, those that the inputs name."""
    texts = [normal(str(value)) for value in allowed]
    listed = [None if parts is None else {normal(str(part)) for part in parts} for parts in lists]

    def choose(evidence: Evidence) -> tuple[Any, str]:
        voting = voters(listed, evidence, examples.neighbours)
        if voting.any():
            votes = zip(voting, listed, strict=True)
            count = {text: 0.0 for text in texts}
            for vote, own in votes:
                for text in count.keys() & (own or set()):
                    count[text] += vote
            return [value for value, text in zip(allowed, texts, strict=True) if count[text] >= 0.5], ""
        said = content(" ".join(evidence.inputs.values()))
        return [value for value in allowed if (stems := content(str(value))) and stems <= said], ""

    return choose
