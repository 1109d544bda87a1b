"""Tables of an HTML report: what a reader sees in a cell, and what it is sorted by.

>>> Table("scores", [Heading("score", number=True)], [[Cell("0.667", 0.667)], [missing()]])
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tiltyard.reporting import numbers


@dataclass(frozen=True)
class Heading:
    """A column."""

    text: str
    number: bool = False
    """Whether cells are sorted as numbers and stand at the right."""
    choices: bool = False
    """Whether a list of its values narrows the table."""
    says: str = ""
    """What it means, for a tooltip."""


@dataclass(frozen=True)
class Bar:
    """An interval as a picture in a cell, in percent of its width."""

    low: float
    high: float
    at: float


@dataclass(frozen=True)
class Cell:
    """What stands in a row under a heading."""

    text: str
    order: float | str | None = None
    """What it is sorted by; its text when None. A missing number is the empty string and stands last."""
    kind: str = ""
    """A class for its looks: ``better``, ``worse``, ``missing``, ``code``."""
    bar: Bar | None = None
    config: str = ""
    """A long text below, folded."""

    @property
    def sorted_by(self) -> str:
        """The order as an attribute's value."""
        return self.text if self.order is None else str(self.order)


@dataclass(frozen=True)
class Table:
    """A table that can be sorted and filtered."""

    id: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]

    def choices(self, place: int) -> list[str]:
        """The values of a column, sorted."""
        return sorted({row[place].text for row in self.rows})


def missing() -> Cell:
    """What was not measured."""
    return Cell(numbers.MISSING, "", "missing")


def number(value: float | None, text: str, **looks: Any) -> Cell:
    """A measured number, or what stands where there is none."""
    if value is None or numbers.is_missing(value):
        return missing()
    return Cell(text, float(value), **looks)
