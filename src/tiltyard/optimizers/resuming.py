"""Where an interrupted compilation leaves its checkpoints, and where the next try finds them.

>>> with checkpoint_folder(cache_folder() / "checkpoints", fingerprint, resume=True) as checkpoints:
...     optimizer = ACE(metric=task.metric, checkpoints=checkpoints)
...     program = optimizer.compile(student, trainset=train)
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tiltyard.signatures import options_of, target_of

logger = logging.getLogger(__name__)


def checkpoints_of(
    node: Mapping[str, Any], parent: Path, name: Callable[[], str], *, resume: bool
) -> AbstractContextManager[Path | None]:
    """The :func:`checkpoint_folder` of an optimizer whose target takes one; None for another.

    Args:
        node: The optimizer's node.
        parent: Where such folders stand.
        name: Gives the folder's name; asked only where it is needed.
        resume: Whether to find what an earlier try left; else it is removed.
    """
    options, _ = options_of(target_of(node, "optimizer"))
    return checkpoint_folder(parent, name(), resume=resume) if "checkpoints" in options else nullcontext()


@contextmanager
def checkpoint_folder(parent: Path, name: str, *, resume: bool) -> Iterator[Path | None]:
    """A folder for an optimizer's checkpoints, which lasts until a block has ended without an exception.

    Args:
        parent: Where such folders stand. Nothing is made there before the optimizer makes its folder.
        name: What is equal for tries of one experiment, and for nothing else: its fingerprint.
        resume: Whether to find what an earlier try left; else it is removed.

    Yields:
        The folder, which the optimizer makes; None, with a warning in the log, where it cannot be used or
        another process compiles the same at this moment.
    """
    folder = parent / name
    lock = FileLock(parent / f"{name}.lock")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (Timeout, OSError) as error:
        reason = "another run compiles the same now" if isinstance(error, Timeout) else str(error)
        logger.warning("This compilation keeps no checkpoints: %s", reason)
        yield None
        return
    try:
        if not resume:
            _remove(folder)
        elif folder.exists():
            logger.info("Going on from the checkpoints in %s; resume=false starts anew", folder)
        yield folder
        _remove(folder)
    finally:
        with suppress(OSError):  # gone while it is held, as filelock allows for; Windows keeps it
            Path(lock.lock_file).unlink()
        lock.release()


def _remove(folder: Path) -> None:
    """What cannot be removed is worth a warning: the next try would go on from there."""
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        logger.warning("The checkpoints in %s cannot be removed (%s)", folder, error)
