"""One row per evaluated example: the record that reports, tests and tools read.

>>> with RowWriter(Path("predictions.csv")) as rows:
...     rows.add(row)                      # on disk when the call returns
>>> rows = read_rows(Path("predictions.csv"))
"""

import csv
import io
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TextIO

from tiltyard.files import write_bytes
from tiltyard.redaction import redact

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Row:
    """What happened with one example. The order of the fields is the order of the columns."""

    model_id: str
    """The model's own identifier, such as ``Qwen/Qwen2.5-0.5B-Instruct``."""
    task_name: str
    domain: str
    mode: str
    """``baseline`` for ``optimizer=none``, else the optimizer's name."""
    sample_id: str
    gold: str
    pred: str
    """Empty when the example failed."""
    latency_ms: float
    """Wall time of the program's call, whether it succeeded or failed."""
    question: str
    context: str
    correct: int
    """1 when the score is full marks, else 0."""
    score: float
    """The task's primary metric for this example, in [0, 1]; 0 when the example failed."""
    split: str
    epoch: int
    """0 where the optimizer has no epochs."""
    finish_reason: str
    """``length`` when a token limit cut any of the example's completions off, else why the last one ended
    (``stop``, ``tool_call``, ``content_filter``); empty when no completion came."""
    error: str
    """Why the example failed, in one line; empty when it did not."""
    reflection_latency_ms: float
    """Time spent reflecting on this example; 0 where the optimizer does not reflect."""
    reflected: int
    prompt_tokens: int
    """Tokens read for the answer, when it was made."""
    completion_tokens: int
    """Tokens written for the answer, when it was made."""
    cached: int
    """1 when every completion came from a response cache, and no call failed for the model's sake."""


CHOSEN_EPOCH = "epoch.chosen"
"""The metric that says which epoch's rows make the run's score, in runs that evaluated several."""
COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Row))
"""The columns of ``predictions.csv``, in order."""


class RowWriter:
    """Appends rows to a CSV file as examples finish; each row is on disk when :meth:`add` returns.

    Threads may share one writer. On a clean exit the file is rewritten, atomically, in the order of
    ``order``: what a run leaves does not depend on which thread was faster.

    Args:
        path: The file. An existing one is replaced.
        order: The sample ids in their final order.
        before: Rows that the file holds already, of other epochs; they stay, in front.
    """

    def __init__(self, path: Path, order: Iterable[str] = (), before: Sequence[Row] = ()) -> None:
        self.path = path
        self._before = tuple(before)
        self._order = {sample: position for position, sample in enumerate(order)}
        self._written: list[tuple[Row, str]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open(self.path, "a" if self._before else "w")
        if not self._before:
            self._file.write(_HEADER)
            self._file.flush()
        return self

    def add(self, row: Row) -> bool:
        """Write one row and flush it.

        Returns:
            Whether it stands there as it came: no secret had to be masked.
        """
        text = _csv(vars(row).values())
        line = redact(text)
        with self._lock:
            self._file.write(line)
            self._file.flush()
            self._written.append((row, line))
        return line == text

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._file.close()
        if kind is None:
            before = (_line(vars(row).values()) for row in self._before)
            _write_lines(self.path, (*before, *(line for _, line in self._ordered)))

    @property
    def rows(self) -> list[Row]:
        """The rows written here so far, in their final order."""
        return [row for row, _ in self._ordered]

    @property
    def _ordered(self) -> list[tuple[Row, str]]:
        last = len(self._order)
        return sorted(self._written, key=lambda written: self._order.get(written[0].sample_id, last))


def _csv(values: Iterable[object]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(values)
    return line.getvalue()


def _line(values: Iterable[object]) -> str:
    """One line of CSV with secrets masked."""
    return redact(_csv(values))


_HEADER = _line(COLUMNS)


def _open(path: Path, mode: Literal["w", "a"]) -> TextIO:
    # A model can write half a surrogate pair, which UTF-8 lacks: such a character stands escaped.
    return path.open(mode, newline="", encoding="utf-8", errors="backslashreplace")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, atomically: a reader sees the old file or the new one."""
    _write_lines(path, (_line(vars(row).values()) for row in rows))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_bytes(path, "".join((_HEADER, *lines)).encode("utf-8", errors="backslashreplace"))


def rows_of_the_score(rows: "pd.DataFrame", metrics: Mapping[str, float]) -> "pd.DataFrame":
    """The rows that a run's score is of: where it evaluated several epochs, those of the chosen one.

    Args:
        rows: The run's rows.
        metrics: The run's metrics, among which ``epoch.chosen`` says which epoch that is.
    """
    chosen = metrics.get(CHOSEN_EPOCH)
    return rows if chosen is None else rows[rows["epoch"] == chosen]


def read_rows(path: Path) -> "pd.DataFrame":
    """Read ``predictions.csv`` or ``adaptation.csv``.

    Text columns stay text (``"007"`` and ``"NA"`` are answers); an attempt that was not judged has score NaN.
    """
    import pandas as pd

    text = {field.name: str for field in fields(Row) if field.type is str}
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"score": ["nan"]})
