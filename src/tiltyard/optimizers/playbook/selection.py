"""Which entries of a playbook a prompt shows: all, or those nearest to the question within a limit.

>>> [entry.id for entry in Selector("relevant", k=2).select(playbook, "What is the dose?")]
['k3', 'k9']
"""

import threading
from typing import Any, Literal, get_args

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.entry import Entry, tokens
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.similarity import HASHED, FollowingIndex, similarity_named

Selection = Literal["all", "relevant"]
"""All entries, or those that are relevant to the question."""

_SMALLEST_ENTRY = tokens("[k1] x")


class Selector:
    """Chooses entries for questions; its index follows the playbook at the cost of what changed.

    Safe to use from several threads, and copied without its index.

    Args:
        how: ``all``, or ``relevant`` to the question.
        k: The most entries.
        tokens: The most tokens in all.
        similarity: ``hashed``, or the name of a sentence-transformers model.

    Raises:
        InputError: ``relevant`` has no limit, ``all`` has one, or a limit is not a number from 1.
    """

    def __init__(
        self, how: Selection, *, k: int | None = None, tokens: int | None = None, similarity: str = HASHED
    ) -> None:
        if how not in get_args(Selection):
            raise InputError(
                f"no selection is called {how!r}", f"choose one of: {', '.join(get_args(Selection))}"
            )
        for name, limit in (("k", k), ("tokens", tokens)):
            if limit is not None and (type(limit) is not int or limit < 1):
                raise InputError(f"the selection's limit {name} is {limit!r}", "give a whole number from 1")
        if how == "relevant" and k is None and tokens is None:
            raise InputError("selection=relevant has no limit", "give it the most entries or the most tokens")
        if how == "all" and (k is not None or tokens is not None):
            raise InputError(
                "selection=all has a limit, which would leave entries out", "use selection=relevant"
            )
        self.how: Selection = how
        self.k = k
        self.tokens = tokens
        self.similarity = similarity
        self.index: FollowingIndex | None = None
        self._lock = threading.Lock()

    def settings(self) -> dict[str, Any]:
        """What it was made with, as plain values."""
        return {
            "selection": self.how,
            "k": self.k,
            "shown_tokens": self.tokens,
            "similarity": self.similarity,
        }

    def select(self, playbook: Playbook, question: str) -> list[Entry]:
        """The entries to show for a question, by their numbers."""
        if self.how == "all":
            return list(playbook.entries)
        # No more than this can be chosen, so no more are looked at: the cost must not grow with the store.
        limits = [len(playbook)]
        if self.tokens is not None:
            limits.append(self.tokens // _SMALLEST_ENTRY)
        elif self.k is not None:
            limits.append(self.k)
        with self._lock:
            if self.index is None:
                self.index = FollowingIndex(similarity_named(self.similarity))
            self.index.follow(playbook)
            nearest = self.index.similarity.nearest(question, min(limits))
        return self._within_limits([playbook[id] for id, _ in nearest])

    def _within_limits(self, ranked: list[Entry]) -> list[Entry]:
        chosen: list[Entry] = []
        left = self.tokens
        for entry in ranked:
            if self.k is not None and len(chosen) == self.k:
                break
            if left is not None:
                if entry.tokens > left:
                    continue
                left -= entry.tokens
            chosen.append(entry)
        return sorted(chosen, key=lambda entry: entry.number)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("index", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.index = None
        self._lock = threading.Lock()
