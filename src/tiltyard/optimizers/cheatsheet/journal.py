"""Keeps what was done, so that a killed compilation does nothing twice and ends as if it had not been killed.

    >>> journal = Journal(folder / "cheatsheet.jsonl", "digest of the settings")
    >>> journal.once("answers/0", lambda: {"answer": ask()})     # a second run finds the first one's result
    {'answer': '42'}

Whoever uses it goes through the same steps each time, resumed or not; only the work of a step is left out
where its result is known. So nothing but results has to be restored.
"""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tiltyard.errors import JobError
from tiltyard.files import write_text
from tiltyard.optimizers.adapting.plain_values import redacted

logger = logging.getLogger(__name__)

_SETTINGS = "settings"


class Journal:
    """Results by key, in a JSON Lines file that grows by a line for each.

    What comes back of a piece of work is what JSON makes of it, so it is the same resumed or not. A line that
    a kill cut off is left out.

    Args:
        path: The file; None keeps the results in memory only.
        settings: What the results depend on, in any words. A file of other settings is begun anew.
    """

    def __init__(self, path: Path | None, settings: str) -> None:
        self.path = path
        self._results: dict[str, Any] = {}
        if path is None:
            return
        results = _read(path)
        if results and results.get(_SETTINGS) != settings:
            logger.warning("%s is of other settings: it is begun anew", path)
            results = {}
        self._results = {key: result for key, result in results.items() if key != _SETTINGS}
        # Written whole once, so that what is appended does not follow on half a line.
        write_text(
            path, "".join(map(_line, [_SETTINGS, *self._results], [settings, *self._results.values()]))
        )

    def __len__(self) -> int:
        return len(self._results)

    def once(self, key: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The result of a piece of work, which is done only where its result is not known yet.

        Args:
            key: What it is called; each piece of work has a name of its own.
            work: Does it. What it returns can be written as JSON.

        Raises:
            JobError: The result cannot be written to the file.
            Exception: Whatever the work raised; nothing is kept then.
        """
        if key not in self._results:
            line = _line(key, work())
            self._append(line)
            self._results[key] = json.loads(line)["result"]
        result: dict[str, Any] = self._results[key]
        return result

    def discard(self) -> None:
        """Forget everything; the file is removed."""
        self._results.clear()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _append(self, line: str) -> None:
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise JobError(
                f"the checkpoint {self.path} cannot be written ({error.strerror})", "free some space"
            ) from error


def _line(key: str, result: Any) -> str:
    # ASCII: a model can write half a surrogate pair, which UTF-8 lacks.
    return json.dumps({"key": key, "result": redacted(result)}) + "\n"


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found: dict[str, Any] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith("\n") else None
        except ValueError:
            entry = None
        if entry is None:
            logger.info("%s: an unfinished line is left out", path)
            break
        found[entry["key"]] = entry["result"]
    return found
