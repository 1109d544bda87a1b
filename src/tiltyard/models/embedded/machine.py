"""Says what a training runs on: the device, and its name for the model card.

>>> hardware_name(training_device("auto"))
'NVIDIA H200'
"""

import os
import platform
from pathlib import Path

from tiltyard.errors import InputError


def training_device(wanted: str) -> str:
    """The device to train on, ``cuda`` or ``cpu``.

    Args:
        wanted: One of the two, or ``auto`` for a CUDA GPU where there is one.

    Raises:
        InputError: There is no CUDA GPU.
    """
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError("device=cuda: torch sees no CUDA GPU here", "use device=cpu or device=auto")
    return "cuda" if there and wanted != "cpu" else "cpu"


def hardware_name(device: str) -> str:
    """The GPU's name, or the processor's with the cores that this process may use."""
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    name = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = (line.partition(":") for line in facts.read_text(errors="replace").splitlines())
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
