"""Gives each row of a batch its place: a lane of its chain in which its tail has room."""

from collections.abc import Mapping, Sequence

from tiltyard.models.batching.key_values import Chain, Lane, Layout, Segment, chain_length, lane_capacity
from tiltyard.models.batching.prefix_tree import SHORTEST
from tiltyard.models.batching.rows import Row

FEW_LANES = 4
"""As long as there are no more lanes, a row may have one to itself."""


class Lanes:
    """The lanes of a batch.

    Args:
        layout: The model's keys and values.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lanes: dict[tuple[Chain, int], Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def allocated_tokens(self) -> int:
        """Tokens that the lanes have memory for, spare places included."""
        return sum(lane.allocated_tokens for lane in self._lanes.values())

    def users(self) -> dict[Segment, int]:
        """How many rows attend to each shared segment."""
        found: dict[Segment, int] = {}
        for lane in self._lanes.values():
            for segment in lane.chain:
                found[segment] = found.get(segment, 0) + len(lane.rows)
        return found

    def place(self, row: Row, path: Sequence[Segment], users: Mapping[Segment, int], answer: int) -> None:
        """Give a row its place: known tokens are attended to where they are, or copied into its tail.

        Args:
            row: The row.
            path: What is known of its tokens.
            users: How many rows use each segment, this row included.
            answer: Tokens that it is expected to write.
        """
        depth = 0
        for index, segment in enumerate(path):
            if segment.length >= SHORTEST and (users[segment] > 1 or len(self._lanes) < FEW_LANES):
                depth = index + 1
        chain, copied = tuple(path[:depth]), path[depth:]
        lane = self._lane(chain, len(row.tokens) - chain_length(chain) + answer)
        row.slot = lane.add(row, copied)
        row.stored = sum(segment.length for segment in copied)
        row.lane = lane

    def leave(self, row: Row) -> None:
        """Free a row's place, where it has one."""
        lane = row.lane
        if lane is None:
            return
        row.lane = None
        lane.remove(row.slot)
        if row.slot < len(lane.rows):
            lane.rows[row.slot].slot = row.slot
        if not lane.rows:
            del self._lanes[lane.chain, lane.capacity]

    def widen(self, row: Row, tokens: int) -> None:
        """Move a row to a lane where its tail can have so many tokens."""
        lane = row.lane
        assert lane is not None
        own = lane.own(row.slot, 0, row.stored)
        self.leave(row)
        wider = self._lane(lane.chain, max(tokens, 2 * lane.capacity))
        row.slot = wider.add(row, [own])
        row.lane = wider

    def clear(self) -> None:
        """Forget all lanes."""
        self._lanes.clear()

    def _lane(self, chain: Chain, tokens: int) -> Lane:
        capacity = lane_capacity(tokens)
        lane = self._lanes.get((chain, capacity))
        if lane is None:
            lane = self._lanes[chain, capacity] = Lane(chain, capacity, self._layout)
        return lane
