"""Marks options that take a file, or the registered version of a program which holds what the file would.

    PlaybookFile = Annotated[str | None, Content(file_digest), InProgram("playbook", text_of)]

A version is named as MLflow does: ``models:/NAME/3``, ``models:/NAME@ALIAS``, ``models:/NAME/latest``. An
optimizer gets a file in either case: a run looks the version up in its tracking store before anything starts
(:mod:`tiltyard.tracking.references`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SCHEME = "models:/"
"""How a reference to a registered version begins."""


@dataclass(frozen=True)
class InProgram:
    """Marks an option whose file can be taken from a program's state."""

    what: str
    """What the file holds, in a word, such as ``playbook``."""
    read: Callable[[Mapping[str, Any]], str | None]
    """The file's text from a program's state (DSPy's state JSON); None where the program holds none."""


def is_reference(value: object) -> bool:
    """Whether an option's value names a registered version instead of a file."""
    return isinstance(value, str) and value.startswith(SCHEME)
