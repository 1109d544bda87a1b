"""The store of an optimizer's rules: entries change one by one, and every change is in the history.

    >>> playbook = Playbook()
    >>> playbook.apply(Add("amounts", "Write USD before amounts."), step=0, sources=["train-7"])
    Outcome(applied=True, reason='', id='k1')
    >>> playbook.contents()
    {'k1': 'Write USD before amounts.'}
    >>> Playbook.loads(playbook.dumps()) == playbook
    True

There is no way to rewrite a playbook as a whole: what an operation does not name stays as it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.effects import effect_of
from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.history import Event, History, Operated, Pruned, Shown, Started
from tiltyard.optimizers.playbook.jsonl import read, written
from tiltyard.optimizers.playbook.operations import (
    Add,
    Merge,
    Operation,
    Outcome,
    Remove,
    Tag,
    Update,
    Verdict,
    Wish,
    kind_of,
)
from tiltyard.optimizers.playbook.rendering import difference, rendered

__all__ = ["Outcome", "Playbook", "difference"]


class Playbook:
    """Entries, and the number of the next one.

    Args:
        entries: What it starts with; in any order.
        next_number: The number of the next new entry. It is raised above the numbers of all entries.

    Raises:
        ValueError: Two entries have one id.
    """

    def __init__(self, entries: Iterable[Entry] = (), *, next_number: int = 1) -> None:
        ordered = sorted(entries, key=lambda entry: entry.number)
        self._entries = {entry.id: entry for entry in ordered}
        if len(self._entries) < len(ordered):
            raise ValueError("two entries have one id")
        self._next = max([next_number, *(entry.number + 1 for entry in ordered[-1:])])
        self._tokens = sum(entry.tokens for entry in ordered)
        self._changed: list[str] = []
        self._history = History((Started(tuple(ordered), self._next),))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, by their number: the oldest first."""
        return tuple(self._entries.values())

    @property
    def next_number(self) -> int:
        """The number that the next new entry gets."""
        return self._next

    @property
    def history(self) -> History:
        """What happened since it was made or loaded."""
        return self._history

    @property
    def tokens(self) -> int:
        """An estimate of the tokens that all its entries take in a prompt."""
        return self._tokens

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id: object) -> bool:
        return id in self._entries

    def __getitem__(self, id: str) -> Entry:
        return self._entries[id]

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same entries, and would give the same id next."""
        if not isinstance(other, Playbook):
            return NotImplemented
        return self._next == other._next and self._entries == other._entries

    __hash__ = None  # type: ignore[assignment]

    def apply(self, operation: Operation, *, step: int, sources: Sequence[str] = ()) -> Outcome:
        """Carry out an operation. One that cannot be carried out changes nothing, and is in the history too.

        An update keeps the id, the section and the counts. A merger keeps the oldest entry's id, place and
        date, sums the counts and unites the sources. Both add to the sources of the entry.

        Args:
            operation: What to do.
            step: When. Steps never go back.
            sources: Ids of the examples that the operation came from.

        Raises:
            ValueError: The step is before that of the last event.
        """
        self._check(step)
        effect = effect_of(
            operation, self._entries, next_number=self._next, step=step, sources=tuple(sources)
        )
        for id in effect.dropped:
            self._drop(id)
        if effect.put is not None:
            self._put(effect.put)
        self._history.record(Operated(step, operation, effect.outcome, tuple(sources)))
        return effect.outcome

    def refuse(
        self, operation: Wish, reason: str, *, step: int, sources: Sequence[str] = (), id: str | None = None
    ) -> Outcome:
        """Note an operation in the history that somebody decided not to apply.

        Args:
            operation: What was asked for; it may be unreadable.
            reason: Why it is not applied.
            step: When.
            sources: Ids of the examples that it came from.
            id: The entry that says already what was asked for, where there is one.
        """
        outcome = Outcome(applied=False, reason=reason, id=id)
        self._history.record(Operated(step, operation, outcome, tuple(sources)))
        return outcome

    def credit(self, id: str, verdict: Verdict, *, step: int) -> Outcome:
        """Count what an entry did for an answer; the same as applying a :class:`Tag`."""
        return self.apply(Tag(id, verdict), step=step)

    def shown(self, ids: Iterable[str], *, step: int) -> None:
        """Count that entries stood in a prompt, each once.

        Raises:
            KeyError: There is no such entry.
        """
        self._check(step)
        once = tuple(dict.fromkeys(ids))
        used = [self._entries[id] for id in once]
        for entry in used:
            self._put(replace(entry, uses=entry.uses + 1, last_used=step))
        if once:
            self._history.record(Shown(step, once))

    def prune(self, id: str, reason: str, *, step: int) -> Entry:
        """Take an entry out without a curator's asking, and return it.

        Raises:
            KeyError: There is no such entry.
        """
        self._check(step)
        entry = self._drop(id)
        self._history.record(Pruned(step, id, reason))
        return entry

    def contents(self) -> dict[str, str]:
        """The rules by id, as :func:`tiltyard.programs.playbook.listed` takes them."""
        return {entry.id: entry.content for entry in self._entries.values()}

    def rendered(self) -> str:
        """The playbook for people: by section, with the counts that are not 0."""
        return rendered(self.entries)

    @property
    def revision(self) -> int:
        """A number that grows with every change of an entry."""
        return len(self._changed)

    def changed_since(self, revision: int) -> list[str]:
        """The ids of the entries that came, went or changed since a revision, each once.

        So an index can keep up with a playbook at the cost of the changes alone.
        """
        return list(dict.fromkeys(self._changed[revision:]))

    def dumps(self) -> str:
        """The playbook as JSON: a line with the format and the next number, then an entry a line."""
        return written(self._entries.values(), self._next)

    @classmethod
    def loads(cls, text: str) -> "Playbook":
        """The playbook that :meth:`dumps` wrote, with a history that starts with it.

        Raises:
            InputError: A line is not what it should be.
        """
        entries, next_number = read(text)
        return cls(entries, next_number=next_number)

    def copy(self) -> "Playbook":
        """A playbook with the same entries, whose history starts here."""
        return Playbook(self._entries.values(), next_number=self._next)

    def carried_over(self) -> "Playbook":
        """The playbook for another run, whose steps begin at 0 again: all that it knows of is before that.

        Dates keep their distances. The last one becomes -1, so that age and use go on over runs.
        """
        dates = [max(entry.created, entry.last_used or 0) for entry in self._entries.values()]
        back = max([0, *(date + 1 for date in dates)])
        entries = [
            replace(
                entry,
                created=entry.created - back,
                last_used=None if entry.last_used is None else entry.last_used - back,
            )
            for entry in self._entries.values()
        ]
        return Playbook(entries, next_number=self._next)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Playbook":
        # DSPy copies programs often; entries never change, and a history can be long.
        return self.copy()

    @classmethod
    def replayed(cls, events: Sequence[Event]) -> "Playbook":
        """The playbook that these events make of nothing; :meth:`History.rebuild` calls it.

        Raises:
            InputError: An event does not fit what the events before it made.
        """
        start = events[0]
        assert isinstance(start, Started)
        playbook = cls(start.entries, next_number=start.next_number)
        for number, event in enumerate(events[1:], start=2):
            try:
                playbook._replay(event)
            except (KeyError, ValueError) as error:
                raise InputError(
                    f"event {number} of the playbook's history does not fit those before it ({error})",
                    "use a history that a run wrote, as it was",
                ) from error
        return playbook

    def _replay(self, event: Event) -> None:
        match event:
            case Operated(outcome=Outcome(applied=False)):
                self._history.record(event)
            case Operated(operation=Add() | Update() | Merge() | Remove() | Tag() as operation):
                outcome = self.apply(operation, step=event.step, sources=event.sources)
                if outcome != event.outcome:
                    raise ValueError(f"{kind_of(operation)} comes to {outcome}, not to {event.outcome}")
            case Shown():
                self.shown(event.ids, step=event.step)
            case Pruned():
                self.prune(event.id, event.reason, step=event.step)
            case _:
                raise ValueError("it cannot have been applied")

    def _check(self, step: int) -> None:
        # Before anything changes: an event that the history refuses must not have happened.
        if self._history.step is not None and step < self._history.step:
            raise ValueError(f"steps never go back: {step} after {self._history.step}")

    def _put(self, entry: Entry) -> None:
        before = self._entries.get(entry.id)
        self._entries[entry.id] = entry
        self._next = max(self._next, entry.number + 1)
        if before is None or before.content != entry.content:
            self._tokens += entry.tokens - (before.tokens if before is not None else 0)
        self._changed.append(entry.id)

    def _drop(self, id: str) -> Entry:
        entry = self._entries.pop(id)
        self._tokens -= entry.tokens
        self._changed.append(id)
        return entry
