import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test, ttest_rel
from statsmodels.stats.multitest import multipletests

from tiltyard.evaluation.paired import UnpairedError, compare, holm
from tiltyard.evaluation.statistics import interval


def scores(values):
    return {f"q{number}": value for number, value in enumerate(values)}


def of_table(both, gained, lost, neither):
    """Two runs by how many examples both, only the first, only the second and neither got right."""
    counts = {(1, 1): both, (1, 0): gained, (0, 1): lost, (0, 0): neither}
    after, before = zip(*(cell for cell, count in counts.items() for _ in range(count)), strict=True)
    return scores(after), scores(before)


def test_the_interval_of_paired_proportions_against_published_values():
    # Newcombe (1998), Statistics in Medicine 17, method 10.
    found = compare(*of_table(36, 12, 2, 0))

    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0569, abs=5e-5), pytest.approx(0.3404, abs=5e-5))


@pytest.mark.parametrize("table", [(0, 1, 0, 3), (36, 12, 2, 0), (10, 3, 9, 40), (1, 60, 0, 179)])
def test_zeros_and_ones_get_mcnemars_exact_test(table):
    found = compare(*of_table(*table))

    _, gained, lost, _ = table
    assert found.test == "mcnemar"
    assert found.examples == sum(table)
    assert found.p == pytest.approx(binomtest(gained, gained + lost).pvalue)


def test_few_partial_scores_get_every_sign_change():
    after, before = [0.9, 0.4, 1.0, 0.7, 0.2], [0.3, 0.5, 0.2, 0.1, 0.2]
    found = compare(scores(after), scores(before))

    differences = np.subtract(after, before)
    sums = [abs((differences * signs).sum()) for signs in itertools.product([1, -1], repeat=5)]
    assert found.test == "sign-flip"
    assert found.p == pytest.approx(np.mean([total >= abs(differences.sum()) - 1e-9 for total in sums]))


def test_many_partial_scores_agree_with_other_paired_methods():
    random = np.random.default_rng(0)
    before = random.random(80)
    after = np.clip(before + random.normal(0.05, 0.15, 80), 0, 1)
    found = compare(scores(after), scores(before))

    differences = after - before
    reference = permutation_test((differences,), np.mean, permutation_type="samples", rng=1)
    student = ttest_rel(after, before)
    limits = student.confidence_interval()
    assert found.mean == pytest.approx(differences.mean())
    assert found.p == pytest.approx(reference.pvalue, abs=0.01)
    assert found.p == pytest.approx(student.pvalue, abs=0.01)
    assert (found.low, found.high) == (
        pytest.approx(limits.low, abs=0.01),
        pytest.approx(limits.high, abs=0.01),
    )


def test_pairing_sees_what_separate_intervals_do_not():
    after, before = of_table(100, 15, 2, 83)
    found = compare(after, before)

    assert interval(list(before.values())).high > interval(list(after.values())).low
    assert found.low > 0
    assert found.p < 0.01


def test_examples_are_paired_by_their_ids():
    assert compare({"a": 1, "b": 0, "c": 1}, {"c": 1, "b": 0, "a": 0}) == compare(
        {"a": 1, "b": 0, "c": 1}, {"a": 0, "b": 0, "c": 1}
    )


@pytest.mark.parametrize(
    ("after", "before"),
    [
        ({}, {}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1, "b": 1}, {"a": 1}),
        ({"a": 1.5}, {"a": 1}),
        ({"a": 1}, {"a": float("nan")}),
    ],
)
def test_what_cannot_be_paired_is_refused(after, before):
    with pytest.raises(ValueError, match=r"examples|scores"):
        compare(after, before)


def test_unpaired_runs_are_refused_with_the_reason():
    with pytest.raises(UnpairedError) as refused:
        compare({"a": 1, "b": 1, "d": 0}, {"a": 1, "c": 0})

    assert str(refused.value) == (
        "the run and the baseline are of different examples: 2 only in the run, such as 'b'; "
        "1 only in the baseline, such as 'c'; 1 in both"
    )
    with pytest.raises(UnpairedError, match=r"1 only in the baseline, such as 'b'; 1 in both$") as one_sided:
        compare({"a": 1}, {"a": 1, "b": 1})
    assert "only in the run" not in str(one_sided.value)


def by_table(labels):
    return {f"q{number}": label for number, label in enumerate(labels)}


