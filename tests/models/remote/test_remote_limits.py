import math

from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.remote.limits import AdaptiveConcurrency, SlidingWindow

MINUTE = 60_000
"""In milliseconds: whole numbers, so that no rounding blurs a bound."""


def most_in_any_minute(spent):
    """The largest sum of amounts that began within one minute."""
    return max(
        (sum(amount for at, amount in spent if start <= at < start + MINUTE) for start, _ in spent), default=0
    )


arrivals = st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 30)), max_size=60)


@given(arrivals, st.integers(1, 30))
@settings(max_examples=300)
def test_no_minute_holds_more_than_the_limit(arrivals, limit):
    window, now, spent = SlidingWindow(MINUTE), 0, []
    for pause, amount in arrivals:
        amount = min(amount, limit)
        now += pause
        now += window.wait(now, amount, limit)
        assert window.wait(now, amount, limit) == 0
        window.spend(now, amount)
        spent.append((now, amount))

    assert most_in_any_minute(spent) <= limit


@given(arrivals, st.integers(1, 30))
@settings(max_examples=300)
def test_no_wait_is_longer_than_it_must_be(arrivals, limit):
    """Just before the time that is named, the amount would have been too much."""
    window, now, spent = SlidingWindow(MINUTE), 0, []
    for pause, amount in arrivals:
        amount = min(amount, limit)
        now += pause
        wait = window.wait(now, amount, limit)
        if wait:
            earlier = now + wait - 1
            assert sum(past for at, past in spent if at > earlier - MINUTE) + amount > limit
        now += wait
        window.spend(now, amount)
        spent.append((now, amount))


@given(arrivals, st.lists(st.integers(0, 30), min_size=60, max_size=60), st.integers(1, 30))
@settings(max_examples=300)
def test_what_was_corrected_counts_as_what_it_came_to(arrivals, actual, limit):
    window, now, spent = SlidingWindow(MINUTE), 0, []
    for (pause, estimate), came_to in zip(arrivals, actual, strict=False):
        estimate = min(estimate, limit)
        now += pause
        now += window.wait(now, estimate, limit)
        entry = window.spend(now, estimate)
        window.correct(entry, min(came_to, estimate))
        spent.append((now, min(came_to, estimate)))

    assert most_in_any_minute(spent) <= limit


def test_a_correction_of_what_is_forgotten_changes_nothing():
    window = SlidingWindow(MINUTE)
    old = window.spend(0, 10)
    window.spend(61_000, 5)

    window.correct(old, 1000)

    assert window.wait(61_000, 5, 10) == 0


def test_an_amount_beyond_the_limit_gets_the_minute_for_itself():
    window = SlidingWindow(MINUTE)

    assert window.wait(0, 50, 10) == 0
    window.spend(0, 50)
    assert window.wait(1_000, 1, 10) == 59_000
    assert window.wait(60_000, 50, 10) == 0


@given(st.lists(st.sampled_from(["answered", "refused"]), max_size=200), st.none() | st.integers(1, 64))
def test_concurrency_stays_between_one_and_its_ceiling(events, ceiling):
    concurrency = AdaptiveConcurrency()
    for second, event in enumerate(events):
        if event == "answered":
            concurrency.answered(ceiling)
        else:
            concurrency.refused(second, second, running=5, ceiling=ceiling)
        assert 1 <= concurrency.allowed(ceiling) <= (math.inf if ceiling is None else ceiling)


def test_concurrency_halves_on_a_refusal_and_grows_by_one_in_a_round_of_answers():
    concurrency = AdaptiveConcurrency()
    concurrency.refused(sent_at=0.0, now=1.0, running=16, ceiling=16)
    assert concurrency.allowed(16) == 8

    for _ in range(8):
        concurrency.answered(16)
    assert 8.9 < concurrency.allowed(16) <= 9

    for _ in range(500):
        concurrency.answered(16)
    assert concurrency.allowed(16) == 16


def test_refusals_of_one_burst_count_once():
    concurrency = AdaptiveConcurrency()
    for sent_at in (0.0, 0.1, 0.2, 0.3):
        concurrency.refused(sent_at, now=1.0, running=16, ceiling=16)
    assert concurrency.allowed(16) == 8

    concurrency.refused(sent_at=1.5, now=2.0, running=8, ceiling=16)
    assert concurrency.allowed(16) == 4


def test_without_a_ceiling_the_first_refusal_sets_one():
    concurrency = AdaptiveConcurrency()
    assert concurrency.allowed(None) == math.inf
    concurrency.refused(sent_at=0.0, now=1.0, running=40, ceiling=None)
    assert concurrency.allowed(None) == 20


def test_a_ceiling_that_is_lifted_leaves_no_trace():
    concurrency = AdaptiveConcurrency()
    for _ in range(5):
        concurrency.answered(1)
    assert concurrency.allowed(1) == 1
    assert concurrency.allowed(8) == 8
    assert concurrency.allowed(None) == float("inf")
