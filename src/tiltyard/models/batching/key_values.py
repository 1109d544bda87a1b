"""Holds the attention keys and values of tokens that a model has read: shared segments and rows' own.

A row's context is a chain of segments, which other rows may attend to as well, and then a tail of its own.
Rows with one chain stand in one :class:`Lane`, so that one matrix product serves them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

FEW_SLOTS = 8
"""Slots of a lane that is too small to give memory back."""
SMALLEST_LANE = 64
"""Tokens of the shortest tails that memory is taken for."""


@dataclass(frozen=True)
class Layout:
    """What one token's keys and values look like in each layer of a model."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    """An empty key and an empty value tensor a layer: (key-value heads, 0, width)."""

    @property
    def token_bytes(self) -> int:
        """Memory for one token."""
        parts = [part for layer in self.layers for part in layer]
        return sum(part.shape[0] * part.shape[-1] * part.element_size() for part in parts)


@dataclass(eq=False)
class Segment:
    """Keys and values of consecutive tokens, never changed once they are there."""

    keys: Sequence[torch.Tensor]
    """One tensor a layer: (key-value heads, tokens, key width)."""
    values: Sequence[torch.Tensor]
    """One tensor a layer: (key-value heads, tokens, value width)."""

    @property
    def length(self) -> int:
        """Tokens."""
        return self.keys[0].shape[1]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(part.nbytes for part in (*self.keys, *self.values))

    def part(self, start: int, end: int) -> "Segment":
        """A copy of the tokens from ``start`` to before ``end``, which shares no memory with this one."""
        return Segment(
            [layer[:, start:end].clone() for layer in self.keys],
            [layer[:, start:end].clone() for layer in self.values],
        )


Chain = tuple[Segment, ...]
"""Shared segments one after the other, the first of which starts at position 0."""


def chain_length(chain: Chain) -> int:
    """Tokens of a chain."""
    return sum(segment.length for segment in chain)


def lane_capacity(tokens: int) -> int:
    """The tokens that memory is taken for where a tail has so many (64, 96, 128, 192, 256, …).

    They are few, so that rows share lanes, and so close that little is wasted.
    """
    capacity = SMALLEST_LANE
    while capacity < tokens:
        capacity = capacity * 3 // 2 if capacity & (capacity - 1) == 0 else capacity * 4 // 3
    return capacity


class Lane:
    """The tails of rows that share one chain of segments, side by side and without gaps.

    Args:
        chain: What every row attends to before its tail.
        capacity: The most tokens of a tail.
        layout: The model's keys and values.
    """

    def __init__(self, chain: Chain, capacity: int, layout: Layout) -> None:
        self.chain = chain
        self.capacity = capacity
        self.shared_length = chain_length(chain)
        self.rows: list[Any] = []
        """Row ``i`` of the tensors belongs to ``rows[i]``."""
        self.keys: list[torch.Tensor] = []
        """One tensor a layer: (rows and spare ones, key-value heads, capacity, key width)."""
        self.values: list[torch.Tensor] = []
        self._layout = layout
        self._slots = 0
        self._touched = 0
        """Slots below this one have had rows; those above are zeros."""

    @property
    def allocated_tokens(self) -> int:
        """Tokens that it has memory for."""
        return self._slots * self.capacity

    def add(self, row: Any, beginning: Sequence[Segment] = ()) -> int:
        """Append a row.

        Args:
            row: Whatever stands for it.
            beginning: What its tail begins with.

        Returns:
            Its slot.
        """
        slot = len(self.rows)
        if slot == self._slots:
            self._resize(slot + slot // 2 + 1)
        elif slot < self._touched:
            # What an earlier row left there is hidden by weights of zero, which a NaN of it would survive.
            for layer in (*self.keys, *self.values):
                layer[slot].zero_()
        start = 0
        for segment in beginning:
            end = start + segment.length
            for index in range(len(self.keys)):
                self.keys[index][slot, :, start:end] = segment.keys[index]
                self.values[index][slot, :, start:end] = segment.values[index]
            start = end
        self.rows.append(row)
        self._touched = max(self._touched, len(self.rows))
        return slot

    def remove(self, slot: int) -> None:
        """Take a row out; the last row moves into its slot."""
        last = len(self.rows) - 1
        if slot != last:
            for layer in (*self.keys, *self.values):
                layer[slot] = layer[last]
            self.rows[slot] = self.rows[last]
        self.rows.pop()
        if self._slots >= FEW_SLOTS and 0 < 2 * last <= self._slots:
            self._resize(last + last // 4 + 1)

    def own(self, slot: int, start: int, end: int) -> Segment:
        """A copy of a row's own tokens from ``start`` to before ``end``, counted in its tail."""
        return Segment(
            [layer[slot, :, start:end].clone() for layer in self.keys],
            [layer[slot, :, start:end].clone() for layer in self.values],
        )

    def read(self, slot: int, start: int, end: int) -> Segment:
        """A copy of a row's tokens from ``start`` to before ``end``, counted from the chain's first."""
        parts, offset = [], 0
        for segment in self.chain:
            first, last = max(start - offset, 0), min(end - offset, segment.length)
            if first < last:
                parts.append(segment.part(first, last))
            offset += segment.length
        if end > offset:
            parts.append(self.own(slot, max(start - offset, 0), end - offset))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _resize(self, slots: int) -> None:
        if not self.keys:
            self.keys = [self._moved(None, slots, key) for key, _ in self._layout.layers]
            self.values = [self._moved(None, slots, value) for _, value in self._layout.layers]
        else:
            # Layer by layer, so that only one layer is ever there twice.
            for index, (key, value) in enumerate(self._layout.layers):
                self.keys[index] = self._moved(self.keys[index], slots, key)
                self.values[index] = self._moved(self.values[index], slots, value)
        self._slots = slots
        self._touched = len(self.rows)

    def _moved(self, old: torch.Tensor | None, slots: int, like: torch.Tensor) -> torch.Tensor:
        new = like.new_zeros((slots, like.shape[0], self.capacity, like.shape[-1]))
        if old is not None:
            new[: len(self.rows)] = old[: len(self.rows)]
        return new


def _joined(parts: Sequence[Segment]) -> Segment:
    return Segment(
        [torch.cat(layers, dim=1) for layers in zip(*(part.keys for part in parts), strict=True)],
        [torch.cat(layers, dim=1) for layers in zip(*(part.values for part in parts), strict=True)],
    )
