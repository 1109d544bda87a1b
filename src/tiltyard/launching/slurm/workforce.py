"""Runs a sweep's jobs on a Slurm cluster, as one job array through submitit: ``hardware=slurm``.

>>> Slurm(SlurmOptions(partition="gpu"), folder).work(assignments, ended)

Each job's end is found by itself, from the result that submitit leaves in the sweep's folder and from Slurm's
queue, so one that dies takes nothing with it. Jobs outlive the process that submitted them.
"""

import json
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from tiltyard.errors import InputError
from tiltyard.files import write_text
from tiltyard.launching.assignment import INTERRUPTED, Assignment
from tiltyard.launching.plan import fingerprints
from tiltyard.launching.slurm.options import SlurmOptions
from tiltyard.launching.slurm.queue import JobState, Queue, SlurmUnavailableError, explain
from tiltyard.launching.slurm.task import STOP_FILE, SlurmTask
from tiltyard.launching.stopping import StopRequests, stop_requests
from tiltyard.launching.workforce import Ended
from tiltyard.redaction import one_line

logger = logging.getLogger(__name__)

NAME = "tiltyard"
"""What jobs are called in Slurm's queue; their comment is the sweep's folder."""
JOBS_FILE = "slurm.json"
"""Which job of the sweep each of Slurm's jobs is, and its fingerprint; in submitit's folder."""
_FOLDER = "slurm"
_SECONDS_BETWEEN_LOOKS = 0.5
_LOOKS_BEFORE_GIVING_UP = 2
"""How often a job has to be found ended without a result: it may be queued again, or its result be late."""


class Submitted(Protocol):
    """A job as submitit has submitted it: a ``submitit.Job``."""

    job_id: str
    paths: Any

    def result(self) -> str: ...  # noqa: D102 - submitit's
    def exception(self) -> BaseException | None: ...  # noqa: D102


class Slurm:
    """The nodes of a cluster.

    Args:
        options: What is asked of Slurm.
        folder: The sweep's folder, which the nodes see at the same place.
        queue: Slurm's controller.
    """

    def __init__(self, options: SlurmOptions, folder: Path, queue: Queue | None = None) -> None:
        self._options = options
        self._sweep = folder
        self._folder = folder / _FOLDER
        self._queue = queue or Queue()

    def work(self, assignments: Sequence[Assignment], ended: Ended) -> None:
        """Run all jobs; see :meth:`tiltyard.launching.workforce.Workforce.work`."""
        of_number = fingerprints(self._sweep)
        marks = {job.number: of_number.get(job.number, "") for job in assignments}
        self._refuse_twins(set(marks.values()))
        news: SimpleQueue[None] = SimpleQueue()
        with stop_requests(wake=lambda: news.put(None)) as asked:
            jobs = self._submit(assignments, marks)
            arrays = sorted({_array(job.submitted.job_id) for job in jobs})
            logger.info(
                "%d jobs are in Slurm's queue as %s; logs are in %s", len(jobs), *arrays, self._folder
            )
            self._collect(jobs, arrays, ended, asked, news)
            if asked.to_stop:
                raise KeyboardInterrupt

    def _submit(self, assignments: Sequence[Assignment], marks: Mapping[int, str]) -> "list[_Job]":
        """Put all jobs into Slurm's queue.

        Raises:
            InputError: Slurm refused them.
        """
        executor = self._executor(max((job.timeout or 0 for job in assignments), default=0) or None)
        tasks = [SlurmTask(job, self._folder, self._options.requeues) for job in assignments]
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / STOP_FILE).unlink(missing_ok=True)
        try:
            submitted: Sequence[Submitted] = executor.submit_array(tasks)
        except Exception as error:  # submitit wraps what sbatch said into one of several
            lines = [line for line in str(error).splitlines() if line.startswith("sbatch: error: ")]
            said = lines[-1].removeprefix("sbatch: error: ") if lines else one_line(error)
            raise InputError(
                f"Slurm refused the jobs: {said}",
                "change the options of hydra.launcher (docs/slurm.md)",
            ) from error
        jobs = [_Job(job, given) for job, given in zip(assignments, submitted, strict=True)]
        known = _known(self._sweep)
        for job in jobs:
            number = job.assignment.number
            known[job.submitted.job_id] = {"job": number, "fingerprint": marks[number]}
        write_text(self._folder / JOBS_FILE, json.dumps(known, indent=2) + "\n")
        return jobs

    def _executor(self, timeout: float | None) -> Any:
        from submitit import SlurmExecutor

        executor = SlurmExecutor(
            self._folder, max_num_timeout=self._options.requeues, python=self._options.python
        )
        parameters = self._options.parameters(NAME, timeout)
        executor.update_parameters(**parameters | {"comment": str(self._sweep)})
        return executor

    def _refuse_twins(self, marks: set[str]) -> None:
        """Refuse to run what an earlier sweep, whose process may be gone, still has in Slurm's queue."""
        try:
            living = self._queue.living(NAME)
        except SlurmUnavailableError as error:
            raise InputError(
                f"Slurm does not answer: {error}", "try squeue, or ask who runs the cluster"
            ) from error
        known = {sweep: _known(Path(sweep)) for sweep in set(living.values())}
        twins = [
            (job, Path(sweep).name)
            for job, sweep in living.items()
            if (mark := known[sweep].get(job, {}).get("fingerprint")) and mark in marks
        ]
        if twins:
            job, sweep = twins[0]
            arrays = " ".join(sorted({_array(job) for job, _ in twins}))
            raise InputError(
                f"{len(twins)} of these jobs are in Slurm's queue already, such as {job} of sweep {sweep}",
                f"start the sweep again when they have ended, which keeps them, or first: scancel {arrays}",
            )

    def _collect(
        self,
        jobs: "Sequence[_Job]",
        arrays: Sequence[str],
        ended: Ended,
        asked: StopRequests,
        news: "SimpleQueue[None]",
    ) -> None:
        """Wait until each job has ended, and say so."""
        left = {job.submitted.job_id: job for job in jobs}
        next_look, told = 0.0, 0
        try:
            while left:
                for job_id, job in list(left.items()):
                    if job.has_result():
                        del left[job_id]
                        ended(job.assignment.number, job.reason())
                if asked.times > told:
                    told = asked.times
                    self._stop(arrays, at_once=asked.at_once)
                    next_look = 0.0
                if left and time.monotonic() >= next_look:
                    next_look = time.monotonic() + self._options.poll_seconds
                    for job in self._look(left, arrays):
                        del left[job.submitted.job_id]
                        if not asked.to_stop:
                            ended(job.assignment.number, self._why(job))
                        elif job.began:
                            ended(job.assignment.number, INTERRUPTED)
                with suppress(Empty):
                    news.get(timeout=_SECONDS_BETWEEN_LOOKS)
        finally:
            if left:  # something failed here: nobody would wait for them
                self._queue.cancel(arrays)
        for job in jobs:
            job.forget()

    def _stop(self, arrays: Sequence[str], *, at_once: bool) -> None:
        write_text(self._folder / STOP_FILE, "The sweep was told to stop.\n")
        self._queue.tell(arrays, signal.SIGKILL if at_once else signal.SIGTERM)

    def _look(self, left: "Mapping[str, _Job]", arrays: Sequence[str]) -> "list[_Job]":
        """Ask Slurm for all jobs; returns those that ended without a result."""
        try:
            states = self._queue.states(arrays)
        except SlurmUnavailableError as error:
            logger.warning("Slurm does not answer, and is asked again: %s", error)
            return []
        return [job for job_id, job in left.items() if job.ended_in(states.get(job_id))]

    def _why(self, job: "_Job") -> str:
        code = (0, 0) if job.state is None else self._queue.exit_code(job.submitted.job_id)
        return f"{explain(job.state, code, job.assignment.timeout)}; its log is {job.log}"


