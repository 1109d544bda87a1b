"""What a job is doing at this moment, in a small file in its folder, for whoever watches it.

>>> with recording_activity(folder):
...     phase("compile")
...     phase("evaluate", total=240)
...     advance(score=1.0, failed=False)
>>> read_activity(folder)
Activity(process=ProcessIdentity(host='node3', …), phase='evaluate', done=1, total=240, score=1.0, …)
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tiltyard.files import write_text
from tiltyard.telemetry.processes import ProcessIdentity, Sight, this_process

FILE = "activity.json"
SECONDS_BETWEEN_WRITES = 1.0


@dataclass(frozen=True)
class Activity:
    """What a job is doing."""

    process: ProcessIdentity = field(default_factory=this_process)
    """Who does it."""
    started: float = field(default_factory=time.time)
    """When it began, in seconds since 1970."""
    phase: str = "start"
    """The step that it is in, such as ``compile`` or ``evaluate``."""
    phase_started: float = field(default_factory=time.time)
    """When the step began."""
    done: int = 0
    """How many examples of the phase are done."""
    total: int | None = None
    """How many there are; None where the phase does not count."""
    failed: int = 0
    """How many of those done failed."""
    score: float | None = None
    """Their mean score, in [0, 1]; None while there is none."""
    run_id: str | None = None
    """The tracked run; None before it exists, and without tracking."""

    def is_alive(self) -> bool | None:
        """Whether its process still runs; None where that cannot be seen, as on another machine."""
        match self.process.seen():
            case Sight.ALIVE:
                return True
            case Sight.GONE:
                return False
        # It is not here, or this machine has been started again since.
        here = this_process()
        return False if self.process.host == here.host and self.process.machine != here.machine else None


class _Recorder:
    """Keeps an activity's file up to date; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._lock = threading.Lock()
        self._written = 0.0
        self._scores = 0.0
        self.activity = Activity()
        self._write()

    def phase(self, name: str, total: int | None) -> None:
        with self._lock:
            self._scores = 0.0
            self.activity = replace(
                self.activity,
                phase=name,
                phase_started=time.time(),
                total=total,
                done=0,
                failed=0,
                score=None,
            )
            self._write()

    def run_id(self, run_id: str | None) -> None:
        with self._lock:
            self.activity = replace(self.activity, run_id=run_id)
            self._write()

    def advance(self, score: float, failed: bool) -> None:
        with self._lock:
            now = self.activity
            self._scores += score
            done = now.done + 1
            self.activity = replace(now, done=done, failed=now.failed + failed, score=self._scores / done)
            if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
                self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with suppress(OSError):  # a full disk is for the rows to report
            write_text(self._file, json.dumps(asdict(self.activity)) + "\n")


_RECORDER: ContextVar[_Recorder | None] = ContextVar("activity", default=None)


@contextmanager
def recording_activity(folder: Path) -> Iterator[None]:
    """Keep in a folder what this process's job is doing while a block runs; the folder is made if need be."""
    token = _RECORDER.set(_Recorder(folder))
    try:
        yield
    finally:
        _RECORDER.reset(token)


def phase(name: str, total: int | None = None) -> None:
    """Say that the job is in a new phase; nothing happens where nobody records.

    Args:
        name: What it does now.
        total: How many examples it will work on, where it counts them.
    """
    if recorder := _RECORDER.get():
        recorder.phase(name, total)


def advance(score: float, failed: bool) -> None:
    """Count one more example, given its score and whether it failed."""
    if recorder := _RECORDER.get():
        recorder.advance(score, failed)


def tracked_as(run_id: str | None) -> None:
    """Say which tracked run the job is."""
    if recorder := _RECORDER.get():
        recorder.run_id(run_id)


def read_activity(folder: Path) -> Activity | None:
    """What the job of a folder is doing, or did last; None where it has not begun."""
    try:
        plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Activity(**plain | {"process": ProcessIdentity(**plain["process"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
