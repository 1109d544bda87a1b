import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from tiltyard.evaluation.effect import cohens_dz, odds_ratio
from tiltyard.evaluation.paired import compare


def pairs(gained, lost, same=0):
    return np.array([1.0] * gained + [-1.0] * lost + [0.0] * same)


def test_the_odds_ratio_of_a_published_example():
    # Agresti (2013), section 11.1: 132 and 107 people who changed their answer; 132 / 107 = 1.23.
    found = odds_ratio(pairs(132, 107, 905))

    assert found.measure == "odds-ratio"
    assert found.value == pytest.approx(132 / 107)
    exact = binomtest(132, 239).proportion_ci(method="exact")
    assert found.low == pytest.approx(exact.low / (1 - exact.low))
    assert found.high == pytest.approx(exact.high / (1 - exact.high))


def test_odds_without_a_limit_are_said():
    only_gained, only_lost = odds_ratio(pairs(4, 0, 9)), odds_ratio(pairs(0, 4, 9))

    assert (only_gained.value, only_gained.high) == (math.inf, math.inf)
    assert (only_lost.value, only_lost.low) == (0.0, 0.0)
    assert only_gained.low == pytest.approx(1 / only_lost.high)
    assert only_gained.low > 0
    assert odds_ratio(pairs(0, 0, 9)) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30))
def test_the_interval_of_the_odds_agrees_with_mcnemars_test(gained, lost):
    found = odds_ratio(pairs(gained, lost))
    if found is None:
        assert gained == lost == 0
        return
    p = mcnemar([[0, gained], [lost, 0]], exact=True).pvalue

    assert found.low <= found.value <= found.high
    assert (p < 0.05) == (found.low > 1 or found.high < 1)


def test_tables_that_change_together_widen_the_odds():
    differences = np.array([1.0] * 12 + [-1.0] * 6 + [0.0] * 6)
    plain, clustered = odds_ratio(differences), odds_ratio(differences, [number // 3 for number in range(24)])

    assert clustered.value == plain.value
    assert clustered.low < plain.low
    assert clustered.high > plain.high


def test_gains_in_one_table_alone_tell_no_more_than_one_example():
    tables = [0] * 10 + [1 + number // 5 for number in range(20)]
    found = odds_ratio(pairs(10, 0, 20), tables)

    assert found.high == math.inf
    assert found.low < 1  # as the test: one table that changed may be chance
    scores = {f"q{number}": float(number < 10) for number in range(30)}
    clusters = {f"q{number}": table for number, table in enumerate(tables)}
    assert compare(scores, dict.fromkeys(scores, 0.0), clusters=clusters).p == 1


def test_cohens_dz_is_the_mean_in_standard_deviations():
    differences = np.array([0.1, 0.3, -0.2, 0.4, 0.25])
    found = cohens_dz(differences)

    assert found.measure == "cohens-dz"
    assert found.value == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert found.low < found.value < found.high


def test_the_interval_of_dz_is_about_the_normal_theorys_for_normal_differences():
    differences = np.random.default_rng(0).normal(0.1, 0.2, 2000)
    found = cohens_dz(differences)
    error = ((1 + found.value**2 / 2) / 2000) ** 0.5  # Hedges and Olkin (1985)

    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_the_interval_of_dz_is_no_surer_than_that_of_the_difference():
    after = {f"q{number}": 0.5 if number < 2 else 0.0 for number in range(20)}
    before = dict.fromkeys(after, 0.0)
    found = compare(after, before)
    differences = np.array([after[name] for name in after])
    alone, spread = cohens_dz(differences), differences.std(ddof=1)

    assert found.effect.value == alone.value
    assert found.effect.low <= min(alone.low, found.low / spread) + 1e-12
    assert found.effect.high == pytest.approx(max(alone.high, found.high / spread))
    assert found.effect.high > alone.high


def test_differences_without_a_spread_have_no_dz():
    assert cohens_dz(np.zeros(9)) is None
    assert cohens_dz(np.full(9, 0.3)) is None
    assert cohens_dz(np.array([0.3])) is None


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=2, max_size=30), st.integers(1, 6)
)
def test_dz_is_mirrored_with_the_runs(values, size):
    differences = np.array(values)
    clusters = [number // size for number in range(len(values))]
    found, mirrored = cohens_dz(differences, clusters), cohens_dz(-differences, clusters)
    if found is None:
        assert mirrored is None
        return
    assert mirrored.value == pytest.approx(-found.value)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


def test_a_comparison_has_the_effect_that_fits_its_scores():
    after, before = {"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "c": 1}
    assert compare(after, before).effect.measure == "odds-ratio"
    assert compare({**after, "a": 0.5}, before).effect.measure == "cohens-dz"
    assert compare(after, after).effect is None
