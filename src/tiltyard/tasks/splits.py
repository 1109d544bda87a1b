"""Divides examples into train, validation and test: disjoint by content, decided by the seed alone.

>>> split_entries(entries, fractions=FRACTIONS, seed=0, limit=None, source="qa.jsonl").test
[Example({'id': '12', …}), …]
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

import dspy
from pydantic import AfterValidator, BeforeValidator, Field

from tiltyard.errors import InputError
from tiltyard.tasks.task import Splits

SplitName = Literal["train", "validation", "test"]
NAMES: tuple[SplitName, ...] = ("train", "validation", "test")
_ALIASES = {"val": "validation", "valid": "validation", "dev": "validation"}


def _add_up(fractions: Mapping[SplitName, float]) -> Mapping[SplitName, float]:
    missing = [name for name in NAMES if name not in fractions]
    if missing:
        raise ValueError(f"has no {' and no '.join(missing)}")
    total = sum(fractions.values())
    if abs(total - 1) > 1e-6:
        raise ValueError(f"should add up to 1, not {total:g}")
    if not fractions["test"]:
        raise ValueError("the test split should not be empty")
    return fractions


Fractions = Annotated[
    Mapping[SplitName, Annotated[float, Field(ge=0, le=1)]],
    AfterValidator(_add_up),
]
"""The share of the records in each split: ``train``, ``validation`` and ``test``, which add up to 1."""

FRACTIONS: Fractions = MappingProxyType({"train": 0.4, "validation": 0.2, "test": 0.4})
"""The shares for a file that does not declare its splits."""


def _named(value: object) -> object:
    return _ALIASES.get(value.strip().lower(), value.strip().lower()) if isinstance(value, str) else value


DeclaredSplit = Annotated[SplitName, BeforeValidator(_named)]
"""A record's own ``split``; ``val``, ``valid`` and ``dev`` mean validation."""


@dataclass(frozen=True)
class Entry:
    """An example on its way into a split."""

    example: dspy.Example
    """The example; its ``id`` is unique."""
    place: str
    """Where its record stands, for errors."""
    content: str
    """A key that equal records share, whatever their ids; see :func:`content_key`."""
    group: str
    """A key of what must stay on one side, such as a context that several questions share."""
    split: SplitName | None = None
    """The split that the record declares."""


def content_key(*parts: str) -> str:
    """Make a key that texts share when they differ only in case and white space."""
    plain = "\x1f".join(" ".join(part.casefold().split()) for part in parts)
    return hashlib.sha256(plain.encode()).hexdigest()


def _draw(seed: int, purpose: str, key: str) -> bytes:
    # Sorting by a keyed digest is a shuffle in which a record's place does not depend on the others, so
    # a smaller limit takes a prefix of what a larger one takes.
    return hashlib.sha256(f"{seed}\x1f{purpose}\x1f{key}".encode()).digest()


def split_entries(
    entries: Sequence[Entry], *, fractions: Fractions, seed: int, limit: int | None, source: str
) -> Splits:
    """Divide entries as their records declare, or else by fractions; shuffle each split, then limit it.

    Where nothing is declared, entries of one group stay together, and a file with fewer groups than
    splits fills test first.

    Args:
        entries: All entries of the task.
        fractions: The share of each split; unused where the records declare their splits.
        seed: Decides membership (unless declared) and order.
        limit: At most this many examples in each split; a smaller limit's examples are the first of a
            larger one's.
        source: The file, for errors.

    Raises:
        InputError: An id occurs twice; only some records declare a split; two splits share content; no
            record is left for test.
    """
    _check_ids(entries)
    undeclared = [entry for entry in entries if entry.split is None]
    if not undeclared:
        members = _declared(entries, source)
    elif len(undeclared) == len(entries):
        members = _divided(entries, fractions, seed)
    else:
        raise InputError(
            f"{undeclared[0].place}: field 'split' is missing", "give every record a split, or none"
        )
    chosen = {
        name: sorted(members[name], key=lambda entry: _draw(seed, "order", str(entry.example.id)))[:limit]
        for name in NAMES
    }
    return Splits(**{name: [entry.example for entry in chosen[name]] for name in NAMES})


def hold_back(
    train: Sequence[dspy.Example], *, share: float, seed: int
) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """Take a part of train to choose by, where validation is kept for scoring.

    Examples with one context stay together. Where all have the same, nothing is held back.

    Args:
        train: The examples, in their order.
        share: How much is held back, in (0, 0.5], as near as contexts allow: at least one of them, and never
            all.
        seed: Decides which part.

    Returns:
        What is left to learn from, and what was held back, both in the order of ``train``.
    """
    entries = [
        Entry(example, "train", "", group=str(example.get("context") or example.id)) for example in train
    ]
    members = _divided(entries, {"train": 1 - share, "validation": 0.0, "test": share}, seed)
    if not members["train"]:
        return list(train), []
    held_back = {str(entry.example.id) for entry in members["test"]}
    return (
        [example for example in train if str(example.id) not in held_back],
        [example for example in train if str(example.id) in held_back],
    )


def _check_ids(entries: Iterable[Entry]) -> None:
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(str(entry.example.id), entry)
        if first is not entry:
            raise InputError(
                f"{entry.place}: the id '{entry.example.id}' is taken by {first.place}",
                "give every record its own id",
            )


def _declared(entries: Iterable[Entry], source: str) -> dict[SplitName, list[Entry]]:
    members: dict[SplitName, list[Entry]] = {name: [] for name in NAMES}
    seen: dict[str, Entry] = {}
    for entry in entries:
        assert entry.split is not None
        first = seen.setdefault(entry.content, entry)
        if first.split != entry.split:
            raise InputError(
                f"{entry.place}: the record is in {entry.split}, and {first.place} holds the same one "
                f"in {first.split}",
                "keep one of them: what is learned from must not be what is scored",
            )
        members[entry.split].append(entry)
    if not members["test"]:
        raise InputError(f"{source}: no record declares split 'test'", "there is nothing to score")
    return members


def _divided(entries: Sequence[Entry], fractions: Fractions, seed: int) -> dict[SplitName, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    members: dict[SplitName, list[Entry]] = {name: [] for name in NAMES}
    for key in sorted(groups, key=lambda key: _draw(seed, "membership", key)):
        lacking = {name: fractions[name] * len(entries) - len(members[name]) for name in NAMES}
        # A split that fraction 0 closes stays closed when rounding leaves every other one full.
        open_splits = [name for name in reversed(NAMES) if fractions[name] > 0]
        neediest = max(open_splits, key=lambda name: lacking[name])
        members[neediest if members["test"] else "test"].extend(groups[key])
    return members
