"""What a task is: records in three splits, a DSPy signature, a metric, and the program it starts from.

>>> task = hydra.utils.instantiate(cfg.task)
>>> splits = task.splits(seed=0, limit=None)
>>> task.metric(splits.test[0], dspy.Prediction(answer="12.5"))
Score(score=1.0, feedback='Correct.')
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import dspy

ProgramFactory = Callable[[type[dspy.Signature]], dspy.Module]
"""Builds a program from a signature; a config node with ``_partial_: true`` (``dspy.Predict``, …)."""


class Score(dspy.Prediction):  # type: ignore[misc]
    """A metric's verdict: ``score`` in [0, 1] and ``feedback`` in words.

    DSPy's optimizers compare and add it as a number. Some of them (``BootstrapFewShot`` without a
    threshold) ask for its truth instead; a plain ``dspy.Prediction`` is true even when its score is 0,
    so truth here means full marks.
    """

    def __init__(self, score: float, feedback: str = "") -> None:
        super().__init__(score=float(score), feedback=feedback)

    def __bool__(self) -> bool:
        return float(self) >= 1.0

    def __repr__(self) -> str:
        return f"Score(score={float(self)}, feedback={self.feedback!r})"


@dataclass(frozen=True)
class Splits:
    """The three disjoint sets of a task, in the order in which they are used."""

    train: list[dspy.Example]
    """What an optimizer learns from."""
    validation: list[dspy.Example]
    """What an optimizer chooses by."""
    test: list[dspy.Example]
    """What is scored. No optimizer sees it."""


@dataclass(frozen=True)
class Judged:
    """An evaluated example, as a task's ``summary`` gets it."""

    example: dspy.Example
    answer: str
    """The predicted answer as the row shows it; empty when the example failed."""
    score: float
    """The task's primary metric, in [0, 1]; 0 when the example failed."""


class Task(Protocol):
    """One job for a model: what goes in, what should come out, and how well it was done.

    Every example carries ``id`` (unique within the task) beside the signature's input fields and the gold
    output fields.

    A task may also have:

    * ``primary: str``: what the score is, in a few words, for the run's tag ``tiltyard.metric``;
    * ``extra_metrics(example, prediction) -> dict[str, float]``: further metrics of an example, whose means
      become metrics of the run;
    * ``summary(judged: Sequence[Judged]) -> dict[str, float]``: metrics of the run that no single example
      has, such as a macro-F1. It gets every example of the split, failed ones included.
    """

    domain: str
    """The field that the questions are from: ``finance``, ``medical``, ``iot``, …"""
    signature: type[dspy.Signature]
    """The inputs and outputs of one example."""
    program: ProgramFactory
    """How a program is built from the signature."""

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the records and split them.

        Args:
            seed: Decides every random choice: membership, order, shuffled options.
            limit: At most this many examples in each split; None means all.

        Raises:
            InputError: A record is malformed (names the file, the record and the field), or two splits
                share a record.
        """
        ...

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> Score:
        """Score a prediction, with feedback that says what was expected and what was wrong."""
        ...

    def gold(self, example: dspy.Example) -> str:
        """The gold answer as it is shown in a row."""
        ...

    def answer(self, prediction: dspy.Prediction) -> str:
        """The predicted answer as it is shown in a row."""
        ...
