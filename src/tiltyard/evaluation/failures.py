"""Why an example failed and what to do about it, as records in ``errors.jsonl``.

>>> failure = Failure.of(error, phase="generate", sample="17", kind="context")
>>> with ErrorLog(folder / "errors.jsonl") as errors:
...     errors.add(failure)                # on disk when the call returns
"""

import json
import logging
import threading
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    DSPyError,
    LMAuthError,
    LMBillingError,
    LMError,
    LMNotConfiguredError,
    LMRateLimitError,
    LMTimeoutError,
)

from tiltyard.redaction import redact

logger = logging.getLogger(__name__)

Kind = Literal["parse", "context", "timeout", "rate_limit", "auth", "model", "metric", "error"]

HINTS: dict[Kind, str] = {
    "parse": "the answer did not have the format asked for: raise the model's max_tokens if it was cut off, "
    "else give demonstrations (optimizer=labeled_few_shot), hold a local model to the format "
    "(model.constrained=true) or choose a larger one",
    "context": "the prompt does not fit the model: use fewer demonstrations, a shorter context, or a model "
    "with a longer context window",
    "timeout": "the model did not answer in time: check its server, use fewer threads or raise model.timeout",
    "rate_limit": "the provider limits requests: set model.requests_per_minute and model.tokens_per_minute "
    "to what your plan allows (docs/remote-models.md), or wait and run again",
    "auth": "the provider refused the credentials: check its API key and the account's credit "
    "(tiltyard doctor)",
    "model": "the model's engine or server failed: read the message, and check that it runs "
    "(tiltyard doctor)",
    "metric": "the task's metric could not score this example: check the record's gold fields and the metric",
    "error": "the program failed: its traceback is in the log at level DEBUG (debug=true)",
}
"""What a user can do about each kind of failure."""

_KINDS: tuple[tuple[type[Exception], Kind], ...] = (
    (AdapterParseError, "parse"),
    (ContextWindowExceededError, "context"),
    (LMTimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (LMRateLimitError, "rate_limit"),
    (LMAuthError, "auth"),
    (LMBillingError, "auth"),
    (LMNotConfiguredError, "auth"),
    (LMError, "model"),
)
"""Kinds by exception type; the first match counts, so a class stands before its bases."""

_TRANSIENT: tuple[Kind, ...] = ("timeout", "rate_limit", "auth", "model")
"""Kinds of failures that are not the example's: the model's server, its limits, its credentials."""

_LONGEST_MESSAGE = 500
_LONGEST_TAIL = 150


@dataclass(frozen=True)
class Failure:
    """One failed example. The order of the fields is the order of the keys in ``errors.jsonl``."""

    time: str
    """When it failed: ISO 8601, UTC."""
    phase: str
    """What was being done: ``generate`` (the program ran) or ``score`` (the metric did)."""
    sample: str
    """The example's id."""
    kind: Kind
    message: str
    """What the exception said: one line, shortened in the middle, without secrets."""
    hint: str
    """What to do about it."""

    @classmethod
    def of(cls, error: Exception, *, phase: str, sample: str, kind: Kind | None = None) -> "Failure":
        """Describe an exception, and log its traceback at level DEBUG.

        Args:
            error: What was raised.
            phase: What was being done.
            sample: The example's id.
            kind: The kind, where the place of the failure decides it; None to tell it from the exception.
        """
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("example %s: %s", sample, redact("".join(traceback.format_exception(error))))
        kind = kind or kind_of(error)
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        return cls(time, phase, sample, kind, one_line(error), HINTS[kind])


def kind_of(error: BaseException) -> Kind:
    """The kind of an exception, or of the first one among its causes that has a kind of its own."""
    for cause in _causes(error):
        for exception, kind in _KINDS:
            if isinstance(cause, exception):
                return kind
    return "error"


def is_transient(error: BaseException) -> bool:
    """Whether an exception tells of the infrastructure, so that the same may succeed another time.

    The model did not answer, or a connection, a file or memory failed; wherever that was, in a metric too.
    """
    return kind_of(error) in _TRANSIENT or any(
        isinstance(cause, OSError | MemoryError) for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what it was raised from, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def one_line(error: BaseException) -> str:
    """An exception as one line of at most 500 characters, without secrets."""
    text = " ".join(redact(str(error)).split())
    if not text or not isinstance(error, DSPyError):  # a bare KeyError says only 'answer'
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    if len(text) <= _LONGEST_MESSAGE:
        return text
    # The end is kept too: that is where an adapter says which fields it missed.
    head = _LONGEST_MESSAGE - _LONGEST_TAIL - len(" … ")
    return f"{text[:head]} … {text[-_LONGEST_TAIL:]}"


class ErrorLog:
    """Appends failures to a JSON Lines file as they happen; threads may share one log.

    The file exists only when there is a failure; one that an earlier run left is removed on entry.

    Args:
        path: The file.
        append: Whether to keep what it holds.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self.path = path
        self._append = append
        self._lock = threading.Lock()
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if not self._append:
            self.path.unlink(missing_ok=True)
        return self

    def add(self, failure: Failure) -> None:
        """Write one failure and flush it."""
        line = json.dumps(asdict(failure), ensure_ascii=False)
        with self._lock:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # A model can write half a surrogate pair, which UTF-8 lacks; JSON reads the escape back.
                self._file = self.path.open("a", encoding="utf-8", errors="backslashreplace")
            self._file.write(line + "\n")
            self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
