r"""Describe in words the numbers that recur line by line: a log's columns and how they move.

>>> sorted(set(series_terms("Limits: oil 20-60 C\n1 oil 58.0 C\n2 oil 61.0 C\n3 oil 66.0 C")))
['above', 'oil above', 'oil rising', 'rising', …]
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

_TIME = re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?\b|\b\d{4}-\d\d-\d\d\b")
_NUMBER = re.compile(r"(?<![\w.-])[-+]?\d[\d,]*(?:\.\d+)?(?![\d.,]*\d)")
_LIMITS = re.compile(
    r"(?P<name>[A-Za-z][^,;:\n\d]*)\s(?:(?P<low>[-+]?\d[\d.]*)\s?(?:-|–|to)\s?(?P<high>[-+]?\d[\d.]*)"
    r"|(?:below|under|up to|at most|max\.?)\s(?P<most>[-+]?\d[\d.]*)"
    r"|(?:above|over|at least|min\.?)\s(?P<least>[-+]?\d[\d.]*))"
)
_LONGEST = 20_000
_FEWEST = 3
"""The fewest lines that make a series."""
_STEADY = 0.03
"""The greatest spread of a steady series, as a share of its greatest value."""
_JUMP = 0.5
"""The least step that is a jump, as a share of the greatest value."""


def series_terms(text: str) -> list[str]:
    """How each series in the text moves, and whether it ends within the limits that the text states for it.

    A series is the number at one place of at least three successive lines that name the same things. Each
    finding is given alone and with the series' name.
    """
    text = text[:_LONGEST]
    if sum(bool(_NUMBER.search(line)) for line in text.splitlines()) < _FEWEST:
        return []
    limits = {
        word: _bounds(match)
        for match in _LIMITS.finditer(text)
        for word in re.findall("[a-z]+", match["name"].lower())
    }
    found = []
    for name, values in _series(text):
        findings = [_movement(values), *_events(values)]
        if name in limits:
            low, high = limits[name]
            findings.append("above" if values[-1] > high else "below" if values[-1] < low else "inside")
        found += [term for finding in findings for term in (finding, f"{name} {finding}")]
    return found


def _bounds(match: re.Match[str]) -> tuple[float, float]:
    low, high = match["low"] or match["least"], match["high"] or match["most"]
    return _float(low, float("-inf")), _float(high, float("inf"))


def _float(text: str | None, otherwise: float) -> float:
    try:
        return float(text) if text else otherwise
    except ValueError:
        return otherwise


def _series(text: str) -> Iterator[tuple[str, list[float]]]:
    run: list[list[tuple[str, float]]] = []
    for line in [*text.splitlines(), ""]:
        values = [] if "|" in line or _LIMITS.search(line) else _named_numbers(_TIME.sub(" ", line))
        width = min(len(values), len(run[0])) if run else 0
        if width and all(left[0] == right[0] for left, right in zip(run[0], values, strict=False)):
            run.append(values)
            continue
        if len(run) >= _FEWEST:
            for column in range(min(map(len, run))):
                yield run[0][column][0], [row[column][1] for row in run]
        run = [values] if values else []


def _named_numbers(line: str) -> list[tuple[str, float]]:
    """Each number of a line with the last word before it."""
    found = []
    last = 0
    for number in _NUMBER.finditer(line):
        before = re.findall(r"[A-Za-z]+", line[last : number.start()])
        found.append((before[-1].lower() if before else "", float(number[0].replace(",", ""))))
        last = number.end()
    return found


def _movement(values: Sequence[float]) -> str:
    steps = [after - before for before, after in pairwise(values)]
    spread, size = max(values) - min(values), max(abs(value) for value in values)
    if spread == 0:
        return "same"
    if spread <= _STEADY * size:
        return "steady"
    rises, falls = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    if not falls and rises >= len(steps) - 1:
        return "rising"
    return "falling" if not rises and falls >= len(steps) - 1 else "varying"


def _events(values: Sequence[float]) -> Iterator[str]:
    size = max(abs(value) for value in values)
    if any(abs(after - before) > _JUMP * size for before, after in pairwise(values)):
        yield "jump"
    if 0 in values[1:] and values[0] != 0:
        yield "zero"
