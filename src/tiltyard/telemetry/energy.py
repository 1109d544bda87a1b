"""The energy of one job, where the machine has meters that can be read; nothing where it has none.

>>> with EnergyMeter() as energy:
...     run_job()
>>> energy.metrics()
{'energy.joules': 512.4, 'energy.cpu_joules': 512.4}

The meters are read by codecarbon, which ``pip install 'tiltyard[energy]'`` brings. Only its meters are used:
its tracker would put an estimate from the processor's nominal power where there is none, and use the network.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)

POWERCAP = Path("/sys/class/powercap/intel-rapl/subsystem")
"""Where Linux shows the energy counters of Intel's and AMD's processors."""

_INSTANT = 0.1
"""Seconds in which a counter may stand still; in a longer time a processor always uses some energy."""


class EnergyMeter:
    """Measures the energy that processors and GPUs use during a block.

    A processor's meter counts the whole package, whatever else runs on it. It is readable on Linux where
    ``energy_uj`` below ``/sys/class/powercap`` is, which often takes root, and hardly ever in a virtual
    machine. GPUs count where they have an energy counter (NVIDIA's since Volta) and torch uses CUDA by the
    end of the block: those that torch sees, whole. Memory, disks and fans have no meter.

    Args:
        interval: Seconds between two looks at the processor's counters, which start over within minutes.
        powercap: Where these are.
    """

    cpu_joules: float | None = None
    """What the processor packages used, in joules; None where that cannot be read. Final after the block."""
    device_joules: float | None = None
    """What the GPUs used, in joules; None where no GPU was used or one cannot be read. Final after the
    block."""

    def __init__(self, interval: float = 10.0, powercap: Path = POWERCAP) -> None:
        self._interval = interval
        self._powercap = powercap

    def metrics(self) -> dict[str, float]:
        """What could be read and, if anything, the sum of it: ``energy.joules`` is of these parts alone."""
        parts = {"energy.cpu_joules": self.cpu_joules, "energy.device_joules": self.device_joules}
        read = {name: joules for name, joules in parts.items() if joules is not None}
        return {"energy.joules": sum(read.values()), **read} if read else {}

    def __enter__(self) -> Self:
        self.cpu_joules = self.device_joules = None
        # codecarbon writes to stderr what it misses on this machine, as soon as it is imported.
        logging.getLogger("codecarbon").disabled = True
        self._devices = _started(_Devices)
        self._packages = _started(lambda: _Packages(self._powercap))
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="energy", daemon=True)
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._sampler.join()
        if self._packages:
            self.cpu_joules = self._packages.joules()
        if self._devices:
            self.device_joules = self._devices.joules()

    def _sample(self) -> None:
        while self._packages and not self._done.wait(self._interval):
            self._packages.look()


class _Packages:
    """The processor packages' counters, by name.

    Raises:
        LookupError: None can be read.
    """

    def __init__(self, powercap: Path) -> None:
        from codecarbon.core.cpu import IntelRAPL, is_rapl_available

        if not is_rapl_available(str(powercap)):
            raise LookupError(f"no energy counter below {powercap} can be read")
        self._counters = IntelRAPL(rapl_dir=str(powercap))
        self._counters.start()
        self._looked = time.perf_counter()
        self._joules = 0.0
        self._lost = False

    def look(self) -> None:
        """Add what was used since the last look."""
        from codecarbon.core.units import Time

        now = time.perf_counter()
        elapsed, self._looked = now - self._looked, now
        details = self._counters.get_cpu_details(Time.from_seconds(elapsed))
        used = sum(float(kwh) for name, kwh in details.items() if name.startswith("Processor Energy"))
        self._joules += _joules(used)
        self._lost |= used <= 0 and elapsed > _INSTANT  # codecarbon counts an unreadable counter as 0

    def joules(self) -> float | None:
        """What was used until now, or None where some of it was missed."""
        self.look()
        return None if self._lost or not self._joules else self._joules


class _Devices:
    """The GPUs' counters. Whether a GPU is the job's is known only when the job is over.

    Raises:
        LookupError: There is no GPU.
    """

    def __init__(self) -> None:
        from codecarbon.core.gpu import AllGPUDevices, is_gpu_details_available

        if not is_gpu_details_available():
            raise LookupError("there is no GPU with a meter")
        self._meters = AllGPUDevices()
        self._meters.start()
        self._started = time.perf_counter()

    def joules(self) -> float | None:
        """What the GPUs that torch uses have used, or None where there is none or one has no counter."""
        from codecarbon.core.units import Time

        counting = [device.last_energy is not None for device in self._meters.devices]
        deltas = self._meters.get_delta(Time.from_seconds(time.perf_counter() - self._started))
        used = {
            delta["uuid"]: _joules(float(delta["delta_energy_consumption"]))
            for delta, counts in zip(deltas, counting, strict=False)
            if counts
        }
        ours = _cuda_uuids()
        return sum(used[uuid] for uuid in ours) if ours and used.keys() >= ours else None


def _started(meter: Callable[[], Any]) -> Any:
    """The meter, or None where it cannot be had: without codecarbon, without permission, without a GPU."""
    try:
        return meter()
    except Exception as error:  # drivers raise errors of their own
        logger.debug("No energy meter: %s", error)
        return None


def _cuda_uuids() -> set[str]:
    """The GPUs that torch sees, if this process has started CUDA; never imports torch or starts CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return set()
    cuda = torch.cuda
    return {f"GPU-{cuda.get_device_properties(device).uuid}" for device in range(cuda.device_count())}


def _joules(kwh: float) -> float:
    from codecarbon.core.units import Energy

    return kwh / float(Energy.JOULES_TO_KWH)
