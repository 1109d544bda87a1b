"""Which entries get the credit for an answer: those that it cites, or those that it was shown.

    >>> credited(shown, prediction, "cited")
    ['k3']

Never all of the playbook: an entry that was not in the prompt did nothing for the answer.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.operations import read_id

Credit = Literal["cited", "shown"]
"""Who gets credit: the entries whose ids the answer names, or all that its prompt showed."""

_CITATION = re.compile(r"(?<![\w.])[kK]0*[1-9][0-9]*(?![\w.]*\w)")


def credited(shown: Sequence[Entry], prediction: Mapping[str, Any], how: Credit) -> list[str]:
    """The ids of the entries that get credit for an answer, in the order in which they were shown.

    Args:
        shown: The entries that the prompt showed.
        prediction: The outputs by name, a DSPy prediction; its texts and lists of texts are searched.
        how: Who gets credit.
    """
    if how == "shown":
        return [entry.id for entry in shown]
    cited = cited_ids(prediction.values())
    return [entry.id for entry in shown if entry.id in cited]


def cited_ids(outputs: Iterable[Any]) -> frozenset[str]:
    """The ids that texts name, such as ``[k3]``, ``(K3)`` or ``k3,``; there may be no such entries."""
    return frozenset(
        read_id(citation)
        for output in outputs
        for text in (output if isinstance(output, list | tuple) else [output])
        if isinstance(text, str)
        for citation in _CITATION.findall(text)
    )
