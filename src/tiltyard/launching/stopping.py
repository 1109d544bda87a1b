"""Turns Ctrl-C and a scheduler's SIGTERM into requests to stop: once, and at once.

>>> with stop_requests() as asked:
...     while not asked.to_stop:
...         ...
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class StopRequests:
    """How often this process has been asked to stop."""

    times: int = 0

    @property
    def to_stop(self) -> bool:
        """Start nothing more; what runs may finish its examples."""
        return self.times > 0

    @property
    def at_once(self) -> bool:
        """End what runs, too."""
        return self.times > 1


@contextmanager
def stop_requests(wake: Callable[[], object] = lambda: None) -> Iterator[StopRequests]:
    """Count SIGINT and SIGTERM while a block runs, instead of what they else do.

    Python delivers signals to the main thread only: in another one nothing is counted.

    Args:
        wake: Called at each, to end a wait.
    """
    asked = StopRequests()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def count(number: int, frame: object) -> None:
        asked.times += 1
        wake()

    before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
