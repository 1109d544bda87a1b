import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from tiltyard.evaluation.paired import UnpairedError
from tiltyard.evaluation.seeds import across_seeds
from tiltyard.evaluation.statistics import interval


def scores(values):
    return {f"q{number}": float(value) for number, value in enumerate(values)}


def test_mean_and_spread_over_seeds():
    found = across_seeds({0: scores([1, 0, 1, 0]), 1: scores([1, 1, 1, 0]), 7: scores([1, 0, 0, 0])})

    assert found.mean == pytest.approx(0.5)
    assert found.sd == pytest.approx(0.25)
    assert found.by_seed == {0: 0.5, 1: 0.75, 7: 0.25}
    assert found.by_example == pytest.approx({"q0": 1, "q1": 1 / 3, "q2": 2 / 3, "q3": 0})
    assert (found.seeds, found.examples) == (3, 4)


def test_the_interval_for_the_same_examples_is_students():
    tables = np.random.default_rng(0).random((4, 30))
    found = across_seeds({seed: scores(row) for seed, row in enumerate(tables)})
    student = ttest_1samp(tables.mean(axis=1), 0).confidence_interval()

    assert found.low_same_examples == pytest.approx(student.low)
    assert found.high_same_examples == pytest.approx(student.high)


def test_one_seed_says_nothing_of_other_seeds():
    values = [1, 0, 1, 1, 0, 1]
    found = across_seeds({3: scores(values)})
    limits = interval(values)

    assert (found.sd, found.low_same_examples, found.high_same_examples) == (None, None, None)
    assert (found.low, found.high) == (limits.low, limits.high)


def test_seeds_that_never_differ_leave_the_interval_of_the_examples():
    values = [1, 0, 1, 1, 0, 1, 0.5]
    found = across_seeds({seed: scores(values) for seed in range(3)})
    limits = interval(values)

    assert found.sd == 0
    assert (found.low, found.high) == (limits.low, limits.high)


def test_seeds_that_differ_widen_the_interval():
    base = [1] * 50 + [0] * 50
    alike = across_seeds({seed: scores(np.roll(base, seed)) for seed in range(3)})
    apart = across_seeds({0: scores(base), 1: scores([1] * 90 + [0] * 10), 2: scores([1] * 10 + [0] * 90)})

    assert alike.sd == 0
    assert apart.mean == alike.mean
    assert apart.high - apart.low > 3 * (alike.high - alike.low)


def test_examples_of_a_table_widen_it_too():
    random = np.random.default_rng(0)
    chance = np.repeat(random.random(15), 6)
    tables = {f"q{number}": number // 6 for number in range(90)}
    arm = {seed: scores(random.binomial(1, chance)) for seed in range(3)}
    plain, clustered = across_seeds(arm), across_seeds(arm, clusters=tables)

    assert clustered.high - clustered.low > 1.3 * (plain.high - plain.low)
    assert clustered.mean == plain.mean


def test_seeds_of_other_examples_are_refused():
    with pytest.raises(UnpairedError, match="seed 0 and seed 4 are of different examples: 1 only in seed 4"):
        across_seeds({0: {"a": 1}, 1: {"a": 1}, 4: {"a": 1, "b": 0}})


@pytest.mark.parametrize("wrong", [{}, {0: {}}, {0: {"a": 2}}, {0: {"a": float("nan")}}])
def test_what_is_no_score_is_refused(wrong):
    with pytest.raises(ValueError, match="score"):
        across_seeds(wrong)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda size: st.lists(
            st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3 * size, max_size=3 * size),
            min_size=1,
            max_size=4,
        )
    ),
    st.booleans(),
)
def test_both_intervals_hold_the_mean_whatever_the_order_of_the_seeds(tables, in_tables):
    arm = {seed: scores(row) for seed, row in enumerate(tables)}
    clusters = {f"q{number}": number // 3 for number in range(len(tables[0]))} if in_tables else None
    found = across_seeds(arm, clusters=clusters)
    other = across_seeds(dict(reversed(arm.items())), clusters=clusters)

    assert 0 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= 1
    assert (other.mean, other.low, other.high) == pytest.approx((found.mean, found.low, found.high))
    if found.sd is not None:
        assert found.low_same_examples <= found.mean <= found.high_same_examples
    wide = across_seeds(arm, clusters=clusters, confidence=0.99)
    assert wide.low <= found.low + 1e-9
    assert found.high <= wide.high + 1e-9


@pytest.mark.parametrize("spread", [0.0, 0.15])
def test_the_interval_covers_other_seeds_and_examples(spread):
    random = np.random.default_rng(0)
    held = 0
    for _ in range(40):
        moved = random.uniform(-spread, spread, (3, 1))
        chance = random.choice([0.2, 0.5, 0.8], 60) + moved
        found = across_seeds({seed: scores(row) for seed, row in enumerate(random.binomial(1, chance))})
        held += found.low <= 0.5 <= found.high
    assert held / 40 >= 0.85