def test_examples_of_a_table_change_their_signs_together():
    after, before = [1, 1, 1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 0, 0, 0, 0]
    found = compare(scores(after), scores(before), clusters=by_table("aabbccdd"))

    sums = np.subtract(after, before).reshape(4, 2).sum(axis=1)
    changed = [abs((sums * signs).sum()) for signs in itertools.product([1, -1], repeat=4)]
    assert found.test == "cluster-sign-flip"
    assert found.p == pytest.approx(np.mean([total >= abs(sums.sum()) for total in changed]))
    assert found.p > compare(scores(after), scores(before)).p


def test_an_example_without_a_known_cluster_is_one_of_its_own():
    after, before = scores([1, 1, 0, 1, 0]), scores([0, 0, 1, 1, 0])

    assert compare(after, before, clusters={}) == compare(after, before)
    assert compare(after, before, clusters={"q0": "x", "q1": "x"}) == compare(
        after, before, clusters=by_table("xxabc")
    )


def test_tables_with_one_difference_each_are_no_more_than_as_many_examples():
    # Ten tables of five questions that all changed together.
    after, before = [1] * 40 + [0] * 10, [0] * 5 + [1] * 5 + [0] * 40
    clustered = compare(scores(after), scores(before), clusters=by_table(n // 5 for n in range(50)))
    ten = compare(scores(after[::5]), scores(before[::5]))

    assert clustered.p == pytest.approx(ten.p)
    assert clustered.low <= ten.low + 1e-9
    assert ten.high <= clustered.high + 1e-9


def test_two_runs_without_a_difference_are_not_certainly_equal():
    for value in (0, 1, 0.5):
        found = compare(scores([value] * 50), scores([value] * 50))
        assert found.p == 1
        assert found.mean == 0
        assert found.low < 0 < found.high


score = st.sampled_from([0.0, 1.0])
partial = st.one_of(score, st.floats(0, 1))
pairs = st.one_of(
    st.lists(st.tuples(score, score), min_size=1, max_size=40),
    st.lists(st.tuples(partial, partial), min_size=1, max_size=12),
)
labels = st.one_of(st.none(), st.lists(st.integers(0, 6), min_size=40, max_size=40).map(by_table))


@settings(max_examples=60, deadline=None)
@given(pairs, labels)
def test_exchanging_the_runs_exchanges_the_sign(values, clusters):
    after, before = (scores(column) for column in zip(*values, strict=True))
    found, exchanged = compare(after, before, clusters=clusters), compare(before, after, clusters=clusters)

    assert 0 <= found.p <= 1
    assert -1 <= found.low <= found.high <= 1
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    assert exchanged.p == pytest.approx(found.p)
    assert exchanged.mean == pytest.approx(-found.mean)
    assert (exchanged.low, exchanged.high) == (
        pytest.approx(-found.high, abs=1e-9),
        pytest.approx(-found.low, abs=1e-9),
    )
    wide = compare(after, before, clusters=clusters, confidence=0.99)
    assert wide.low <= found.low + 1e-9
    assert found.high <= wide.high + 1e-9
    assert compare(after, after, clusters=clusters).p == 1


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_clusters_of_one_each_and_one_of_all_leave_the_comparison(values):
    after, before = (scores(column) for column in zip(*values, strict=True))
    plain = compare(after, before)

    assert compare(after, before, clusters={sample: sample for sample in after}) == plain
    assert compare(after, before, clusters=dict.fromkeys(after, "the same")) == plain


@pytest.mark.parametrize("truth", [(0.3, 0.3, 0.05), (0.05, 0.02, 0.0), (0.0, 0.25, 0.01)])
def test_the_interval_of_paired_proportions_covers(truth):
    both, gained, lost = truth
    random = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        table = random.multinomial(60, [both, gained, lost, 1 - both - gained - lost])
        found = compare(*of_table(*map(int, table)))
        held += found.low <= gained - lost <= found.high
    assert held / 100 >= 0.9


def test_holm_against_a_worked_example():
    # Sorted: 4 × 0.01, 3 × 0.02, 2 × 0.03 and 1 × 0.04, each no less than the one before.
    assert holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


@pytest.mark.parametrize("size", [2, 7, 40])
def test_holm_agrees_with_statsmodels(size):
    p_values = np.random.default_rng(size).random(size).round(2) ** 3  # with ties
    assert holm(list(p_values)) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_raw_value_and_bonferroni(p_values):
    adjusted = holm(p_values)

    for raw, p in zip(p_values, adjusted, strict=True):
        assert raw <= p <= min(1, len(p_values) * raw) or p == pytest.approx(raw)
    for one, other in itertools.combinations(range(len(p_values)), 2):
        if p_values[one] < p_values[other]:
            assert adjusted[one] <= adjusted[other]
