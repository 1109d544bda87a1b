"""Keeps the sheets that were written for questions, so that the same one is not written twice.

>>> cache = SheetCache()
>>> cache.put("question: What was sold?", lm, "- Write USD before sums.")
>>> cache.get("question: What was sold?", lm)
'- Write USD before sums.'
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

LARGEST = 4096


class SheetCache:
    """Sheets by question and model; threads may share it. Copies and pickles of it are empty.

    Args:
        size: How many it holds; the one that was not asked for the longest makes room.
    """

    def __init__(self, size: int = LARGEST) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._sheets: OrderedDict[Hashable, tuple[str, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sheets)

    def __reduce__(self) -> tuple[type["SheetCache"], tuple[int]]:
        return SheetCache, (self._size,)

    def get(self, task: str, lm: Any) -> str | None:
        """The sheet that a model wrote for a task; None where there is none."""
        key = _key(task, lm)
        with self._lock:
            if key not in self._sheets:
                return None
            self._sheets.move_to_end(key)
            return self._sheets[key][0]

    def put(self, task: str, lm: Any, sheet: str) -> None:
        """Keep the sheet that a model wrote for a task."""
        with self._lock:
            # With the engine, so that no other can come to have its id.
            self._sheets[_key(task, lm)] = (sheet, getattr(lm, "engine", None))
            while len(self._sheets) > self._size:
                self._sheets.popitem(last=False)


def _key(task: str, lm: Any) -> Hashable:
    """The copies of a model share its engine and have settings alike: they are one model."""
    settings = json.dumps(getattr(lm, "kwargs", {}), sort_keys=True, default=str)
    return task, str(getattr(lm, "model", "")), id(getattr(lm, "engine", None)), settings
