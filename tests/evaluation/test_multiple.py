import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.evaluation.multiple import comparisons
from tiltyard.evaluation.paired import UnpairedError, compare


def arm(values):
    return {f"q{number}": float(value) for number, value in enumerate(values)}


NONE, ACE, SHOTS = arm("00000000110"), arm("11111111110"), arm("00001100110")


def test_every_arm_is_compared_with_the_declared_reference():
    found = comparisons({"ace": ACE, "none": NONE, "shots": SHOTS}, reference="none")

    assert list(found) == ["ace", "shots"]
    assert found["ace"].difference == compare(ACE, NONE)
    assert {compared.reference for compared in found.values()} == {"none"}
    # 2 × 1/128 for the smaller of the two p values, and 1 × 1/2 for the other.
    assert [compared.p_adjusted for compared in found.values()] == pytest.approx([2 / 128, 0.5])


def test_another_reference_makes_other_comparisons():
    found = comparisons({"ace": ACE, "none": NONE, "shots": SHOTS}, reference="ace")

    assert found["none"].difference.mean == pytest.approx(-8 / 11)
    assert found["shots"].difference == compare(SHOTS, ACE)


def test_clusters_reach_the_comparisons():
    tables = {sample: int(sample[1:]) // 4 for sample in NONE}
    [found] = comparisons({"none": NONE, "ace": ACE}, reference="none", clusters=tables).values()

    assert found.difference == compare(ACE, NONE, clusters=tables)
    assert found.difference.test == "cluster-sign-flip"


def test_an_arm_of_other_examples_is_refused_by_name():
    with pytest.raises(
        UnpairedError, match="shots and none are of different examples: 1 only in none, such as"
    ):
        comparisons({"none": {"a": 1, "b": 0}, "ace": {"a": 1, "b": 0}, "shots": {"a": 1}}, reference="none")


def test_a_reference_that_is_no_arm_is_refused():
    with pytest.raises(ValueError, match="'base' is none of the arms: none, ace"):
        comparisons({"none": NONE, "ace": ACE}, reference="base")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=12, max_size=12), min_size=2, max_size=5))
def test_adjusted_p_values_are_no_smaller_and_keep_the_order(arms):
    named = {str(number): arm(scores) for number, scores in enumerate(arms)}
    found = list(comparisons(named, reference="0").values())

    for compared in found:
        raw = compared.difference.p
        assert raw <= compared.p_adjusted + 1e-12
        assert compared.p_adjusted <= min(1.0, raw * len(found)) + 1e-12 or compared.p_adjusted <= max(
            min(1.0, other.difference.p * len(found)) for other in found
        )
    for one, other in itertools.permutations(found, 2):
        if one.difference.p < other.difference.p:
            assert one.p_adjusted <= other.p_adjusted
