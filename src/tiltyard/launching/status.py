"""How far a sweep is: what each of its jobs is doing, read from the files in its folder.

>>> status = read_sweep(Path("outputs/sweeps/2026-11-20_18-00-00"))
>>> status.count(State.RUNNING), status.count(State.FAILED), status.seconds_left()
(4, 1, 840.0)
"""

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tiltyard.errors import InputError
from tiltyard.launching.plan import PLAN_FILE
from tiltyard.result import RESULT_FILE, ExperimentResult
from tiltyard.telemetry.activity import Activity, read_activity


class State(Enum):
    """What has become of a job so far."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    KEPT = "kept"
    """It had finished before."""
    LEFT_OUT = "not run"
    """It was not asked for."""
    GONE = "gone"
    """Its process is gone, and has left no result."""


SETTLED = frozenset({State.DONE, State.FAILED, State.KEPT, State.LEFT_OUT})
"""States that last."""


@dataclass(frozen=True)
class JobStatus:
    """What a job is doing, or what became of it."""

    number: int
    name: str
    """The name of its run."""
    overrides: tuple[str, ...]
    """What tells it from the other jobs."""
    state: State
    activity: Activity | None = None
    """What it is doing, or did last; None before it began."""
    score: float | None = None
    """The score of a job that is done; that of the examples so far while it runs."""
    seconds: float | None = None
    """How long it took, or has been at it; None before it began, and where it was kept."""
    error: str = ""
    """Why it failed."""
    estimated_seconds: float | None = None
    """How long the plan said that it would take."""
    written: int | None = None
    """When its result was written, as the file system counts; None while there is none."""

    def seconds_left(self, whole: float | None) -> float | None:
        """How long it will still take.

        Args:
            whole: How long such jobs take; None if unknown.
        """
        now = self.activity
        if self.state is State.RUNNING and now is not None and now.total and now.done:
            return (time.time() - now.phase_started) / now.done * (now.total - now.done)
        return None if whole is None else max(0.0, whole - (self.seconds or 0.0))


@dataclass(frozen=True)
class SweepStatus:
    """What the jobs of a sweep are doing."""

    folder: Path
    """The sweep's folder, whose name is the sweep's id."""
    controller: Activity | None
    """The process that gives out the jobs; None where the sweep has not come to that."""
    jobs: tuple[JobStatus, ...]

    def count(self, *states: State) -> int:
        """How many jobs are in one of some states."""
        return sum(1 for job in self.jobs if job.state in states)

    @property
    def is_running(self) -> bool | None:
        """Whether somebody gives out jobs; None where that is on another machine and cannot be seen."""
        return False if self.controller is None else self.controller.is_alive()

    @property
    def started(self) -> float | None:
        """When the first job began, in seconds since 1970."""
        return None if self.controller is None else self.controller.started

    def varied(self, job: JobStatus) -> str:
        """The overrides that tell a job from the others; all of them where there is one job."""
        return " ".join(word for word in job.overrides if word not in self._shared or len(self.jobs) == 1)

    @cached_property
    def _shared(self) -> set[str]:
        """The overrides that all jobs have."""
        return set.intersection(*(set(job.overrides) for job in self.jobs))

    def seconds_left(self) -> float | None:
        """How long the rest will take, by the plan and by the jobs that are done; None if unknown."""
        done = [job for job in self.jobs if job.state is State.DONE and job.seconds is not None]
        typical = statistics.fmean(job.seconds or 0.0 for job in done) if done else None
        left = 0.0
        for job in self.jobs:
            if job.state in SETTLED:
                continue
            whole = typical if job.estimated_seconds is None or done else job.estimated_seconds
            rest = job.seconds_left(whole)
            if rest is None:
                return None
            left += rest
        return left / max(1, self.count(State.RUNNING))

    def per_minute(self) -> float | None:
        """Jobs that ended in a minute so far; None before the first one."""
        ended = self.count(State.DONE, State.FAILED)
        if not ended or self.started is None:
            return None
        return 60 * ended / max(1e-3, time.time() - self.started)


def read_sweep(folder: Path, known: Mapping[int, JobStatus] = MappingProxyType({})) -> SweepStatus:
    """Look at a sweep's folder.

    Args:
        folder: The sweep's folder.
        known: Jobs by their numbers that were looked at before: one that has ended is not read again, unless
            it has written another result since, as one does that could not be tracked.

    Raises:
        InputError: There is no sweep in the folder.
    """
    try:
        plan = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is not a sweep's folder: it has no {PLAN_FILE}", "name another"
        ) from error
    jobs = [_look(entry, folder, known.get(entry["job"])) for entry in plan["jobs"]]
    return SweepStatus(folder, read_activity(folder), tuple(jobs))


def _look(entry: Mapping[str, Any], folder: Path, known: JobStatus | None) -> JobStatus:
    written = _written(folder / entry["folder"])
    if known is not None and known.state in SETTLED and written in (known.written, None):
        return known
    return replace(_status_of(entry, folder), written=written)


def _written(place: Path) -> int | None:
    try:
        return (place / RESULT_FILE).stat().st_mtime_ns
    except OSError:
        return None


def _status_of(entry: Mapping[str, Any], folder: Path) -> JobStatus:
    place = folder / entry["folder"]
    doing = read_activity(place)
    score, seconds, error = None, None, ""
    try:
        result = ExperimentResult.load(place)
    except (OSError, ValueError):
        state = _unfinished(doing)
        if doing is not None:
            score, seconds = doing.score, time.time() - doing.started
    else:
        state = _finished(result)
        score, error = result.metrics.get("score"), result.error
        seconds = None if result.kept_from or result.left_out else result.seconds
    return JobStatus(
        number=entry["job"],
        name=entry["name"],
        overrides=tuple(entry["overrides"]),
        state=state,
        activity=doing,
        score=score,
        seconds=seconds,
        error=error,
        estimated_seconds=entry.get("estimated_seconds"),
    )


def _finished(result: ExperimentResult) -> State:
    if result.error:
        return State.FAILED
    return State.LEFT_OUT if result.left_out else State.KEPT if result.kept_from else State.DONE


def _unfinished(doing: Activity | None) -> State:
    if doing is None:
        return State.WAITING
    return State.GONE if doing.is_alive() is False else State.RUNNING
