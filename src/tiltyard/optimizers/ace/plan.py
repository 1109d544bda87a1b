"""Lays out an adaptation before it starts: which examples are answered when, what is curated and measured.

>>> [window.examples for window in planned(Settings(window=2), examples=3)]
[(1, 2), (0,)]
"""

import random
from dataclasses import dataclass

from tiltyard.optimizers.ace.settings import Settings


@dataclass(frozen=True)
class Window:
    """Examples that are answered with the same playbook: one step."""

    step: int
    """From 0, over all epochs."""
    epoch: int
    """From 1."""
    examples: tuple[int, ...]
    """Their places in the train set."""
    curates: bool
    """Whether the lessons that wait are curated at its end."""
    measures: bool
    """Whether the playbook is measured behind it."""
    ends_epoch: bool


def planned(settings: Settings, examples: int) -> list[Window]:
    """All windows, in order.

    Each epoch has an order of its own, drawn with the seed; online, examples come as they are.

    Args:
        settings: The adaptation's.
        examples: How many training examples there are.
    """
    windows: list[Window] = []
    epochs = 0 if settings.mode == "evaluate" else settings.epochs
    for epoch in range(1, epochs + 1):
        order = list(range(examples))
        if settings.mode == "offline":
            random.Random(f"{settings.seed}/{epoch}").shuffle(order)
        starts = range(0, examples, settings.window)
        for place, start in enumerate(starts):
            step = len(windows)
            ends_epoch = place == len(starts) - 1
            every = settings.validate_every
            windows.append(
                Window(
                    step=step,
                    epoch=epoch,
                    examples=tuple(order[start : start + settings.window]),
                    curates=ends_epoch or (place + 1) % settings.curate_every == 0,
                    measures=ends_epoch or (every is not None and (step + 1) % every == 0),
                    ends_epoch=ends_epoch,
                )
            )
    return windows
