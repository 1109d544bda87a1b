"""Answer one output field: which way of reading its declared type and its demonstrations call for.

A field with declared or listed values is chosen; a question with options is answered with one of them; anything else
is picked out of the inputs.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.candidates import Candidate
from tiltyard.models.lexical.choosing import Chooser
from tiltyard.models.lexical.declared import TEXT
from tiltyard.models.lexical.extraction import Extractor
from tiltyard.models.lexical.options import OptionChooser, chosen_option, find_options
from tiltyard.models.lexical.request import OutputField
from tiltyard.models.lexical.similarity import TOGETHER, votes
from tiltyard.models.lexical.words import content, is_figure, normal, shape, words

if TYPE_CHECKING:
    import numpy as np

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_LISTED = re.compile(r"(?<![\w|])[\w-]+(?: ?\| ?[\w-]+)+(?![\w|])")
_SEPARATOR = re.compile(r"\s*;\s*")
_RESPECTIVE = re.compile(r"\brespective(?:ly)?\b", re.IGNORECASE)
_FEW = 3
"""The length of a list for which no demonstration says how long it should be."""


@dataclass(frozen=True)
class Examples:
    """The demonstrations, read."""

    names: Sequence[str]
    """The input fields."""
    asked: str
    """The input that asks."""
    inputs: Sequence[Mapping[str, str]]
    candidates: Sequence[Sequence[Candidate]]
    similar: "dict[str, np.ndarray[Any, Any]]"
    """Each source's similarities among the demonstrations; earlier outputs join as they are learned."""
    earlier: list[tuple[bool, ...]]
    """Whether each demonstration's earlier outputs are figures; they join as they are learned."""
    neighbours: int
    trust: float


@dataclass(frozen=True)
class Evidence:
    """The question, read."""

    inputs: Mapping[str, str]
    asked: str
    candidates: Sequence[Candidate]
    similar: "dict[str, np.ndarray[Any, Any]]"
    """Each source's similarities to the demonstrations, one row; earlier outputs join as they are answered."""
    earlier: list[bool]
    """Whether the earlier outputs are figures; they join as they are answered."""


Solver = Callable[[Evidence], tuple[Any, str]]
"""Answers a field: its value, and the text of the inputs that it rests on, empty where it rests on none."""


def solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    """The way to answer a field.

    Args:
        field: What the request says about it.
        values: Each demonstration's value; None where it was not supplied.
        examples: The demonstrations.
    """
    kind = field.type.kind
    if kind == "unknown":
        kind = _kind_of(values)
    if kind == "list":
        return _list_solver(field, values, examples)
    if kind == "object":
        return _object_solver(field, values, examples)
    if kind in ("integer", "number"):
        return _number_solver(field, values, examples)
    if kind == "boolean":
        return _choice_solver((True, False), values, examples)
    if kind == "choice":
        return _with_options(field, values, examples, _choice_solver(field.type.choices, values, examples))
    if listed := _LISTED.search(field.description):
        return _choice_solver(tuple(value.strip() for value in listed[0].split("|")), values, examples)
    return _with_options(field, values, examples, _text_solver(values, examples))


def _kind_of(values: Sequence[Any]) -> str:
    value = next((value for value in values if value is not None), "")
    return "list" if isinstance(value, list) else "object" if isinstance(value, dict) else "text"


def _choice_solver(allowed: Sequence[Any], values: Sequence[Any], examples: Examples) -> Solver:
    """Choose an allowed value, as those demonstrations do whose earlier outputs are figures where these are."""
    texts = [normal(str(value)) for value in allowed]
    positions = {text: index for index, text in reversed(list(enumerate(texts)))}
    chosen = [None if value is None else positions.get(normal(str(value))) for value in values]

    def chooser(earlier: tuple[bool, ...] | None) -> Chooser:
        return Chooser(
            values=[str(value) for value in allowed],
            chosen=[index if earlier == own else None for index, own in zip(chosen, examples.earlier, strict=True)],
            inputs=examples.inputs,
            similar=examples.similar,
            names=examples.names,
            asked=examples.asked,
            neighbours=examples.neighbours,
            trust=examples.trust,
        )

    choosers = {earlier: chooser(earlier) for earlier in set(examples.earlier)}
    unlike = chooser(None)

    def choose(evidence: Evidence) -> tuple[Any, str]:
        import numpy as np

        known = choosers.get(tuple(evidence.earlier), unlike)
        return allowed[int(np.argmax(known.scores(evidence.inputs, evidence.similar).round(9)))], ""

    return choose


