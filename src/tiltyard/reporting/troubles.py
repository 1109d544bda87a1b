"""What went wrong in the runs of a report: runs that failed, and examples that failed in the same way.

>>> failed_examples(evidence, axes)[0]
FailedExamples(kind='parse', line=('tatqa_tiny', 'tiny-gpt2', 'baseline'), examples=5, of=5, …)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltyard.evaluation.failures import HINTS
from tiltyard.reporting.arms import Line, by_line

if TYPE_CHECKING:
    from tiltyard.reporting.reading import Evidence
    from tiltyard.tracking.reader import TrackedRun

ERROR = "tiltyard.error"
"""The tag that says why a run failed."""


@dataclass(frozen=True)
class FailedRun:
    """A run that did not finish."""

    name: str
    run_id: str
    status: str
    reason: str


@dataclass(frozen=True)
class FailedExamples:
    """Evaluations of one line that failed in the same way; each counts 0 in the score."""

    line: Line
    kind: str
    examples: int
    of: int
    """All evaluations of the line."""
    first: str
    """The first message, in one line."""
    hint: str
    """What to do; empty where nothing is known."""


def failed_runs(runs: "Sequence[TrackedRun]") -> list[FailedRun]:
    """The runs that did not finish, with the reason that they left."""
    return [FailedRun(run.name, run.run_id, run.status, run.tags.get(ERROR, "")) for run in runs]


def failed_examples(evidence: "Evidence", axes: Sequence[str]) -> list[FailedExamples]:
    """The failed examples by line and kind, the most frequent kinds of a line first."""
    import pandas as pd

    hints = {str(kind): hint for kind, hint in HINTS.items()}
    found = []
    for line, runs in by_line(evidence.runs, axes).items():
        errors = pd.concat([evidence.rows[run.run_id]["error"] for run in runs], ignore_index=True)
        broken = errors[errors != ""]
        kinds = broken.str.partition(":")[0] if len(broken) else broken
        for kind, count in kinds.value_counts().items():
            message = str(broken[kinds == kind].iloc[0]).partition(":")[2].strip()
            found.append(
                FailedExamples(line, str(kind), int(count), len(errors), message, hints.get(str(kind), ""))
            )
    return found
