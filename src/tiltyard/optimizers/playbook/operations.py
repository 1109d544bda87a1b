r"""The changes that a curator can make to a playbook, and how to read them from what a model wrote.

>>> read_operations("ADD amounts: Write USD before amounts.\nTAG [k2] harmful\nTidy up.")
[Add(section='amounts', content='Write USD before amounts.'), Tag(id='k2', verdict='harmful'),
 Unreadable(line='Tidy up.', reason='it begins with none of ADD, UPDATE, MERGE, REMOVE, TAG, NONE')]

There is no operation that replaces a playbook as a whole.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from tiltyard.optimizers.playbook.entry import one_line

Verdict = Literal["helpful", "harmful", "neutral"]
"""What an entry did for an answer."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

GENERAL = "general"
"""The section of a rule that names none."""


@dataclass(frozen=True)
class Add:
    """A new rule."""

    section: str
    content: str


@dataclass(frozen=True)
class Update:
    """A new content for an entry, which keeps its id, its section and its counts."""

    id: str
    content: str


@dataclass(frozen=True)
class Merge:
    """One entry in place of several: the oldest's id, all their counts and sources."""

    ids: tuple[str, ...]
    content: str
    section: str | None = None
    """None for the oldest entry's."""


@dataclass(frozen=True)
class Remove:
    """An entry goes, and its id with it."""

    id: str


@dataclass(frozen=True)
class Tag:
    """One more count of what an entry did."""

    id: str
    verdict: Verdict


@dataclass(frozen=True)
class Unreadable:
    """A line that holds no operation."""

    line: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of an operation."""

    applied: bool
    """Whether the playbook changed as the operation says."""
    reason: str = ""
    """Why it was not applied, or what was done beside it."""
    id: str | None = None
    """The entry that was added or changed, or that says already what was to be added."""


Operation: TypeAlias = Add | Update | Merge | Remove | Tag
Wish: TypeAlias = Operation | Unreadable
"""What a curator asked for, readable or not."""

_KINDS: dict[str, type[Wish]] = {
    kind.__name__.lower(): kind for kind in (Add, Update, Merge, Remove, Tag, Unreadable)
}
_WORDS = {
    "add": "add",
    "update": "update",
    "modify": "update",
    "edit": "update",
    "merge": "merge",
    "remove": "remove",
    "delete": "remove",
    "tag": "tag",
    "none": "none",
}
"""The first words that are understood."""
_LINE = re.compile(r"(?P<word>[A-Za-z]+)\b[\s*]*(?P<rest>.*)", re.DOTALL)
_MARKER = re.compile(r"\s*(?:(?:[-*•]|\(?\d{1,2}[.)])\s+)*")
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})[\w-]*\s*")
_QUOTES = "\"'`“”‘’«»"
_AROUND_IDS = _QUOTES + "[](){}<>*# .,:"
_NUMBER = re.compile(r"[kK]?0*([1-9][0-9]*)")
_LONGEST_SECTION = 40
"""Characters. What is longer before a colon belongs to the rule."""


def kind_of(operation: Wish) -> str:
    """The operation's name in lower case, such as ``add``; ``unreadable`` for what is none."""
    return type(operation).__name__.lower()


def as_record(operation: Wish) -> dict[str, Any]:
    """An operation as plain values, for JSON."""
    return {"kind": kind_of(operation), **asdict(operation)}


def from_record(record: Mapping[str, Any]) -> Wish:
    """The operation that :func:`as_record` wrote.

    Raises:
        KeyError: It names no kind of operation, or lacks a part of it.
    """
    kind = _KINDS[record["kind"]]
    values: dict[str, Any] = {field.name: record[field.name] for field in fields(kind)}
    if "ids" in values:
        values["ids"] = tuple(values["ids"])
    return kind(**values)


def read_operations(text: str) -> list[Wish]:
    """Read the operations in what a curator wrote.

    Understood are lines such as ``ADD SECTION: RULE``, ``UPDATE ID: RULE``, ``MERGE ID, ID: RULE``,
    ``REMOVE ID``, ``TAG ID helpful`` and ``NONE``, in any case, with list markers, code fences, brackets
    or quotes; and the JSON of ACE's authors, ``{"operations": [{"type": "ADD", ...}]}``, of which the
    complete operations are taken where it is cut off.

    Args:
        text: The reply. One that is empty or says ``NONE`` asks for nothing.

    Returns:
        Operations in their order, with an :class:`Unreadable` for each line or record that is none.
    """
    if records := list(_json_operations(text)):
        return [_from_json(record) for record in records]
    wishes = (_from_line(line) for line in text.splitlines() if line.strip() and not _FENCE.fullmatch(line))
    return [wish for wish in wishes if wish is not None]


def _from_line(line: str) -> Wish | None:
    bare = line[_MARKER.match(line).end() :].strip().strip("*").strip()  # type: ignore[union-attr]
    bare = bare[1:-1].strip() if _is_wrapped(bare) else bare
    found = _LINE.fullmatch(bare)
    word = _WORDS.get(found["word"].lower()) if found else None
    if found is None or word is None:
        return Unreadable(line.strip(), f"it begins with none of {_listed(_KINDS)}, NONE")
    rest = found["rest"]
    if word == "none":
        return Unreadable(line.strip(), "something follows NONE") if rest.strip(" .") else None
    wish = _add(rest) if word == "add" else _READERS[word](rest.lstrip(":* "))
    return wish if not isinstance(wish, str) else Unreadable(line.strip(), wish)


