import pytest
from dspy.lm15 import (
    AuthError,
    ConfigurationError,
    ContextLengthError,
    InvalidRequestError,
    Message,
    ProviderError,
    RateLimitError,
    Request,
    Response,
    ServerError,
    TextPart,
    TimeoutError,
    TransportError,
    Usage,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.remote.budget import Budget
from tiltyard.models.remote.limits import Limits
from tiltyard.models.remote.retrying import RetryPolicy, ask

REQUEST = Request(model="m", messages=(Message.user("hi"),))
RESPONSE = Response(
    id=None,
    model="m",
    message=Message(role="assistant", parts=(TextPart("yes"),)),
    finish_reason="stop",
    usage=Usage(input_tokens=7, output_tokens=3),
)

passing = st.sampled_from(
    [
        RateLimitError(status=429),
        RateLimitError(status=429, retry_after=7),
        ServerError(status=500),
        ServerError(status=503, retry_after=2),
        TimeoutError(),
        TimeoutError(status=408),
        TransportError("reset"),
        ProviderError("not JSON", status=200),
    ]
)
lasting = st.sampled_from(
    [
        AuthError(status=401),
        InvalidRequestError(status=400),
        ContextLengthError(status=400),
        RateLimitError(status=413),
        ProviderError("moved", status=301),
        ValueError("not lm15's"),
    ]
)


class Endpoint:
    """Raises what it is told to, then answers, in a time that passes only when someone sleeps."""

    def __init__(self, errors, limits=None, seconds=0.0):
        self.now = 1000.0
        self.errors = list(errors)
        self.seconds = seconds
        self.sent = []
        self.slept = []
        self.member = Budget(clock=lambda: self.now).join(limits or Limits())

    def attempt(self, request):
        self.sent.append(self.now)
        self.now += self.seconds
        if self.errors:
            raise self.errors.pop(0)
        return RESPONSE

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def ask(self, **policy):
        return ask(
            self.attempt,
            REQUEST,
            member=self.member,
            policy=RetryPolicy(**{"retries": 20, "seconds": 1e6, **policy}),
            sleep=self.sleep,
        )


@given(st.lists(passing, max_size=12))
@settings(max_examples=200)
def test_what_passes_is_tried_again_until_it_has_passed(errors):
    endpoint = Endpoint(errors)
    answer = endpoint.ask()

    assert answer.response is RESPONSE
    assert answer.tries == len(errors) + 1 == len(endpoint.sent)
    assert answer.waited == pytest.approx(sum(endpoint.slept))
    assert endpoint.member.budget.running == 0


@given(st.lists(passing, max_size=5), lasting)
@settings(max_examples=100)
def test_what_lasts_is_not_tried_again(before, error):
    endpoint = Endpoint([*before, error, *before])
    with pytest.raises(type(error)) as caught:
        endpoint.ask()

    assert caught.value is error
    assert len(endpoint.sent) == len(before) + 1
    assert endpoint.member.budget.running == 0


@given(st.integers(0, 6))
def test_tries_are_counted_and_the_last_error_is_raised(retries):
    endpoint = Endpoint([ServerError(status=500) for _ in range(50)])
    with pytest.raises(ServerError) as caught:
        endpoint.ask(retries=retries)

    assert len(endpoint.sent) == retries + 1
    assert f"given up after {retries + 1} tr" in caught.value.message


@given(st.floats(1, 600), st.floats(0, 50))
@settings(max_examples=200)
def test_no_try_starts_after_the_time_is_over(seconds, each):
    endpoint = Endpoint([ServerError(status=500) for _ in range(500)], seconds=each)
    with pytest.raises(ServerError):
        endpoint.ask(retries=400, seconds=seconds)

    assert endpoint.sent[-1] - endpoint.sent[0] <= seconds + 1e-6


@given(st.lists(st.integers(1, 90), min_size=1, max_size=8))
def test_retry_after_is_kept(waits):
    endpoint = Endpoint([RateLimitError(status=429, retry_after=wait) for wait in waits])
    endpoint.ask()

    gaps = [later - sooner for sooner, later in zip(endpoint.sent, endpoint.sent[1:], strict=False)]
    assert all(gap >= wait for gap, wait in zip(gaps, waits, strict=True))


def test_a_server_that_asks_for_more_than_the_time_there_is_is_not_waited_for():
    endpoint = Endpoint([RateLimitError(status=429, retry_after=3600)])
    with pytest.raises(RateLimitError, match="asked to wait 3600 s"):
        endpoint.ask(seconds=300)
    assert endpoint.slept == []

    endpoint.ask()  # nor do the others wait for so long
    assert endpoint.now == 1000.0


def test_delays_double_at_most_and_are_random():
    endpoint = Endpoint([ServerError(status=500) for _ in range(10)])
    endpoint.ask(first_delay=1.0, longest_delay=30.0)

    bounds = [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert all(bound / 2 <= slept <= bound for slept, bound in zip(endpoint.slept, bounds, strict=True))
    assert len(set(endpoint.slept)) > 5


def test_an_endpoint_that_is_down_gets_one_try_per_request_until_it_answers():
    endpoint = Endpoint([TransportError("refused") for _ in range(1000)], seconds=1.0)
    for _ in range(20):
        with pytest.raises(TransportError):
            endpoint.ask(retries=8, seconds=30.0)
    tries = len(endpoint.sent)
    with pytest.raises(TransportError, match="after 1 try"):
        endpoint.ask(retries=8, seconds=30.0)
    assert len(endpoint.sent) == tries + 1

    endpoint.errors = []
    endpoint.ask(retries=8, seconds=30.0)
    endpoint.errors = [ServerError(status=500)]
    assert endpoint.ask(retries=8, seconds=30.0).tries == 2


@given(st.floats(1, 2000), st.floats(0, 0.99))
@settings(max_examples=100)
def test_an_outage_that_is_shorter_than_the_time_there_is_costs_no_answer(seconds, share):
    """Without a bound on the tries, there is one in what remains of the time, and tries all along."""
    endpoint = Endpoint([])
    over = endpoint.now + share * seconds

    def attempt(request):
        endpoint.sent.append(endpoint.now)
        if endpoint.now < over:
            raise TransportError("refused")
        return RESPONSE

    endpoint.attempt = attempt
    assert endpoint.ask(retries=None, seconds=seconds).response is RESPONSE
    gaps = [later - sooner for sooner, later in zip(endpoint.sent, endpoint.sent[1:], strict=False)]
    assert all(gap <= 60 for gap in gaps)
    assert len(endpoint.sent) <= 10 + seconds / 30


def test_the_time_bounds_the_tries_where_nothing_else_does():
    endpoint = Endpoint([TransportError("refused") for _ in range(1000)])
    with pytest.raises(TransportError, match="given up after"):
        endpoint.ask(retries=None, seconds=300.0)
    assert endpoint.sent[-1] - endpoint.sent[0] == pytest.approx(300.0)


def old_trouble(endpoint):
    """An interrupted request and one that was given up, both as the last of a run."""
    endpoint.errors = [TransportError("refused") for _ in range(100)]
    with pytest.raises(TransportError):
        endpoint.ask(retries=None, seconds=30.0)
    endpoint.errors = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        endpoint.ask()
    assert endpoint.member.budget.failing_for() >= 30.0


def test_an_hour_after_a_run_failed_one_failure_loses_nothing():
    endpoint = Endpoint([])
    old_trouble(endpoint)
    endpoint.now += 3600
    endpoint.errors = [ServerError(status=503)]
    assert endpoint.ask(seconds=300.0).tries == 2


def test_a_new_member_is_as_patient_as_the_first_was():
    endpoint = Endpoint([])
    old_trouble(endpoint)
    endpoint.member = endpoint.member.budget.join(Limits())
    endpoint.errors = [ServerError(status=503)]
    assert endpoint.ask(seconds=30.0).tries == 2


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ValueError("not lm15's"), ConfigurationError("proxy")]
)
def test_what_ends_on_this_side_says_nothing_about_the_server(error):
    endpoint = Endpoint([error])
    with pytest.raises(type(error)):
        endpoint.ask()
    endpoint.now += 5
    assert endpoint.member.budget.failing_for() == 0

    endpoint.errors = [ServerError(status=500), error]
    with pytest.raises(type(error)):
        endpoint.ask()
    endpoint.now += 5
    assert endpoint.member.budget.failing_for() >= 5


