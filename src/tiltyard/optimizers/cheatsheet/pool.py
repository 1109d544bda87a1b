"""Holds answered tasks, and finds those that are most like the next one.

>>> pool = Pool([Case("0", "question: What is 2 + 2?", "4"), Case("1", "question: Who is it?", "Ada")])
>>> [case.answer for case in pool.nearest("question: What is 2 + 3?", 1)]
['4']
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tiltyard.optimizers.playbook.similarity import HashedSimilarity


@dataclass(frozen=True)
class Case:
    """A task with the answer that a program gave to it, right or wrong."""

    key: str
    """Tells it from the others of its pool."""
    task: str
    """The inputs as text, a line for each field."""
    answer: str
    """What the program answered."""
    feedback: str = ""
    """What the metric said of it; empty where no label was looked at."""

    def __str__(self) -> str:
        said = f"\nfeedback: {self.feedback}" if self.feedback else ""
        return f"{self.task}\nanswer: {self.answer}{said}"


class Pool:
    """Cases by key, with an index of their tasks.

    Threads may look for cases at once as long as none is added.

    Args:
        cases: Those that it holds at the start, in the order in which they came.
    """

    def __init__(self, cases: Iterable[Case] = ()) -> None:
        self._cases: dict[str, Case] = {}
        self._index = HashedSimilarity()
        for case in cases:
            self.add(case)

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def cases(self) -> tuple[Case, ...]:
        """All of them, in the order in which their keys came first."""
        return tuple(self._cases.values())

    def add(self, case: Case) -> None:
        """Take a case in; it replaces the one of its key."""
        old = self._cases.get(case.key)
        if old is None or old.task != case.task:
            if old is not None:
                self._index.remove(case.key)
            self._index.add(case.key, case.task)
        self._cases[case.key] = case

    def nearest(self, task: str, count: int, *, without: str | None = None) -> list[Case]:
        """The cases whose tasks are most like a task (cosine of hashed n-grams), the most similar first.

        Args:
            task: What they are compared with.
            count: How many, at most.
            without: The key of a case to leave out: the task's own.
        """
        found = self._index.nearest(task, count + (without in self._cases))
        return [self._cases[key] for key, _ in found if key != without][:count]


def shown(cases: Sequence[Case]) -> str:
    """Cases as a curator reads them, numbered, the most similar last: next to the task that it is for.

    Args:
        cases: The most similar first.
    """
    return "\n\n".join(f"Example {number}\n{case}" for number, case in enumerate(reversed(cases), start=1))
