"""Holds runs against references: whether a score fell significantly, paired by example.

>>> outcomes = regressed(thresholds, fitting, candidates)
>>> outcomes[0].found
'-0.042 [-0.08, -0.01] p=0.018'

The p values of all comparisons of a thresholds file are adjusted together, by Holm's method.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tiltyard.errors import InputError
from tiltyard.evaluation.clusters import contexts
from tiltyard.evaluation.paired import Difference, holm
from tiltyard.evaluation.power import Detectable
from tiltyard.reporting.against_baseline import Against, shown
from tiltyard.reporting.bounds import Outcome, called
from tiltyard.reporting.matching import AXES, RUN, described, differences, fits, value_of, why_none
from tiltyard.reporting.numbers import MISSING
from tiltyard.reporting.pairing import compare_rows, power_of
from tiltyard.reporting.thresholds import Regression, Thresholds, Where

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.tracking.reader import TrackedRun

OF_THE_EXAMPLES = ("split", "seed")
"""What decides which examples a run evaluated, beside its task."""
ANYWHERE = ("sweep", RUN)
"""What a reference names to be looked for among all runs, not only among those that were chosen."""
ROUNDING = 1e-9
"""How far a difference of mean scores can be off in its last digits."""
NEEDED = ("sample_id", "score", "question", "context", "gold")
"""Columns that a baseline file must have."""


class _NotComparedError(Exception):
    """There is nothing to compare a run with; the message says why."""


@dataclass(frozen=True)
class _Comparison:
    """A run that was compared, before the p values of all are adjusted together."""

    asked: Regression
    run: str
    line: int
    difference: Difference
    could: Detectable
    remarks: Sequence[str]

    def outcome(self, p_adjusted: float) -> Outcome:
        drop, most = -self.difference.mean, self.asked.drop_at_most
        remarks = ["the score fell significantly"] if drop > 0 and p_adjusted < self.asked.alpha else []
        if most is not None and drop > most + ROUNDING:
            remarks.append(f"the score fell by {drop:.6g}, more than {most:g}")
        fell = bool(remarks)
        remarks += self.remarks
        if not fell and (power := self.could.remark(p_adjusted)):
            remarks.append(power)
        return Outcome(
            label(self.asked),
            self.run,
            shown(Against(self.difference, p_adjusted)),
            wanted(self.asked),
            "FAIL" if fell else "pass",
            self.line,
            "; ".join(remarks),
        )


def label(asked: Regression) -> str:
    """What a table calls a check."""
    return asked.name or f"score vs {asked.baseline or described(asked.reference or {})}"


def wanted(asked: Regression) -> str:
    """What a check demands."""
    most = "" if asked.drop_at_most is None else f", no drop above {asked.drop_at_most:g}"
    return f"no drop with p<{asked.alpha:g}{most}"


def regressed(
    thresholds: Thresholds,
    fitting: "Sequence[tuple[Regression, Sequence[TrackedRun]]]",
    chosen: "Sequence[TrackedRun]",
    everyone: "Callable[[], Sequence[TrackedRun]]",
) -> list[list[Outcome]]:
    """Compare runs with their references.

    Args:
        thresholds: The file that the checks are from.
        fitting: Each check with the finished runs that it is about.
        chosen: The finished runs that are checked, among which references are looked for.
        everyone: Gives all finished runs, for references that name a sweep or a run.

    Returns:
        The outcomes of each check, one per run that is not the reference itself.

    Raises:
        JobError: The store failed.
    """
    found: list[list[_Comparison | Outcome]] = []
    for asked, runs in fitting:
        among = everyone() if any(name in (asked.reference or {}) for name in ANYWHERE) else chosen
        compared = [run for run in runs if asked.reference is None or not fits(run, asked.reference)]
        outcomes = [_compared(asked, run, thresholds, among) for run in compared]
        if runs and not compared:
            remark = "every run that fits is a reference itself"
            outcomes = [_not_checked(asked, described(asked.where), thresholds, remark)]
        found.append(outcomes)
    p_values = [c.difference.p for outcomes in found for c in outcomes if isinstance(c, _Comparison)]
    adjusted = iter(holm(p_values))
    return [
        [c.outcome(next(adjusted)) if isinstance(c, _Comparison) else c for c in outcomes]
        for outcomes in found
    ]


def _not_checked(asked: Regression, run: str, thresholds: Thresholds, remark: str) -> Outcome:
    return Outcome(label(asked), run, MISSING, wanted(asked), "not checked", thresholds.line(asked), remark)


def _compared(
    asked: Regression, run: "TrackedRun", thresholds: Thresholds, among: "Sequence[TrackedRun]"
) -> _Comparison | Outcome:
    name, remarks = called(run), []
    try:
        rows = _rows(run)
        if asked.reference is None:
            before = _baseline(thresholds.beside(asked.baseline or ""))
        else:
            reference = _reference(run, asked.reference, among)
            before, name = _rows(reference), f"{name} vs {reference.run_id[:8]}"
            if others := differences(run, reference, asked.reference):
                more = f" and {len(others) - 3} more" if len(others) > 3 else ""
                remarks.append(f"the reference also differs in {', '.join(others[:3])}{more}")
        difference = compare_rows(rows, before)
        _refuse_if_it_cannot_fail(asked, difference, rows)
    except (_NotComparedError, ValueError) as error:  # unpaired, or scores that are none
        return _not_checked(asked, name, thresholds, str(error))
    could = power_of(rows, before, alpha=asked.alpha)
    return _Comparison(asked, name, thresholds.line(asked), difference, could, remarks)


def _refuse_if_it_cannot_fail(asked: Regression, difference: Difference, rows: "pd.DataFrame") -> None:
    """Refuse a sample so small that no drop, however large, would have a p value below ``alpha``."""
    clustered = difference.test == "cluster-sign-flip"
    units = len(set(contexts(rows).values())) if clustered else difference.examples
    if asked.drop_at_most is None and 2 / 2.0**units >= asked.alpha:  # that of all units falling
        sample = f"{difference.examples} examples" + (f" in {units} contexts" if clustered else "")
        raise _NotComparedError(
            f"{sample} are too few for any drop to have p<{asked.alpha:g}; evaluate more, or give "
            "drop_at_most"
        )


def _rows(run: "TrackedRun") -> "pd.DataFrame":
    try:
        rows = run.rows()
    except InputError as error:
        raise _NotComparedError(error.what) from error
    if rows.empty:
        raise _NotComparedError(f"run {run.name} ({run.run_id}) has no rows")
    return rows


def _baseline(path: Path) -> "pd.DataFrame":
    """The rows of a ``predictions.csv`` that was kept."""
    from tiltyard.evaluation.rows import read_rows

    try:
        rows = read_rows(path)
    except OSError as error:
        raise _NotComparedError(f"cannot read {path} ({error.strerror or error})") from error
    except ValueError as error:
        raise _NotComparedError(f"{path} is no predictions.csv ({error})") from error
    if lacking := [column for column in NEEDED if column not in rows]:
        raise _NotComparedError(f"{path} is no predictions.csv: it has no column {lacking[0]}")
    if rows.empty:
        raise _NotComparedError(f"{path} has no rows")
    if repeated := rows["sample_id"][rows["sample_id"].duplicated()].tolist():
        raise _NotComparedError(
            f"{path} has several rows of example '{repeated[0]}': keep those of one run and one epoch"
        )
    return rows


def _reference(run: "TrackedRun", reference: Where, among: "Sequence[TrackedRun]") -> "TrackedRun":
    """The run to compare with: like the run itself but for what the reference names.

    Of several, one of the same sweep comes first, then the one whose config differs least, then the last.
    """
    alike = [name for name in (*AXES, *OF_THE_EXAMPLES) if name not in reference]
    candidates = [
        other
        for other in among
        if other.run_id != run.run_id
        and fits(other, reference)
        and all(value_of(other, name) == value_of(run, name) for name in alike)
    ]
    if not candidates:
        like = " ".join(f"{name}={value_of(run, name)}" for name in alike)
        why = why_none(reference, among)
        together = f"no run with {described(reference)} has {like}"
        raise _NotComparedError(f"there is no reference: {together if 'together' in why else why}")
    return min(
        reversed(candidates),
        key=lambda other: (other.sweep != run.sweep, len(differences(run, other, reference))),
    )
