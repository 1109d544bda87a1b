"""Holds runs against bounds, one metric of one run at a time, and says what each check found.

>>> outcome(Bound(low_at_least=0.5), run, line=2).verdict
'pass'
"""

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tiltyard.reporting.numbers import MISSING, scored
from tiltyard.reporting.thresholds import Bound

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun

Verdict = Literal["pass", "FAIL", "not checked"]


@dataclass(frozen=True)
class Outcome:
    """What one check found of one run."""

    check: str
    """What the check is called."""
    run: str
    """The run's name and the beginning of its id; what was asked for, where no run fits."""
    found: str
    wanted: str
    verdict: Verdict
    line: int
    """Where the check stands in its file."""
    remark: str = ""
    """Why it failed or was not made, or what a reader must know of one that holds; one line."""


def called(run: "TrackedRun") -> str:
    """What a table calls a run."""
    return f"{run.name} {run.run_id[:8]}"


def wanted(bound: Bound) -> str:
    """What a bound demands: ``low >= 0.5``."""
    demands = (
        (">=", bound.at_least),
        ("<=", bound.at_most),
        ("low >=", bound.low_at_least),
        ("high >=", bound.high_at_least),
    )
    return ", ".join(f"{sign} {limit:g}" for sign, limit in demands if limit is not None)


def outcome(bound: Bound, run: "TrackedRun", *, line: int) -> Outcome:
    """Hold one run against one bound.

    Args:
        bound: What is demanded.
        run: A run that the bound is about.
        line: Where the bound stands in its file.
    """

    def of(found: str, verdict: Verdict, remark: str) -> Outcome:
        return Outcome(bound.name or bound.metric, called(run), found, wanted(bound), verdict, line, remark)

    value, low, high = (run.metrics.get(f"{bound.metric}{end}") for end in ("", ".low", ".high"))
    if value is None:
        close = difflib.get_close_matches(bound.metric, sorted(run.metrics), n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        return of(MISSING, "not checked", f"the run has no metric '{bound.metric}'{hint}")
    if low is None or high is None:
        if bound.low_at_least is not None or bound.high_at_least is not None:
            remark = f"'{bound.metric}' has no interval: give at_least or at_most"
            return of(f"{value:.6g}", "not checked", remark)
        shown = f"{value:.6g}"
    else:
        shown = scored(value, low, high)
    # Negated, so that a metric that is no number (NaN) keeps no bound.
    broken = [
        f"{what}{found:.6g} is below {limit:g}"
        for what, found, limit in (
            ("", value, bound.at_least),
            ("the low end of the interval, ", low, bound.low_at_least),
            ("the high end of the interval, ", high, bound.high_at_least),
        )
        if found is not None and limit is not None and not found >= limit
    ]
    if bound.at_most is not None and not value <= bound.at_most:
        broken.append(f"{value:.6g} is above {bound.at_most:g}")
    return of(shown, "FAIL" if broken else "pass", " and ".join(broken))
