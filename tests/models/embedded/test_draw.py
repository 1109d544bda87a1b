import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.embedded.draw import EVERY, RESERVED_SHARE, Draw, reserved

SEEDS = st.text(max_size=12)
DRAWN = {
    "word": lambda draw: draw.word(),
    "code": lambda draw: draw.code(),
    "family name": lambda draw: draw.name().split()[1].lower(),
    "number": lambda draw: draw.number(10, 99999),
    "decimal number": lambda draw: draw.number(1, 99, 1),
    "date": lambda draw: draw.date(),
}


@pytest.mark.parametrize("kind", DRAWN)
@settings(deadline=None)
@given(seed=SEEDS, held_out=st.booleans())
def test_what_is_drawn_is_kept_back_or_not_as_asked(kind, seed, held_out):
    assert reserved(DRAWN[kind](Draw(seed, held_out=held_out))) == held_out


@settings(deadline=None)
@given(seed=SEEDS, options=st.lists(st.integers(), min_size=EVERY, max_size=40, unique=True))
def test_a_list_is_shared_out_between_training_and_evaluation(seed, options):
    kept = set(options[EVERY - 1 :: EVERY])
    assert Draw(seed, held_out=True).item(options) in kept
    assert Draw(seed).item(options) not in kept


def test_every_option_can_be_drawn():
    options = list(range(13))
    drawn = {
        Draw(f"{seed}", held_out=held_out).item(options) for seed in range(400) for held_out in (True, False)
    }
    assert drawn == set(options)


@settings(deadline=None)
@given(seed=SEEDS, low=st.integers(0, 500), more=st.integers(100, 900), decimals=st.integers(0, 2))
def test_a_number_lies_in_its_range_with_its_decimals(seed, low, more, decimals):
    number = Draw(seed).number(low, low + more, decimals)
    whole, _, part = number.partition(".")
    assert low <= int(whole) <= low + more
    assert len(part) == decimals


@settings(deadline=None)
@given(seed=SEEDS)
def test_the_same_seed_draws_the_same(seed):
    def drawn():
        draw = Draw(seed)
        return [make(draw) for make in DRAWN.values()] + draw.sample("abcdef", 3) + [draw.chance(0.5)]

    assert drawn() == drawn()


def test_about_an_eighth_is_kept_back():
    share = sum(reserved(str(number)) for number in range(10_000)) / 10_000
    assert share == pytest.approx(RESERVED_SHARE, abs=0.02)


@settings(deadline=None)
@given(seed=SEEDS, one=SEEDS, other=SEEDS, held_out=st.booleans())
def test_what_is_asked_changes_nothing_else(seed, one, other, held_out):
    first, second = (Draw(seed, held_out=held_out, asking=asking) for asking in (one, other))
    asked = [draw.asking.word() for draw in (first, second)]
    assert first.word() == second.word() == Draw(seed, held_out=held_out).word()
    assert (asked[0] == asked[1]) or one != other


def test_what_is_asked_follows_from_the_seed_where_it_has_none_of_its_own():
    draw, alike = Draw("7"), Draw("7")
    assert [draw.asking.word(), draw.word()] == [alike.word(), alike.word()]
