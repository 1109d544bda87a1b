"""The peak memory of one job, in this process and on the devices that it uses.

>>> with PeakMemory() as memory:
...     run_job()
>>> memory.peak_mb
812.3
"""

import sys
import threading
from types import TracebackType
from typing import Any, Self

import psutil

BYTES_PER_MB = 1_000_000
"""One MB is 10**6 bytes here, as the SI has it (a MiB would be 2**20)."""


class PeakMemory:
    """Measures peak memory during a block.

    Resident memory is sampled, and looked at once more on entry and on exit, because the system's own
    high-water mark (``ru_maxrss``) covers the life of the process: a job that shares its process with
    earlier jobs would inherit their peaks. A spike shorter than the sampling interval can be missed.
    Memory that earlier jobs left resident counts, since it is occupied.

    Device memory is exact: CUDA's allocator keeps its own peak, which is reset on entry. Blocks that
    overlap in one process therefore share their device peak.

    Args:
        interval: Seconds between two samples.
    """

    peak_mb: float = 0.0
    """The most resident memory of this process during the block, in MB; final after the block."""
    device_peak_mb: float | None = None
    """The most memory that torch's tensors held during the block, summed over CUDA devices, in MB; None
    where torch or CUDA was not used."""

    def __init__(self, interval: float = 0.05) -> None:
        self._interval = interval
        self._process = psutil.Process()
        self._done = threading.Event()

    def metrics(self) -> dict[str, float]:
        """The peaks as metrics; ``memory.device_peak_mb`` only where a device was used."""
        device = {} if self.device_peak_mb is None else {"memory.device_peak_mb": self.device_peak_mb}
        return {"memory.peak_mb": self.peak_mb, **device}

    def __enter__(self) -> Self:
        if cuda := _cuda_in_use():
            for device in range(cuda.device_count()):
                cuda.reset_peak_memory_stats(device)
        self._done.clear()
        self._look()
        self._sampler = threading.Thread(target=self._sample, name="peak-memory", daemon=True)
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._sampler.join()
        self._look()
        if cuda := _cuda_in_use():
            peak = sum(cuda.max_memory_allocated(device) for device in range(cuda.device_count()))
            self.device_peak_mb = peak / BYTES_PER_MB

    def _sample(self) -> None:
        while not self._done.wait(self._interval):
            self._look()

    def _look(self) -> None:
        self.peak_mb = max(self.peak_mb, self._process.memory_info().rss / BYTES_PER_MB)


def _cuda_in_use() -> Any:
    """``torch.cuda`` if this process has started CUDA, else None; never imports torch or starts CUDA."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
