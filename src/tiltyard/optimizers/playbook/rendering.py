"""A playbook for people: by section, with its counts; and what differs between two versions of one.

>>> print(difference(before, after))
+ [k4] amounts: Write USD before amounts.
~ [k2] dates: Write dates as day.month.year. (was: Write dates as month/day/year.)
- [k1] general: Keep answers short.
"""

from collections.abc import Iterable
from typing import Protocol

from tiltyard.optimizers.playbook.entry import Entry

_COUNTS = ("helpful", "harmful", "neutral", "uses")


class Versioned(Protocol):
    """What holds entries: a playbook."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, the oldest first."""


def rendered(entries: Iterable[Entry]) -> str:
    """The entries under their sections, which stand in the order of their oldest entries."""
    sections: dict[str, list[str]] = {}
    for entry in entries:
        counts = ", ".join(f"{name} {getattr(entry, name)}" for name in _COUNTS if getattr(entry, name))
        line = f"{entry.line}  ({counts})" if counts else entry.line
        sections.setdefault(entry.section, []).append(line)
    return "\n\n".join("\n".join([f"## {section}", *lines]) for section, lines in sections.items())


def difference(before: Versioned, after: Versioned) -> str:
    """What is new (``+``), changed (``~``) and gone (``-``), an entry a line in the order of ids.

    Empty where both hold the same; steps and sources are not looked at.
    """
    old = {entry.id: entry for entry in before.entries}
    new = {entry.id: entry for entry in after.entries}
    lines = []
    for entry in sorted({**old, **new}.values(), key=lambda entry: entry.number):
        if entry.id not in old:
            lines.append(f"+ {_named(entry)}")
        elif entry.id not in new:
            lines.append(f"- {_named(entry)}")
        elif changes := _changes(old[entry.id], entry):
            lines.append(f"~ {_named(entry)} ({'; '.join(changes)})")
    return "\n".join(lines)


def _named(entry: Entry) -> str:
    return f"[{entry.id}] {entry.section}: {entry.content}"


def _changes(old: Entry, new: Entry) -> list[str]:
    changes = []
    if old.content != new.content:
        changes.append(f"was: {old.content}")
    if old.section != new.section:
        changes.append(f"was in {old.section}")
    for name in _COUNTS:
        if getattr(old, name) != getattr(new, name):
            changes.append(f"{name} {getattr(old, name)} → {getattr(new, name)}")
    return changes
