"""A slot on a Ray cluster as its sweep sees it: opening, free, at work, or gone.

>>> slot = RemoteSlot(open_actor=lambda: actor_class.remote({}), needs=needs)
>>> slot.open()                 # Ray looks for a place; then it is free
>>> slot.start(assignment, memory_share=1.0)
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tiltyard.errors import InputError
from tiltyard.launching.assignment import INTERRUPTED, Assignment
from tiltyard.launching.node_check import NodeNeeds
from tiltyard.launching.ray.slot import JobEnd, Place
from tiltyard.launching.stopping import StopRequests
from tiltyard.launching.workers import GRACE_SECONDS
from tiltyard.redaction import one_line

_SECONDS_TO_ANSWER = 15.0
"""How long a slot may take to end a job whose time is over, before Ray is asked to end the slot."""


class RemoteSlot:
    """One place for jobs, opened anew when it dies.

    Args:
        open_actor: Asks Ray for a :class:`tiltyard.launching.ray.slot.Slot` somewhere.
        needs: What its node must have.
    """

    def __init__(self, open_actor: Callable[[], Any], needs: NodeNeeds) -> None:
        self.job: Assignment | None = None
        """What it works on."""
        self.loaded = ""
        """The models that it has in memory."""
        self.node = ""
        """The id of its node; empty while Ray looks for one."""
        self.awaited: Any = None
        """Ray's reference to what it will answer next; None where it is free or not open."""
        self._open_actor = open_actor
        self._needs = needs
        self._actor: Any = None
        self._told = 0
        self._why = ""
        self._kill_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether Ray has been asked for it."""
        return self._actor is not None

    @property
    def is_free(self) -> bool:
        """Whether a job can be started."""
        return self.is_open and self.awaited is None

    def open(self) -> None:
        """Ask Ray for a place."""
        self._actor = self._open_actor()
        self.awaited = self._actor.settle.remote(self._needs)

    def start(self, job: Assignment, memory_share: float) -> None:
        """Begin with a job; see :meth:`tiltyard.launching.ray.slot.Slot.work`."""
        self.job, self.loaded, self._why = job, job.loads, ""
        # The slot ends the job itself; only a node that does not answer any more is waited for in vain.
        patience = GRACE_SECONDS + _SECONDS_TO_ANSWER
        self._kill_at = None if job.timeout is None else time.monotonic() + job.timeout + patience
        self.awaited = self._actor.work.remote(job, memory_share)

    def settle(self) -> InputError | None:
        """Take note of where Ray has put it.

        Returns:
            What is missing there, or why Ray could not open it; None where it is free now.
        """
        from ray.exceptions import RayError

        awaited, self.awaited = self.awaited, None
        try:
            place: Place = _get(awaited)
        except RayError as error:
            self.dismiss()
            return InputError(why_ray_failed(error))
        self.node = place.node
        return place.lacks

    def finish(self) -> tuple[int, str]:
        """Let go of a job that has ended.

        Returns:
            Its number, and why it was broken off, if so.
        """
        from ray.exceptions import RayError

        assert self.job is not None
        number, self.job = self.job.number, None
        awaited, self.awaited = self.awaited, None
        try:
            end: JobEnd = _get(awaited)
        except RayError as error:
            self.dismiss()
            return number, self._why or why_ray_failed(error)
        self.loaded = end.loaded
        return number, end.reason

    def look(self, asked: StopRequests) -> None:
        """Pass on to the job how often the sweep was asked to stop, and end a slot that does not answer."""
        if self.job is None:
            return
        now = time.monotonic()
        for _ in range(self._told, asked.times):
            self._actor.stop.remote()
        if asked.times > self._told and asked.at_once:
            self._kill_at, self._why = now + _SECONDS_TO_ANSWER, INTERRUPTED
        self._told = asked.times
        if self._kill_at is not None and now >= self._kill_at:
            self._why = self._why or (
                f"it took longer than timeout={self.job.timeout:g} seconds, and its node did not answer"
            )
            self._kill()
            self._kill_at = None

    def dismiss(self) -> None:
        """Give the place back; a job that still runs is killed."""
        self._kill()
        self._actor, self.awaited, self.loaded, self.node, self._told = None, None, "", "", 0

    def _kill(self) -> None:
        if self._actor is None:
            return
        import ray
        from ray.exceptions import RayError

        with suppress(RayError, ValueError):  # it may be gone already
            ray.kill(self._actor)


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)


def why_ray_failed(error: Exception) -> str:
    """What ended Ray's process, in one line, from what Ray says over many."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError

    if isinstance(error, RayTaskError):
        return one_line(error.cause)
    text = str(error)
    if isinstance(error, OutOfMemoryError) or ("memory" in text and "killed" in text.lower()):
        return "Ray ended its process, because its node was running out of memory"
    if isinstance(error, NodeDiedError) or "node has died" in text or "node died" in text:
        return "its node left the Ray cluster"
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), type(error).__name__)
    return f"Ray's process for it died ({one_line(Exception(last))})"
