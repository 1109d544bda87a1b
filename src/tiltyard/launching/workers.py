"""Runs a sweep's jobs in worker processes on this machine: ``hardware.workers=4``.

>>> Workers(2).work(assignments, ended)

A worker is a process of its own, so a job that is killed, that exits or that hangs takes nothing with it but
itself, and the next job gets a new worker. A worker goes on with jobs that use the weights it has in memory.
"""

import logging
import os
import re
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue

from loky import ProcessPoolExecutor
from loky.process_executor import BrokenProcessPool, ShutdownExecutorError

from tiltyard.launching.assignment import INTERRUPTED, Assignment
from tiltyard.launching.sharing import shares
from tiltyard.launching.stopping import stop_requests
from tiltyard.launching.worker import carry_out, leave, prepare
from tiltyard.launching.workforce import Ended
from tiltyard.redaction import one_line
from tiltyard.telemetry import activity

logger = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""What a job that takes too long gets to keep what it has, before its worker is killed."""
LEAVING_SECONDS = 10.0
"""What a worker without a job gets to end: a thread or process that a job left may hold it for ever."""
WEIGHTS_ARE_NO_LEAK = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}
"""Else loky replaces a worker whose memory has grown by 300 MB since its first job, weights and all."""
_SECONDS_BETWEEN_LOOKS = 0.5
_EXIT = re.compile(r"\{(?P<name>\w+)\((?P<code>-?\d+)\)")
"""How loky writes the exit code of a worker: ``{SIGKILL(-9)}``, ``{EXIT(3)}``."""


class Workers:
    """Worker processes on this machine.

    Each is a loky executor of one process, so that one that dies breaks its own executor and no other.

    Args:
        count: How many jobs run at the same time, at least 1.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def work(self, assignments: Sequence[Assignment], ended: Ended) -> None:
        """Run all jobs; see :meth:`tiltyard.launching.workforce.Workforce.work`."""
        waiting = list(assignments)
        news: SimpleQueue[Worker | None] = SimpleQueue()
        workers = [Worker(share, news.put) for share in shares(min(self._count, len(waiting)))]
        with stop_requests(wake=lambda: news.put(None)) as asked:
            try:
                while True:
                    for worker in workers:
                        if worker.job is None and waiting and not asked.to_stop:
                            worker.start(
                                choose(
                                    waiting,
                                    worker.loaded,
                                    {other.loaded for other in workers if other is not worker},
                                )
                            )
                    if all(worker.job is None for worker in workers):
                        break
                    with suppress(Empty):
                        if (told := news.get(timeout=_SECONDS_BETWEEN_LOOKS)) is not None:
                            waiting.extend(ended(*told.finish()) or ())
                    for worker in workers:
                        worker.look(to_stop=asked.to_stop, at_once=asked.at_once)
            finally:
                for worker in workers:
                    worker.release()
                for worker in workers:
                    worker.dismiss()
            if asked.to_stop:
                raise KeyboardInterrupt


def choose(waiting: list[Assignment], loaded: str, elsewhere: Collection[str]) -> Assignment:
    """Take the next job for a worker: one for the weights that it has, else for weights that no other has.

    Args:
        waiting: The jobs to choose from, at least one; the chosen one is taken out.
        loaded: What the worker has in memory.
        elsewhere: What the others have.
    """
    chosen = min(
        range(len(waiting)),
        key=lambda place: (waiting[place].loads != loaded, waiting[place].loads in elsewhere, place),
    )
    return waiting.pop(chosen)


