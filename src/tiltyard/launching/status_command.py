"""``tiltyard status``: how far a sweep is, or how it ended, seen from another shell."""

from pathlib import Path

from rich.text import Text

from tiltyard.arguments import CommandParser
from tiltyard.errors import InputError
from tiltyard.launching.dry_run import span
from tiltyard.launching.identity import FILE
from tiltyard.launching.status import JobStatus, State, SweepStatus, read_sweep
from tiltyard.launching.watching import doing, follow, headline
from tiltyard.reporting.console import Field, fitting, show, table, text
from tiltyard.reporting.numbers import fraction
from tiltyard.reporting.terminal import shown_path

SWEEPS, SEARCHES = Path("outputs/sweeps"), Path("outputs/searches")
"""Where sweeps and searches leave their folders unless the config says otherwise."""


def status(arguments: list[str]) -> None:
    """Print what the jobs of a sweep are doing.

    Args:
        arguments: The command line after ``tiltyard status``.

    Raises:
        InputError: There is no such sweep.
    """
    parser = CommandParser(
        prog="tiltyard status",
        description="How far a sweep is: what its jobs are doing, their scores, and why they failed.",
    )
    parser.add_argument(
        "sweep",
        nargs="?",
        metavar="SWEEP",
        help=f"its folder, or its name below {SWEEPS} or {SEARCHES}; default: the one started last",
    )
    parser.add_argument("--watch", action="store_true", help="go on showing it until it ends, or Ctrl-C")
    chosen = parser.parse_args(arguments)
    folder = _latest() if chosen.sweep is None else _named(chosen.sweep)
    if chosen.watch:
        follow(folder)
    print_status(read_sweep(folder))


def _named(name: str) -> Path:
    for folder in (Path(name), SWEEPS / name, SEARCHES / name):
        if (folder / FILE).is_file():
            return folder
    raise InputError(
        f"there is no sweep '{name}'", f"give its folder, or its name below {SWEEPS} or {SEARCHES}"
    )


def _latest() -> Path:
    found = [file for place in (SWEEPS, SEARCHES) for file in place.glob(f"*/{FILE}")]
    started = {file.parent: file.stat().st_mtime for file in found}
    if not started:
        raise InputError(
            f"there is no sweep below {SWEEPS} or {SEARCHES}", "start one with -m, or give a sweep's folder"
        )
    return max(started, key=lambda folder: started[folder])


def print_status(sweep: SweepStatus) -> None:
    """Print a sweep: its counts, and a line per job."""
    jobs = sweep.jobs
    fields = [
        Field("job", [str(job.number) for job in jobs], right=True),
        Field("overrides", [sweep.varied(job) for job in jobs]),
        Field("state", [_state(job) for job in jobs]),
        Field("score", [fraction(job.score) if job.score is not None else "" for job in jobs], right=True),
        Field("time", [span(job.seconds) if job.seconds is not None else "" for job in jobs], right=True),
        Field("", [doing(job) if job.state is State.RUNNING else job.error for job in jobs]),
    ]
    show(
        text(f"sweep {sweep.folder.name}: {headline(sweep)}", "bold"),
        text(_controller(sweep), "dim"),
        "",
        table(fitting(fields, ("time",))),
        "",
        Text("files in ", "bold") + text(shown_path(sweep.folder.resolve()), "cyan"),
    )


def _state(job: JobStatus) -> Text:
    style = {State.FAILED: "red", State.GONE: "red", State.RUNNING: "green"}.get(job.state, "")
    return text(job.state.value, style)


def _controller(sweep: SweepStatus) -> str:
    controller, unfinished = sweep.controller, sweep.count(State.WAITING, State.GONE, State.RUNNING)
    if not unfinished:
        return "ended"
    if controller is None:
        return "it has not started a job"
    where = f"process {controller.process.pid} on {controller.process.host}"
    if sweep.is_running is None:
        return f"run by {where}, which cannot be seen from here"
    if sweep.is_running:
        return f"running: {where}"
    failed = sweep.count(State.FAILED)
    again = f" and the {failed} that failed or were interrupted" if failed else ""
    return f"its process is gone; the same command runs the {unfinished} left{again}"
