"""Requests join in the order in which they came, as far as there is room, and do not read the same twice."""

from collections import deque

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.batching.admission import WORTH, Room, admit
from tiltyard.models.batching.key_values import Segment, lane_capacity
from tiltyard.models.batching.prefix_tree import PrefixTree, common_length
from tiltyard.models.batching.rows import BatchedRequest
from tiltyard.models.decoding import Decoding


def request(*tokens, share=True, most=8):
    return BatchedRequest(tokens, Decoding(max_tokens=most), share_prefix=share)


def room(**changes):
    ample = {"rows": 64, "tokens": 10**6, "empty": True, "answer_tokens": 10, "beginning_tokens": 10**6}
    return Room(**{**ample, **changes})


def read(tree, tokens):
    blank = torch.zeros(1, len(tokens), 1)
    tree.insert(tokens, lambda start, end: Segment([blank[:, start:end]], [blank[:, start:end]]))


TRUNK = tuple(range(1000, 1200))


def test_strangers_join_together_in_order():
    waiting = deque(request(*range(number, number + 50)) for number in range(0, 500, 100))
    expected = list(waiting)

    admission = admit(waiting, [], PrefixTree(None), room())

    assert (admission.requests, admission.beginnings, list(waiting)) == (expected, [], [])


def test_what_several_share_is_read_first_and_once():
    waiting = deque(request(*TRUNK, number, *range(40)) for number in range(5))

    admission = admit(waiting, [], PrefixTree(None), room())

    assert (admission.requests, [tokens for tokens, _ in admission.beginnings]) == ([], [TRUNK])
    assert len(waiting) == 5

    tree = PrefixTree(None)
    read(tree, TRUNK)
    assert len(admit(waiting, [], tree, room()).requests) == 5


def test_a_request_waits_for_one_that_reads_its_beginning():
    waiting = deque([request(*TRUNK, 1)])

    assert admit(waiting, [TRUNK], PrefixTree(None), room(empty=False)).empty
    assert len(waiting) == 1


def test_nobody_waits_for_what_cannot_be_kept():
    """Else requests would read one after the other and still each the whole prompt."""
    waiting = deque(request(*TRUNK, number) for number in range(5))

    admission = admit(waiting, [TRUNK], PrefixTree(0), room(beginning_tokens=0, empty=False))

    assert len(admission.requests) == 5


def test_nobody_waits_for_a_prompt_that_is_too_long_to_be_kept():
    waiting = deque([request(*TRUNK, 1)])
    tree = PrefixTree(None)

    admission = admit(waiting, [(*TRUNK, *range(500))], tree, room(beginning_tokens=300, empty=False))

    assert len(admission.requests) == 1


def test_who_does_not_share_does_not_wait():
    waiting = deque(request(*TRUNK, number, share=False) for number in range(5))

    assert len(admit(waiting, [TRUNK], PrefixTree(None), room()).requests) == 5


def test_a_large_request_is_not_overtaken_for_ever():
    waiting = deque([request(*range(500)), request(1, 2, 3)])

    admission = admit(waiting, [], PrefixTree(None), room(tokens=100, empty=False))

    assert admission.empty
    assert [len(one.prompt) for one in waiting] == [500, 3]


def test_into_an_empty_batch_one_request_goes_whatever_its_size():
    waiting = deque([request(*range(500)), request(*range(500, 900))])

    admission = admit(waiting, [], PrefixTree(None), room(tokens=1))

    assert [len(one.prompt) for one in admission.requests] == [500]


def test_beginnings_take_room_too():
    waiting = deque(
        request(*range(base, base + 300), number) for base in range(0, 5000, 1000) for number in (-1, -2)
    )

    admission = admit(waiting, [], PrefixTree(None), room(tokens=2 * lane_capacity(310)))

    assert len(admission.beginnings) == 2
    assert len(waiting) == 10


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_request_gets_in_and_the_room_holds(data):
    """Turn after turn, as a batch does it, until the queue is empty."""
    trunks = [TRUNK, TRUNK[:70] + tuple(range(100)), tuple(range(2000, 2100))]
    queue = deque()
    for number in range(data.draw(st.integers(1, 12))):
        trunk = data.draw(st.sampled_from(trunks))
        length = data.draw(st.sampled_from([1, 20, 60, 100]))
        queue.append(request(*trunk[:length], -number - 1, share=data.draw(st.booleans())))
    everybody = list(queue)
    token_budget = data.draw(st.sampled_from([1, 150, 10**6]))
    rows = data.draw(st.sampled_from([1, 3, 64]))
    kept = data.draw(st.sampled_from([0, 90, 10**6]))
    tree = PrefixTree(kept * 8)
    admitted, being_read = [], []
    for _ in range(400):
        if not queue and not being_read:
            break
        held = sum(lane_capacity(len(one) + 10) for one in being_read)
        given_room = room(
            rows=rows - len(being_read),
            tokens=token_budget - held,
            empty=not being_read,
            beginning_tokens=kept,
        )
        admission = admit(queue, being_read, tree, given_room)
        new = [*(one.prompt for one in admission.requests), *(tokens for tokens, _ in admission.beginnings)]
        assert new or being_read or not queue
        assert len(new) + len(being_read) <= rows
        assert given_room.tokens >= 0 or len(new) <= 1 or len(new) + len(being_read) <= rows
        for beginning, _ in admission.beginnings:
            assert len(beginning) <= kept
            sharers = [one for one in queue if one.prompt[: len(beginning)] == beginning]
            assert len(sharers) >= 2
        admitted += admission.requests
        being_read += new
        for _ in range(data.draw(st.integers(1, max(1, len(being_read))))):
            if being_read:
                read(tree, being_read.pop(0))

    assert sorted(map(id, admitted)) == sorted(map(id, everybody))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 31, 32, 33, 90]), st.integers(0, 3)), min_size=2, max_size=8))
def test_a_beginning_is_shared_by_all_who_wait_for_it(shapes):
    waiting = deque(
        request(*TRUNK[:common], *range(10 * branch, 10 * branch + 5)) for common, branch in shapes
    )
    before = list(waiting)

    admission = admit(waiting, [], PrefixTree(None), room())

    for beginning, _ in admission.beginnings:
        assert len(beginning) >= WORTH
        assert sum(common_length(one.prompt, beginning) == len(beginning) for one in waiting) >= 2
    assert [one for one in before if one in waiting] == list(waiting)
