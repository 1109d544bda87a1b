"""The space of a search, read from overrides."""

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tiltyard.errors import InputError
from tiltyard.launching.searching.space import read_space


@pytest.mark.parametrize(
    ("value", "distribution", "size"),
    [
        ("interval(0, 1)", FloatDistribution(0.0, 1.0), None),
        ("tag(log, interval(1e-3, 1))", FloatDistribution(1e-3, 1.0, log=True), None),
        ("int(interval(1, 9))", IntDistribution(1, 9), 9),
        ("tag(log, int(interval(1, 100)))", IntDistribution(1, 100, log=True), 100),
        ("range(1, 9)", IntDistribution(1, 8), 8),
        ("range(0, 10, 4)", IntDistribution(0, 8, step=4), 3),
        ("range(9, 0, -3)", IntDistribution(3, 9, step=3), 3),
        ("range(0.0, 1.0, 0.25)", FloatDistribution(0.0, 0.75, step=0.25), 4),
        ("range(3, 4)", CategoricalDistribution(("3",)), 1),
        ("choice(a, 2, true)", CategoricalDistribution(("a", "2", "True")), 3),
        ("a,b", CategoricalDistribution(("a", "b")), 2),
        ("[1,2],[3]", CategoricalDistribution(("[1,2]", "[3]")), 2),
    ],
)
def test_hydras_sweeps_are_optunas_distributions(value, distribution, size):
    [parameter] = read_space([f"key={value}"], None).parameters
    assert parameter.distribution == distribution
    assert parameter.size == size
    for extreme in parameter.extremes():
        [override] = OverridesParser.create().parse_overrides([parameter.override(extreme)])
        assert not override.is_sweep_override()


def test_the_last_of_several_for_one_key_counts():
    space = read_space(["a=interval(0, 1)", "b=1,2", "a=3", "b=4,5"], None)
    assert space.overrides({"b": "4"}) == ["a=3", "b=4"]


def test_an_option_that_is_added_keeps_its_plus():
    space = read_space(["+a.b=1,2", "++c=3"], None)
    assert space.overrides({"a.b": "2"}) == ["+a.b=2", "++c=3"]


def test_samples_have_every_end_and_every_listed_value():
    space = read_space(["a=interval(0, 1)", "b=x,y,z", "c=range(1, 4)"], None)
    samples = list(space.extremes())
    assert samples[0] == {"a": 0.0, "b": "x", "c": 1}
    assert samples[-1] == {"a": 1.0, "b": "z", "c": 3}
    assert {sample["b"] for sample in samples} == {"x", "y", "z"}
    assert len(samples) == 1 + 1 + 2 + 1 + 1


def test_what_is_described_does_not_hang_on_order_or_on_what_cannot_change_a_score():
    one = read_space(["a=1,2", "b=3", "c=interval(0, 1)", "debug=true"], None)
    other = read_space(["timeout=9", "c=interval(0, 1)", "b=3", "a=1,2"], None)
    assert one.described() == other.described()
    assert one.described() != read_space(["a=1,2", "b=4", "c=interval(0, 1)"], None).described()
    assert one.described() != read_space(["a=1,3", "b=3", "c=interval(0, 1)"], None).described()


@pytest.mark.parametrize(
    "argument",
    [
        "a=shuffle(1,2)",
        "a=interval(1, 0)",
        "a=range(3, 3)",
        "hydra.verbose=a,b",
        "plan=true,false",
        "hardware.workers=1,2",
    ],
)
def test_what_cannot_be_searched_is_refused(argument):
    with pytest.raises(InputError):
        read_space([argument], None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("interval(1, 0)", "a: interval(1.0, 0.0) is empty; give a range from low to high"),
        ("tag(log, interval(0, 1))", "a: a logarithmic scale has no 0.0; let the interval begin above 0"),
    ],
)
def test_a_range_that_is_none_is_said_plainly(value, words):
    with pytest.raises(InputError) as caught:
        read_space([f"a={value}"], None)
    assert str(caught.value) == words


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_drawn_number_is_the_number_that_the_override_gives(one, other):
    low, high = sorted((one, other))
    [parameter] = read_space([f"a=interval({low!r}, {high!r})"], None).parameters
    trial = optuna.trial.FixedTrial({"a": high})
    drawn = trial.suggest_float("a", low, high)
    [override] = OverridesParser.create().parse_overrides([parameter.override(drawn)])
    assert float(override.value()) == high
