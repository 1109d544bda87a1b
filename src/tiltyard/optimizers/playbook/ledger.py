"""The figures that retention goes by, of all entries side by side, so that a score is a sum of arrays.

>>> ledger = Ledger()
>>> ledger.follow(playbook)
>>> ledger.column("helpful")
array([4., 0., 7.])
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.following import Follower
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.quality import vagueness

Figure = Literal["number", "created", "touched", "helpful", "harmful", "neutral", "vagueness"]
"""``touched`` is the last step at which an entry was shown, or the one at which it was made."""

_ROWS: dict[Figure, int] = {name: row for row, name in enumerate(get_args(Figure))}
_vagueness = lru_cache(maxsize=16_384)(vagueness)


class Ledger:
    """Figures of entries, in no particular order but the same for each figure.

    Args:
        entries: What it holds at first.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._table: NDArray[np.float64] = np.zeros((len(_ROWS), 16))
        self._ids: list[str] = []
        self._place: dict[str, int] = {}
        self._follower = Follower()
        for entry in entries:
            self._put(entry)

    @property
    def ids(self) -> list[str]:
        """The ids of the entries, in the order of the figures."""
        return self._ids

    def column(self, name: Figure) -> NDArray[np.float64]:
        """One figure of every entry."""
        return self._table[_ROWS[name], : len(self._ids)]

    def follow(self, playbook: Playbook) -> None:
        """Take over what changed in a playbook since the last time; everything where it is another one."""
        for id, entry in self._follower.changes(playbook):
            if entry is None:
                self._drop(id)
            else:
                self._put(entry)

    def _put(self, entry: Entry) -> None:
        place = self._place.setdefault(entry.id, len(self._ids))
        if place == len(self._ids):
            self._ids.append(entry.id)
            if place == self._table.shape[1]:
                self._table = np.pad(self._table, ((0, 0), (0, place)))
        touched = entry.created if entry.last_used is None else max(entry.created, entry.last_used)
        self._table[:, place] = (
            entry.number,
            entry.created,
            touched,
            entry.helpful,
            entry.harmful,
            entry.neutral,
            _vagueness(entry.content),
        )

    def _drop(self, id: str) -> None:
        place = self._place.pop(id)
        last = self._ids.pop()
        if last != id:
            self._ids[place], self._place[last] = last, place
            self._table[:, place] = self._table[:, len(self._ids)]
