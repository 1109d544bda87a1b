"""Checks tracked runs for CI: a table of what was demanded and found, and an exit code.

$ tiltyard report --sweep latest --check thresholds.yaml

A check that fits no run, or cannot be made, never counts as one that holds.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from tiltyard.errors import InputError, TiltyardError
from tiltyard.files import write_text
from tiltyard.reporting import bounds, regressions
from tiltyard.reporting.bounds import Outcome, called
from tiltyard.reporting.comparison import latest
from tiltyard.reporting.console import Field, show, table, text
from tiltyard.reporting.markdown import Column, escape
from tiltyard.reporting.markdown import table as markdown_table
from tiltyard.reporting.matching import described, fits, why_none
from tiltyard.reporting.numbers import MISSING
from tiltyard.reporting.terminal import shown_path
from tiltyard.reporting.thresholds import Bound, Regression, Thresholds

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun

FILE = "check.md"
STYLES = {"pass": "green", "FAIL": "bold red", "not checked": "yellow"}


class CheckFailedError(TiltyardError):
    """A run does not keep to the thresholds. Exit code 1."""


def run_gate(
    thresholds: Thresholds,
    runs: "Sequence[TrackedRun]",
    folder: Path,
    *,
    failed: "Sequence[TrackedRun]" = (),
    everyone: "Callable[[], Sequence[TrackedRun]]" = tuple,
    source: str,
) -> None:
    """Check runs, print the table and write it as ``check.md``; return where every check holds.

    Args:
        thresholds: What is demanded.
        runs: The finished runs that were chosen; of repetitions the last one counts.
        folder: Where ``check.md`` goes.
        failed: Chosen runs that did not finish and were not repeated with success.
        everyone: Gives all finished runs of the experiment, for references that name a sweep or a run.
        source: Where the runs are from.

    Raises:
        InputError: A check fits no run or cannot be made, or the folder cannot be written.
        CheckFailedError: A check fails, and all could be made.
        JobError: The store failed.
    """
    outcomes = check(thresholds, latest(runs), failed=failed, everyone=everyone)
    written = folder / FILE
    try:
        write_text(written, to_markdown(outcomes, thresholds.path, source))
    except OSError as error:
        raise InputError(
            f"cannot write {written} ({error.strerror or error})", "name another folder with --output"
        ) from error
    _print(outcomes)
    show("", Text(f"written: {shown_path(written)}", "dim"))
    _refuse(outcomes, thresholds.path)


def check(
    thresholds: Thresholds,
    runs: "Sequence[TrackedRun]",
    *,
    failed: "Sequence[TrackedRun]" = (),
    everyone: "Callable[[], Sequence[TrackedRun]]" = tuple,
) -> list[Outcome]:
    """What every check found, in the order of the file: at least one outcome each.

    Args:
        thresholds: What is demanded.
        runs: Finished runs, no repetitions among them.
        failed: Runs that failed: each fails the checks that it fits.
        everyone: As in :func:`run_gate`.

    Raises:
        JobError: The store failed.
    """
    outcomes: list[Outcome] = []
    for bound in thresholds.bounds:
        fitting = [run for run in runs if fits(run, bound.where)]
        outcomes += _without(bound, fitting, thresholds, runs, failed)
        outcomes += [bounds.outcome(bound, run, line=thresholds.line(bound)) for run in fitting]
    asked = [(each, [run for run in runs if fits(run, each.where)]) for each in thresholds.regressions]
    for (each, fitting), compared in zip(
        asked, regressions.regressed(thresholds, asked, runs, everyone), strict=True
    ):
        outcomes += [*_without(each, fitting, thresholds, runs, failed), *compared]
    return outcomes


def _without(
    asked: Bound | Regression,
    fitting: "Sequence[TrackedRun]",
    thresholds: Thresholds,
    runs: "Sequence[TrackedRun]",
    failed: "Sequence[TrackedRun]",
) -> list[Outcome]:
    """The outcomes of runs that failed, and of a check that fits no run at all."""
    line = thresholds.line(asked)
    if isinstance(asked, Bound):
        label, wanted = asked.name or asked.metric, bounds.wanted(asked)
    else:
        label, wanted = regressions.label(asked), regressions.wanted(asked)
    outcomes = [
        Outcome(label, called(run), MISSING, wanted, "FAIL", line, f"the run is {run.status}: {_error(run)}")
        for run in failed
        if fits(run, asked.where)
    ]
    if fitting or outcomes:
        return outcomes
    remark = why_none(asked.where, [*runs, *failed])
    return [Outcome(label, described(asked.where), MISSING, wanted, "not checked", line, remark)]


def _error(run: "TrackedRun") -> str:
    without_reason = "it was interrupted" if run.ended else "it has not ended, or its process was killed"
    return run.tags.get("tiltyard.error", without_reason)


def summed_up(outcomes: Sequence[Outcome]) -> str:
    """``1 of 3 checks failed, 1 could not be made``; or that all passed."""
    verdicts, several = Counter(outcome.verdict for outcome in outcomes), len(outcomes)
    parts = [f"{verdicts['FAIL']} of {several} checks failed"] if verdicts["FAIL"] else []
    if made := verdicts["not checked"]:
        parts.append(f"{made} {'' if parts else f'of {several} checks '}could not be made")
    return ", ".join(parts) or (f"all {several} checks passed" if several > 1 else "the check passed")


def _refuse(outcomes: Sequence[Outcome], file: Path) -> None:
    unmade = [outcome for outcome in outcomes if outcome.verdict == "not checked"]
    if unmade:
        raise InputError(
            f"{summed_up(outcomes)}: {file}:{unmade[0].line}: {unmade[0].remark}",
            "correct the file, or run what it checks",
        )
    if any(outcome.verdict == "FAIL" for outcome in outcomes):
        raise CheckFailedError(summed_up(outcomes), "the table says which")


def _cells(outcome: Outcome) -> tuple[str, ...]:
    return (outcome.check, outcome.run, outcome.found, outcome.wanted, outcome.verdict)


_HEADINGS = ("check", "run", "found", "wanted", "verdict")


def _print(outcomes: Sequence[Outcome]) -> None:
    columns = zip(*map(_cells, outcomes), strict=True)
    fields = [Field(heading, cells) for heading, cells in zip(_HEADINGS, columns, strict=True)]
    fields[-1] = Field("verdict", [Text(o.verdict, STYLES[o.verdict]) for o in outcomes])
    show(table(fields))
    remarks = [
        text(f"{outcome.verdict}: {_place(outcome)}: {outcome.remark}", STYLES[outcome.verdict])
        for outcome in outcomes
        if outcome.remark
    ]
    if remarks:
        show("", *remarks)
    show("", Text(summed_up(outcomes), "bold"))


def _place(outcome: Outcome) -> str:
    return f"{outcome.check}, {outcome.run} (line {outcome.line})"


def to_markdown(outcomes: Sequence[Outcome], file: Path, source: str) -> str:
    """The table as ``check.md``, fit for a job's summary on GitHub.

    Args:
        outcomes: As :func:`check` makes them.
        file: The thresholds file.
        source: Where the runs are from.
    """
    summary = summed_up(outcomes)
    parts = [
        f"## {summary[0].upper()}{summary[1:]}",
        f"{escape(str(file))} on {escape(source)}",
        markdown_table([Column(heading) for heading in _HEADINGS], [_cells(outcome) for outcome in outcomes]),
        "\n".join(
            f"- {escape(f'{outcome.verdict}: {_place(outcome)}: {outcome.remark}')}"
            for outcome in outcomes
            if outcome.remark
        ),
        "Intervals are 95%. Differences are paired by example; their p values are adjusted for all "
        "comparisons of the file (Holm).",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
