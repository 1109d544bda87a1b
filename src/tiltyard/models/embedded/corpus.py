"""Cuts the endless stream of training episodes into batches, the same ones wherever it is taken up again.

    >>> windows = Windows(episodes, tokenizer, longest=2048, tokens=12_000, seed=0)
    >>> for batch, position in stream(windows, Position(0, 0), workers=1):
    ...     ...

The stream is read a window at a time: so many episodes, put in order of length and cut into batches of rows
of about one length, which then come in random order.
"""

import hashlib
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiltyard.errors import InputError
from tiltyard.models.embedded.tokenizer import Encoded, HasMessages, encode_episode

Episodes = Callable[[int], HasMessages]
"""The episode of each place in the stream, from 0. It must be picklable to be called in other processes."""

EPISODES_PER_WINDOW = 256
EMPTY_WINDOWS = 8
"""After so many windows without an episode that is short enough, none is expected."""

DIGESTED = range(0, 64 * 3000, 3000)
"""Places whose episodes tell one stream from another: they reach beyond the last stage of the curriculum."""


class Position(NamedTuple):
    """A place in the stream."""

    window: int
    batch: int
    """The next batch of the window."""


class Batch(NamedTuple):
    """Some episodes, one in each row, with padding behind the shorter ones."""

    ids: NDArray[np.int32]
    answer: NDArray[np.bool_]
    """Whether a token is part of an answer to learn."""
    lengths: NDArray[np.int32]
    """Tokens of each row."""


class Window(NamedTuple):
    """A part of the stream."""

    batches: list[Batch]
    skipped: int
    """Episodes that were too long."""


@dataclass(frozen=True)
class Windows:
    """The stream of episodes by windows. It has the form of a torch dataset."""

    episodes: Episodes
    tokenizer: Any
    longest: int
    """Longer episodes are left out, in tokens."""
    tokens: int
    """The most tokens of a batch, padding included, unless a single episode has more."""
    seed: int
    """Decides the order of a window's batches."""
    size: int = EPISODES_PER_WINDOW

    def __getitem__(self, index: int) -> Window:
        """The window of an index from 0."""
        places = range(index * self.size, (index + 1) * self.size)
        encoded = [encode_episode(self.tokenizer, self.episodes(place)) for place in places]
        short = sorted((one for one in encoded if len(one.ids) <= self.longest), key=lambda one: len(one.ids))
        batches = [_batch(rows) for rows in _cut(short, self.tokens)]
        random.Random(f"{self.seed}/{index}").shuffle(batches)
        return Window(batches, len(encoded) - len(short))


class Fed(NamedTuple):
    """What a step of training gets."""

    batch: Batch
    position: Position
    """Where the next batch is."""
    skipped: int
    """Episodes that were too long since the batch before."""


def stream(windows: Windows, start: Position, workers: int) -> Generator[Fed, None, None]:
    """The batches from a position on, without end.

    Args:
        windows: The stream.
        start: Where to begin.
        workers: Processes that make windows in advance; 0 makes them in this one. Their number changes
            nothing about the batches.

    Raises:
        InputError: The episodes are all too long.
    """
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        windows,  # type: ignore[arg-type]
        batch_size=None,
        sampler=count(start.window),
        num_workers=workers,
        collate_fn=_as_it_is,
        # A forked process would inherit torch's threads in whatever state they are.
        multiprocessing_context="spawn" if workers else None,
    )
    empty = 0
    for index, window in zip(count(start.window), loader, strict=False):
        empty = 0 if window.batches else empty + 1
        if empty == EMPTY_WINDOWS:
            raise InputError(
                f"none of {empty * windows.size} training episodes has at most {windows.longest} tokens",
                "allow longer ones",
            )
        first = start.batch if index == start.window else 0
        for place, batch in enumerate(window.batches[first:], start=first):
            last = place + 1 == len(window.batches)
            following = Position(index + 1, 0) if last else Position(index, place + 1)
            yield Fed(batch, following, window.skipped if place == 0 else 0)


def digest(episodes: Episodes) -> str:
    """A digest of episodes all over the stream, which shows when their generators have changed."""
    texts = [[message.content for message in episodes(place).messages()] for place in DIGESTED]
    return hashlib.sha256(repr(texts).encode(errors="surrogatepass")).hexdigest()[:16]


def _as_it_is(window: Any) -> Any:
    return window


def _cut(rows: list[Encoded], tokens: int) -> list[list[Encoded]]:
    """Rows, in order of length, as batches of at most so many tokens, padding included."""
    cut: list[list[Encoded]] = []
    for row in rows:
        if cut and (len(cut[-1]) + 1) * len(row.ids) <= tokens:
            cut[-1].append(row)
        else:
            cut.append([row])
    return cut


def _batch(rows: list[Encoded]) -> Batch:
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int32)
    ids = np.zeros((len(rows), int(lengths.max())), dtype=np.int32)  # the padding token is 0
    answer = np.zeros(ids.shape, dtype=np.bool_)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = row.ids
        answer[place, : len(row.ids)] = row.answer
    return Batch(ids, answer, lengths)