class Worker:
    """One worker process, replaced when it dies.

    Args:
        environment: Variables that the process gets beside those of this one.
        tell: Called with the worker when its job has ended, from another thread.
    """

    def __init__(self, environment: Mapping[str, str], tell: "Callable[[Worker], None]") -> None:
        self.job: Assignment | None = None
        """What it works on."""
        self.loaded = ""
        """The models that it has in memory."""
        self._environment = dict(environment)
        self._tell = tell
        self._executor: ProcessPoolExecutor | None = None
        self._future: Future[str] | None = None
        self._why = ""
        """Why the job was told to stop."""
        self._kill_at: float | None = None
        self._deadline: float | None = None

    def start(self, job: Assignment) -> None:
        """Begin with a job."""
        (job.folder / activity.FILE).unlink(missing_ok=True)  # an earlier try's tells another process
        self.job, self.loaded = job, job.loads
        self._why, self._kill_at = "", None
        self._deadline = None if job.timeout is None else time.monotonic() + job.timeout
        try:
            self._future = self._submit(job)
        except BrokenProcessPool:  # it died while it had nothing to do
            self.dismiss()
            self._future = self._submit(job)
        self._future.add_done_callback(lambda _: self._tell(self))

    def _submit(self, job: Assignment) -> "Future[str]":
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=1,
                env=WEIGHTS_ARE_NO_LEAK | self._environment,
                initializer=prepare,
                initargs=(os.getpid(),),
            )
        future: Future[str] = self._executor.submit(carry_out, job)
        return future

    def finish(self) -> tuple[int, str]:
        """Let go of a job that has ended.

        Returns:
            Its number, and why it was broken off, if so.
        """
        assert self.job is not None
        assert self._future is not None
        number, self.job = self.job.number, None
        match self._future.exception():
            case None:
                reason = self._future.result()
            case BrokenProcessPool() | ShutdownExecutorError() as error:
                self._discard()
                reason = _cause(error)
            case KeyboardInterrupt():  # it was told to stop when the job had just ended
                reason = INTERRUPTED
            case error:  # not even the reason could be written down, as on a full disk
                reason = one_line(error)
        if self._why:  # the signal may be under way still, and threads of a job that hung are not to go on
            self.dismiss(kill=True)
        return number, self._why if reason and self._why else reason

    def look(self, *, to_stop: bool, at_once: bool) -> None:
        """Tell the job to stop where it is time, and kill it where that was of no use."""
        if self.job is None or self._future is None or self._future.done():
            return
        now = time.monotonic()
        if at_once:
            self._stop(INTERRUPTED, kill=True)
        elif to_stop:
            self._stop(INTERRUPTED)
        elif self._deadline is not None and now >= self._deadline:
            self._stop(f"it took longer than timeout={self.job.timeout:g} seconds", grace=GRACE_SECONDS)
        if self._kill_at is not None and now >= self._kill_at:
            self._stop(self._why, kill=True)

    def _stop(self, why: str, *, grace: float | None = None, kill: bool = False) -> None:
        assert self.job is not None
        told = bool(self._why)
        self._why = self._why or why
        if told and not kill:
            return
        doing = activity.read_activity(self.job.folder)
        if kill or doing is None:
            if self._executor is not None:
                self._executor.shutdown(wait=False, kill_workers=True)
            self._kill_at = None
            return
        if grace is not None:
            self._kill_at = time.monotonic() + grace
        with suppress(ProcessLookupError):
            os.kill(doing.process.pid, signal.SIGTERM)

    def release(self) -> None:
        """Tell a process that has no job to end within :data:`LEAVING_SECONDS`."""
        if self._executor is not None and self.job is None:
            with suppress(BrokenProcessPool, ShutdownExecutorError):  # it has ended
                self._executor.submit(leave, LEAVING_SECONDS)

    def dismiss(self, *, kill: bool = False) -> None:
        """Wait until the process has ended; one that has a job is killed.

        Args:
            kill: Whether one that has none is killed as well.
        """
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=kill or self.job is not None)
        self._discard()

    def _discard(self) -> None:
        self._executor, self.loaded = None, ""


def _cause(error: Exception) -> str:
    """What ended a worker, from what loky says of its exit code."""
    found = _EXIT.search(str(error))
    if found is None:
        return "its process ended"
    if not found["name"].startswith("SIG"):
        return f"its process ended with exit code {found['code']}"
    memory = "; the machine may have run out of memory" if found["name"] == "SIGKILL" else ""
    return f"its process was killed by {found['name']}{memory}"