@dataclass
class _Job:
    """A job, and what is known of it."""

    assignment: Assignment
    submitted: Submitted
    state: JobState | None = None
    times_over: int = 0

    @property
    def log(self) -> Path:
        return Path(self.submitted.paths.stdout)

    @property
    def began(self) -> bool:
        return self.log.exists()

    def has_result(self) -> bool:
        return bool(self.submitted.paths.result_pickle.exists())

    def reason(self) -> str:
        """Why it was broken off, by its own account; nothing where it ended by itself."""
        error = self.submitted.exception()
        if error is None:
            return self.submitted.result()
        lines = [line for line in str(error).splitlines() if line and line[0] not in " -"]
        told = next((line for line in lines[::-1] if not line.startswith("You can check")), "it failed")
        return f"{told}; its log is {self.log}"

    def ended_in(self, state: JobState | None) -> bool:
        """Take note of its state; returns whether it has ended for good, without a result."""
        if state is not None and state.held and state != self.state:
            logger.warning("job %d waits in Slurm's queue: %s", self.assignment.number, state.why)
        self.state = state
        self.times_over = self.times_over + 1 if state is None or state.over else 0
        return self.times_over >= _LOOKS_BEFORE_GIVING_UP and not self.has_result()

    def forget(self) -> None:
        """Remove its pickles: they hold the config, and its log and results are kept elsewhere."""
        for file in (self.submitted.paths.submitted_pickle, self.submitted.paths.result_pickle):
            file.unlink(missing_ok=True)


def _known(sweep: Path) -> dict[str, dict[str, Any]]:
    """What a sweep has submitted, by Slurm's ids; nothing where that is not known."""
    try:
        known = json.loads((sweep / _FOLDER / JOBS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _array(job: str) -> str:
    """The id of a job's array: what ``scancel`` takes for all of it."""
    return job.split("_", 1)[0]
