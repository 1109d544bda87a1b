"""Finds a task's file of records, in a folder, in a package or on the Hub, before anything is read from it.

>>> existing("pkg://tiltyard.tasks.data/tatqa_tiny.jsonl")
'pkg://tiltyard.tasks.data/tatqa_tiny.jsonl'
>>> existing("tatqa.xlsx")
Traceback (most recent call last):
...
ValueError: there is no such file
"""

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from tiltyard.config import Content
from tiltyard.errors import InputError
from tiltyard.tasks.hub import EXTENSIONS, fetch, hub_digest, is_on_hub, parse_hub

PACKAGED = "pkg://"
"""The prefix of files that are shipped inside a package: ``pkg://PACKAGE/FILE``."""
REMEDY = "give the path of a JSON, JSONL, CSV or Parquet file"
"""What to do about a path that leads to no such file."""


def _locate(path: str) -> Traversable:
    if is_on_hub(path):
        return Path(fetch(path))
    if not path.startswith(PACKAGED):
        try:
            return Path(path).expanduser()
        except RuntimeError as error:
            raise ValueError("there is no such home folder") from error
    package, _, name = path.removeprefix(PACKAGED).partition("/")
    try:
        return files(package).joinpath(name)
    except (ImportError, TypeError, ValueError) as error:  # TypeError: a module that is no package
        raise ValueError(f"there is no package '{package}'") from error


def existing(path: str) -> str:
    """Return the path if it names a file that can be read as records. The Hub is not asked.

    Raises:
        ValueError: It does not exist, cannot be reached, is a folder, or has another extension.
    """
    if is_on_hub(path):
        return _with_extension(path, parse_hub(path).inside)
    file = _locate(path)
    try:
        is_folder, is_file = file.is_dir(), file.is_file()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    if is_folder:
        raise ValueError("is a folder; name one file in it")
    if not is_file:
        raise ValueError("there is no such file")
    return _with_extension(path, file.name)


def _with_extension(path: str, name: str) -> str:
    if PurePosixPath(name).suffix.lower() not in EXTENSIONS:
        raise ValueError(f"the extension should be one of {', '.join(EXTENSIONS)}")
    return path


def file_digest(path: str) -> str:
    """Hash a file's bytes with SHA-256 (64 hexadecimal digits); a file on the Hub counts by its commit.

    Raises:
        InputError: The file cannot be read.
    """
    if is_on_hub(path):
        return hub_digest(path)
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_bytes(path: str) -> bytes:
    """Read a file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        return _locate(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check its permissions") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}", REMEDY) from error


DataFile = Annotated[str, AfterValidator(existing), Content(file_digest)]
"""A file of records: a path, ``pkg://PACKAGE/FILE`` for a file that a package ships, or
``hf://datasets/OWNER/NAME[@REVISION]/FILE`` for one on the Hub."""
