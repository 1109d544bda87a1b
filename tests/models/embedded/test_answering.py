from dataclasses import replace

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readings import with_reading

from tiltyard.models.embedded.answering import (
    DEMONSTRATIONS,
    PLAIN,
    PLAYBOOK,
    SETTINGS,
    answering,
    conventions_for,
    entries,
    follows,
    shapes,
)
from tiltyard.models.embedded.conventions import LEVELS, Convention, combined
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.questions import KINDS, ask

SEEDS = st.integers(0, 10_000)
KIND = st.sampled_from(list(KINDS))


def drawn_house(draw, kind):
    return combined(conventions_for(draw, kind), draw)


@settings(deadline=None)
@given(seed=SEEDS, kind=KIND, count=st.integers(0, 6))
def test_only_what_was_stated_or_shown_can_follow(seed, kind, count):
    draw = Draw(f"{seed}")
    house = drawn_house(draw, kind)
    before = [ask(draw, kind) for _ in range(count)]
    question = ask(draw, kind)
    shaping = [one for one in house if shapes(one, question, house)]
    learnt = follows(question, house, (), before)
    for convention in shaping:
        if convention.form != "limit" and not any(shapes(convention, one, house) for one in before):
            assert not learnt
    if not shaping:
        assert learnt
    assert follows(question, house, house, ())
    assert not before or follows(question, house, (), before) >= follows(question, house, (), ())


@settings(deadline=None)
@given(seed=SEEDS, kind=KIND)
def test_an_answer_that_no_convention_shapes_is_the_default_one(seed, kind):
    draw = Draw(f"{seed}")
    house, question = drawn_house(draw, kind), ask(draw, kind)
    if not any(shapes(one, question, house) for one in house) and len(house) < 2:
        assert question.answer_of(house) == question.answer


@pytest.mark.parametrize(
    ("shown", "asked", "expected"),
    [
        ((), "60", False),
        (("55",), "60", True),  # 55 is high, so 60 is
        (("70",), "60", False),
        (("40",), "60", False),
        (("40",), "30", True),  # 40 is normal, so 30 is
        (("40",), "45", False),
        (("40", "55"), "60", True),
    ],
)
def test_a_hidden_limit_follows_from_readings_nearer_to_it(shown, asked, expected):
    house = (Convention(LEVELS, "limit", "50"),)
    draw = Draw("levels")
    question = ask(draw, "level")
    # A stated limit that says the opposite of the house's, so that the convention shapes the answer.
    limit = "99" if float(asked) >= 50 else "11"
    wanted = with_reading(replace(question, limit=limit), asked)
    before = [with_reading(question, reading) for reading in shown]
    assert follows(wanted, house, (), before) == expected


@settings(deadline=None)
@given(seed=SEEDS, setting=st.sampled_from(SETTINGS), kind=KIND, held_out=st.booleans())
def test_an_episode_is_decided_by_its_seed_and_named_after_what_it_tries(seed, setting, kind, held_out):
    episode = answering(Draw(f"{seed}", held_out=held_out), setting, kind)
    assert episode.ability == f"{kind}/{setting}"
    again = answering(Draw(f"{seed}", held_out=held_out), setting, kind)
    assert again.messages() == episode.messages()
    assert dspy.Predict(episode.signature).signature.output_fields.keys() >= {"answer"}


@settings(deadline=None)
@given(seed=SEEDS)
def test_without_a_house_every_answer_is_learnt(seed):
    assert all(turn.learn for turn in answering(Draw(f"{seed}"), PLAIN).turns)


@settings(deadline=None)
@given(seed=SEEDS)
def test_with_a_playbook_every_answer_is_learnt(seed):
    assert all(turn.learn for turn in answering(Draw(f"{seed}"), PLAYBOOK).turns)


def test_most_episodes_with_demonstrations_end_with_an_answer_to_learn():
    ends = [answering(Draw(f"{seed}"), DEMONSTRATIONS).asked.learn for seed in range(200)]
    assert sum(ends) > 120


@settings(deadline=None)
@given(seed=SEEDS, rules=st.lists(st.text(min_size=1), max_size=9))
def test_entries_keep_their_order_under_rising_ids(seed, rules):
    found = entries(Draw(f"{seed}"), rules)
    assert list(found.values()) == rules
    numbers = [int(key.removeprefix("k")) for key in found]
    assert numbers == sorted(set(numbers))
