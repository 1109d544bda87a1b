"""Loads sentence-transformers models, which the extra ``embeddings`` brings, once per process.

>>> sentence_model("all-MiniLM-L6-v2", option="similarity").encode("A blocked pump")
array([...])
"""

from functools import cache
from importlib import import_module
from typing import Any

from tiltyard.errors import InputError
from tiltyard.redaction import one_line


@cache
def sentence_model(name: str, option: str) -> Any:
    """A model from the Hub or a folder.

    Args:
        name: Its name or path.
        option: The option that named it, for errors; ``hashed`` is what it may say instead.

    Raises:
        InputError: The extra is not installed, or there is no such model.
    """
    try:
        package = import_module("sentence_transformers")
    except ImportError as error:
        raise InputError(
            f"{option}={name} is a sentence-transformers model, and that package is not installed",
            f"pip install 'tiltyard[embeddings]', or use {option}=hashed",
        ) from error
    try:
        return package.SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise InputError(
            f"there is no sentence-transformers model {name!r} ({one_line(error)})",
            f"check the name, or use {option}=hashed",
        ) from error
