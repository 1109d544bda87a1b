"""Shows how far a sweep is while it runs: a display that changes in a terminal, a line per job elsewhere.

>>> with watching(folder) as ended:
...     ended(3, "")          # job 3 has ended by itself
18:04:11 INFO    job 3 done in 42 s, score 0.412: task=tatqa_tiny seed=3 (4/60 jobs, about 14 min left)
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tiltyard.launching.dry_run import span
from tiltyard.launching.status import SETTLED, JobStatus, State, SweepStatus, read_sweep
from tiltyard.reporting.console import show, text
from tiltyard.reporting.numbers import fraction

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 300.0
"""How often a log hears of jobs that take long."""
MOST_RUNNING = 12
"""Running jobs that a display has lines for."""


class Watch:
    """What is known of a sweep, with what has ended remembered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[int, JobStatus] = {}

    def look(self) -> SweepStatus:
        """Look at the sweep's folder."""
        status = read_sweep(self._folder, self._known)
        self._known = {job.number: job for job in status.jobs}
        return status


@contextmanager
def watching(folder: Path) -> Iterator[Callable[[int], None]]:
    """Show a sweep on stderr while a block runs it.

    Args:
        folder: The sweep's folder, with its plan.

    Yields:
        What is to be called with a job's number when it has ended.
    """
    watch = Watch(folder)
    if sys.stderr.isatty():
        with _display(watch):
            yield lambda number: _tell_failure(watch.look(), number)
    else:
        with _lines(watch):
            yield lambda number: _tell_end(watch.look(), number)


@contextmanager
def _display(watch: Watch) -> Iterator[None]:
    """A display in the terminal's last lines; what is logged meanwhile stands above it."""
    console = Console(stderr=True)
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr
    ]
    stderr = sys.stderr
    with Live(
        console=console,
        get_renderable=lambda: drawn(watch.look(), console.width),
        refresh_per_second=1,
        transient=True,
    ):
        for handler in handlers:
            handler.setStream(sys.stderr)  # rich's, which prints above the display
        try:
            yield
        finally:
            for handler in handlers:
                handler.setStream(stderr)


def drawn(status: SweepStatus, width: int) -> RenderableType:
    """A sweep in a few lines: a bar, and what runs.

    Args:
        status: The sweep.
        width: Columns of the terminal.
    """
    ended = sum(1 for job in status.jobs if job.state in SETTLED)
    name, counts = text(f"sweep {status.folder.name}", "bold"), text(headline(status))
    length = max(10, min(40, width // 4))
    bar = ProgressBar(total=len(status.jobs), completed=ended, width=length)
    heads = [Table.grid(padding=(0, 1, 0, 0)) for _ in range(2)]
    if name.cell_len + length + counts.cell_len + 2 <= width:
        heads[0].add_row(name, bar, counts)
    else:
        heads[0].add_row(name, bar)
        heads[1].add_row(counts)
    running = [job for job in status.jobs if job.state is State.RUNNING]
    rows = Table.grid(padding=(0, 2, 0, 0))
    for job in running[:MOST_RUNNING]:
        rows.add_row(
            text(f"{job.number:>4}"),
            text(status.varied(job)),
            text(doing(job), "dim"),
            text(span(job.seconds or 0.0), "dim"),
        )
    more = (
        [Text(f"      and {len(running) - MOST_RUNNING} more", "dim")] if len(running) > MOST_RUNNING else []
    )
    return Group(*(head for head in heads if head.row_count), rows, *more)


def headline(status: SweepStatus) -> str:
    """The counts of a sweep, its pace and the time left: ``12/60 jobs, 1 failed, 3.2/min, 14 min left``."""
    ended = sum(1 for job in status.jobs if job.state in SETTLED)
    parts = [f"{ended}/{len(status.jobs)} job" + "s" * (len(status.jobs) != 1)]
    for state in (State.KEPT, State.FAILED, State.GONE, State.RUNNING):
        if counted := status.count(state):
            parts.append(f"{counted} {state.value}")
    if ended < len(status.jobs) and status.is_running is not False:
        if pace := status.per_minute():
            parts.append(f"{pace:.1f}/min" if pace >= 1 else f"{60 * pace:.1f}/h")
        if (left := status.seconds_left()) is not None:
            parts.append(f"about {span(left)} left")
    return ", ".join(parts)


def doing(job: JobStatus) -> str:
    """What a running job does: ``evaluate 120/240, 2 failed, score 0.412``."""
    now = job.activity
    if now is None:
        return ""
    parts = [f"{now.phase} {now.done}/{now.total}" if now.total else now.phase]
    parts += [f"{now.failed} failed"] if now.failed else []
    parts += [f"score {fraction(now.score)}"] if now.score is not None else []
    return ", ".join(parts)


@contextmanager
def _lines(watch: Watch) -> Iterator[None]:
    """Say now and then what jobs that take long are doing."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(SECONDS_BETWEEN_LINES):
            status = watch.look()
            logger.info("%s", headline(status))
            for job in status.jobs:
                if job.state is State.RUNNING:
                    logger.info("  job %d (%s): %s", job.number, status.varied(job), doing(job))

    thread = threading.Thread(target=tell, name="sweep-status", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tell_end(status: SweepStatus, number: int) -> None:
    job = next(job for job in status.jobs if job.number == number)
    if job.state is not State.DONE:
        _tell_failure(status, number)
        return
    varied = status.varied(job)
    logger.info(
        "job %d done in %s, score %s%s (%s)",
        number,
        span(job.seconds or 0.0),
        fraction(job.score),
        f": {varied}" if varied else "",
        headline(status),
    )


def _tell_failure(status: SweepStatus, number: int) -> None:
    job = next(job for job in status.jobs if job.number == number)
    if job.state is not State.DONE:
        varied = status.varied(job)
        logger.error("job %d failed%s: %s", number, f" ({varied})" if varied else "", job.error)


def follow(folder: Path) -> None:
    """Show a sweep that another process runs, until it has ended or Ctrl-C.

    Args:
        folder: The sweep's folder.
    """
    watch = Watch(folder)
    if not sys.stderr.isatty():
        while _goes_on(status := watch.look()):
            show(text(headline(status)))
            time.sleep(SECONDS_BETWEEN_LINES)
        return
    with _display(watch):
        while _goes_on(watch.look()):
            time.sleep(1.0)


def _goes_on(status: SweepStatus) -> bool:
    """Whether there is something to wait for; a process on another machine is seen by its jobs only."""
    if status.is_running is None:
        return any(job.state not in SETTLED for job in status.jobs)
    return status.is_running
