"""Sees before long work that its results can be written.

>>> writable(Path("/proc/trained"), "give another --out")
Traceback (most recent call last):
...
tiltyard.errors.InputError: /proc/trained cannot be written to (No such file or directory); give another --out
"""

import tempfile
from pathlib import Path

from tiltyard.errors import InputError


def writable(folder: Path, remedy: str) -> None:
    """Make a folder where it does not exist, and write a file there that is gone again.

    Args:
        folder: Where results will be written.
        remedy: What to do when that is not possible, in one line.

    Raises:
        InputError: It is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"trial")
    except OSError as error:
        raise InputError(f"{folder} cannot be written to ({error.strerror or error})", remedy) from error
