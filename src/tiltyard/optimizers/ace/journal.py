"""Keeps every step of an adaptation on disk, so that one that was killed goes on behind its last step.

    >>> journal = Journal.opened(folder, fingerprint="5f0c…")
    >>> journal.records                       # what was done before; empty at the first start
    []
    >>> journal.add(step)                     # on disk when the call returns

A line for each step is appended, which costs the same however long the adaptation is; a file with the whole
state would grow with it. A line that a kill has cut off is no record: its step is done again.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tiltyard.files import write_text
from tiltyard.optimizers.ace.records import Record, Step, dumped, loaded
from tiltyard.optimizers.adapting.plain_values import redacted

logger = logging.getLogger(__name__)

FILE = "ace.jsonl"
FORMAT = 1


class Journal:
    """The records of one adaptation, in memory and, where there is a file, on disk.

    Args:
        path: The file, which exists; None keeps the records in memory only.
        records: Those that it holds already.
    """

    def __init__(self, path: Path | None = None, records: Sequence[Record] = ()) -> None:
        self._path = path
        self.records: list[Record] = list(records)

    @classmethod
    def opened(cls, folder: Path | None, fingerprint: str) -> "Journal":
        """The journal in a folder, with what it holds of the same adaptation.

        A journal of an adaptation with other settings or other examples is replaced, and a warning says so.

        Args:
            folder: Where it is kept; made where it does not exist. None keeps nothing on disk.
            fingerprint: Tells one adaptation from others.

        Raises:
            OSError: The folder cannot be written.
        """
        if folder is None:
            return cls()
        path = folder / FILE
        if path.exists():
            lines = path.read_bytes().split(b"\n")[:-1]  # what stands behind the last line break is cut off
            if lines and _header(lines[0]) == {"format": FORMAT, "fingerprint": fingerprint}:
                records, kept = _read(lines[1:])
                with path.open("r+b") as file:
                    file.truncate(len(lines[0]) + 1 + kept)
                return cls(path, records)
            logger.warning(
                "%s is of another adaptation, with other settings or examples: starting anew", path
            )
        write_text(path, json.dumps({"format": FORMAT, "fingerprint": fingerprint}) + "\n")
        return cls(path)

    def add(self, record: Record) -> None:
        """Keep a record, with the secrets in its texts masked.

        In memory too: what is resumed must not differ.
        """
        kept = _without_secrets(record)
        self.records.append(kept)
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(dumped(kept) + "\n")

    def discard(self) -> None:
        """Forget everything; the file is removed."""
        self.records.clear()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _without_secrets(record: Record) -> Record:
    values = redacted(asdict(record))
    if isinstance(record, Step):
        # They are JSON already. What they hold was masked before it came into the playbook.
        values["events"] = record.events
    return loaded(json.dumps(values))


def _header(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _read(lines: Sequence[bytes]) -> tuple[list[Record], int]:
    """The records up to the first line that is none, and how many bytes they take."""
    records: list[Record] = []
    size = 0
    for line in lines:
        try:
            records.append(loaded(line.decode("utf-8")))
        except ValueError:
            break
        size += len(line) + 1
    return records, size
