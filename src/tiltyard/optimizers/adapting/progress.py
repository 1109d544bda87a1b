"""Shows how far an adaptation is: a bar on a terminal, a log line now and then elsewhere.

>>> with progress(total=300, label="ACE") as advance:
...     advance(1, score=1.0, entries=4)       # one more answer: the mean score, and the playbook's size
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Advance(Protocol):
    """Counts answers that were given."""

    def __call__(self, answers: int, *, score: float | None, entries: int) -> None:
        """Count some more.

        Args:
            answers: How many more.
            score: The mean score of all answers until now; None where nothing is judged.
            entries: How much is learnt: a playbook's entries, or a sheet's lines.
        """
        ...


@contextmanager
def progress(total: int, label: str, show: bool | None = None) -> Iterator[Advance]:
    """Show answers given, their mean score, and how much is learnt, on stderr.

    Args:
        total: How many answers there will be.
        label: What is going on.
        show: True for the bar, False for log lines; None for the bar where stderr is a terminal.
    """
    if show or (show is None and sys.stderr.isatty()):
        with _bar(total, label) as advance:
            yield advance
    else:
        yield _lines(total, label)


@contextmanager
def _bar(total: int, label: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("entries {task.fields[entries]}{task.fields[score]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, entries=0, score="")

        def advance(answers: int, *, score: float | None, entries: int) -> None:
            bar.update(task, advance=answers, entries=entries, score=_shown(score))

        yield advance


def _lines(total: int, label: str) -> Advance:
    done = 0
    last = time.monotonic()

    def advance(answers: int, *, score: float | None, entries: int) -> None:
        nonlocal done, last
        done += answers
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            logger.info("%s: %d of %d answers, entries %d%s", label, done, total, entries, _shown(score))

    return advance


def _shown(score: float | None) -> str:
    return "" if score is None else f"  score {score:.3f}"
