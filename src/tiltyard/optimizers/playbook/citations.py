"""Finds the entries that an answer cites: those alone can have helped it, or done harm.

    >>> cited_ids(["By [k3] and (K04)."])
    frozenset({'k3', 'k4'})
    >>> with citing() as cited:
    ...     program(question="…")              # a PlaybookProgram that asks for citations
    >>> cited
    {'k3'}

An answer names entries in its own words, or in a field that asks for them. The field is no part of the
prediction: what it says goes to whoever listens.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tiltyard.optimizers.playbook.operations import read_id

_CITATION = re.compile(r"(?<![\w.])[kK]0*[1-9][0-9]*(?![\w.]*\w)")
_AROUND_NUMBERS = re.compile(r"\b(?:rules?|and)\b", re.IGNORECASE)
"""Words that may stand between numbers which are ids."""
_LETTER = re.compile(r"[^\W\d]")
_NUMBER = re.compile(r"\d+")

_LISTENING: ContextVar[set[str] | None] = ContextVar("tiltyard_citations", default=None)


def cited_ids(outputs: Iterable[Any]) -> frozenset[str]:
    """The ids that texts name, such as ``[k3]``, ``(K3)`` or ``k3,``; there may be no such entries."""
    return frozenset(
        read_id(citation)
        for output in outputs
        for text in (output if isinstance(output, list | tuple) else [output])
        if isinstance(text, str)
        for citation in _CITATION.findall(text)
    )


def listed_ids(field: Any) -> frozenset[str]:
    """The ids in a field that asks for ids: as :func:`cited_ids` finds them, or bare numbers alone."""
    said = " ".join(map(str, field)) if isinstance(field, list | tuple) else str(field or "")
    if found := cited_ids([said]):
        return found
    if _LETTER.search(_AROUND_NUMBERS.sub(" ", said)):
        return frozenset()  # a number in a sentence is no id
    return frozenset(f"k{int(number)}" for number in _NUMBER.findall(said) if int(number))


@contextmanager
def citing() -> Iterator[set[str]]:
    """Collect the ids that are cited in fields while a block runs, also in threads that it starts."""
    cited: set[str] = set()
    token = _LISTENING.set(cited)
    try:
        yield cited
    finally:
        _LISTENING.reset(token)


def note_cited(ids: Iterable[str]) -> None:
    """Tell whoever listens what was cited."""
    listening = _LISTENING.get()
    if listening is not None:
        listening.update(ids)
