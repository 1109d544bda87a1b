"""Who works on a sweep's jobs: the seam between a sweep and processes, a scheduler or a cluster.

>>> workforce.work(assignments, ended=lambda number, reason: print(number, reason or "ended"))
2 ended
1 killed by SIGKILL
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from tiltyard.launching.assignment import Assignment

Ended = Callable[[int, str], Sequence[Assignment] | None]
"""Told that a job has ended: its number; and why it was broken off, or nothing where it ended by itself.
Whether it went well its ``result.json`` says. It may return further jobs that have come up. A workforce may
leave those alone: who gave them offers them again when ``work`` has returned."""


class Workforce(Protocol):
    """Runs jobs where the sweep's process does not see them; what they found is in their folders."""

    def work(self, assignments: Sequence[Assignment], ended: Ended) -> None:
        """Run all jobs, and return when each of them has ended.

        A job that is killed, or takes too long, ends alone. Where jobs share weights, they run one after the
        other in one process if that costs no time.

        Args:
            assignments: The jobs, at least one.
            ended: Called once for each job, from the calling thread, as soon as the job has ended.

        Raises:
            InputError: The jobs cannot be run there at all; none was started.
            KeyboardInterrupt: The sweep is to stop. The running jobs have been told so and have ended, each
                with ``ended``; no further one was started.
        """
        ...
