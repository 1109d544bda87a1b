"""The file of a playbook: a line with the format and the next number, then an entry a line.

>>> print(written([Entry("k1", "dates", "Use dots.")], next_number=3))
{"format": 1, "next": 3}
{"id": "k1", "section": "dates", "content": "Use dots.", "helpful": 0, ...}
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tiltyard.errors import InputError
from tiltyard.optimizers.playbook.entry import Entry, entry_of

FORMAT = 1
"""The version of the format."""
REMEDY = "use a playbook.jsonl that a run wrote, or mend the line"


def written(entries: Iterable[Entry], next_number: int) -> str:
    """The text of a file."""
    header: dict[str, Any] = {"format": FORMAT, "next": next_number}
    records = [header, *(asdict(entry) for entry in entries)]
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def read(text: str) -> tuple[list[Entry], int]:
    """The entries and the next number in a file's text.

    Raises:
        InputError: A line is not what it should be; it names the line.
    """
    entries: dict[str, Entry] = {}
    next_number = 0
    # Not splitlines: a text in JSON may hold other line breaks.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not next_number:
                next_number = _next_of(record)
                continue
            entry = entry_of(record)
            if entry.id in entries or entry.number >= next_number:
                raise ValueError(f"the id {entry.id} is in use, or still to come")
        except (ValueError, TypeError) as error:
            raise InputError(f"line {number} of the playbook is wrong ({error})", REMEDY) from error
        entries[entry.id] = entry
    if not next_number:
        raise InputError("the playbook is empty: not even its first line is there", REMEDY)
    return list(entries.values()), next_number


def _next_of(header: Any) -> int:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f'the first line is {{"format": {FORMAT}, "next": NUMBER}}')
    number = header.get("next")
    if type(number) is not int or number < 1:
        raise ValueError('"next" is not a number from 1')
    return number