def _is_wrapped(text: str) -> bool:
    return len(text) > 1 and text[0] + text[-1] in ("[]", "()", "``", '""', "''", "“”")


def _listed(kinds: Mapping[str, type[Wish]]) -> str:
    return ", ".join(name.upper() for name in kinds if name != "unreadable")


# The readers return what is wrong as a string: it goes back to the model that wrote the line.
def _add(rest: str) -> Add | str:
    named = rest.lstrip(":* ")
    before, colon, after = named.partition(":")
    if not colon and named == rest:
        return "there is no colon between section and rule"
    if not colon:
        # "ADD: RULE" names no section.
        before, after = "", named
    section, content = before.strip(_AROUND_IDS), after
    if len(section) > _LONGEST_SECTION:
        section, content = GENERAL, named
    return Add(one_line(section) or GENERAL, _rule(content)) if _rule(content) else "it holds no rule"


def _update(rest: str) -> Update | str:
    found = re.fullmatch(r"(\S+?)\s*:\s*(.*)|(\S+)\s+(.+)", rest)
    if found is None:
        return "it is not ID: RULE"
    content = _rule(found[2] if found[1] else found[4])
    return Update(read_id(found[1] or found[3]), content) if content else "it holds no rule"


def _merge(rest: str) -> Merge | str:
    before, colon, after = rest.partition(":")
    ids = _ids(re.split(r"[,;&+\s]+|\band\b", before))
    if not colon or len(ids) < 2:
        return "it is not ID, ID: RULE"
    return Merge(ids, _rule(after)) if _rule(after) else "it holds no rule"


def _remove(rest: str) -> Remove | str:
    words = rest.split()
    return Remove(read_id(words[0])) if len(words) == 1 and read_id(words[0]) else "it is not one ID"


def _tag(rest: str) -> Tag | str:
    words = [word.strip(_AROUND_IDS) for word in re.split(r"[\s:=,]+", rest)]
    words = [word for word in words if word and word.lower() != "as"]
    verdict = next((verdict for verdict in VERDICTS if words[1:] and words[1].lower() == verdict), None)
    if len(words) != 2 or verdict is None:
        return f"it is not an ID and one of {', '.join(VERDICTS)}"
    return Tag(read_id(words[0]), verdict)


_READERS = {"update": _update, "merge": _merge, "remove": _remove, "tag": _tag}


def read_id(text: str) -> str:
    """An id as the playbook writes it, from an id as a model writes it: ``[K03]`` and ``3`` are ``k3``.

    What is no such id comes back without the signs around it.
    """
    bare = text.strip(_AROUND_IDS)
    found = _NUMBER.fullmatch(bare)
    return f"k{found[1]}" if found else bare


def _ids(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(read_id(word) for word in words if read_id(word)))


def _rule(text: str) -> str:
    bare = one_line(text)
    # Quotes go only as a pair round the whole rule: those within belong to it.
    if len(bare) > 1 and bare[0] in _QUOTES and bare[-1] in _QUOTES and bare[0] not in bare[1:-1]:
        bare = bare[1:-1].strip()
    return bare


def _json_operations(text: str) -> Iterator[Mapping[str, Any]]:
    """The complete records with a ``type`` in a JSON text, wherever it begins and ends."""
    decoder = json.JSONDecoder(strict=False)
    if '"type"' not in text and '"operations"' not in text:
        return
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            # Cut off, or no JSON: what stands within may still be complete.
            position = text.find("{", position + 1)
            continue
        listed = value.get("operations", [value])
        for record in listed if isinstance(listed, list) else [listed]:
            if isinstance(record, dict) and "type" in record:
                yield record
        position = text.find("{", end)


def _from_json(record: Mapping[str, Any]) -> Wish:
    line = json.dumps(record, ensure_ascii=False)
    word = _WORDS.get(str(record["type"]).lower())
    ids = next((record[key] for key in ("ids", "source_ids", "bullet_ids") if key in record), None)
    one = next((record[key] for key in ("id", "bullet_id", "target_id") if key in record), "")
    content = _rule(str(record.get("content") or ""))
    section = one_line(str(record.get("section") or ""))
    verdict = str(record.get("verdict") or record.get("tag") or "").lower()
    if word == "tag" and verdict in VERDICTS:
        return Tag(read_id(str(one)), VERDICTS[VERDICTS.index(verdict)])
    if word == "remove" and one:
        return Remove(read_id(str(one)))
    if word == "add" and content:
        return Add(section or GENERAL, content)
    if word == "update" and content and one:
        return Update(read_id(str(one)), content)
    if word == "merge" and content and isinstance(ids, list) and len(ids) > 1:
        return Merge(_ids([str(each) for each in ids]), content, section or None)
    return Unreadable(line, "it lacks a part of its operation")
