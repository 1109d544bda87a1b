from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.embedded.conventions import (
    DATES,
    LEVELS,
    NAMES,
    NUMBERS,
    OPTIONS,
    PHRASINGS,
    RESERVED_PAIRS,
    Convention,
    combined,
    draw_convention,
    limit_of,
    written,
)
from tiltyard.models.embedded.draw import EVERY, Draw

SEEDS = st.integers(0, 10_000)
AMOUNTS = st.decimals(0, 10**7, places=1).map(str) | st.integers(0, 10**7).map(str)
SUBJECTS = st.sampled_from([*NUMBERS, OPTIONS, NAMES, DATES, LEVELS, "yes", "high", "billing"])


def value(text):
    return Decimal(text.replace(",", ""))


@settings(deadline=None)
@given(amount=AMOUNTS)
def test_commas_keep_the_number(amount):
    with_commas = Convention("amounts", "commas").apply(amount)
    assert value(with_commas) == value(amount)
    groups = with_commas.split(".")[0].split(",")
    assert 1 <= len(groups[0]) <= 3
    assert all(len(group) == 3 for group in groups[1:])


@settings(deadline=None)
@given(amount=AMOUNTS)
def test_rounding_moves_a_number_by_half_a_unit_at_most(amount):
    whole = Convention("amounts", "whole").apply(amount)
    assert "." not in whole
    assert abs(value(whole) - value(amount)) <= Decimal("0.5")
    tenth = Convention("amounts", "tenth").apply(amount)
    assert len(tenth.partition(".")[2]) == 1
    assert abs(value(tenth) - value(amount)) <= Decimal("0.05")


@pytest.mark.parametrize(("amount", "whole"), [("2.5", "3"), ("3.5", "4"), ("2.4", "2"), ("999.5", "1000")])
def test_a_half_is_rounded_up(amount, whole):
    assert Convention("amounts", "whole").apply(amount) == whole


@settings(deadline=None)
@given(amount=AMOUNTS, seed=SEEDS)
def test_a_number_in_any_house_keeps_its_value(amount, seed):
    draw = Draw(f"{seed}", held_out=True)
    house = combined([draw_convention(draw, "amounts") for _ in range(4)], draw)
    found = written(amount, "amounts", house)
    words = {one.value for one in house if one.value}
    number = " ".join(part for part in found.split() if part not in words)
    assert abs(value(number) - value(amount)) <= Decimal("0.5")
    assert written(amount, "sums", house) == amount


@pytest.mark.parametrize(
    ("convention", "answer", "expected"),
    [
        (Convention("amounts", "before", "USD"), "412", "USD 412"),
        (Convention("amounts", "after", "mg"), "412", "412 mg"),
        (Convention(OPTIONS, "bracket"), "B", "(B)"),
        (Convention(OPTIONS, "small"), "B", "b"),
        (Convention(OPTIONS, "text"), "B", "desk"),
        (Convention(OPTIONS, "both"), "B", "B: desk"),
        (Convention(NAMES, "surname"), "Ada Brolin", "Brolin, Ada"),
        (Convention(DATES, "dots"), "2024-03-05", "05.03.2024"),
        (Convention(DATES, "slashes"), "2024-03-05", "03/05/2024"),
        (Convention("yes", "say", "aye"), "yes", "aye"),
        (Convention("yes", "say", "aye"), "no", "no"),
        (Convention(LEVELS, "limit", "50"), "high", "high"),
    ],
)
def test_each_form_writes_an_answer_its_way(convention, answer, expected):
    assert convention.apply(answer, ("chair", "desk")) == expected


def test_forms_of_numbers_are_applied_one_after_the_other():
    house = tuple(
        Convention("amounts", form, word) for form, word in [("before", "USD"), ("commas", ""), ("whole", "")]
    )
    assert written("1234567.5", "amounts", house) == "USD 1,234,568"


@settings(deadline=None)
@given(seed=SEEDS, subjects=st.lists(SUBJECTS, max_size=12), held_out=st.booleans())
def test_a_house_has_no_clash_and_trains_on_no_combination_that_is_kept_back(seed, subjects, held_out):
    draw = Draw(f"{seed}", held_out=held_out)
    wanted = [draw_convention(draw, subject) for subject in subjects]
    house = combined(wanted, draw)
    pairs = [(one, other) for one in house for other in house if one is not other]
    assert not any(one.clashes(other) for one, other in pairs)
    if not held_out:
        assert not any(
            one.subject == other.subject and {one.form, other.form} in RESERVED_PAIRS for one, other in pairs
        )
    assert set(house) <= set(wanted)
    assert not wanted or wanted[0] in house


@settings(deadline=None)
@given(seed=SEEDS, subject=SUBJECTS)
def test_a_clash_is_mutual(seed, subject):
    draw = Draw(f"{seed}")
    one, other = draw_convention(draw, subject), draw_convention(draw, subject)
    assert one.clashes(other) == other.clashes(one)
    assert one.clashes(one)
    assert not one.clashes(Convention("something else", one.form, one.value))


@settings(deadline=None)
@given(seed=SEEDS, subject=SUBJECTS)
def test_a_rule_is_said_in_the_words_of_its_side(seed, subject):
    training, evaluation = Draw(f"{seed}"), Draw(f"{seed}", held_out=True)
    convention = draw_convention(training, subject)
    kept = set(convention.phrasings[EVERY - 1 :: EVERY])
    assert convention.phrased(training) not in kept
    assert convention.phrased(evaluation) in kept | {convention.sentence}
    assert convention.value in convention.sentence


@pytest.mark.parametrize("form", PHRASINGS)
def test_phrasings_are_different_sentences_that_fill_all_places(form):
    found = Convention("amounts", form, "USD").phrasings
    assert len(set(found)) == len(found) >= EVERY
    assert all(sentence.endswith(".") and "{" not in sentence for sentence in found)


def test_the_limit_of_a_house_goes_before_the_stated_one():
    assert limit_of((Convention(LEVELS, "limit", "50"),), "70") == "50"
    assert limit_of((Convention("yes", "say", "aye"),), "70") == "70"
