"""Decides which device local models run on, in which number format, on how many threads.

>>> Hardware(device="auto").resolve()  # on a machine without a GPU
Placement(device='cpu', dtype='float32', threads=None)
"""

import os
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tiltyard.config import Content, Operational
from tiltyard.errors import InputError

Device = Literal["cuda", "mps", "cpu"]
DType = Literal["auto", "float32", "bfloat16", "float16"]

MEMORY_SHARE = "TILTYARD_MEMORY_SHARE"
"""The environment variable that says which part of the free memory a process plans with, in (0, 1]: processes
that start together on one machine each see all of it."""

_NAMES: dict[Device, str] = {"cuda": "CUDA GPU", "mps": "Apple GPU (MPS)", "cpu": "CPU"}


@dataclass(frozen=True)
class Placement:
    """What a :class:`Hardware` came to on this machine."""

    device: Device
    dtype: DType
    """The format of the weights; ``auto`` is the checkpoint's own."""
    threads: int | None
    """Threads of one operation on the CPU; None is torch's default."""
    max_batch_tokens: int | None = None
    """Tokens that the rows of a batch may hold together; None is as many as fit."""
    prefix_cache_mb: int | None = None
    """Memory for the beginnings of prompts; None is a share of what is free."""
    compile: bool = False
    """Whether torch compiles the model."""


def resolve_device(device: str) -> str:
    """The name of the device that an option comes to on this machine, for a run's fingerprint.

    ``auto`` looks at the machine, which loads torch. Any other name stands for itself, whether the device is
    there or not.
    """
    return available_devices()[0] if device == "auto" else device


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where local models run, and how they compute. Remote models and the lexical reader ignore it.

    Args:
        device: ``cuda``, ``mps`` (Apple) or ``cpu``; ``auto`` takes the first of these that is there. A
            run's fingerprint holds the device that it came to.
        dtype: The number format of weights and arithmetic. ``auto`` is float32 on ``cpu`` and ``mps``, where
            results are reproducible, and the checkpoint's own format on ``cuda``.
        threads: CPU threads for one operation, at least 1; null is torch's default, the number of cores.
        max_batch_tokens: The most tokens, prompts and answers, that the requests of a running batch hold in
            memory together, beginnings that they share not counted; at least 256. Null is as many as fit
            into 40% of the memory that is free when the model is first used.
        prefix_cache_mb: Memory for beginnings of prompts that later prompts may share, in MB (10**6 bytes);
            0 keeps none. Null is 20% of the memory that is free when the model is first used, and at most
            8 GiB.
        workers: How many jobs of a sweep run at the same time, each in a process of its own. Without
            ``threads`` they share the cores; several GPUs go round.
        compile: Compile the model with ``torch.compile``. It takes minutes at first, needs a C++ compiler on
            the CPU, and pays in long runs on a GPU.
    """

    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], Content(resolve_device)] = "auto"
    dtype: DType = "auto"
    threads: Annotated[int | None, Field(ge=1)] = None
    max_batch_tokens: Annotated[int | None, Field(ge=256), Operational()] = None
    prefix_cache_mb: Annotated[int | None, Field(ge=0), Operational()] = None
    workers: Annotated[int, Field(ge=1, le=1024), Operational()] = 1
    compile: bool = False

    def resolve(self) -> Placement:
        """Look at this machine and settle what was left to it. Loads torch, which takes seconds.

        Raises:
            InputError: The device asked for is not there.
        """
        present = available_devices()
        if self.device != "auto" and self.device not in present:
            raise InputError(
                f"hardware={self.device}: torch sees no {_NAMES[self.device]} here",
                f"use hardware={present[0]} or hardware=auto, or install a torch build that supports it",
            )
        device = present[0] if self.device == "auto" else self.device
        dtype: DType = "float32" if self.dtype == "auto" and device != "cuda" else self.dtype
        return Placement(
            device=device,
            dtype=dtype,
            threads=self.threads,
            max_batch_tokens=self.max_batch_tokens,
            prefix_cache_mb=self.prefix_cache_mb,
            compile=self.compile,
        )


def available_devices() -> tuple[Device, ...]:
    """The devices that torch can use on this machine, the preferred one first."""
    # Operations that MPS lacks then run on the CPU one by one; torch reads this when it is first imported.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    import torch

    devices: list[Device] = ["cpu"]
    if torch.backends.mps.is_available():
        devices.insert(0, "mps")
    if torch.cuda.is_available():
        devices.insert(0, "cuda")
    return tuple(devices)


def memory_share() -> float:
    """Which part of the free memory this process plans with, in (0, 1]."""
    return float(os.environ.get(MEMORY_SHARE, "1"))


def rows_at_once(device: str) -> int:
    """Requests that a batch works on at once on a device: where more would hardly raise the throughput."""
    return 256 if device == "cuda" else 64
