"""What goes on beside an open run: it says that it lives, and what waits is sent.

>>> heartbeat = Heartbeat(connection, run_id)
>>> pulse = Pulse({heartbeat.beat: HEARTBEAT_EVERY_S})
>>> pulse.start()
>>> pulse.stop()
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from tiltyard.tracking.connection import Connection
from tiltyard.tracking.tags import ERROR, HEARTBEAT

logger = logging.getLogger(__name__)

HEARTBEAT_EVERY_S = 60.0
SILENT_AFTER_S = 600.0
"""How long after its last heartbeat a run whose process cannot be seen counts as dead."""
FLUSH_EVERY_S = 5.0
"""How old a metric may get before it is sent."""
STOPPING_S = 1.0
"""How long the end of a run waits for a call in progress: a server that is down can keep one for minutes."""


class Heartbeat:
    """Says in a run's tag that its process lives.

    Args:
        connection: The store.
        run_id: The run; its tags have a heartbeat of this moment.
    """

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self._id = run_id
        self._last = time.time()

    @staticmethod
    def now() -> str:
        """The value of the tag at this moment."""
        return str(int(time.time()))

    def beat(self) -> None:
        """Say it now.

        Raises:
            InputError: The server does not answer.
            StoreFailureError: The store failed.
        """
        self._connection.probe()
        value = self.now()
        self._connection.call(lambda: self._connection.client.set_tag(self._id, HEARTBEAT, value))
        self.end_silence()

    def end_silence(self) -> None:
        """Take back that others have ended the run, where it could not be heard for so long that they might.

        Its machine was asleep, or the store out of reach.

        Raises:
            StoreFailureError: The store failed.
        """
        now = time.time()
        if now - self._last > SILENT_AFTER_S:
            client, call = self._connection.client, self._connection.call
            run = call(lambda: client.get_run(self._id))
            if run.info.status == "KILLED":
                call(lambda: client.update_run(self._id, status="RUNNING"))
                if ERROR in run.data.tags:
                    call(lambda: client.delete_tag(self._id, ERROR))
        self._last = now


class Pulse:
    """Does things at intervals, in a thread of its own that does not keep the process from ending.

    What fails is logged for debugging and done again when its time comes. A process that is forked from this
    one has no such thread.

    Args:
        duties: What is done, and every how many seconds.
    """

    def __init__(self, duties: Mapping[Callable[[], object], float]) -> None:
        self._duties = dict(duties)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="tiltyard-pulse", daemon=True)

    def start(self) -> None:
        """Begin; every duty is done for the first time when its interval has passed."""
        self._thread.start()

    def stop(self) -> None:
        """End; a call in progress is left to itself after :data:`STOPPING_S`."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(STOPPING_S)

    def _keep(self) -> None:
        due = {duty: time.monotonic() + every for duty, every in self._duties.items()}
        while not self._done.wait(max(0.0, min(due.values()) - time.monotonic())):
            for duty, every in self._duties.items():
                if due[duty] > time.monotonic() or self._done.is_set():
                    continue
                try:
                    duty()
                except Exception:  # whoever waits for the outcome does it again, and hears of it
                    logger.debug("Beside a run, something failed", exc_info=True)
                due[duty] = time.monotonic() + every
