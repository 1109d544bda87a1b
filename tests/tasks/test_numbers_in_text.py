from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.tasks.metrics import Quantity
from tiltyard.tasks.numbers_in_text import last_quantity


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("(5,000)", "-5000", ""),
        ("12.5 per cent", "12.5", "%"),
        ("The NPV is **$27,432.79**.", "27432.79", "$"),
        ("EV/EBITDA = 500 / 60 = 8.33", "8.33", ""),
        ("the loss is (5,000) dollars", "5000", ""),
        ("that makes -$1,200.50!", "-1200.50", "$"),
        ("it comes to $-5", "-5", "$"),
        ("x = −0.02", "-0.02", ""),
        ("US$5 million in all", "5000000", "$"),
        ("costs € 1.2 billion", "1200000000", "€"),
        ("about 12 percent of it", "12", "%"),
        (r"\boxed{18}", "18", ""),
        ("5-3=2", "2", ""),
        ("9 - 4", "4", ""),
        ("between 2019-2020", "2020", ""),
        ("18 eggs, in the 21st year", "18", ""),
        ("8 by the formula of x2", "8", ""),
        ("7 times 10^2", "10", ""),
        ("a half, .5", ".5", ""),
        ("18eggs", "18", ""),
    ],
)
def test_the_last_number_of_a_text_is_read(text, value, unit):
    assert last_quantity(text) == Quantity(Decimal(value), unit)


@pytest.mark.parametrize("text", ["", "none at all", "the 3rd", "CO2", "$", "%"])
def test_a_text_without_a_number_has_none(text):
    assert last_quantity(text) is None


@given(
    st.decimals(min_value=-(10**12), max_value=10**12, places=2, allow_nan=False),
    st.sampled_from(["The answer is {}.", "= {}", "**{}**", "3 and 4 make {} in all", "{}", "\n#### {}"]),
)
def test_a_number_is_found_with_separators_and_sign_in_any_sentence(value, sentence):
    found = last_quantity(sentence.format(f"{value:,}"))
    assert found is not None
    assert found.value == value
