"""Lanes keep every row's numbers, whoever comes and goes."""

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tiltyard.models.batching.key_values import Lane, Layout, Segment, chain_length, lane_capacity

CAPACITY = 6
LAYOUT = Layout(((torch.empty(2, 0, 3), torch.empty(2, 0, 5)), (torch.empty(1, 0, 4), torch.empty(1, 0, 4))))


def segment(fill, length):
    tensors = [
        [torch.full((layer[kind].shape[0], length, layer[kind].shape[-1]), fill) for layer in LAYOUT.layers]
        for kind in (0, 1)
    ]
    return Segment(*tensors)


class Resident:
    def __init__(self, fill, parts):
        self.fill, self.parts, self.slot = fill, parts, None

    @property
    def length(self):
        return sum(part.length for part in self.parts)


class LaneMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.lane = Lane((), CAPACITY, LAYOUT)
        self.count = 0

    @rule(lengths=st.lists(st.integers(1, 3), max_size=2))
    def join(self, lengths):
        self.count += 1
        row = Resident(float(self.count), [segment(float(self.count), length) for length in lengths])
        row.slot = self.lane.add(row, row.parts)

    @precondition(lambda self: self.lane.rows)
    @rule(data=st.data())
    def leave(self, data):
        slot = data.draw(st.integers(0, len(self.lane.rows) - 1))
        # what a broken row leaves behind must reach nobody
        for layer in (*self.lane.keys, *self.lane.values):
            layer[slot].fill_(torch.nan)
        self.lane.remove(slot)
        if slot < len(self.lane.rows):
            self.lane.rows[slot].slot = slot

    @invariant()
    def rows_have_their_own_numbers_and_zeros_after_them(self):
        for slot, row in enumerate(self.lane.rows):
            assert row.slot == slot
            for layer in (*self.lane.keys, *self.lane.values):
                assert (layer[slot, :, : row.length] == row.fill).all()
                assert (layer[slot, :, row.length :] == 0).all()
            own = self.lane.own(slot, 0, row.length)
            assert own.length == row.length
            assert all((part == row.fill).all() for part in (*own.keys, *own.values))

    @invariant()
    def memory_follows_the_rows(self):
        tokens = self.lane.allocated_tokens
        assert tokens >= len(self.lane.rows) * CAPACITY
        if self.lane.rows:
            assert tokens <= max(8, 4 * len(self.lane.rows)) * CAPACITY
        for layer in (*self.lane.keys, *self.lane.values):
            assert layer.shape[0] * CAPACITY == tokens


LaneMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_lane = LaneMachine.TestCase


def test_many_rows_come_and_go():
    lane = Lane((), CAPACITY, LAYOUT)
    for number in range(33):
        lane.add(Resident(float(number), []), [segment(float(number), 2)])
    for _ in range(32):
        lane.remove(0)

    assert lane.allocated_tokens <= 8 * CAPACITY
    assert (lane.keys[0][0, :, :2] == lane.rows[0].fill).all()


def test_an_own_part_is_a_copy():
    lane = Lane((), CAPACITY, LAYOUT)
    lane.add(Resident(1.0, []), [segment(1.0, 4)])

    own = lane.own(0, 1, 3)
    lane.keys[0].fill_(9.0)

    assert own.length == 2
    assert (own.keys[0] == 1.0).all()


def test_a_row_is_read_across_its_chain_and_its_tail():
    chain = (segment(1.0, 2), segment(2.0, 3))
    lane = Lane(chain, CAPACITY, LAYOUT)
    lane.add(Resident(3.0, []), [segment(3.0, 4)])
    whole = [1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]

    for start in range(9):
        for end in range(start + 1, 10):
            part = lane.read(0, start, end)
            for layer in (*part.keys, *part.values):
                assert layer[0, :, 0].tolist() == whole[start:end]


def test_a_layout_counts_a_tokens_memory():
    assert LAYOUT.token_bytes == segment(0.0, 1).nbytes == 4 * (2 * 3 + 2 * 5 + 4 + 4)


def test_a_chain_is_as_long_as_its_segments():
    assert chain_length((segment(0.0, 3), segment(0.0, 2))) == 5


def test_capacities_are_few_and_waste_little():
    capacities = [lane_capacity(tokens) for tokens in range(1, 5000)]

    assert all(capacity >= tokens for tokens, capacity in enumerate(capacities, start=1))
    assert all(capacity <= 1.5 * tokens for tokens, capacity in enumerate(capacities, start=1) if tokens > 64)
    assert len(set(capacities)) <= 16
