import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_1samp

from tiltyard.evaluation.clusters import clustered_mean
from tiltyard.evaluation.statistics import interval, of_variance


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
    scores = list(np.random.default_rng(1).random(60))

    assert interval(scores) == interval(scores)
    assert interval(scores, seed=1) != interval(scores, seed=2)


def test_more_confidence_is_a_wider_interval():
    tables = {
        "wilson": [1, 0, 1, 1],
        "wilson-bound": [0.2, 0.9, 0.4],
        "wilson-t": list(np.linspace(0.1, 0.8, 30)),
        "bootstrap-bca": list(np.linspace(0.1, 0.8, 60)),
    }
    for method, scores in tables.items():
        narrow, wide = interval(scores, confidence=0.8), interval(scores, confidence=0.99)
        assert narrow.method == wide.method == method
        assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("scores", [[0.5], [0.5] * 40, [0.3, 0.9], [0.2, 0.4, 1.0, 0.1]])
def test_few_or_equal_partial_scores_get_the_conservative_bound(scores):
    found = interval(scores)

    assert found.method == "wilson-bound"
    assert found.low < np.mean(scores) < found.high
    assert found.high - found.low > 0.2


def test_some_partial_scores_get_about_students_interval():
    scores = np.random.default_rng(0).beta(4, 4, 30)
    found = interval(list(scores))
    student = ttest_1samp(scores, 0).confidence_interval()

    assert found.method == "wilson-t"
    # Drawn a little towards 1/2, as Wilson's interval is.
    assert found.low == pytest.approx(student.low, abs=0.005)
    assert found.high == pytest.approx(student.high, abs=0.005)


def test_as_much_spread_as_that_of_zeros_and_ones_makes_wilsons_formula_with_students_quantile():
    scores = [0.0, 1.0] * 10 + [0.5]
    found = interval(scores)
    examples = 0.25 / (np.var(scores, ddof=1) / 21)
    quantile = t.ppf(0.975, 20)
    half = quantile / (1 + quantile**2 / examples) * (0.25 / examples + quantile**2 / 4 / examples**2) ** 0.5

    assert (found.low, found.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


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

    assert 0 <= found.low <= np.mean(scores) + 1e-12
    assert np.mean(scores) - 1e-12 <= found.high <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=30))
def test_clusters_of_one_each_and_one_of_all_change_nothing(scores):
    plain = interval(scores)

    assert interval(scores, clusters=[f"table {number}" for number in range(len(scores))]) == plain
    assert interval(scores, clusters=["the same"] * len(scores)) == plain


grouped = st.lists(
    st.tuples(st.integers(0, 9), st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))),
    min_size=2,
    max_size=40,
).filter(lambda pairs: 1 < len({cluster for cluster, _ in pairs}) < len(pairs))


@settings(max_examples=60, deadline=None)
@given(grouped, st.integers(2, 4), st.randoms())
def test_what_holds_of_every_clustered_interval(pairs, times, random):
    clusters, scores = zip(*pairs, strict=True)
    found = interval(scores, clusters=clusters)
    mean = np.mean(scores)

    assert found.method in ("wilson-clustered", "wilson-bound")
    assert 0 <= found.low <= mean + 1e-12
    assert mean - 1e-12 <= found.high <= 1
    wide = interval(scores, clusters=clusters, confidence=0.99)
    assert wide.low <= found.low + 1e-12
    assert found.high <= wide.high + 1e-12
    # Asking every question again of the same tables says nothing new, but that they are alike by no chance.
    again = interval(scores * times, clusters=clusters * times)
    assert found.low - 1e-9 <= again.low
    assert again.high <= found.high + 1e-9
    if clustered_mean(np.array(scores), clusters).variance >= mean * (1 - mean) / len(scores):
        assert (again.low, again.high) == (pytest.approx(found.low), pytest.approx(found.high))
    shuffled = random.sample(pairs, len(pairs))
    other = interval([score for _, score in shuffled], clusters=[("t", cluster) for cluster, _ in shuffled])
    assert (other.low, other.high) == (pytest.approx(found.low), pytest.approx(found.high))
    mirrored = interval([1 - score for score in scores], clusters=clusters)
    assert (mirrored.low, mirrored.high) == (
        pytest.approx(1 - found.high, abs=1e-6),
        pytest.approx(1 - found.low, abs=1e-6),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=20), st.integers(2, 4))