def test_waiting_between_tries_is_not_idle():
    """One thread alone must not take its own pause for a time in which nobody asked."""
    endpoint = Endpoint([TransportError("refused") for _ in range(1000)])
    with pytest.raises(TransportError):
        endpoint.ask(retries=None, seconds=300.0)
    assert max(endpoint.slept) > 20
    assert endpoint.member.budget.failing_for() == pytest.approx(300.0)


def test_a_permit_is_given_back_whatever_happens():
    endpoint = Endpoint([KeyboardInterrupt()], limits=Limits(max_concurrency=1))
    with pytest.raises(KeyboardInterrupt):
        endpoint.ask()
    assert endpoint.ask().tries == 1


def test_a_failing_endpoint_is_told_of_once_until_it_answers_again(caplog):
    endpoint = Endpoint([ServerError("HTTP 500", status=500)] * 6)

    with caplog.at_level("WARNING"):
        endpoint.ask()
        assert len(caplog.records) == 1
        assert "HTTP 500" in caplog.text
        assert "trying again for up to " in caplog.text

        endpoint.ask()  # answers at once
        endpoint.errors = [ServerError("HTTP 500", status=500)] * 4
        endpoint.ask()
        assert len(caplog.records) == 2

        endpoint.errors = [ServerError("HTTP 500", status=500)]
        endpoint.ask()  # a single hiccup is no news
        assert len(caplog.records) == 2
