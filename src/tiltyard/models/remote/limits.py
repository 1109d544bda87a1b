"""The rules of an endpoint's budget: amounts in a minute, and a concurrency that gives way to refusals.

They know no threads and no clock. :mod:`tiltyard.models.remote.budget` applies them.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

WINDOW_SECONDS = 61.0
"""A minute and a second: a server counts when requests arrive, which is not exactly when they were sent."""


class Outcome(Enum):
    """How an attempt ended, as far as the budget is concerned."""

    ANSWERED = auto()
    """The server did its work."""
    REFUSED = auto()
    """The server had too much to do, or the limit was passed: ask less at once."""
    FAILED = auto()
    """The server did not do its work. That says nothing about the load."""
    UNKNOWN = auto()
    """The attempt ended on this side, as by an interrupt: it says nothing about the server."""


@dataclass(frozen=True)
class Limits:
    """What an endpoint may be asked for. None is no limit."""

    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class SlidingWindow:
    """How much was spent in the last minute. Amounts can be corrected after they were spent.

    What is spent when :meth:`wait` says so keeps every minute within the limit, save one amount that is
    larger than the limit and has its minute for itself.
    """

    def __init__(self, seconds: float = WINDOW_SECONDS) -> None:
        self._seconds = seconds
        self._spent: deque[Spent] = deque()
        self._total = 0

    def wait(self, now: float, amount: int, limit: int) -> float:
        """Seconds until an amount may be spent, if nothing is spent or corrected meanwhile."""
        self._forget(now)
        excess = self._total + min(amount, limit) - limit
        for spent in self._spent:
            if excess <= 0:
                break
            excess -= spent.amount
            if excess <= 0:
                return spent.at + self._seconds - now
        return 0.0

    def spend(self, now: float, amount: int) -> "Spent":
        """Spend an amount now."""
        self._forget(now)
        spent = Spent(now, amount)
        self._spent.append(spent)
        self._total += amount
        return spent

    def correct(self, spent: "Spent", amount: int) -> None:
        """Replace an amount by what it came to."""
        if not spent.forgotten:
            self._total += amount - spent.amount
            spent.amount = amount

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0].at + self._seconds <= now:
            spent = self._spent.popleft()
            self._total -= spent.amount
            spent.forgotten = True


@dataclass(eq=False)
class Spent:
    """One amount in a window."""

    at: float
    amount: int
    forgotten: bool = False


class AdaptiveConcurrency:
    """How many requests may run at once: halved when the server refuses, grown by one per round of answers.

    Refusals of requests that were sent before the last halving are old news, and change nothing.
    """

    def __init__(self) -> None:
        self._width = float("inf")
        self._halved_at = float("-inf")

    def allowed(self, ceiling: int | None) -> float:
        """Requests that may run at once, at least 1."""
        return min(self._width, float("inf") if ceiling is None else ceiling)

    def refused(self, sent_at: float, now: float, running: int, ceiling: int | None) -> None:
        """A request that was sent at a time was refused now, when so many ran, itself included."""
        if sent_at < self._halved_at:
            return
        self._width = max(1.0, min(self.allowed(ceiling), running) / 2)
        self._halved_at = now

    def answered(self, ceiling: int | None) -> None:
        """A request was answered."""
        most = float("inf") if ceiling is None else float(ceiling)
        if self._width < most:  # a ceiling bounds growth; it narrows nothing, since it may be lifted
            self._width = min(self._width + 1 / self._width, most)
