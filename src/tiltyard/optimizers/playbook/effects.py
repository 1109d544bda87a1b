"""What an operation makes of the entries, as a pure function.

>>> effect_of(Remove("k1"), {"k1": entry}, next_number=2, step=3, sources=())
Effect(outcome=Outcome(applied=True, reason='', id='k1'), put=None, dropped=('k1',))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tiltyard.optimizers.playbook.entry import Entry, one_line
from tiltyard.optimizers.playbook.operations import (
    GENERAL,
    VERDICTS,
    Add,
    Merge,
    Operation,
    Outcome,
    Remove,
    Tag,
    Update,
)


@dataclass(frozen=True)
class Effect:
    """What changes; nothing does where the outcome is that the operation was not applied."""

    outcome: Outcome
    put: Entry | None = None
    """The entry that is new, or stands in place of the one with its id."""
    dropped: tuple[str, ...] = ()
    """The ids that go."""


def effect_of(
    operation: Operation,
    entries: Mapping[str, Entry],
    *,
    next_number: int,
    step: int,
    sources: Sequence[str],
) -> Effect:
    """Say what an operation changes, or why it cannot be applied.

    Args:
        operation: What to do.
        entries: The entries by id.
        next_number: The number of a new entry.
        step: When it happens.
        sources: Ids of the examples that the operation came from.
    """
    match operation:
        case Add():
            return _add(operation, next_number, step, sources)
        case Merge():
            return _merge(operation, entries, sources)
        case Update() | Remove() | Tag():
            entry = entries.get(operation.id)
            if entry is None:
                return _refused(f"there is no entry {operation.id}")
            if isinstance(operation, Update):
                return _update(operation, entry, sources)
            if isinstance(operation, Tag):
                return _tag(operation, entry)
            return Effect(Outcome(True, id=entry.id), dropped=(entry.id,))


def _refused(reason: str, id: str | None = None) -> Effect:
    return Effect(Outcome(False, reason, id))


def _add(operation: Add, next_number: int, step: int, sources: Sequence[str]) -> Effect:
    content = one_line(operation.content)
    if not content:
        return _refused("the rule is empty")
    entry = Entry(
        f"k{next_number}", _section(operation.section), content, created=step, sources=_united(sources)
    )
    return Effect(Outcome(True, id=entry.id), put=entry)


def _update(operation: Update, entry: Entry, sources: Sequence[str]) -> Effect:
    content = one_line(operation.content)
    if not content:
        return _refused("the rule is empty", entry.id)
    changed = replace(entry, content=content, sources=_united(entry.sources, sources))
    return Effect(Outcome(True, id=entry.id), put=changed)


def _merge(operation: Merge, entries: Mapping[str, Entry], sources: Sequence[str]) -> Effect:
    ids = set(operation.ids)
    content = one_line(operation.content)
    if missing := sorted(ids - entries.keys()):
        return _refused(f"there is no entry {', '.join(missing)}")
    if len(ids) < 2:
        return _refused("it names fewer than two entries")
    if not content:
        return _refused("the rule is empty")
    merged = sorted((entries[id] for id in ids), key=lambda entry: entry.number)
    oldest = merged[0]
    together = replace(
        oldest,
        section=oldest.section if operation.section is None else _section(operation.section),
        content=content,
        helpful=sum(entry.helpful for entry in merged),
        harmful=sum(entry.harmful for entry in merged),
        neutral=sum(entry.neutral for entry in merged),
        uses=sum(entry.uses for entry in merged),
        last_used=max((entry.last_used for entry in merged if entry.last_used is not None), default=None),
        sources=_united(*(entry.sources for entry in merged), sources),
    )
    return Effect(Outcome(True, id=oldest.id), put=together, dropped=tuple(entry.id for entry in merged[1:]))


def _tag(operation: Tag, entry: Entry) -> Effect:
    if operation.verdict not in VERDICTS:
        return _refused(f"{operation.verdict} is none of {', '.join(VERDICTS)}", entry.id)
    counted = replace(entry, **{operation.verdict: getattr(entry, operation.verdict) + 1})
    return Effect(Outcome(True, id=entry.id), put=counted)


def _section(text: str) -> str:
    return one_line(text).lower() or GENERAL


def _united(*sources: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(source for several in sources for source in several))
