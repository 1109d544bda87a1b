"""Shares a machine out between worker processes: threads, memory and GPUs.

>>> shares(2)  # on a machine with eight cores and two GPUs
[{'OMP_NUM_THREADS': '4', …, 'CUDA_VISIBLE_DEVICES': '0'}, {…, 'CUDA_VISIBLE_DEVICES': '1'}]
"""

import os
from collections.abc import Mapping

from loky import cpu_count

from tiltyard.models.hardware import MEMORY_SHARE

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What torch and NumPy read when they are imported."""
DEVICES = "CUDA_VISIBLE_DEVICES"


def shares(count: int) -> list[Mapping[str, str]]:
    """The environment variables with which each of several workers keeps to its share.

    One worker gets the machine as it is. Several share the cores that this process may use, each with at
    least one thread, unless the environment says how many threads there are; GPUs go round, and workers that
    share one, or the machine's memory, plan with a part of what is free.

    Args:
        count: How many workers there are, at least 1.
    """
    if count == 1:
        return [{}]
    gpus = _gpus()
    threads = str(max(1, cpu_count() // count))
    shared = {name: threads for name in THREADS if name not in os.environ}
    if not gpus:
        return [shared | {MEMORY_SHARE: f"{1 / count:.4f}"}] * count
    found: list[Mapping[str, str]] = []
    for number in range(count):
        gpu = gpus[number % len(gpus)]
        together = sum(1 for other in range(count) if gpus[other % len(gpus)] == gpu)
        found.append(shared | {DEVICES: gpu, MEMORY_SHARE: f"{1 / together:.4f}"})
    return found


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them."""
    given = os.environ.get(DEVICES)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
