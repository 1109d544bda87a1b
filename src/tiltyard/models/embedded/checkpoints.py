"""Keeps the state of a training on disk, so that it can go on where it was.

>>> save_checkpoint(folder, step=500, state={"model": model.state_dict(), "position": (3, 1)})
>>> newest_checkpoint(folder)["position"]
(3, 1)
"""

import os
from pathlib import Path
from typing import Any

KEPT = 2
"""The newest checkpoints that stay; the others are deleted."""


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint; one that is interrupted leaves the earlier ones as they are.

    Args:
        folder: Where checkpoints are; made when it does not exist.
        step: The steps that are done.
        state: Tensors and plain values.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:07}.pt"
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    torch.save(state, partial)
    os.replace(partial, path)  # noqa: PTH105 - says "atomic" to whoever reads it
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        old.unlink()
    return path


def newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The state of the newest checkpoint in a folder, on the CPU; None where there is none."""
    import torch

    found = sorted(folder.glob("step-*.pt"))
    if not found:
        return None
    state: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
    return state
