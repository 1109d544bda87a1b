"""Finds the entries that an answer cites: those alone can have helped it, or done harm.

>>> cited_ids(["By [k3] and (K04)."])
frozenset({'k3', 'k4'})
"""

import re
from collections.abc import Iterable
from typing import Any

from tiltyard.optimizers.playbook.operations import read_id

_CITATION = re.compile(r"(?<![\w.])[kK]0*[1-9][0-9]*(?![\w.]*\w)")


def cited_ids(outputs: Iterable[Any]) -> frozenset[str]:
    """The ids that texts name, such as ``[k3]``, ``(K3)`` or ``k3,``; there may be no such entries."""
    return frozenset(
        read_id(citation)
        for output in outputs
        for text in (output if isinstance(output, list | tuple) else [output])
        if isinstance(text, str)
        for citation in _CITATION.findall(text)
    )
