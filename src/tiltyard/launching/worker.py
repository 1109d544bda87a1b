"""A worker process: it leaves with its sweep, and keeps what a job prints in the job's folder."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tiltyard.launching.assignment import Assignment

CONSOLE_FILE = "console.log"
"""What a job's process printed, down to its last words; removed where it printed nothing."""
_SECONDS_BETWEEN_LOOKS = 0.2


def prepare(sweep_pid: int) -> None:
    """Set up a worker: it ends when the sweep's process is gone, and leaves Ctrl-C to that process.

    Args:
        sweep_pid: The process that the worker works for.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the sweep tells its workers
    os.environ.setdefault("TQDM_DISABLE", "1")
    threading.Thread(target=_leave_with, args=(sweep_pid,), name="leave-with-sweep", daemon=True).start()


def _leave_with(sweep_pid: int) -> None:
    """A job that nobody waits for would go on beside the next try of itself."""
    try:
        sweep = psutil.Process(sweep_pid)
        while sweep.is_running() and sweep.status() != psutil.STATUS_ZOMBIE:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except psutil.NoSuchProcess:
        pass
    _exit(1)


def leave(seconds: float) -> None:
    """Let this worker, which gets no more jobs, end within some seconds.

    By itself it would wait for every thread and process that a job has left behind.
    """

    def insist() -> None:
        time.sleep(seconds)
        _exit(0)

    threading.Thread(target=insist, name="leave", daemon=True).start()


def _exit(code: int) -> None:
    """End this process now, and those that its jobs have started, such as a model's server."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(code)


def carry_out(assignment: Assignment) -> str:
    """Run a job; see :meth:`tiltyard.launching.assignment.Assignment.carry_out`."""
    with _console_in(assignment.folder / CONSOLE_FILE):
        return assignment.carry_out()


@contextmanager
def _console_in(file: Path) -> Iterator[None]:
    """Send what this process prints, C libraries included, into a file while a block runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as console:
        before = {number: os.dup(number) for number in (1, 2)}
        for number in before:
            os.dup2(console.fileno(), number)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk is for the job to report
                stream.flush()
        for number, kept in before.items():
            os.dup2(kept, number)
            os.close(kept)
        with suppress(OSError):
            if not file.stat().st_size:
                file.unlink()
