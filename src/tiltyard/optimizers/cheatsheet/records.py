"""What a compilation did, as plain values: the journal keeps them, and the report is made of them alone.

>>> Answered.loaded(answered.dumped()) == answered
True
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

from tiltyard.optimizers.adapting.spending import Spent
from tiltyard.optimizers.cheatsheet.curator import Rewrite
from tiltyard.optimizers.cheatsheet.guard import Verdict


@dataclass(frozen=True)
class _Stored:
    """A record of plain values, among them what was spent."""

    def dumped(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return asdict(self)

    @classmethod
    def loaded(cls, values: dict[str, Any]) -> Self:
        """What :meth:`dumped` returned."""
        return cls(**{**values, "spent": Spent(**values["spent"])})


@dataclass(frozen=True)
class Answered(_Stored):
    """One answer to a training example."""

    step: int
    """From 0, over all epochs."""
    epoch: int
    """From 1."""
    position: int
    """Of the example in the train set."""
    outputs: dict[str, Any] | None
    """What was predicted; None where the program failed."""
    text: str
    """The answer as a curator reads it; what the model wrote where that could not be parsed."""
    teaches: bool
    """Whether there is something to learn from."""
    score: float | None
    """None where no label was looked at."""
    feedback: str
    """What the metric says; empty without labels."""
    error: str
    latency_ms: float
    spent: Spent


@dataclass(frozen=True)
class Rewritten(_Stored):
    """One rewrite of the sheet, with its verdict."""

    step: int
    epoch: int
    example: str
    """The id of the example that it was made after, or for."""
    verdict: Verdict
    reason: str
    sheet: str
    """The sheet that stands afterwards."""
    proposed: str
    """What the curator wrote; empty where nothing could be read."""
    lost_tokens: float
    """By how much the rewrite is shorter than the old sheet, in [0, 1]."""
    lost_lines: float
    """The share of the old sheet in lines that the rewrite does not keep, in [0, 1]."""
    trimmed_tokens: int
    """What the budget cut off."""
    retried: bool
    cut_off: bool
    """Whether the model's token limit ended the reply."""
    spent: Spent

    @classmethod
    def of(cls, rewrite: Rewrite, *, step: int, epoch: int, example: str) -> "Rewritten":
        """The record of a rewrite."""
        ruling = rewrite.ruling
        return cls(
            step=step,
            epoch=epoch,
            example=example,
            verdict=ruling.verdict,
            reason=ruling.reason,
            sheet=ruling.sheet,
            proposed=rewrite.proposed,
            lost_tokens=ruling.loss.tokens,
            lost_lines=ruling.loss.lines,
            trimmed_tokens=ruling.trimmed_tokens,
            retried=rewrite.retried,
            cut_off=rewrite.cut_off,
            spent=rewrite.spent,
        )


@dataclass(frozen=True)
class Validated(_Stored):
    """A program's mean score on the validation set."""

    epoch: int
    """0 for the student as it came."""
    score: float
    examples: int
    judged: int
    """Those whose answers the metric was called for."""
    failed: int
    """Those that the program or the metric failed on; they score 0."""
    spent: Spent