def _with_options(field: OutputField, values: Sequence[Any], examples: Examples, otherwise: Solver) -> Solver:
    """Choose among the inputs' options where demonstrations did, or could have; else answer ``otherwise``."""
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
        stems=[_stems(inputs, options[row]) for row, inputs in enumerate(examples.inputs)],
        similar=examples.similar[TOGETHER],
        neighbours=examples.neighbours,
        trust=examples.trust,
    )
    by_text = sum(
        normal(str(values[row])) == normal(options[row][index].text)
        for row, index in enumerate(chosen)
        if index is not None
    )
    letters = 2 * by_text <= supplied

    def choose(evidence: Evidence) -> tuple[Any, str]:
        offered = find_options(evidence.inputs)
        if not supplied and offered and offered[0].key.isdigit():
            return otherwise(evidence)  # a numbered list is no choice unless demonstrations choose from one
        if not offered or (
            field.type.choices and not {option.key for option in offered} & set(field.type.choices)
        ):
            return otherwise(evidence)
        best = offered[chooser.choose(offered, _stems(evidence.inputs, offered), evidence.similar[TOGETHER])]
        allowed = field.type.choices
        answer = best.key if letters or best.key in allowed else best.text
        return (answer, best.text) if not allowed or answer in allowed else otherwise(evidence)

    return choose


def _stems(inputs: Mapping[str, str], options: Sequence[Any]) -> frozenset[str]:
    """The content words of the inputs that do not hold the options."""
    texts = [text for text in inputs.values() if not options or options[0].text not in text]
    return content(" ".join(texts or inputs.values()))


def _extractor(
    golds: Sequence[Sequence[str] | None], examples: Examples, candidates: Any = None
) -> Extractor:
    return Extractor(
        golds=golds,
        candidates=examples.candidates if candidates is None else candidates,
        questions=[inputs.get(examples.asked, "") for inputs in examples.inputs],
        similar=examples.similar,
        asked=examples.asked,
        neighbours=examples.neighbours,
        trust=examples.trust,
    )


def _text_solver(values: Sequence[Any], examples: Examples) -> Solver:
    """Choose a label where most demonstrations give one; else pick the answer out of the inputs.

    A label is an answer in words that the inputs do not hold, or that another demonstration gives too.
    """
    texts = [None if value is None else str(value) for value in values]
    extractor = _extractor([None if text is None else split_answer(text) for text in texts], examples)
    names = [None if text is None else normal(text) for text in texts]
    labels = [
        text
        for text, name, found in zip(texts, names, extractor.found, strict=True)
        if text and not is_figure(shape(text)) and (not found or names.count(name) > 1)
    ]
    if labels and 2 * len(labels) > sum(text is not None for text in texts):
        return _choice_solver(
            list({normal(text): text for text in reversed(texts) if text}.values())[::-1], texts, examples
        )

    def pick(evidence: Evidence) -> tuple[Any, str]:
        question = evidence.inputs.get(evidence.asked, "")
        ranked = extractor.rank(evidence.candidates, question, evidence.similar)
        chosen = _respective(ranked, question) or take(ranked, extractor.count(evidence.similar))
        if not chosen:
            return _nearest(texts, evidence) or "", ""
        return "; ".join(candidate.text for candidate in chosen), chosen[0].quote

    return pick


def _respective(ranked: Sequence[Candidate], question: str) -> list[Candidate]:
    """For "the respective …": the cells of the best cell's row under the headings that the question names, in order."""
    if not ranked or ranked[0].kind != "cell" or not _RESPECTIVE.search(question):
        return []
    row = [cell for cell in ranked if cell.group == ranked[0].group and cell.column >= 1.0]
    asked = words(question)
    places: dict[int, Candidate] = {}
    for cell in row:
        others = frozenset[str]().union(
            *(content(other.heading) for other in row if other.heading != cell.heading)
        )
        own = content(cell.heading) - others
        place = next((index for index, word in enumerate(asked) if word in own), None)
        if place is not None:
            places.setdefault(place, cell)
    return [places[place] for place in sorted(places)] if len(places) > 1 else []


def split_answer(answer: str) -> tuple[str, ...]:
    """An answer's parts: what stands between semicolons."""
    return tuple(part for part in _SEPARATOR.split(answer) if part) or (answer,)


