"""Reads keys from environment variables, or from a ``.env`` file in the working directory.

>>> secret("GROQ_API_KEY", "model.api_key_env")
'gsk_…'
"""

import os
from collections.abc import Mapping
from pathlib import Path

from tiltyard.errors import InputError

ENV_FILE = ".env"


def secret(variable: str, option: str) -> str:
    """The value of a variable. What the environment holds wins over the file.

    A value from the file is put into the environment: what is in the environment under a secret's name is
    masked in everything that is written (:mod:`tiltyard.redaction`).

    Args:
        variable: The variable's name.
        option: The option that names it, for the error.

    Raises:
        InputError: Neither place has a value, or the file cannot be read, or a header cannot carry it.
    """
    value = os.environ.get(variable, "").strip() or _from_file(variable)
    if not value:
        raise InputError(
            f"{variable} is not set, and {option} names it",
            f"export it, or give it a line in {ENV_FILE} in the working directory",
        )
    if not value.isascii() or not value.isprintable():
        raise InputError(
            f"the value of {variable} has characters that no header can carry", "copy it again, as plain text"
        )
    os.environ[variable] = value
    return value


def names_in_file() -> set[str]:
    """The variables that ``.env`` in the working directory gives a value.

    Raises:
        InputError: The file cannot be read.
    """
    return {name for name, value in _read_file().items() if value and value.strip()}


def _from_file(variable: str) -> str:
    return (_read_file().get(variable) or "").strip()


def _read_file() -> Mapping[str, str | None]:
    path = Path.cwd() / ENV_FILE
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        return dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"cannot read {path} ({reason})", "correct the file") from error
