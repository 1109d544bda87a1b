"""Holds back a run's metrics, to send many of them together.

>>> buffer = MetricBuffer(lambda batch: client.log_batch(run_id, metrics=batch))
>>> buffer.add([Metric("loss", 0.5, timestamp, step)])
>>> buffer.flush()
"""

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Metric

METRICS_PER_BATCH = 1000
"""MLflow's longest batch of metrics."""


class MetricBuffer:
    """Metrics that wait to be sent. Threads may share it.

    A batch leaves the buffer when it has been sent: one whose sending failed, or was interrupted, is sent
    again by the next :meth:`flush`. MLflow keeps a metric once that it gets twice.

    Args:
        send: Sends one batch of at most :data:`METRICS_PER_BATCH`; what it raises reaches whoever flushed.
    """

    def __init__(self, send: "Callable[[list[Metric]], None]") -> None:
        self._send = send
        self._waiting: list[Metric] = []
        self._changing = threading.Lock()
        self._sending = threading.Lock()

    def add(self, metrics: "Iterable[Metric]") -> None:
        """Take metrics; send them at once when they fill a batch."""
        with self._changing:
            self._waiting.extend(metrics)
            full = len(self._waiting) >= METRICS_PER_BATCH
        if full:
            self.flush()

    def flush(self) -> None:
        """Send everything that waits; return when it has been sent, also by another thread."""
        with self._sending:
            while batch := self._first():
                self._send(batch)
                with self._changing:
                    del self._waiting[: len(batch)]

    def _first(self) -> "list[Metric]":
        with self._changing:
            return self._waiting[:METRICS_PER_BATCH]
