"""Everything that happened to a playbook, in order, so that the playbook of any step can be had again.

    >>> playbook.history.rebuild(step=12) == playbook_as_it_was_after_step_12
    True
    >>> History.loads(path.read_text()).rebuild()  # goes on where it stopped: a checkpoint

A playbook changes by events alone, which it writes here itself; so nothing can happen to it that is not in
its history.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.entry import Entry, entry_of
from tiltyard.optimizers.playbook.operations import Outcome, Wish, as_record, from_record

if TYPE_CHECKING:
    from tiltyard.optimizers.playbook.playbook import Playbook


@dataclass(frozen=True)
class Started:
    """The playbook as it was at first: empty, or loaded. Every history begins with one."""

    entries: tuple[Entry, ...]
    next_number: int


@dataclass(frozen=True)
class Operated:
    """An operation or a credit, applied or refused; a refused one changed nothing."""

    step: int
    operation: Wish
    outcome: Outcome
    sources: tuple[str, ...] = ()
    """Ids of the examples that the operation came from."""


@dataclass(frozen=True)
class Shown:
    """Entries stood in a prompt."""

    step: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Pruned:
    """An entry went, without a curator's asking."""

    step: int
    id: str
    reason: str


Event: TypeAlias = Started | Operated | Shown | Pruned


class History:
    """Events of one playbook, oldest first. It only grows.

    Args:
        events: What happened so far; the first is a :class:`Started`, and steps never go back.

    Raises:
        ValueError: The events are not in such an order.
    """

    def __init__(self, events: tuple[Event, ...]) -> None:
        if not events or not isinstance(events[0], Started):
            raise ValueError("a history begins with the playbook as it was at first")
        self._events: list[Event] = [events[0]]
        self._step: int | None = None
        for event in events[1:]:
            self.record(event)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @property
    def step(self) -> int | None:
        """The step of the last event; None where nothing happened yet."""
        return self._step

    def record(self, event: Event) -> None:
        """Append an event.

        Raises:
            ValueError: It belongs to an earlier step than the last event, or starts a playbook again.
        """
        if isinstance(event, Started):
            raise ValueError("a playbook starts once")  # noqa: TRY004 - the type is right, the place is not
        if self._step is not None and event.step < self._step:
            raise ValueError(f"steps never go back: {event.step} after {self._step}")
        self._events.append(event)
        self._step = event.step

    def rebuild(self, step: int | None = None) -> "Playbook":
        """The playbook as it was after a step, with its history until then.

        Args:
            step: The step; None for the last one. Before the first: the playbook as it was at first.

        Raises:
            InputError: An event does not fit the playbook that the events before it made.
        """
        # Imported here: a playbook holds a history.
        from tiltyard.optimizers.playbook.playbook import Playbook

        return Playbook.replayed(
            [
                event
                for event in self._events
                if isinstance(event, Started) or step is None or event.step <= step
            ]
        )

    def dumps(self, since: int = 0) -> str:
        """The events as JSON, one a line.

        Args:
            since: How many of the oldest to leave out, such as those that a file holds already.
        """
        lines = [json.dumps(_as_record(event), ensure_ascii=False) for event in self._events[since:]]
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def loads(cls, text: str) -> "History":
        """The history that :meth:`dumps` wrote.

        Raises:
            InputError: A line holds no event, or the events are in no possible order.
        """
        events = []
        # Not splitlines: a text in JSON may hold other line breaks.
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                events.append(_from_record(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise InputError(
                    f"line {number} of the playbook's history holds no event ({error!r})",
                    "use a file that a run wrote, as it was",
                ) from error
        try:
            return cls(tuple(events))
        except ValueError as error:
            raise InputError(f"the playbook's history is damaged ({error})", "use it whole") from error


def _as_record(event: Event) -> dict[str, Any]:
    if isinstance(event, Operated):
        return {
            "event": "operated",
            "step": event.step,
            "operation": as_record(event.operation),
            "outcome": asdict(event.outcome),
            "sources": event.sources,
        }
    return {"event": type(event).__name__.lower(), **asdict(event)}


def _from_record(record: dict[str, Any]) -> Event:
    values = dict(record)
    kind = values.pop("event")
    if kind == "started":
        entries = tuple(entry_of(entry) for entry in values["entries"])
        return Started(entries, int(values["next_number"]))
    if kind == "operated":
        return Operated(
            int(values["step"]),
            from_record(values["operation"]),
            Outcome(**values["outcome"]),
            tuple(values["sources"]),
        )
    if kind == "shown":
        return Shown(int(values["step"]), tuple(values["ids"]))
    if kind == "pruned":
        return Pruned(**values)
    raise ValueError(f"no event is called {kind!r}")
