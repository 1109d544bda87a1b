"""What a report calls a run: the arm that it belongs to, and the arm that others are compared with.

>>> lines = by_line(runs, axes_of(runs))
>>> list(lines)
[('tatqa_tiny', 'lexical', 'baseline'), ('tatqa_tiny', 'lexical', 'bootstrap')]
>>> Reference.parse("optimizer=none").value
'none'
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tiltyard.errors import InputError
from tiltyard.reporting.numbers import MISSING
from tiltyard.reporting.selection import there_are

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun

GROUPS = ("task", "model", "mode")
"""What the runs of one line have in common, whatever else they share."""
LABELLED = ("task", "model", "mode", "optimizer", "simulation", "split")
"""Axes that a run has a label for; any other axis is a param of its config."""
BASELINE = "optimizer=none"
"""The reference arm unless another one is declared."""
Line = tuple[str, ...]
"""The values of the axes that the runs of one line share."""


@dataclass(frozen=True)
class Reference:
    """The arm that others are compared with: the runs whose axis has a value."""

    axis: str
    """``model``, ``optimizer``, ``simulation``, or the dotted name of a config key."""
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``key=value``.

        Raises:
            InputError: It is no such pair, or an axis that pairs nothing.
        """
        axis, equals, value = (part.strip() for part in text.partition("="))
        if not (axis and equals and value):
            raise InputError(f"--reference {text} has no value", f"write it as --reference {BASELINE}")
        if axis in ("task", "seed", "split"):
            raise InputError(
                f"--reference {text}: runs of different {axis}s evaluated different examples",
                "name a model, an optimizer or another option",
            )
        return cls("optimizer" if axis == "mode" else axis, "none" if value == "baseline" else value)

    def __str__(self) -> str:
        return f"{self.axis}={self.value}"

    @property
    def column(self) -> str:
        """The axis of a line that tells the reference from the others."""
        return "mode" if self.axis == "optimizer" else self.axis

    @property
    def shown(self) -> str:
        """The reference's value on that axis."""
        return "baseline" if str(self) == BASELINE else self.value


def value_of(run: "TrackedRun", axis: str) -> str:
    """A run's value on an axis; a dash where it has none."""
    return str(getattr(run, axis)) if axis in LABELLED else run.params.get(axis, MISSING)


def choose_reference(runs: "Sequence[TrackedRun]", declared: str | None) -> Reference | None:
    """The declared reference arm, else the baseline where it is among the runs, else none.

    Raises:
        InputError: No run belongs to the declared arm.
    """
    reference = Reference.parse(declared or BASELINE)
    values = sorted({value_of(run, reference.column) for run in runs})
    if reference.shown in values:
        return reference
    if declared is None:
        return None
    as_declared = sorted({value_of(run, reference.axis) for run in runs})
    raise InputError(f"no run has {reference}", there_are(f"values of {reference.axis}", as_declared))


def axes_of(
    runs: "Sequence[TrackedRun]", reference: Reference | None = None, by: Sequence[str] = ()
) -> tuple[str, ...]:
    """What tells the lines of a report apart.

    Task, model and mode always; the simulation and the evaluated split where they vary; the reference's axis;
    and what a user asked for beside them.

    Args:
        runs: The runs of the report.
        reference: The reference arm.
        by: Names of config keys, such as ``optimizer.k``.

    Raises:
        InputError: No run has a key of ``by``.
    """
    params = {name for run in runs for name in run.params}
    for name in by:
        if name not in params and name not in LABELLED:
            raise InputError(f"--by {name}: no run has this config key", "name one as config.yaml does")
    varying = [axis for axis in ("simulation", "split") if len({value_of(run, axis) for run in runs}) > 1]
    of_reference = [reference.column] if reference else []
    return tuple(dict.fromkeys([*GROUPS, *varying, *of_reference, *by]))


def by_line(runs: "Iterable[TrackedRun]", axes: Sequence[str]) -> "dict[Line, list[TrackedRun]]":
    """The runs of each line, baselines first within a task and model."""
    lines: defaultdict[Line, list[TrackedRun]] = defaultdict(list)
    for run in runs:
        lines[tuple(value_of(run, axis) for axis in axes)].append(run)
    return {line: lines[line] for line in sorted(lines, key=baseline_first)}


def baseline_first(line: Line) -> Line:
    """What lines are sorted by."""
    return tuple("" if value == "baseline" else value for value in line)


def arm(line: Line) -> str:
    """What a line is called within its task."""
    return " · ".join(line[1:])


def short_names(lines: Iterable[Line]) -> dict[Line, str]:
    """What pictures call the lines: their values on the axes in which they differ, the task aside."""
    lines = list(lines)
    differing = [
        place for place in range(1, len(lines[0]) if lines else 0) if len({line[place] for line in lines}) > 1
    ]
    return {line: " · ".join(line[place] for place in differing) or line[2] for line in lines}
