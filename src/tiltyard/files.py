"""Writes files atomically: a reader sees the old file or the new one, and no secret."""

import os
from pathlib import Path

from tiltyard.redaction import redact


def write_text(path: Path, text: str) -> None:
    """Write a text file with secrets masked; its folder is made when it does not exist."""
    # A model can write half a surrogate pair, which UTF-8 lacks.
    write_bytes(path, redact(text).encode("utf-8", errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; its folder is made when it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)  # noqa: PTH105 - says "atomic" to whoever reads it
    except BaseException:  # on a full disk, what was written would take room for ever
        partial.unlink(missing_ok=True)
        raise