def take(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """The best candidate and, for a list, the next best of its kind that say something else, its own group first."""
    chosen = list(ranked[:1])
    if count > 1 and chosen:
        best = chosen[0]
        alike = [candidate for candidate in ranked[1:] if candidate.kind == best.kind]
        for candidate in sorted(alike, key=lambda candidate: candidate.group != best.group):
            if len(chosen) < count and all(_differ(candidate.text, other.text) for other in chosen):
                chosen.append(candidate)
    return chosen


def _differ(first: str, second: str) -> bool:
    left, right = normal(first), normal(second)
    return left not in right and right not in left


def _number_solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    numbers = [_number(value) for value in values]
    golds = [None if number is None else (f"{number:g}",) for number in numbers]
    extractor = _extractor(golds, examples, [_numeric(found, field) for found in examples.candidates])

    picks = 2 * sum(extractor.found) >= sum(number is not None for number in numbers)

    def estimate(evidence: Evidence) -> tuple[Any, str]:
        candidates = _numeric(evidence.candidates, field)
        ranked = extractor.rank(candidates, evidence.inputs.get(evidence.asked, ""), evidence.similar)
        if not ranked or not picks:
            return _bounded(_median(numbers, evidence, examples.neighbours), field), ""
        return _bounded(float(ranked[0].text), field), ranked[0].quote

    return estimate


def _number(value: Any) -> float | None:
    """The number that a value is or begins with; parentheses mean a negative one."""
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    found = _NUMBER.search(str(value)) if value is not None else None
    if found is None:
        return None
    number = float(found[0].replace(",", ""))
    return -number if str(value).strip().startswith("(") else number


def _numeric(candidates: Sequence[Candidate], field: OutputField) -> list[Candidate]:
    """The candidates that are numbers within the field's bounds, written plainly, each number once per kind."""
    low = -math.inf if field.low is None else field.low
    high = math.inf if field.high is None else field.high
    plain: dict[tuple[str, float], Candidate] = {}
    for candidate in candidates:
        number = _number(candidate.text) if len(candidate.text) <= 32 else None
        if (
            number is not None
            and low <= number <= high
            and (field.type.kind != "integer" or number.is_integer())
        ):
            plain.setdefault((candidate.kind, number), replace(candidate, text=f"{number:.12g}"))
    return list(plain.values())


def _median(numbers: Sequence[float | None], evidence: Evidence, neighbours: int) -> float:
    """The weighted median of the near demonstrations' numbers; 0 where there are none."""
    voting = votes(evidence.similar[TOGETHER], [number is not None for number in numbers], neighbours, False)[
        0
    ]
    ordered = sorted(
        (number, vote) for number, vote in zip(numbers, voting, strict=True) if number is not None
    )
    reached = 0.0
    for number, vote in ordered:
        reached += vote
        if reached >= 0.5 - 1e-9:
            return number
    return 0.0


def _bounded(number: float, field: OutputField) -> int | float:
    number = max(number, -math.inf if field.low is None else field.low)
    number = min(number, math.inf if field.high is None else field.high)
    return round(number) if field.type.kind == "integer" else number


def _list_solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    item = field.type.item or TEXT
    lists = [value if isinstance(value, list) else None for value in values]
    golds = [None if parts is None else tuple(str(part) for part in parts) for parts in lists]
    extractor = _extractor(golds, examples)
    counted = any(parts is not None for parts in lists)
    single = replace(field, type=item)

    def collect(evidence: Evidence) -> tuple[Any, str]:
        candidates = (
            _numeric(evidence.candidates, single)
            if item.kind in ("integer", "number")
            else evidence.candidates
        )
        ranked = extractor.rank(candidates, evidence.inputs.get(evidence.asked, ""), evidence.similar)
        chosen = take(ranked, extractor.count(evidence.similar) if counted else _FEW)
        return [_item(candidate.text, single) for candidate in chosen], chosen[0].quote if chosen else ""

    return collect


def _item(text: str, field: OutputField) -> Any:
    if field.type.kind in ("integer", "number"):
        return _bounded(_number(text) or 0.0, field)
    return text


def _object_solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    """Each named part is a field of its own; an open mapping is the nearest demonstration's, or empty."""
    named = field.type.properties
    supplied = [value if isinstance(value, dict) else None for value in values]
    if not named:
        return lambda evidence: (_nearest(supplied, evidence) or {}, "")
    parts = {
        name: solver(
            OutputField(name, type_),
            [None if value is None else value.get(name) for value in supplied],
            examples,
        )
        for name, type_ in named
    }

    def fill(evidence: Evidence) -> tuple[Any, str]:
        return {name: solve(evidence)[0] for name, solve in parts.items()}, ""

    return fill


def _nearest(values: Sequence[Any], evidence: Evidence) -> Any:
    voting = votes(
        evidence.similar[TOGETHER], [value is not None for value in values], len(values) or 1, False
    )[0]
    return values[int(voting.argmax())] if voting.any() else None
