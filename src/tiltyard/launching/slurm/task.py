"""What runs on a node of the cluster: one job, which Slurm may interrupt and queue again.

submitit calls it, and again after each interruption. Its ``checkpoint`` is submitit's protocol: a job that is
told to make room ends as on Ctrl-C, so that its run and its checkpoints are in order, and goes on when it is
back.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tiltyard.launching.assignment import INTERRUPTED, Assignment
from tiltyard.launching.slurm.options import GRACE_SECONDS
from tiltyard.launching.slurm.queue import TOO_LONG, too_long
from tiltyard.telemetry import activity

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

logger = logging.getLogger(__name__)

STOP_FILE = "stop"
"""Stands in submitit's folder when the sweep was told to stop: no job begins any more."""
RESTARTS = "SLURM_RESTART_COUNT"
"""The environment variable in which Slurm says how often it has started a job again."""
_MAKE_ROOM = signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]
"""What Slurm sends to a job whose time is nearly over: submitit asks for it."""


@dataclass(frozen=True)
class SlurmTask:
    """A job of a sweep as submitit takes it.

    >>> SlurmTask(assignment, folder, requeues=3)()     # on the node
    ''
    """

    assignment: Assignment
    folder: Path
    """submitit's folder."""
    requeues: int
    """How often the job may be queued again."""

    def __call__(self) -> str:
        """Run the job.

        Returns:
            Why it was broken off for good; nothing where it ended by itself.

        Raises:
            SystemExit: It was interrupted, and leaves no result: Slurm decides whether it comes back.
        """
        with _Interruptions(self.assignment.timeout) as interrupted:
            if (self.folder / STOP_FILE).exists():
                return INTERRUPTED
            restarts = int(os.environ.get(RESTARTS, "0"))
            if restarts > self.requeues:
                return f"it was queued again {restarts} times, and hydra.launcher.requeues={self.requeues}"
            _plan_with_the_share_of_memory()
            (self.assignment.folder / activity.FILE).unlink(missing_ok=True)  # an earlier try's
            reason = self.assignment.carry_out()
        if reason != INTERRUPTED:
            return reason
        if interrupted.too_long:
            return too_long(self.assignment.timeout)
        if interrupted.to_make_room:
            if restarts >= self.requeues:
                return (
                    f"Slurm's time limit or a pre-emption ended it, queued again {restarts} times: "
                    "hydra.launcher.timeout_min gives it longer, hydra.launcher.requeues more tries"
                )
            interrupted.queue_again()
        sys.exit(128 + signal.SIGTERM)

    def checkpoint(self) -> "DelayedSubmission":
        """What Slurm runs when the job is back: the same, which finds what it had."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Interruptions:
    """Turns what Slurm sends to a job into one KeyboardInterrupt, and remembers why.

    :data:`_MAKE_ROOM` says that the job's time is nearly over, or that another job needs its place, where the
    cluster sends it; TERM comes from ``scancel`` and from pre-emption, and leaves it to Slurm what follows.
    """

    def __init__(self, timeout: float | None) -> None:
        self.to_make_room = False
        self.too_long = False
        self._timeout = timeout
        self._told = False
        self._before: dict[int, Any] = {}
        self._over = threading.Event()

    def __enter__(self) -> "_Interruptions":
        for number in (_MAKE_ROOM, signal.SIGTERM, signal.SIGALRM):
            self._before[number] = signal.signal(number, self._interrupt)
        if self._timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, self._timeout)
            threading.Thread(target=self._end_what_hangs, name="timeout", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)  # the job has ended; what follows is not to be disturbed

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.to_make_room |= number == _MAKE_ROOM
        self.too_long |= number == signal.SIGALRM
        if not self._told:  # what the job does to end in order is not interrupted again
            self._told = True
            raise KeyboardInterrupt

    def _end_what_hangs(self) -> None:
        assert self._timeout is not None
        if not self._over.wait(self._timeout + GRACE_SECONDS):
            os._exit(TOO_LONG)

    def queue_again(self) -> None:
        """Let submitit keep the job and queue it again; ends the process."""
        try:
            self._before[_MAKE_ROOM](_MAKE_ROOM, None)
        except subprocess.SubprocessError as error:  # Slurm may be doing so already
            logger.warning("Slurm did not queue the job again: %s", error)


def _plan_with_the_share_of_memory() -> None:
    """A node's free memory is not the job's: without GPUs, models plan with the part that Slurm gave it."""
    from tiltyard.models.hardware import MEMORY_SHARE

    of_node, of_core = os.environ.get("SLURM_MEM_PER_NODE"), os.environ.get("SLURM_MEM_PER_CPU")
    if MEMORY_SHARE in os.environ or os.environ.get("CUDA_VISIBLE_DEVICES"):
        return
    given = int(of_node or 0) or int(of_core or 0) * int(os.environ.get("SLURM_CPUS_ON_NODE", "1"))
    import psutil

    total = psutil.virtual_memory().total / 2**20
    if 0 < given < total:  # in MiB
        os.environ[MEMORY_SHARE] = f"{given / total:.4f}"
