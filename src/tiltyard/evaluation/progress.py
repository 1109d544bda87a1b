"""Shows how far an evaluation is: a bar on a terminal, a log line now and then elsewhere.

>>> with report_progress(total=300, label="tatqa") as advance:
...     advance(1.0, False)                # one more example: its score, whether it failed
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiltyard.telemetry import activity

logger = logging.getLogger(__name__)

Advance = Callable[[float, bool], None]
"""Counts one more example, given its score and whether it failed."""

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def report_progress(total: int, label: str, show: bool | None = None) -> Iterator[Advance]:
    """Show the examples done, those failed among them, and the mean score so far.

    Everything goes to stderr, so that stdout stays clean for pipes. A job of a sweep also keeps it in its
    folder, for whoever watches the sweep (:mod:`tiltyard.telemetry.activity`).

    Args:
        total: How many examples there are.
        label: What is being evaluated.
        show: True for the bar, False for nothing; None for the bar if stderr is a terminal, and else for a
            log line every 30 seconds.
    """
    activity.phase("evaluate", total)
    with _shown(total, label, show) as advance:

        def advance_both(score: float, failed: bool) -> None:
            activity.advance(score, failed)
            advance(score, failed)

        yield advance_both


@contextmanager
def _shown(total: int, label: str, show: bool | None) -> Iterator[Advance]:
    if show or (show is None and sys.stderr.isatty()):
        with _bar(total, label) as advance:
            yield advance
    elif show is None:
        yield _lines(total, label)
    else:
        yield lambda score, failed: None


@contextmanager
def _bar(total: int, label: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("failed {task.fields[failed]}  score {task.fields[score]:.3f}"),
        TimeRemainingColumn(),
    )
    scores = failures = 0.0
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, failed=0, score=0.0)

        def advance(score: float, failed: bool) -> None:
            nonlocal scores, failures
            scores += score
            failures += failed
            done = bar.tasks[0].completed + 1
            bar.update(task, advance=1, failed=int(failures), score=scores / done)

        yield advance


def _lines(total: int, label: str) -> Advance:
    done = failures = 0
    scores = 0.0
    last = time.monotonic()

    def advance(score: float, failed: bool) -> None:
        nonlocal done, failures, scores, last
        done += 1
        failures += failed
        scores += score
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            logger.info(
                "%s: %d of %d done, %d failed, score %.3f", label, done, total, failures, scores / done
            )

    return advance
