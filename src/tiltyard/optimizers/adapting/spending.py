"""Counts what each role of an adaptation spends: calls of models, tokens, time.

>>> with spending() as spent:
...     program(question="…")
>>> spent().prompt_tokens
214
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dspy.utils.usage_tracker import track_usage


@dataclass(frozen=True)
class Spent:
    """What some calls of models took."""

    calls: int = 0
    """Calls that a model answered."""
    prompt_tokens: int = 0
    """Tokens read."""
    completion_tokens: int = 0
    """Tokens written."""
    seconds: float = 0.0
    """Wall time of each call, summed up: more than what passed where several were under way at once."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )


def total(parts: Iterable[Spent]) -> Spent:
    """Several together."""
    return sum(parts, start=Spent())


@contextmanager
def spending() -> Iterator[Callable[[], Spent]]:
    """Count what a block spends; what it yields says it once the block has ended, however it ended."""
    spent = Spent()
    start = time.perf_counter()
    usage = None
    try:
        with track_usage() as usage:
            yield lambda: spent
    finally:
        seconds = time.perf_counter() - start
        entries = [one for of_model in usage.usage_data.values() for one in of_model] if usage else []
        spent = Spent(
            calls=len(entries),
            prompt_tokens=sum(one.get("prompt_tokens") or 0 for one in entries),
            completion_tokens=sum(one.get("completion_tokens") or 0 for one in entries),
            seconds=seconds,
        )
