"""Keeps what GEPA has found out on disk, so that a killed run goes on and ends with the same program.

    >>> journal = Journal.opened(folder, fingerprint="5f0c…")
    >>> question = {"evaluate": "9f…", "examples": "1a…"}
    >>> journal.answer_to(question)           # None: it was not asked yet
    >>> journal.keep(question, {"scores": [1.0, 0.0]})

GEPA's own state file forgets where its random numbers stood, repeats the first evaluation, and is a pickle.
So a run starts over with the same seed, and this answers what an earlier try has asked already, in order.
"""

import json
import logging
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiltyard.files import write_text
from tiltyard.optimizers.adapting.plain_values import redacted

logger = logging.getLogger(__name__)

FILE = "gepa.jsonl"
FORMAT = 1

Json = Mapping[str, Any]


class Journal:
    """Questions with their answers, in the order in which they were asked.

    Args:
        path: The file, which exists and holds its header; None keeps nothing on disk.
        header: The file's first line.
        entries: What an earlier try has left.
    """

    def __init__(self, path: Path | None = None, header: str = "", entries: list[Json] | None = None) -> None:
        self._path = path
        self._lines = [header]
        self._waiting = deque(entries or [])

    @classmethod
    def opened(cls, folder: Path | None, fingerprint: str) -> "Journal":
        """The journal in a folder, with what it holds of the same compilation.

        One of a compilation with other settings or examples is replaced, and the log says so. A line that a
        kill has cut off is dropped.

        Args:
            folder: Where it is kept; made where it does not exist. None keeps nothing.
            fingerprint: Tells one compilation from others.

        Raises:
            OSError: The folder cannot be written.
        """
        if folder is None:
            return cls()
        path = folder / FILE
        header = json.dumps({"format": FORMAT, "fingerprint": fingerprint})
        entries: list[Json] = []
        if path.exists():
            first, *lines = path.read_text(encoding="utf-8").split("\n")
            if first == header:
                entries = _read(lines)
            else:
                logger.warning("%s is of another compilation: starting anew", path)
        journal = cls(path, header, entries)
        journal._write([header, *(json.dumps(entry) for entry in entries)])
        return journal

    def answer_to(self, question: Json) -> Json | None:
        """What an earlier try found out; None where it did not come so far."""
        if not self._waiting:
            return None
        entry = self._waiting[0]
        if entry["question"] != redacted(question):
            logger.warning("The checkpoints in %s do not fit from here on: going on without them", self._path)
            self._waiting.clear()
            self._write(self._lines)
            return None
        self._waiting.popleft()
        self._lines.append(json.dumps(entry))
        answer: Json = entry["answer"]
        return answer

    def keep(self, question: Json, answer: Json) -> None:
        """Keep an answer. It is on disk when the call returns."""
        line = json.dumps(redacted({"question": question, "answer": answer}))
        self._lines.append(line)
        if self._path is None:
            return
        with self._path.open("ab") as file:
            file.write((line + "\n").encode())
            file.flush()
            os.fsync(file.fileno())

    def _write(self, lines: list[str]) -> None:
        if self._path is not None:
            write_text(self._path, "\n".join(lines) + "\n")


def _read(lines: list[str]) -> list[Json]:
    """The entries up to the first line that is none; what stands behind the last line break is cut off."""
    entries: list[Json] = []
    for line in lines[:-1]:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        entries.append(entry)
    return entries
