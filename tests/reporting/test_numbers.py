import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.reporting import numbers


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (0.42, "0.4 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (812.4, "812 ms"),
        (999.6, "1.00 s"),
        (2812, "2.81 s"),
        (12_345, "12.3 s"),
        (99_960, "100 s"),
        (7_200_000, "7,200 s"),
    ],
)
def test_durations_have_the_unit_that_a_reader_expects(milliseconds: float, shown: str) -> None:
    assert numbers.duration(milliseconds) == shown


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_number_is_never_zero(missing: float | None) -> None:
    shown = [
        numbers.fraction(missing),
        numbers.scored(missing, 0.1, 0.2),
        numbers.duration(missing),
        numbers.count(missing),
        numbers.rate(missing, "examples"),
    ]
    assert shown == [numbers.MISSING] * 5


def test_a_score_without_interval_stands_alone() -> None:
    assert numbers.scored(0.5, None, None) == "0.500"
    assert numbers.scored(0.5, 0.25, 0.75) == "0.500 [0.250, 0.750]"


def test_a_slow_rate_keeps_two_digits() -> None:
    assert numbers.rate(0.0312, "examples") == "0.031 examples/s"
    assert numbers.rate(1234.5, "examples") == "1,234 examples/s"


@given(st.floats(min_value=0, max_value=1e9))
def test_a_duration_never_shows_more_than_a_rounding_error(milliseconds: float) -> None:
    value, unit = numbers.duration(milliseconds).replace(",", "").split(" ")
    shown = float(value) * {"ms": 1, "s": 1000}[unit]
    assert math.isclose(shown, milliseconds, rel_tol=0.051, abs_tol=0.051)


def test_amounts_and_counts() -> None:
    assert [numbers.dollars(value) for value in (None, 0.0, 0.01234, 1234.5)] == [
        "–",
        "$0.00",
        "$0.0123",
        "$1,234.50",
    ]
    assert [numbers.counted(several, "run") for several in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]
    assert [numbers.signed(value) for value in (-0.0001, 0.25)] == ["+0.000", "+0.250"]
