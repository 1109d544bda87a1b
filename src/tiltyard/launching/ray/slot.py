"""A place for one job at a time on a node of a Ray cluster: it outlives its jobs, and says how they ended.

>>> slot = ray.remote(Slot).options(num_cpus=1, max_concurrency=2).remote(environment={})
>>> ray.get(slot.work.remote(assignment, memory_share=0.5))
JobEnd(reason='its process was killed by SIGSEGV', loaded='')

Ray's own process is this slot; jobs run in a worker process below it, the same as in a sweep on one machine.
So it is known exactly what ended a job, and what Ray does in its processes stays out of the jobs'.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from tiltyard.errors import InputError
from tiltyard.launching.assignment import Assignment
from tiltyard.launching.node_check import NodeNeeds
from tiltyard.launching.stopping import StopRequests
from tiltyard.launching.workers import Worker
from tiltyard.models.hardware import MEMORY_SHARE

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Place:
    """Where Ray has put a slot."""

    node: str
    """The id of its node."""
    lacks: InputError | None
    """What the node lacks for the jobs; None where that is nothing."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended."""

    reason: str
    """Why it was broken off; nothing where it ended by itself."""
    loaded: str
    """The models that the slot has in memory now; see :attr:`Assignment.loads`."""


class Slot:
    """Runs one job at a time. :meth:`stop` may be called from another thread meanwhile.

    Args:
        environment: Variables that jobs get from the sweep's machine.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        self._asked = StopRequests()
        self._ended = threading.Event()
        self._worker: Worker | None = None

    def settle(self, needs: NodeNeeds) -> Place:
        """Say where the slot is, and what its node lacks for the jobs."""
        import ray

        return Place(ray.get_runtime_context().get_node_id(), needs.missing())

    def work(self, job: Assignment, memory_share: float) -> JobEnd:
        """Run a job; return when it has ended or was ended.

        Args:
            job: The job. It is ended when it takes longer than its ``timeout``.
            memory_share: Which part of the node's free memory it plans with, in (0, 1].
        """
        if self._worker is None:
            share = {MEMORY_SHARE: f"{memory_share:.4f}"}
            self._worker = Worker(share, tell=lambda _: self._ended.set())
        self._ended.clear()
        self._worker.start(job)
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            self._worker.look(to_stop=self._asked.to_stop, at_once=self._asked.at_once)
        _, reason = self._worker.finish()
        return JobEnd(reason, self._worker.loaded)

    def stop(self) -> None:
        """Tell the running job to stop; the second time, kill it."""
        self._asked.times += 1
