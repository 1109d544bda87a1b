"""``tiltyard report``: compares what was tracked, in the terminal and as files.

$ tiltyard report --task tatqa_tiny --sweep latest
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from tiltyard.arguments import CommandParser
from tiltyard.errors import InputError, JobError
from tiltyard.redaction import redact
from tiltyard.reporting import compare_and_check, comparison, numbers
from tiltyard.reporting.console import Field, show, table, text
from tiltyard.reporting.markdown import Column, one_line
from tiltyard.reporting.selection import LATEST, add_arguments, described, select, tracking_at
from tiltyard.reporting.terminal import shown_path

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.reporting.analysis import Analysis


def report(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: The command line after ``tiltyard report``.

    Raises:
        InputError: An argument is wrong, there is no store, no run in it fits, or the output folder cannot
            be written.
        JobError: The store failed.
        CheckFailedError: A run does not keep to the thresholds of ``--check``.
    """
    chosen = _parser().parse_args(arguments)
    if chosen.compare:
        compare_and_check.compare(chosen)
    elif chosen.check is not None:
        compare_and_check.check(chosen)
    else:
        _write(chosen, arguments)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="tiltyard report",
        description="Compare tracked runs: one HTML page, Markdown, CSV and figures.",
        epilog="Several names are separated by commas: --task tatqa_tiny,iot_tiny",
    )
    add_arguments(parser)
    compare_and_check.add_arguments(parser)
    parser.add_argument(
        "--reference",
        metavar="KEY=VALUE",
        help="the arm that others are compared with, such as model=lexical or optimizer.k=4 "
        "(default: optimizer=none, where there is one)",
    )
    parser.add_argument(
        "--by",
        metavar="KEY",
        action="append",
        default=[],
        help="a config key that tells arms apart, beside task, model and mode; may be repeated",
    )
    parser.add_argument(
        "--output", default="outputs/report", metavar="DIR", help="where the files go (default: %(default)s)"
    )
    parser.add_argument(
        "--log",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="keep the report in MLflow too: in the sweep's run, or in one of its own "
        "(default: where it is about one sweep)",
    )
    return parser


def _write(chosen: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Read the chosen runs and write the report about them."""
    from tiltyard.reporting.analysis import analyse
    from tiltyard.reporting.reading import read
    from tiltyard.reporting.report_files import write_report

    selected = select(chosen)
    evidence = read(selected, source=described(chosen, selected.finished))
    analysis = analyse(evidence, reference=chosen.reference, by=chosen.by)
    folder = Path(chosen.output)
    try:
        written = write_report(analysis, folder, command=_command(arguments, selected.finished[0].sweep))
    except OSError as error:
        raise InputError(
            f"cannot write the report into {folder} ({error.strerror or error})",
            "name another folder with --output",
        ) from error
    _print(analysis, written, notes=_log(chosen, analysis, written, folder))


def _command(arguments: Sequence[str], sweep: str) -> str:
    """The command line that makes the same report later, when another sweep may be the latest."""
    named = [
        sweep if word == LATEST and before == "--sweep" else word
        for before, word in zip(("", *arguments), arguments, strict=False)
    ]
    named = [f"--sweep={sweep}" if word == f"--sweep={LATEST}" else word for word in named]
    return redact(shlex.join(["tiltyard", "report", *named]))


def _log(
    chosen: argparse.Namespace, analysis: "Analysis", written: Sequence[Path], folder: Path
) -> list[str]:
    """Keep the report in MLflow where that is wanted; what to say of it.

    Raises:
        JobError: The store failed, and ``--log`` was given.
    """
    from tiltyard.reporting.logged import log_report, sweep_of

    runs = analysis.evidence.runs
    if chosen.log is False or (chosen.log is None and sweep_of(runs) is None):
        return []
    tracking = tracking_at(chosen.tracking)
    tracking.experiment = chosen.experiment
    try:
        name = log_report(written, folder, runs, tracking, source=analysis.evidence.source)
    except (InputError, JobError) as error:
        if chosen.log:
            raise
        return [f"not logged to MLflow: {error}"]  # the files are written, which is what was asked for
    return [f"logged to MLflow: run {name}"]


def _print(analysis: "Analysis", written: Sequence[Path], *, notes: Sequence[str]) -> None:
    from tiltyard.reporting.report_files import FIGURES_FOLDER

    summary = analysis.summary
    fields = [Field(column.heading, cells, column.right) for column, cells in _worth_showing(summary)]
    tasks = list(summary["task"])
    last_of_task = {n for n in range(len(tasks) - 1) if tasks[n] != tasks[n + 1]}
    show(table(fields, sections=last_of_task))
    remarks = [*analysis.remarks, *_failures(analysis)]
    if remarks:
        show("", *(text(remark, "yellow") for remark in remarks))
    documents = [path for path in written if path.parent.name != FIGURES_FOLDER]
    pictures = len(written) - len(documents)
    show(
        "",
        *(Text(line, "dim") for line in ["written:", *(f"  {one_line(shown_path(p))}" for p in documents)]),
        Text(f"  {pictures} figures in {one_line(shown_path(written[-1].parent))}", "dim"),
        *(Text(one_line(note), "dim") for note in notes),
    )


def _failures(analysis: "Analysis") -> list[str]:
    failed = analysis.failed_runs
    return [f"{numbers.counted(len(failed), 'run')} did not finish; the report says why"] if failed else []


def _worth_showing(summary: "pd.DataFrame") -> list[tuple[Column, list[str]]]:
    """The table less columns that say nothing here, so that it fits a terminal; the files have all."""
    silent = {
        "runs": (summary["runs"] == 1).all(),
        "accuracy": (summary["accuracy"] == summary["score"]).all(),
        "failed": (summary["failed"] == 0).all(),
    }
    return [
        (column, cells) for column, cells in comparison.columns(summary) if not silent.get(column.heading)
    ]
