"""Prints the plan of a sweep: ``tiltyard -m … plan=true``.

>>> print_plan(jobs, outlooks)
plan: 4 jobs, 3 finished before, 1 to run, about 12 s
…
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tiltyard.launching.outlook import Fate, Outlook, total_seconds
from tiltyard.reporting.console import Field, show, table, text
from tiltyard.reporting.numbers import MISSING, fraction

if TYPE_CHECKING:
    from tiltyard.launching.plan import PlannedJob


def print_plan(jobs: "Sequence[PlannedJob]", outlooks: Sequence[Outlook]) -> None:
    """Print what each job of a sweep is and what would become of it.

    Args:
        jobs: The jobs.
        outlooks: What becomes of each.
    """
    show(
        text(f"plan: {headline(outlooks)}", "bold"),
        "",
        table(
            [
                Field("job", [str(job.number) for job in jobs], right=True),
                Field("overrides", [_chosen(job.overrides) for job in jobs]),
                Field("then", [outlook.fate.value for outlook in outlooks]),
                Field("score", [_score(outlook) for outlook in outlooks], right=True),
                Field("takes", [_takes(outlook) for outlook in outlooks], right=True),
                Field("because", [outlook.reason for outlook in outlooks]),
            ]
        ),
        "",
        Text("nothing was started; leave out plan=true to run it", "dim"),
    )


def headline(outlooks: Sequence[Outlook]) -> str:
    """How many jobs are to run, how many are not, and how long that takes."""
    fates = [outlook.fate for outlook in outlooks]
    running = fates.count(Fate.RUN)
    parts = [f"{len(fates)} jobs" if len(fates) != 1 else "1 job"]
    parts += [f"{fates.count(Fate.KEEP)} finished before"] if Fate.KEEP in fates else []
    parts += [f"{fates.count(Fate.LEAVE_OUT)} left out"] if Fate.LEAVE_OUT in fates else []
    parts.append(f"{running} to run")
    seconds, unknown = total_seconds(outlooks)
    if running > unknown:
        parts.append(f"about {span(seconds)}" + (f" and {unknown} without an estimate" if unknown else ""))
    return ", ".join(parts)


def _chosen(overrides: Sequence[str]) -> str:
    """A job's overrides, less the one that asks for the plan alone."""
    return " ".join(override for override in overrides if override.partition("=")[0] != "plan")


def _score(outlook: Outlook) -> str:
    return fraction(outlook.kept.metrics.get("score")) if outlook.kept is not None else ""


def _takes(outlook: Outlook) -> str:
    if outlook.fate is not Fate.RUN:
        return ""
    return MISSING if outlook.seconds is None else span(outlook.seconds)


def span(seconds: float) -> str:
    """A time for reading, with its two largest units: ``42 s``, ``5 min 10 s``, ``3 h 20 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