def test_copies_of_independent_examples_do_not_narrow_the_interval(scores, times):
    plain = interval(scores)
    copied = interval(scores * times, clusters=list(range(len(scores))) * times)

    assert copied.low <= plain.low + 1e-12
    assert plain.high <= copied.high + 1e-12


def test_questions_of_alike_tables_say_less_than_independent_ones():
    scores = [1.0] * 30 + [0.0] * 30
    tables = [number // 6 for number in range(60)]
    plain, found = interval(scores), interval(scores, clusters=tables)

    assert found.method == "wilson-clustered"
    # Each table is all right or all wrong: ten tables, and their spread has to be estimated too.
    assert found.high - found.low > interval([1.0] * 5 + [0.0] * 5).high - found.low
    assert found.high - found.low > 2 * (plain.high - plain.low)


def test_a_clustered_interval_from_the_formulas():
    scores = [1, 1, 1, 0, 1, 0, 1, 1, 0, 0]
    clusters = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    # Means of tables: 1, 0.5, 0.5, 1, 0; of equal size, so theirs is the textbook's variance of a mean.
    variance = np.var([1, 0.5, 0.5, 1, 0], ddof=1) / 5
    examples, quantile = 0.6 * 0.4 / variance, t.ppf(0.975, 4)
    share = quantile**2 / examples
    centre = (0.6 + share / 2) / (1 + share)
    half = quantile / (1 + share) * (0.24 / examples + share / (4 * examples)) ** 0.5
    found = interval(scores, clusters=clusters)

    assert found.method == "wilson-clustered"
    assert (found.low, found.high) == (pytest.approx(centre - half), pytest.approx(centre + half))


@pytest.mark.parametrize("scores", [[1.0] * 12, [0.0] * 12, [1.0, 0.0] * 6])
def test_clusters_without_a_difference_count_as_one_example_each(scores):
    found = interval(scores, clusters=[number // 2 for number in range(12)])
    bound = binomtest(round(sum(scores) / 2), 6).proportion_ci(method="wilson")

    assert found.method == "wilson-bound"
    assert (found.low, found.high) == (pytest.approx(bound.low), pytest.approx(bound.high))


def test_clusters_for_other_scores_are_refused():
    with pytest.raises(ValueError, match="3 scores need as many clusters, not 2"):
        interval([1, 0, 1], clusters=["a", "b"])


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


@pytest.mark.parametrize("correlation", [0.05, 0.6])
def test_coverage_of_clustered_scores(correlation):
    random = np.random.default_rng(0)
    held = plain = 0
    for _ in range(300):
        clusters = np.repeat(np.arange(12), random.integers(2, 12, 12))
        strength = (1 - correlation) / correlation
        chance = random.beta(0.6 * strength, 0.4 * strength, 12)[clusters]
        scores = random.binomial(1, chance).tolist()
        found, ignoring = interval(scores, clusters=clusters.tolist()), interval(scores)
        held += found.low <= 0.6 <= found.high
        plain += ignoring.low <= 0.6 <= ignoring.high
    assert 0.92 <= held / 300 <= 0.99
    if correlation > 0.5:
        assert plain / 300 < 0.75


@pytest.mark.parametrize(("size", "least"), [(3, 0.93), (25, 0.92), (60, 0.90)])
def test_coverage_of_partial_scores(size, least, monkeypatch):
    monkeypatch.setattr("tiltyard.evaluation.statistics.RESAMPLES", 999)
    random = np.random.default_rng(0)

    def like_f1(n):  # half of the answers right, a third wrong, the rest in part
        kind = random.random(n)
        return np.where(kind < 0.5, 1.0, np.where(kind < 0.8, 0.0, random.random(n)))

    truth = 0.5 + 0.2 * 0.5
    assert coverage(like_f1, truth, size, samples=200) >= least


def test_clusters_that_look_all_alike_count_at_most_as_independent_examples():
    # Each table has one of each score, so that tables differ by next to nothing.
    scores, tables = [0.0, 1.0, 1.0, 1.0] * 9 + [1.0, 1.0, 1.0, 0.5], [place // 4 for place in range(40)]
    found = interval(scores, clusters=tables)
    mean, freedom = sum(scores) / 40, clustered_mean(np.array(scores), tables).freedom
    independent = of_variance(mean, mean * (1 - mean) / 40, freedom, 0.95)

    assert found.method == "wilson-clustered"
    assert (found.low, found.high) == pytest.approx(independent)


def test_a_spread_too_small_to_compute_with_is_none():
    assert interval([0.0, 0.0, 0.0, 0.0, 2.8e-260]).method == "wilson-bound"
