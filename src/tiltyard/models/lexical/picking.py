"""Fill a field with what the inputs hold: one part, several, or a number.

The parts come ranked from extraction.py; here they become the field's value.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tiltyard.models.lexical.candidates import Candidate
from tiltyard.models.lexical.evidence import Evidence, Examples, Solver, nearest, voters
from tiltyard.models.lexical.extraction import Extractor
from tiltyard.models.lexical.request import OutputField
from tiltyard.models.lexical.words import content, normal, words

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_LONGEST_NUMBER = 32
_SEPARATOR = re.compile(r"\s*;\s*")
_RESPECTIVE = re.compile(r"\brespective(?:ly)?\b", re.IGNORECASE)
_FEW = 3
"""The length of a list for which no demonstration says how long it should be."""


def text_extractor(texts: Sequence[str | None], examples: Examples) -> Extractor:
    """What demonstrations' texts teach about picking; a text with semicolons has several parts."""
    return _extractor([None if text is None else _split(text) for text in texts], examples)


def text_solver(texts: Sequence[str | None], extractor: Extractor) -> Solver:
    """Pick a text, or several with ``; `` between where the near demonstrations have several.

    Args:
        texts: The demonstrations' texts.
        extractor: What they teach; see :func:`text_extractor`.
    """

    def pick(evidence: Evidence) -> tuple[Any, str]:
        ranked = extractor.rank(evidence.candidates, evidence.question, evidence.similar)
        chosen = _respective(ranked, evidence.question) or _take(ranked, extractor.count(evidence.similar))
        if not chosen:
            return nearest(texts, evidence) or "", ""
        return "; ".join(candidate.text for candidate in chosen), chosen[0].quote

    return pick


def list_solver(item: OutputField, lists: Sequence[Sequence[Any] | None], examples: Examples) -> Solver:
    """Pick as many parts as the near demonstrations have, or a few where no demonstration says.

    Args:
        item: The field, with the type of one item: a text or a number.
        lists: Each demonstration's list; None where it was not supplied.
        examples: The demonstrations.
    """
    numeric = item.type.kind in ("integer", "number")
    pools = [_numeric(found, item) for found in examples.candidates] if numeric else examples.candidates
    golds = [None if parts is None else tuple(str(part) for part in parts) for parts in lists]
    extractor = _extractor(golds, examples, pools)
    counted = any(golds)

    def collect(evidence: Evidence) -> tuple[Any, str]:
        pool = _numeric(evidence.candidates, item) if numeric else evidence.candidates
        ranked = extractor.rank(pool, evidence.question, evidence.similar)
        chosen = _take(ranked, extractor.count(evidence.similar) if counted else _FEW)
        values = [_bounded(float(part.text), item) if numeric else part.text for part in chosen]
        return values, chosen[0].quote if chosen else ""

    return collect


def number_solver(field: OutputField, values: Sequence[Any], examples: Examples) -> Solver:
    """Pick a number, or estimate it where the demonstrations' numbers are mostly not in their inputs.

    Args:
        field: What the request says about it; its bounds hold.
        values: Each demonstration's value; None where it was not supplied.
        examples: The demonstrations.
    """
    numbers = [_number(value) for value in values]
    golds = [None if number is None else (f"{number:.12g}",) for number in numbers]
    extractor = _extractor(golds, examples, [_numeric(found, field) for found in examples.candidates])
    picks = 2 * sum(extractor.found) >= sum(number is not None for number in numbers)

    def estimate(evidence: Evidence) -> tuple[Any, str]:
        pool = _numeric(evidence.candidates, field)
        if not pool or not picks:
            return _bounded(_median(numbers, evidence, examples.neighbours), field), ""
        best = extractor.rank(pool, evidence.question, evidence.similar)[0]
        return _bounded(float(best.text), field), best.quote

    return estimate


def _extractor(
    golds: Sequence[Sequence[str] | None],
    examples: Examples,
    candidates: Sequence[Sequence[Candidate]] | None = None,
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


def _split(answer: str) -> tuple[str, ...]:
    return tuple(part for part in _SEPARATOR.split(answer) if part) or (answer,)


def _take(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """The best candidate and the next best ones of its kind that say something else, its own group first."""
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


def _respective(ranked: Sequence[Candidate], question: str) -> list[Candidate]:
    """For "the respective …": of the best cell's row, the cells under the headings asked for, in order."""
    best = next((cell for cell in ranked if cell.kind == "cell"), None)
    if best is None or not _RESPECTIVE.search(question):
        return []
    row = [cell for cell in ranked if cell.group == best.group]
    asked = words(question)
    places: dict[int, Candidate] = {}
    for cell in row:
        shared = frozenset[str]().union(
            *(content(other.heading) for other in row if other.heading != cell.heading)
        )
        own = content(cell.heading) - shared
        place = next((index for index, word in enumerate(asked) if word in own), None)
        if place is not None:
            places.setdefault(place, cell)
    return [places[place] for place in sorted(places)] if len(places) > 1 else []


def _number(value: Any) -> float | None:
    """The number that a value is or begins with; parentheses mean a negative one."""
    text = str(value).strip() if value is not None else ""
    found = _NUMBER.search(text)
    if found is None or len(found[0]) > _LONGEST_NUMBER:
        return None
    number = float(text if isinstance(value, float) and math.isfinite(value) else found[0].replace(",", ""))
    return -number if text.startswith("(") else number


def _numeric(candidates: Sequence[Candidate], field: OutputField) -> list[Candidate]:
    """The candidates that are numbers within the field's bounds, written plainly, each once per kind."""
    low, high = _bounds(field)
    plain: dict[tuple[str, float], Candidate] = {}
    for candidate in candidates:
        number = _number(candidate.text) if len(candidate.text) <= _LONGEST_NUMBER else None
        if number is None or not low <= number <= high:
            continue
        if field.type.kind != "integer" or number.is_integer():
            plain.setdefault((candidate.kind, number), replace(candidate, text=f"{number:.12g}"))
    return list(plain.values())


def _median(numbers: Sequence[float | None], evidence: Evidence, neighbours: int) -> float:
    """The weighted median of the near demonstrations' numbers; 0 where there are none."""
    voting = voters(numbers, evidence, neighbours)
    reached = 0.0
    for number, vote in sorted(
        (number, vote) for number, vote in zip(numbers, voting, strict=True) if number is not None
    ):
        reached += vote
        if reached >= 0.5 - 1e-9:
            return number
    return 0.0


def _bounds(field: OutputField) -> tuple[float, float]:
    return (
        -math.inf if field.low is None else field.low,
        math.inf if field.high is None else field.high,
    )


def _bounded(number: float, field: OutputField) -> int | float:
    low, high = _bounds(field)
    number = min(max(number, low), high)
    return round(number) if field.type.kind == "integer" else number
