"""How long the calls of a run took: recorded per phase from any thread, summed up as percentiles.

>>> latencies = LatencyRecorder()
>>> with latencies.measure("generate") as timing:
...     prediction = program(question="…")
>>> latencies.summary()["generate"]["p95_ms"]
812.4
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PERCENTILES = (50, 95, 99)
"""The percentiles that a summary reports."""


@dataclass
class Timing:
    """The duration of one measured call."""

    milliseconds: float = 0.0
    """Wall time; set when the call has ended, whether it succeeded or failed."""
    succeeded: bool = False
    """Whether the call has ended without raising."""


@contextmanager
def timed() -> Iterator[Timing]:
    """Time a block, for the caller to record: where only the end tells which phase it was."""
    timing = Timing()
    start = time.perf_counter()
    try:
        yield timing
        timing.succeeded = True
    finally:
        timing.milliseconds = 1000 * (time.perf_counter() - start)


class Call(NamedTuple):
    """One recorded call."""

    phase: str
    """What it belongs to."""
    milliseconds: float
    """Its wall time."""
    succeeded: bool


class LatencyRecorder:
    """Collects latencies by phase; threads may share one recorder.

    A phase is a step of the run (``generate``, ``reflect``) or the name of a DSPy signature. Times are wall
    time as the caller sees it: waiting for a busy engine or for a retry is part of it. What a response cache
    answered is short and says nothing of the model: it has a phase of its own, see :func:`cached_phase`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def record(self, phase: str, milliseconds: float, ok: bool = True) -> None:
        """Add one call.

        Args:
            phase: What the call belongs to.
            milliseconds: Its wall time.
            ok: Whether it succeeded.
        """
        with self._lock:
            self._calls.append(Call(phase, milliseconds, ok))

    @property
    def calls(self) -> tuple[Call, ...]:
        """What was recorded so far, in that order."""
        with self._lock:
            return tuple(self._calls)

    @contextmanager
    def measure(self, phase: str) -> Iterator[Timing]:
        """Time a block and record it; a block that raises is recorded as a failed call."""
        timing = Timing()
        try:
            with timed() as timing:
                yield timing
        finally:
            self.record(phase, timing.milliseconds, timing.succeeded)

    def summary(self) -> dict[str, dict[str, float]]:
        """The figures of each phase, in the order of the phases' names.

        Each phase has ``p50_ms``, ``p95_ms``, ``p99_ms``, ``mean_ms``, ``count`` and ``success_rate``.
        Percentiles and mean are over all calls, failed ones included, since a caller waited for those too.
        A percentile between two measurements is interpolated linearly (numpy's ``linear``, type 7 of
        Hyndman and Fan, 1996), so with few calls p99 lies close to the slowest one.
        """
        by_phase: defaultdict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            by_phase[call.phase].append(call)
        return {phase: _figures(calls) for phase, calls in sorted(by_phase.items())}

    def metrics(self) -> dict[str, float]:
        """The summary as flat metrics: ``latency.PHASE.p50_ms`` and so on."""
        return {
            f"latency.{phase}.{name}": value
            for phase, figures in self.summary().items()
            for name, value in figures.items()
        }


def cached_phase(phase: str) -> str:
    """The phase of those calls of a phase that a response cache answered: ``generate.cached``."""
    return f"{phase}.cached"


def _figures(calls: Sequence[Call]) -> dict[str, float]:
    milliseconds = np.array([call.milliseconds for call in calls])
    percentiles = np.percentile(milliseconds, PERCENTILES, method="linear")
    return {
        **{f"p{rank}_ms": float(value) for rank, value in zip(PERCENTILES, percentiles, strict=True)},
        "mean_ms": float(milliseconds.mean()),
        "count": float(milliseconds.size),
        "success_rate": sum(call.succeeded for call in calls) / milliseconds.size,
    }
