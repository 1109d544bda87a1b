"""Keeps finished trials on disk, so that an evaluation that was killed goes on at the next example.

>>> with TrialJournal(folder / "test-0.jsonl", program, {"epoch": 0}) as journal:
...     journal.finished(example, labels)  # None: no earlier try has finished it
...     journal.keep(trial)                # in the file when the call returns
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO, Self

import dspy

from tiltyard.evaluation.failures import Failure
from tiltyard.evaluation.rows import Row
from tiltyard.evaluation.trial import RowLabels, Trial, shown
from tiltyard.telemetry.latency import Call
from tiltyard.telemetry.usage import Usage

logger = logging.getLogger(__name__)

FORMAT = 1

_NOT_KEPT = (*(field.name for field in fields(RowLabels)), "question", "context")
"""What of a row the example and the run's labels say anyway."""


class TrialJournal:
    """The finished trials of one evaluation: a header, then a line of JSON for each. Threads may share it.

    Every trial is handed to the operating system as it ends, so it outlives the process however that dies; a
    last line that was cut off is dropped. A trial that failed for a transient reason is not kept, so the
    next try asks again. A journal that cannot be read or written costs no evaluation: one warning says so,
    and nothing more is kept.

    Args:
        path: The file; one of another program or other settings is replaced. None keeps nothing.
        program: What is evaluated. It counts by its class and its state.
        settings: What else two evaluations have to agree in to measure the same; plain values.
    """

    def __init__(
        self,
        path: Path | None = None,
        program: dspy.Module | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._path = path
        self._program = program
        self._settings = settings
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._found: dict[str, Trial] = {}
        self._earlier_seconds = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        if self._path is not None:
            try:
                self._open(self._path, self._header())
            except Exception as error:  # the state is of a user's class, which may raise anything
                self._give_up(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._close()

    @property
    def found(self) -> int:
        """How many trials an earlier try has left."""
        return len(self._found)

    @property
    def earlier_seconds(self) -> float:
        """How long the earlier tries ran, up to the last trial that they kept."""
        return self._earlier_seconds

    def finished(self, example: dspy.Example, labels: RowLabels) -> Trial | None:
        """The trial of an example that an earlier try has finished; None where there is none.

        Args:
            example: A record of the task, of which the row shows question and context.
            labels: What this run's rows have in common.
        """
        trial = self._found.get(str(example.id))
        if trial is None:
            return None
        question, context = shown(example)
        return replace(trial, row=replace(trial.row, question=question, context=context, **vars(labels)))

    def keep(self, trial: Trial) -> None:
        """Add a trial that has ended. It outlives the process when the call returns.

        Args:
            trial: What happened. Its row holds no secret: masked, it would be another for the next try.
        """
        if self._file is None or trial.transient:
            return
        with self._lock:
            if self._file is None:
                return
            seconds = self._earlier_seconds + time.perf_counter() - self._start
            try:
                self._file.write(_line(trial, seconds))
                self._file.flush()
            except (OSError, TypeError, ValueError) as error:
                self._give_up(error)

    def _header(self) -> str:
        assert self._program is not None
        kind = type(self._program)
        state = json.dumps(self._program.dump_state(), sort_keys=True, default=str)
        digest = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__}\0{state}".encode()).hexdigest()
        return json.dumps({"format": FORMAT, **self._settings, "program": digest}, sort_keys=True)

    def _open(self, path: Path, header: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._file = path.open("r+b")
        start = f"{header}\n".encode()
        content = self._file.read()
        end = 0
        if content.startswith(start):
            end = len(start) + self._read(content[len(start) :])
        elif content:
            logger.info("%s is of another program or other settings: starting anew", path)
        self._file.seek(end)
        self._file.truncate()
        if not end:
            self._file.write(start)
            self._file.flush()

    def _read(self, lines: bytes) -> int:
        """Read trials up to a line that is cut off or holds none; returns how many bytes they take."""
        taken = 0
        for line in lines.splitlines(keepends=True):
            try:
                if not line.endswith(b"\n"):
                    break
                trial, self._earlier_seconds = _parsed(line)
            except (ValueError, TypeError, KeyError):
                break
            self._found[trial.row.sample_id] = trial
            taken += len(line)
        return taken

    def _give_up(self, error: Exception) -> None:
        logger.warning("This evaluation is not kept for another try (%s): %s", type(error).__name__, error)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written is tried again here
                self._file.close()
        self._file = None


def _line(trial: Trial, seconds: float) -> bytes:
    kept = {
        "row": {name: value for name, value in vars(trial.row).items() if name not in _NOT_KEPT},
        "usage": vars(trial.usage),
        "extra": dict(trial.extra),
        "failure": trial.failure and vars(trial.failure),
        "calls": trial.calls,
        "seconds": round(seconds, 3),
    }
    # Plain ASCII: JSON's escapes bring back the half surrogate pairs that a model can write.
    return f"{json.dumps(kept)}\n".encode("ascii")


def _parsed(line: bytes) -> tuple[Trial, float]:
    kept = json.loads(line)
    row: dict[str, Any] = {**kept["row"], **dict.fromkeys(_NOT_KEPT, "")}
    trial = Trial(
        Row(**row),
        Usage(**kept["usage"]),
        kept["extra"],
        kept["failure"] and Failure(**kept["failure"]),
        tuple(Call(*call) for call in kept["calls"]),
    )
    return trial, float(kept["seconds"])
