"""Keeps something that is made of a playbook's entries up to date, at the cost of what changed.

>>> follower = Follower()
>>> [(id, entry.content) for id, entry in follower.changes(playbook)]
[('k1', 'Write USD before amounts.')]
>>> follower.changes(playbook)
[]
"""

from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.playbook import Playbook


class Follower:
    """What was seen of a playbook."""

    def __init__(self) -> None:
        self._playbook: Playbook | None = None
        self._revision = 0
        self._known: dict[str, None] = {}

    def changes(self, playbook: Playbook) -> list[tuple[str, Entry | None]]:
        """The entries that changed since the last time by id, None for one that went.

        Of another playbook than the last time, all entries are new.
        """
        if playbook is self._playbook:
            ids = playbook.changed_since(self._revision)
        else:
            ids = [*(id for id in self._known if id not in playbook), *playbook.contents()]
        self._playbook, self._revision = playbook, playbook.revision
        changes: list[tuple[str, Entry | None]] = []
        for id in ids:
            if id in playbook:
                self._known[id] = None
                changes.append((id, playbook[id]))
            elif id in self._known:
                del self._known[id]
                changes.append((id, None))
        return changes
