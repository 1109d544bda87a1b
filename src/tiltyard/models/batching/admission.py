"""Decides which waiting requests join the batch, and which beginnings are read once for several of them.

A request waits while another reads the beginning that both share. Where several requests that share a
beginning come in together, that beginning alone is read first.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tiltyard.models.batching.key_values import lane_capacity
from tiltyard.models.batching.prefix_tree import PrefixTree, common_length
from tiltyard.models.batching.rows import BatchedRequest

WORTH = 32
"""Tokens that requests must share beyond what is known for one of them to wait for the other."""
MOST_READINGS = 8
"""Shared beginnings that one request waits for, one after the other."""


@dataclass
class Room:
    """What may still join the batch."""

    rows: int
    tokens: int
    """Tokens of keys and values."""
    empty: bool
    """Whether nothing is in the batch: then a request joins, whatever its size."""
    answer_tokens: int
    """Tokens that an answer is expected to have."""
    beginning_tokens: int
    """The longest beginning that can be kept."""


@dataclass
class Admission:
    """Who joins."""

    requests: list[BatchedRequest] = field(default_factory=list)
    beginnings: list[tuple[tuple[int, ...], BatchedRequest]] = field(default_factory=list)
    """Shared beginnings to be read and kept, each with the request on whose account it is read."""

    @property
    def empty(self) -> bool:
        """Whether nobody joins."""
        return not self.requests and not self.beginnings


def admit(
    waiting: deque[BatchedRequest], being_read: Sequence[Sequence[int]], tree: PrefixTree, room: Room
) -> Admission:
    """Take requests out of the queue that may join the batch now, the oldest first.

    Args:
        waiting: The queue; those that join leave it.
        being_read: Tokens that rows of the batch are reading now and will leave in the tree.
        tree: What is known.
        room: What may still join.
    """
    admission = Admission()
    # Who reads more than can be kept leaves nothing to wait for.
    leaders = [tuple(tokens) for tokens in being_read if len(tokens) <= room.beginning_tokens]
    queue, left = deque(waiting), []
    while queue and room.rows > 0:
        request = queue.popleft()
        tokens = request.tokens
        known = tree.known(tokens[:-1]) if request.share_prefix else 0
        beginning = _beginning(request, known, leaders, queue, room) if request.share_prefix else None
        if beginning == ():
            left.append(request)
            continue
        answer = min(request.how.max_tokens - len(request.written), room.answer_tokens)
        need = lane_capacity(len(tokens if beginning is None else beginning) - known + answer)
        if need > room.tokens and not (room.empty and admission.empty):
            left.append(request)
            break
        room.rows -= 1
        room.tokens -= need
        if beginning is None:
            admission.requests.append(request)
        else:
            left.append(request)
            admission.beginnings.append((beginning, request))
        if request.share_prefix and len(reader := beginning or tokens) <= room.beginning_tokens:
            leaders.append(reader)
    waiting.clear()
    waiting.extend([*left, *queue])
    return admission


def _beginning(
    request: BatchedRequest,
    known: int,
    leaders: Sequence[tuple[int, ...]],
    others: Sequence[BatchedRequest],
    room: Room,
) -> tuple[int, ...] | None:
    """What the request should wait for: a beginning to be read first, ``()`` for one that is being read.

    None when it need not wait.
    """
    tokens = request.tokens
    enough = known + WORTH
    if len(tokens) <= enough or request.shared_readings >= MOST_READINGS:
        return None
    head = tokens[:enough]
    if any(leader[:enough] == head for leader in leaders):
        return ()
    mates = [other for other in others if other.share_prefix and other.tokens[:enough] == head]
    if not mates:
        return None
    shared = min(len(tokens) - 1, *(common_length(tokens, mate.tokens) for mate in mates))
    if not enough <= shared <= room.beginning_tokens:
        return None
    for one in (request, *mates):
        one.shared_readings += 1
    return tokens[:shared]
