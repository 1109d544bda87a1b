"""What the solvers of output fields are given: demonstrations to learn from, then a question to answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.candidates import Candidate
from tiltyard.models.lexical.similarity import SERIES, TOGETHER, votes

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Examples:
    """The demonstrations, read."""

    names: Sequence[str]
    """The input fields."""
    asked: str
    """The input that asks."""
    instructions: str
    """What the program's instructions say."""
    inputs: Sequence[Mapping[str, str]]
    candidates: Sequence[Sequence[Candidate]]
    similar: "dict[str, np.ndarray[Any, Any]]"
    """Each source's similarities among the demonstrations; earlier outputs join as they are learned."""
    earlier: list[tuple[str, ...]]
    """The sort of each demonstration's earlier outputs, empty for one that it lacks; they join as learned."""
    neighbours: int
    """How many demonstrations vote."""
    trust: float
    """How far demonstrations may move default weights."""

    def of_inputs(self) -> "dict[str, np.ndarray[Any, Any]]":
        """The similarities without those of earlier outputs."""
        sources = {TOGETHER, *self.names, *(f"{name}{SERIES}" for name in self.names)}
        return {source: square for source, square in self.similar.items() if source in sources}


@dataclass(frozen=True)
class Evidence:
    """The question, read."""

    inputs: Mapping[str, str]
    asked: str
    """The input that asks."""
    candidates: Sequence[Candidate]
    similar: "dict[str, np.ndarray[Any, Any]]"
    """Each source's similarities to the demonstrations, one row; earlier outputs join once answered."""
    earlier: list[str]
    """The sort of the earlier outputs; they join once answered."""

    @property
    def question(self) -> str:
        """The text of the input that asks."""
        return self.inputs.get(self.asked, "")


Solver = Callable[[Evidence], tuple[Any, str]]
"""Answers a field: its value, and the text of the inputs that it rests on, empty where it rests on none."""


def voters(values: Sequence[Any], evidence: Evidence, neighbours: int) -> "np.ndarray[Any, Any]":
    """How much each demonstration's value counts for the question; 0 for those that have none."""
    known = [value is not None for value in values]
    return votes(evidence.similar[TOGETHER], known, neighbours, leave_out=False).ravel()


def nearest(values: Sequence[Any], evidence: Evidence) -> Any:
    """The value of the nearest demonstration that has one; None where none has."""
    voting = voters(values, evidence, neighbours=max(len(values), 1))
    return values[int(voting.argmax())] if voting.any() else None
