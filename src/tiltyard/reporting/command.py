"""``tiltyard report``: compares what was tracked, in the terminal and as files.

$ tiltyard report --task tatqa_tiny --sweep latest
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from tiltyard.arguments import CommandParser
from tiltyard.errors import InputError
from tiltyard.files import write_text
from tiltyard.reporting import comparison
from tiltyard.reporting.console import Field, show, table, text
from tiltyard.reporting.markdown import Column, escape, one_line
from tiltyard.reporting.terminal import shown_path

if TYPE_CHECKING:
    import pandas as pd

    from tiltyard.tracking.reader import TrackedRun
    from tiltyard.tracking.recorder import Tracking

LATEST = "latest"


def report(arguments: list[str]) -> None:
    """Run the command.

    Args:
        arguments: The command line after ``tiltyard report``.

    Raises:
        InputError: An argument is wrong, there is no store, no run in it fits, or the output folder cannot
            be written.
        JobError: The store failed.
    """
    chosen = _parser().parse_args(arguments)
    tracked = _select(_tracked_runs(chosen), chosen)
    rows, left_out = _rows(comparison.latest(tracked))
    if not rows:
        raise InputError("none of these runs has examples", f"{left_out[0]}")
    compared = [run for run in comparison.latest(tracked) if run.run_id in rows]
    summary = comparison.summarize(compared, rows_of=lambda run: rows[run.run_id])
    remarks = [
        *_repetitions(len(tracked), len(compared) + len(left_out)),
        *comparison.pooled_differences(compared),
        *left_out,
    ]
    folder = Path(chosen.output)
    try:
        written = write_report(summary, compared, remarks, folder, source=_source(chosen, tracked))
    except OSError as error:
        raise InputError(
            f"cannot write the report into {folder} ({error.strerror or error})",
            "name another folder with --output",
        ) from error
    _print(summary, remarks, written)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="tiltyard report",
        description="Compare tracked runs: a table by task, model and mode, as CSV, Markdown and a figure.",
        epilog="Several names are separated by commas: --task tatqa_tiny,iot_tiny",
    )
    parser.add_argument(
        "--tracking",
        default="mlruns",
        metavar="FOLDER|URI",
        help="the store: a folder, or a server's http(s) address (default: %(default)s)",
    )
    parser.add_argument("--experiment", default="tiltyard", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--sweep", metavar="ID", help="only this sweep's runs; 'latest' is the last one")
    parser.add_argument("--task", metavar="NAMES", help="only these tasks")
    parser.add_argument("--model", metavar="NAMES", help="only these models")
    parser.add_argument(
        "--output", default="outputs/report", metavar="DIR", help="where the files go (default: %(default)s)"
    )
    return parser


def _tracked_runs(chosen: argparse.Namespace) -> "list[TrackedRun]":
    from tiltyard.tracking.reader import runs

    found = runs(_tracking(chosen.tracking), experiment=chosen.experiment)
    if not found:
        raise InputError(
            f"no finished run in experiment '{chosen.experiment}' of {chosen.tracking}",
            "run one first: tiltyard",
        )
    return found


def _tracking(place: str) -> "Tracking":
    from tiltyard.tracking.recorder import LocalTracking, ServerTracking

    if place.lower().startswith(("http://", "https://")):
        return ServerTracking(uri=place)
    if "://" in place:
        raise InputError(
            f"--tracking {place} is no folder and no http address", "name the folder or the server"
        )
    return LocalTracking(folder=place)


def _select(tracked: "list[TrackedRun]", chosen: argparse.Namespace) -> "list[TrackedRun]":
    """The runs that the options ask for; each option narrows what the ones before it left."""
    if chosen.sweep:
        sweeps = list(dict.fromkeys(run.sweep for run in tracked if run.sweep))  # oldest first
        wanted = sweeps[-1] if chosen.sweep == LATEST and sweeps else chosen.sweep
        if wanted not in sweeps:
            raise InputError(f"no finished run of sweep '{chosen.sweep}'", _there_are("sweeps", sweeps[::-1]))
        tracked = [run for run in tracked if run.sweep == wanted]
    for axis in ("task", "model"):
        names = _names(getattr(chosen, axis))
        there = sorted({str(getattr(run, axis)) for run in tracked})
        for name in names:
            if name not in there:
                raise InputError(f"no finished run of {axis} '{name}'", _there_are(f"{axis}s", there))
        tracked = [run for run in tracked if not names or getattr(run, axis) in names]
    if not tracked:
        raise InputError("no finished run has this task and this model together", "leave one option out")
    return tracked


def _names(option: str | None) -> list[str]:
    return [name.strip() for name in (option or "").split(",") if name.strip()]


def _there_are(what: str, names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
    return f"{what} there: {shown or 'none'}"


def _rows(runs: "Sequence[TrackedRun]") -> "tuple[dict[str, pd.DataFrame], list[str]]":
    """The rows of each run by its id; and a remark on each run that has none."""
    rows, remarks = {}, []
    for run in runs:
        try:
            frame = run.rows()
        except InputError as error:
            remarks.append(f"left out: {error.what}")
        else:
            rows[run.run_id] = frame
    return rows, remarks


def _repetitions(found: int, distinct: int) -> list[str]:
    if found == distinct:
        return []
    return [
        f"{found - distinct} of {found} runs were repeated later with the same fingerprint: the last that "
        "asked the model counts"
    ]


def _source(chosen: argparse.Namespace, tracked: "Sequence[TrackedRun]") -> str:
    sweep = [f"sweep {tracked[0].sweep}"] if chosen.sweep else []
    options = [f"{axis} {getattr(chosen, axis)}" for axis in ("task", "model") if getattr(chosen, axis)]
    return ", ".join([f"experiment {chosen.experiment} of {chosen.tracking}", *sweep, *options])


def write_report(
    summary: "pd.DataFrame",
    runs: "Sequence[TrackedRun]",
    remarks: Sequence[str],
    folder: Path,
    *,
    source: str,
) -> list[Path]:
    """Write ``report.md``, ``summary.csv``, ``figures/scores.svg`` and ``figures/scores.png``.

    Args:
        summary: As :func:`tiltyard.reporting.comparison.summarize` makes it, not empty.
        runs: The runs that it sums up.
        remarks: What a reader must know about them, one sentence each.
        folder: Where the files go.
        source: Where the runs are from, for the heading.

    Returns:
        The files written, the one to read first.

    Raises:
        OSError: The folder cannot be written.
    """
    from tiltyard.reporting.figures import save, score_figure

    times = sorted({f"{run.started:%Y-%m-%d %H:%M}" for run in runs})
    started = times[0] if len(times) == 1 else f"from {times[0]} to {times[-1]}"
    parts = [
        "# Tiltyard report",
        f"{len(runs)} runs from {escape(source)}, started {started} UTC.",
        comparison.to_markdown(summary),
        "Scores are means over examples, with their 95% intervals; examples that failed count 0. "
        "Latencies are per example, without those that a response cache answered.",
        *(["\n".join(f"- {escape(remark)}" for remark in remarks)] if remarks else []),
        "![Scores with their 95% intervals, by task, model and mode](figures/scores.svg)",
    ]
    write_text(folder / "report.md", "\n\n".join(parts) + "\n")
    write_text(folder / "summary.csv", summary.to_csv(index=False, lineterminator="\n"))
    figures = save(score_figure(summary), folder / "figures" / "scores")
    return [folder / "report.md", folder / "summary.csv", *figures]


def _print(summary: "pd.DataFrame", remarks: Sequence[str], written: Sequence[Path]) -> None:
    fields = [Field(column.heading, cells, column.right) for column, cells in _worth_showing(summary)]
    tasks = list(summary["task"])
    last_of_task = {n for n in range(len(tasks) - 1) if tasks[n] != tasks[n + 1]}
    show(table(fields, sections=last_of_task))
    if remarks:
        show("", *(text(remark, "yellow") for remark in remarks))
    show(
        "", *(Text(line, "dim") for line in ["written:", *(f"  {one_line(shown_path(p))}" for p in written)])
    )


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
