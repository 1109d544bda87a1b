import numpy as np
import pytest
from scipy.stats import binom, binomtest
from statsmodels.stats.power import TTestPower

from tiltyard.evaluation.paired import UnpairedError, compare
from tiltyard.evaluation.power import detectable, mcnemar_power


def scores(values):
    return {f"q{number}": float(value) for number, value in enumerate(values)}


def of_table(both, gained, lost, neither):
    counts = {(1, 1): both, (1, 0): gained, (0, 1): lost, (0, 0): neither}
    after, before = zip(*(cell for cell, count in counts.items() for _ in range(count)), strict=True)
    return scores(after), scores(before)


@pytest.mark.parametrize(("examples", "gained", "lost"), [(12, 0.6, 0.1), (25, 0.3, 0.0)])
def test_the_power_of_mcnemars_test_is_summed_over_its_outcomes(examples, gained, lost):
    found = 0.0
    for differing in range(examples + 1):
        for won in range(differing + 1):
            if differing and binomtest(won, differing).pvalue <= 0.05:
                found += binom.pmf(differing, examples, gained + lost) * binom.pmf(
                    won, differing, gained / (gained + lost)
                )
    assert mcnemar_power(examples, gained, lost) == pytest.approx(found, abs=1e-8)


def test_the_smallest_difference_is_found_as_often_as_wanted():
    found = detectable(*of_table(50, 12, 8, 30))
    random = np.random.default_rng(0)
    gained, lost = (0.2 + found.smallest) / 2, (0.2 - found.smallest) / 2
    hits = 0
    for _ in range(400):
        table = random.multinomial(100, [0.5, gained, lost, 0.5 - gained - lost])
        hits += binomtest(int(table[1]), max(1, int(table[1] + table[2]))).pvalue < 0.05
    assert found.observed == pytest.approx(0.04)
    assert 0.74 <= hits / 400 <= 0.86


def test_what_is_needed_shows_the_observed_difference():
    found = detectable(*of_table(50, 12, 8, 30))

    assert mcnemar_power(found.needed, 0.12, 0.08) >= 0.8
    # Its power rises in steps, so a few fewer may do as well, but not a tenth less.
    assert mcnemar_power(found.needed * 9 // 10, 0.12, 0.08) < 0.8
    # Connor (1987), for the normal approximation of the test, which needs a little less.
    connor = (1.96 * 0.2**0.5 + 0.8416 * (0.2 - 0.04**2) ** 0.5) ** 2 / 0.04**2
    assert connor < found.needed < 1.1 * connor


def test_more_examples_show_smaller_differences():
    smallest = [detectable(*of_table(5 * n, 2 * n, n, 2 * n)).smallest for n in (2, 8, 32)]
    assert smallest[0] > smallest[1] > smallest[2] > 0


def test_partial_scores_have_the_power_of_the_paired_t_test():
    random = np.random.default_rng(0)
    before = random.random(30) * 0.5 + 0.25
    after = before + random.normal(0.02, 0.1, 30)
    found = detectable(scores(after.clip(0, 1)), scores(before))

    spread = (after - before).std(ddof=1)
    effect = TTestPower().solve_power(None, nobs=30, alpha=0.05, power=0.8)
    assert found.smallest == pytest.approx(effect * spread, rel=1e-3)
    needed = TTestPower().solve_power(abs((after - before).mean()) / spread, None, alpha=0.05, power=0.8)
    assert found.needed == pytest.approx(needed, rel=0.02, abs=1)


@pytest.mark.parametrize("half", [1.0, 0.5])
def test_tables_that_change_together_show_less(half):
    random = np.random.default_rng(3)
    moved = np.repeat(random.choice([-1, 0, 1], 20), 4)
    after, before = scores(np.where(moved > 0, half, 0)), scores(np.where(moved < 0, half, 0))
    tables = {f"q{number}": number // 4 for number in range(80)}
    plain, clustered = detectable(after, before), detectable(after, before, clusters=tables)

    assert clustered.clusters == 20
    assert plain.clusters is None
    assert clustered.smallest > 1.5 * plain.smallest
    assert clustered.needed > 3 * plain.needed
    assert detectable(after, before, clusters={}) == plain


def test_thousands_of_examples_show_small_differences():
    assert detectable(*of_table(1500, 600, 500, 1400)).smallest < 0.05
    partial = detectable(scores([0.5, 0.0, 0.25] * 700), scores([0.0, 0.5, 0.25] * 700))
    assert 0 < partial.smallest < 0.05


def test_no_difference_above_1_is_said_to_be_shown():
    for opposed in (3, 4, 5):  # six tables that differ as much as they can
        after = scores(np.repeat([0.9] * opposed + [0.0] * (6 - opposed), 2))
        before = scores(np.repeat([0.0] * opposed + [0.9] * (6 - opposed), 2))
        found = detectable(after, before, clusters={f"q{number}": number // 2 for number in range(12)})
        assert found.smallest is None or found.smallest <= 1


def test_five_examples_show_nothing():
    found = detectable(scores([1, 1, 1, 1, 1]), scores([0, 0, 0, 0, 0]))

    assert found.smallest is None
    assert found.remark(0.0625) == "5 examples are too few to show any difference at p<0.05"
    six = detectable(scores([1] * 6), scores([0] * 6))
    assert six.smallest is not None


def test_equal_runs_have_nothing_that_more_examples_would_show():
    found = detectable(*of_table(20, 0, 0, 20))

    assert found.needed is None
    assert 0.1 < found.smallest < 0.3
    partial = detectable(scores([0.5] * 20), scores([0.5] * 20))
    assert (partial.smallest, partial.needed) == (None, None)


def test_the_remark_warns_only_where_the_arms_were_not_told_apart():
    few, many = of_table(15, 5, 3, 17), of_table(150, 60, 8, 82)

    warned = detectable(*few)
    assert warned.remark(compare(*few).p) == (
        f"40 examples show a difference of {warned.smallest:.3f} or more in 80% of cases; "
        f"to show one of 0.050 takes about {warned.needed:,}"
    )
    assert detectable(*many).remark(compare(*many).p) == ""


def test_unpaired_runs_are_refused():
    with pytest.raises(UnpairedError, match="different examples"):
        detectable({"a": 1}, {"b": 1})


def test_partial_scores_that_are_all_alike_do_not_tell_what_they_could_show():
    scores = {f"{number}": 0.5 for number in range(40)}
    found = detectable(scores, scores)
    assert found.smallest is None
    assert "does not tell" in found.remark(1.0)
    few = {name: scores[name] for name in list(scores)[:4]}
    assert "too few" in detectable(few, few).remark(1.0)
