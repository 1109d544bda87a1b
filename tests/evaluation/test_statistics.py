import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tiltyard.evaluation.statistics import interval


@pytest.mark.parametrize(
    # Wilson intervals as printed in Newcombe (1998), "Two-sided confidence intervals for the single
    # proportion: comparison of seven methods", table I.
    ("right", "examples", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_published_values(right, examples, low, high):
    found = interval([1] * right + [0] * (examples - right))

    assert found.method == "wilson"
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("score", [0, 1])
def test_all_right_or_all_wrong_is_not_certainty(score):
    found = interval([score] * 3)

    assert found.method == "wilson"
    assert found.high - found.low > 0.5


def test_partial_scores_are_bootstrapped():
    scores = np.random.default_rng(0).beta(2, 1, 60)
    found = interval(list(scores))

    assert found.method == "bootstrap-bca"
    assert found.low < scores.mean() < found.high
    standard_error = scores.std(ddof=1) / np.sqrt(60)
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_the_same_seed_gives_the_same_interval():
    scores = list(np.random.default_rng(1).random(40))

    assert interval(scores) == interval(scores)
    assert interval(scores, seed=1) != interval(scores, seed=2)


def test_more_confidence_is_a_wider_interval():
    for scores in ([1, 0, 1, 1], [0.2, 0.9, 0.4], list(np.linspace(0.1, 0.8, 30))):
        narrow, wide = interval(scores, confidence=0.8), interval(scores, confidence=0.99)
        assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("scores", [[0.5], [0.5] * 40, [0.3, 0.9], [0.2, 0.4, 1.0]])
def test_few_or_equal_partial_scores_get_the_conservative_bound(scores):
    found = interval(scores)

    assert found.method == "wilson-bound"
    assert found.low < np.mean(scores) < found.high
    assert found.high - found.low > 0.2


def test_the_bound_agrees_with_wilson_where_both_apply():
    bound = interval([0.25] * 40)
    wilson = binomtest(10, 40).proportion_ci(method="wilson")

    assert (bound.low, bound.high) == (pytest.approx(wilson.low), pytest.approx(wilson.high))


@pytest.mark.parametrize("scores", [[], [1.5], [-0.1, 1], [float("nan"), 1]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match="score"):
        interval(scores)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=30))
def test_limits_are_ordered_and_in_range(scores):
    found = interval(scores)

    assert 0 <= found.low <= found.high <= 1
    if found.method.startswith("wilson"):
        assert found.low - 1e-12 <= np.mean(scores) <= found.high + 1e-12


def coverage(draw, truth, size, samples):
    held = 0
    for _ in range(samples):
        found = interval(draw(size))
        held += found.low <= truth <= found.high
    return held / samples


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("size", [5, 50])
def test_coverage_of_wilson(probability, size):
    random = np.random.default_rng(0)
    held = coverage(lambda n: random.binomial(1, probability, n), probability, size, samples=300)
    assert held >= 0.90


@pytest.mark.parametrize(("size", "least"), [(3, 0.93), (25, 0.88)])
def test_coverage_of_partial_scores(size, least, monkeypatch):
    monkeypatch.setattr("tiltyard.evaluation.statistics.RESAMPLES", 999)
    random = np.random.default_rng(0)

    def like_f1(n):  # half of the answers right, a third wrong, the rest in part
        return random.choice([1.0, 0.0, random.random()], size=n, p=[0.5, 0.3, 0.2])

    truth = 0.5 + 0.2 * 0.5
    assert coverage(like_f1, truth, size, samples=200) >= least
