"""``tiltyard report --compare`` and ``--check``: what the command does in place of a report over many runs.

$ tiltyard report --compare 5f0c 77ab
$ tiltyard report --check thresholds.yaml --sweep latest
"""

import argparse
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tiltyard.errors import InputError
from tiltyard.reporting.selection import described, select, tracking_at

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun

CHOOSING = ("sweep", "task", "model", "tag", "filter")
"""Options that choose among many runs."""
OF_THE_REPORT = ("reference", "by", "log")
"""Options that are about the report itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two options, of which a command has one at most."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--compare",
        nargs=2,
        metavar=("RUN_A", "RUN_B"),
        help="two runs side by side instead: run ids, beginnings of them, or folders of runs",
    )
    either.add_argument(
        "--check",
        metavar="FILE",
        help="hold the runs against a thresholds file instead; exit code 1 when one fails (docs/ci.md)",
    )


def compare(chosen: argparse.Namespace) -> None:
    """Print two runs side by side, and write ``compare.md`` and ``compare.csv``.

    Args:
        chosen: The options of ``tiltyard report``.

    Raises:
        InputError: A run is not there or not told apart, an option does not fit, or the folder cannot be
            written.
        JobError: The store failed.
    """
    from tiltyard.reporting.one_run import find_run
    from tiltyard.reporting.side_by_side import side_by_side
    from tiltyard.reporting.side_by_side_report import show_side_by_side

    _refuse("--compare", (*CHOOSING, *OF_THE_REPORT), chosen)
    tracking = tracking_at(chosen.tracking)
    a, b = (find_run(given, tracking, experiment=chosen.experiment) for given in chosen.compare)
    show_side_by_side(side_by_side(a, b), Path(chosen.output))


def check(chosen: argparse.Namespace) -> None:
    """Hold the chosen runs against a thresholds file.

    Args:
        chosen: The options of ``tiltyard report``.

    Raises:
        InputError: The file or an option is wrong, or a check could not be made.
        CheckFailedError: A check fails.
        JobError: The store failed.
    """
    from tiltyard.reporting.gate import run_gate
    from tiltyard.reporting.thresholds import read_thresholds

    _refuse("--check", OF_THE_REPORT, chosen)
    thresholds = read_thresholds(Path(chosen.check))  # before a store is looked for
    selected = select(chosen)

    @cache
    def everyone() -> "list[TrackedRun]":
        from tiltyard.tracking.reader import runs

        return runs(tracking_at(chosen.tracking), experiment=chosen.experiment)

    run_gate(
        thresholds,
        selected.finished,
        Path(chosen.output),
        failed=[*selected.failed, *selected.unended],
        everyone=everyone,
        source=described(chosen, selected.finished),
    )


def _refuse(asked: str, options: tuple[str, ...], chosen: argparse.Namespace) -> None:
    """Refuse options that would change nothing."""
    for option in options:
        if getattr(chosen, option) not in (None, "", []):
            raise InputError(f"{asked} does not go with --{option}", "leave one of them out")
