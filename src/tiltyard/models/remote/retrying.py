"""Tries a request again while that can help: with growing, random delays, and as the server asks.

>>> answer = ask(client.complete, request, member=member, policy=RetryPolicy(), tokens=1200)
>>> answer.tries, answer.waited
(2, 0.73)
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from dspy.lm15 import (
    LM15Error,
    ProviderError,
    RateLimitError,
    Request,
    Response,
    ServerError,
    TimeoutError,
    TransportError,
)

from tiltyard.models.remote.budget import Member, Permit
from tiltyard.models.remote.client import one_line_error
from tiltyard.models.remote.limits import Outcome

logger = logging.getLogger(__name__)

_TOO_MANY_REQUESTS = 429
_OVERLOADED = (_TOO_MANY_REQUESTS, 503, 529)
_TRANSIENT = (408, 425, 498)  # 498 is Groq's: no room for a request of the flex tier
_REPEATEDLY = 3
"""A request that is refused so often says that the rate is too high, and not just the burst: all wait."""
_OK = 200
_DOUBLINGS = 64
"""More than any delay needs, and few enough for a float."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a failed request is tried again."""

    retries: int | None = None
    """The most tries after the first; None for as many as there is time for."""
    seconds: float = 300.0
    """A request is given up when its next try would start later than this after its first one, the wait for
    its turn apart. An endpoint that has answered nothing for so long gets one try per request, until it
    answers again."""
    first_delay: float = 0.5
    """The longest delay before the second try; it doubles with each further one."""
    longest_delay: float = 60.0
    """The longest delay before any try."""

    def delay(self, tries: int) -> float:
        """Seconds before the next try after so many: from half of a bound, which doubles, up to it.

        The lower half is left out so that tries fill the time there is: were delays of nearly nothing
        among them, a bound on tries would be used up early, and a server that is down asked more.
        """
        bound = min(self.longest_delay, self.first_delay * 2.0 ** min(tries - 1, _DOUBLINGS))
        return random.uniform(bound / 2, bound)


@dataclass(frozen=True)
class Answer:
    """A response, and what it took to get it."""

    response: Response
    tries: int
    waited: float
    """Seconds that the request waited for its turn, and between tries."""


def ask(
    attempt: Callable[[Request], Response],
    request: Request,
    *,
    member: Member,
    policy: RetryPolicy,
    tokens: int = 0,
    sleep: Callable[[float], object] = time.sleep,
) -> Answer:
    """Ask until there is an answer, or until asking again cannot help or takes too long.

    Args:
        attempt: Asks once.
        request: What is asked.
        member: Where permits to ask come from.
        policy: How often and how long.
        tokens: An estimate of the tokens that the request uses.
        sleep: Waits for so many seconds.

    Raises:
        dspy.lm15.LM15Error: What the last try raised, with the number of tries in its message.
    """
    with member.asking():
        return _ask(attempt, request, member, policy, tokens, sleep)


def _ask(
    attempt: Callable[[Request], Response],
    request: Request,
    member: Member,
    policy: RetryPolicy,
    tokens: int,
    sleep: Callable[[float], object],
) -> Answer:
    clock = member.budget.clock
    made = clock()
    first_sent = None
    waited, tries = 0.0, 0
    while True:
        queued = clock()
        permit = member.acquire(tokens=tokens, since=made)
        waited += clock() - queued
        first_sent = permit.sent_at if first_sent is None else first_sent
        tries += 1
        try:
            response = attempt(request)
        except BaseException as error:
            retry_after = _retry_after(error)
            left = policy.seconds - max(clock() - first_sent, member.budget.failing_for())
            passing = isinstance(error, LM15Error) and is_transient(error)
            again = passing and _may_retry(policy, tries) and left > 0 and retry_after <= left
            delay = max(retry_after, min(policy.delay(tries), left)) if again else 0.0
            outcome = _outcome(error)
            of_all = retry_after > 0 or (outcome is Outcome.REFUSED and tries >= _REPEATEDLY)
            permit.release(outcome, tokens=_tokens_of_failure(error), pause=delay if of_all else 0.0)
            if not isinstance(error, LM15Error) or not passing:
                raise
            if not again:
                raise _given_up(error, tries, retry_after) from error.__cause__
            logger.debug("try %d failed, the next is in %.1f s: %s", tries, delay, error.message)
            if tries >= _REPEATEDLY and member.budget.is_news():
                logger.warning("%s; trying again for up to %.0f s", error.message, left)
            sleep(delay)
            waited += delay
        else:
            _settle(permit, response)
            return Answer(response, tries, waited)


def is_transient(error: LM15Error) -> bool:
    """Whether the same request may succeed later.

    A reply that is no completion (HTTP 200 and a web page, say) comes from something between here and the
    model as a rule, and passes. A 413 that names a rate limit does not: the request alone is beyond it.
    """
    if isinstance(error, RateLimitError):
        return error.status in (None, _OK, _TOO_MANY_REQUESTS)
    if isinstance(error, TimeoutError | ServerError | TransportError):
        return True
    return type(error) is ProviderError and error.status in (None, _OK, *_TRANSIENT)


def _may_retry(policy: RetryPolicy, tries: int) -> bool:
    return policy.retries is None or tries <= policy.retries


def _retry_after(error: BaseException) -> float:
    return (error.retry_after or 0.0) if isinstance(error, LM15Error) else 0.0


def _outcome(error: BaseException) -> Outcome:
    if not isinstance(error, LM15Error):
        return Outcome.UNKNOWN
    if not is_transient(error):
        status = error.status if isinstance(error, ProviderError) else None
        return Outcome.UNKNOWN if status is None else Outcome.ANSWERED
    return Outcome.REFUSED if error.status in _OVERLOADED else Outcome.FAILED


def _tokens_of_failure(error: BaseException) -> int | None:
    """None where the server may have worked, and counted, before it failed."""
    refused = isinstance(error, ProviderError) and error.status is not None and error.status != _OK
    return 0 if refused else None


def _settle(permit: Permit, response: Response) -> None:
    usage = response.usage
    known = usage.input_tokens is not None and usage.output_tokens is not None
    used = usage.input_tokens + usage.output_tokens if known else None
    permit.release(Outcome.ANSWERED, tokens=used)


def _given_up(error: LM15Error, tries: int, retry_after: float) -> LM15Error:
    asked = f", which asked to wait {retry_after:.0f} s" if retry_after >= 1 else ""
    number = f"{tries} tries" if tries > 1 else "1 try"
    return one_line_error(error, f"{error.message} (given up after {number}{asked})")
