"""Where an interrupted run leaves what it has done, and where the next try finds it.

>>> with checkpoint_folder(cache_folder() / FOLDER, fingerprint, resume=True) as checkpoints:
...     optimizer = ACE(metric=task.metric, checkpoints=checkpoints / "optimizer")
...     program = optimizer.compile(student, trainset=train)
...     evaluation = evaluate(program, …, journal=TrialJournal(checkpoints / "test.jsonl", program))
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
"""Where runs leave their checkpoints, in the cache folder."""
_BYTES_PER_MB = 1_000_000
_PATIENCE_SECONDS = 1.0
"""How long a run waits for its folder: whoever counts checkpoints holds each for a moment."""


@dataclass(frozen=True)
class Checkpoints:
    """What runs have left that did not end."""

    runs: int
    size: int
    """Bytes on disk."""
    running: int = 0
    """How many of them are under way at this moment."""

    def __str__(self) -> str:
        running = f" ({self.running} running)" if self.running else ""
        counted = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return f"checkpoints of {counted}{running}, {self.size / _BYTES_PER_MB:.1f} MB"


def kept_checkpoints(parent: Path) -> Checkpoints:
    """Count the checkpoints in a folder.

    Args:
        parent: Where folders of checkpoints stand; it need not exist.

    Raises:
        OSError: The folder cannot be read.
    """
    running, size, folders = 0, 0, _folders(parent)
    for folder in folders:
        with _held(folder) as held:
            running += not held
        size += sum(_size(path) for path in folder.rglob("*"))
    return Checkpoints(len(folders), size, running)


def clear_checkpoints(parent: Path) -> None:
    """Remove the checkpoints in a folder, but for those of runs that are under way.

    Args:
        parent: Where folders of checkpoints stand; it need not exist.

    Raises:
        OSError: Something cannot be removed.
    """
    for folder in _folders(parent):
        with _held(folder) as held:
            if held:
                shutil.rmtree(folder)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # a run has ended meanwhile
        if path.is_file():
            return path.stat().st_size
    return 0


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder of checkpoints; False where a run holds it."""
    lock = FileLock(_lock_file(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        _let_go(lock)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _let_go(lock: FileLock) -> None:
    with suppress(OSError):  # gone while it is held, as filelock allows for; Windows keeps it
        Path(lock.lock_file).unlink()
    lock.release()


@contextmanager
def checkpoint_folder(parent: Path, name: str, *, resume: bool) -> Iterator[Path | None]:
    """A folder for a run's checkpoints, which lasts until a block has ended without an exception.

    Args:
        parent: Where such folders stand.
        name: What is equal for tries of one experiment, and for nothing else: its fingerprint.
        resume: Whether to find what an earlier try left; else it is removed.

    Yields:
        The folder, which whoever keeps something there makes; None, with a warning in the log, where it
        cannot be used or another process runs the same at this moment.
    """
    folder = parent / name
    lock = FileLock(_lock_file(folder))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except (Timeout, OSError) as error:
        reason = (
            "another run of the same experiment is under way" if isinstance(error, Timeout) else str(error)
        )
        logger.warning("This run keeps no checkpoints: %s", reason)
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
        _let_go(lock)


def _remove(folder: Path) -> None:
    """What cannot be removed is worth a warning: the next try would go on from there."""
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        logger.warning("The checkpoints in %s cannot be removed (%s)", folder, error)
