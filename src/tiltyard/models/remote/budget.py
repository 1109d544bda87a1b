"""One budget for an endpoint: requests and tokens per minute, and requests at once, shared by all threads.

>>> member = budget_of("https://api.groq.com/openai/v1", key).join(Limits(requests_per_minute=30))
>>> permit = member.acquire(tokens=1200)      # waits for its turn, without polling
>>> permit.release(Outcome.ANSWERED, tokens=845)
"""

import hashlib
import heapq
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from weakref import WeakSet

from tiltyard.models.remote.limits import (
    WINDOW_SECONDS,
    AdaptiveConcurrency,
    Limits,
    Outcome,
    SlidingWindow,
    Spent,
)

IDLE_SECONDS = 10.0
"""With no request for longer than this, what failed before is old news. Between a run's requests is less."""


@dataclass(eq=False)
class Permit:
    """The right to send one request. Give it back with :meth:`release`."""

    budget: "Budget"
    sent_at: float
    tokens: Spent

    def release(self, outcome: Outcome, *, tokens: int | None = None, pause: float = 0.0) -> None:
        """Say how the request ended.

        Args:
            outcome: How it ended.
            tokens: The tokens that it used; None where nobody knows, and the estimate stays.
            pause: Seconds that the server asked to be left alone. All requests of the endpoint wait.
        """
        self.budget._release(self, outcome, tokens, pause)


@dataclass(eq=False)
class Member:
    """One user of a budget, with the limits that it was told. All members keep to the strictest of them."""

    budget: "Budget"
    limits: Limits

    def acquire(self, *, tokens: int = 0, since: float | None = None) -> Permit:
        """Wait until a request may be sent.

        Args:
            tokens: An estimate of the tokens that it uses, answer included.
            since: When the request was first made, by the budget's clock: its place in the queue. One that
                is tried again so goes before those that came later. None is now.
        """
        return self.budget._acquire(tokens, since)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While a request is asked, from its first try to its last, the waits between them included."""
        self.budget._begin()
        try:
            yield
        finally:
            self.budget._end()

    def leave(self) -> None:
        """Let the others no longer be bound by this member's limits."""
        self.budget._leave(self)


@dataclass(eq=False)
class _Waiting:
    order: tuple[float, int]
    tokens: int
    turn: threading.Condition

    def __lt__(self, other: "_Waiting") -> bool:
        return self.order < other.order


class Budget:
    """What all members may ask of one endpoint together.

    Requests go in the order in which they were made. The first in the queue sleeps until the time when it
    may go, or until something changes; the others sleep until they are first.

    Args:
        clock: Seconds that only grow.
        minute: How many seconds a limit per minute is meant for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, minute: float = WINDOW_SECONDS) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._members: WeakSet[Member] = WeakSet()
        self._queue: list[_Waiting] = []
        self._arrivals = count()
        self._requests = SlidingWindow(minute)
        self._tokens = SlidingWindow(minute)
        self._concurrency = AdaptiveConcurrency()
        self._running = 0
        self._asked = 0
        self._idle_since = float("-inf")
        self._paused_until = float("-inf")
        self._failing_since: float | None = None
        self._told_of: float | None = None

    def join(self, limits: Limits) -> Member:
        """A new member with limits of its own. It leaves when it is garbage, or by ``leave``.

        That the endpoint failed before is forgotten: it has the same patience as the first member had.
        """
        member = Member(self, limits)
        with self._lock:
            self._members.add(member)
            self._failing_since = None
            self._wake_first()
        return member

    @property
    def running(self) -> int:
        """Requests that run now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def width(self) -> float:
        """Requests that may run at once, as the server's refusals and answers have left it."""
        with self._lock:
            return self._concurrency.allowed(self._strictest("max_concurrency"))

    def failing_for(self) -> float:
        """Seconds since the endpoint began to fail without an answer in between; 0 while it answers.

        A new member starts it anew, and so does a request after a time in which none was asked: what was
        then says nothing about now.
        """
        since = self._failing_since
        return 0.0 if since is None else self.clock() - since

    def is_news(self) -> bool:
        """Whether the endpoint fails and nobody has been told of it yet; True once each time it fails."""
        with self._lock:
            news = self._failing_since is not None and self._told_of != self._failing_since
            self._told_of = self._failing_since
            return news

    def _begin(self) -> None:
        with self._lock:
            if self._asked == 0 and self.clock() - self._idle_since > IDLE_SECONDS:
                self._failing_since = None
            self._asked += 1

    def _end(self) -> None:
        with self._lock:
            self._asked -= 1
            self._idle_since = self.clock()

    def _acquire(self, tokens: int, since: float | None) -> Permit:
        with self._lock:
            order = (self.clock() if since is None else since, next(self._arrivals))
            waiting = _Waiting(order, tokens, threading.Condition(self._lock))
            heapq.heappush(self._queue, waiting)
            try:
                while (wait := self._wait_of(waiting)) is None or wait > 0:
                    waiting.turn.wait(wait)
                now = self.clock()
                self._requests.spend(now, 1)
                self._running += 1
                return Permit(self, now, self._tokens.spend(now, tokens))
            finally:
                self._queue.remove(waiting)
                heapq.heapify(self._queue)
                self._wake_first()

    def _wait_of(self, waiting: _Waiting) -> float | None:
        """Seconds until a request may be sent; None where only another one's end can tell."""
        if self._queue[0] is not waiting:
            return None
        if self._running + 1 > self._concurrency.allowed(self._strictest("max_concurrency")):
            return None
        now = self.clock()
        waits = [self._paused_until - now]
        if (requests := self._strictest("requests_per_minute")) is not None:
            waits.append(self._requests.wait(now, 1, requests))
        if (tokens := self._strictest("tokens_per_minute")) is not None:
            waits.append(self._tokens.wait(now, waiting.tokens, tokens))
        return max(waits)

    def _release(self, permit: Permit, outcome: Outcome, tokens: int | None, pause: float) -> None:
        with self._lock:
            now = self.clock()
            ceiling = self._strictest("max_concurrency")
            if outcome is Outcome.REFUSED:
                self._concurrency.refused(permit.sent_at, now, self._running, ceiling)
            elif outcome is Outcome.ANSWERED:
                self._concurrency.answered(ceiling)
            if outcome is Outcome.ANSWERED:
                self._failing_since = None
            elif outcome is not Outcome.UNKNOWN and self._failing_since is None:
                self._failing_since = now
            if pause > 0:
                self._paused_until = max(self._paused_until, now + pause)
            if tokens is not None:
                self._tokens.correct(permit.tokens, tokens)
            self._running -= 1
            self._wake_first()

    def _leave(self, member: Member) -> None:
        with self._lock:
            self._members.discard(member)
            self._wake_first()

    def _strictest(self, name: str) -> int | None:
        told = (getattr(member.limits, name) for member in self._members)
        return min((limit for limit in told if limit is not None), default=None)

    def _wake_first(self) -> None:
        if self._queue:
            self._queue[0].turn.notify()


_BUDGETS: dict[tuple[str, str], Budget] = {}
_BUDGETS_LOCK = threading.Lock()


def budget_of(root: str, key: str | None) -> Budget:
    """The process's one budget for an API's root and a key. The key is kept as a digest only."""
    identity = (root, hashlib.sha256((key or "").encode()).hexdigest())
    with _BUDGETS_LOCK:
        return _BUDGETS.setdefault(identity, Budget())
