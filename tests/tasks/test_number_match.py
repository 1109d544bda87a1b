import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.tasks.number_match import number_match


@pytest.mark.parametrize(
    ("answer", "gold", "tolerance", "score"),
    [
        ("1250", "1250", 0.0, 1),
        ("1,250.00", "1250", 0.0, 1),
        ("about 1,249 USD", "1250", 0.01, 1),
        ("It comes to $1,237.50.", "1,250", 0.01, 1),  # 12.50 off: one percent exactly
        ("1,237.49", "1,250", 0.01, 0),
        ("1262.51", "1250", 0.01, 0),
        ("1249.99", "1250", 0.0, 0),
        ("(1,250)", "-1250", 0.0, 1),
        ("-1250", "1250", 0.5, 0),
        ("1.25 thousand", "1250", 0.0, 1),
        ("12.5%", "0.125", 0.0, 1),
        ("12.5%", "12.5", 0.0, 1),
        ("0.125", "12.5%", 0.0, 1),
        ("12.5", "12.5%", 0.0, 1),
        ("$5", "€5", 0.0, 0),
        ("5%", "$5", 1.0, 0),
        ("0.005", "0", 0.01, 1),
        ("0.02", "0", 0.01, 0),
        ("First 3, then 1250", "1250", 0.0, 1),
        ("no idea", "1250", 1.0, 0),
        ("", "1250", 1.0, 0),
    ],
)
def test_by_hand(answer, gold, tolerance, score):
    verdict = number_match(answer, [gold], tolerance)
    assert verdict.score == score
    assert bool(verdict.problem) == (score == 0)


def test_any_acceptable_number_counts_and_words_do_not():
    assert number_match("7", ["unknown", "5", "7"], 0.0).score == 1
    assert number_match("7", ["unknown"], 0.0).problem == "No number was expected."


@given(
    st.floats(min_value=0.01, max_value=1e9).map(lambda x: round(x, 2)),
    st.floats(min_value=0, max_value=0.5),
)
def test_a_wider_tolerance_accepts_what_a_narrower_one_does(value, tolerance):
    gold = [f"{value * 1.1:.2f}"]
    narrow, wide = (
        number_match(f"{value:.2f}", gold, tolerance),
        number_match(f"{value:.2f}", gold, 2 * tolerance),
    )
    assert wide.score >= narrow.score
