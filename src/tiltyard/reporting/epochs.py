"""Shows how a program did after each epoch of its optimizer, in the run's report and in the terminal.

>>> show(*epoch_table(result.epochs))
epoch                 score
    0  0.214 [0.131, 0.331]  the program as it came
    1  0.657 [0.539, 0.759]  chosen
"""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from tiltyard.reporting import numbers
from tiltyard.reporting.console import Field
from tiltyard.reporting.console import table as terminal_table
from tiltyard.reporting.markdown import Column, table
from tiltyard.result import EpochScore


def epoch_sections(epochs: Sequence[EpochScore], split: str = "test") -> Iterator[str]:
    """The part of the run's report that shows its epochs; nothing where there are none.

    Args:
        epochs: How the program did after each.
        split: The split that was evaluated.
    """
    if not epochs:
        return
    yield "## Epochs"
    yield f"Scores on the {split} split with their 95% intervals. The optimizer chose without seeing them."
    headings = ("epoch", "score", "examples", "failed")
    yield table(
        (*(Column(heading, right=True) for heading in headings), Column("")),
        [
            [
                str(one.epoch),
                numbers.scored(one.score, one.low, one.high),
                numbers.count(one.examples),
                numbers.count(one.failed),
                _remark(one),
            ]
            for one in epochs
        ],
    )


def epoch_table(epochs: Sequence[EpochScore]) -> Iterator[RenderableType]:
    """The same for the terminal, after an empty line."""
    if not epochs:
        return
    yield ""
    yield terminal_table(
        [
            Field("epoch", [str(one.epoch) for one in epochs], right=True),
            Field("score", [numbers.scored(one.score, one.low, one.high) for one in epochs], right=True),
            Field("", [_remark(one) for one in epochs]),
        ]
    )


def _remark(epoch: EpochScore) -> str:
    words = ["the program as it came"] if epoch.epoch == 0 else []
    return ", ".join([*words, "chosen"] if epoch.chosen else words)
