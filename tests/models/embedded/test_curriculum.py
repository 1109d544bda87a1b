from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.embedded.curriculum import (
    FIRST,
    FIRST_SHARE,
    MIXTURE,
    PRACTICE,
    answering_share,
    training_episode,
)

ANSWERS = range(FIRST.stop - 400, FIRST.stop)
MIXED = range(FIRST.stop, FIRST.stop + 800)


@settings(deadline=None)
@given(index=st.integers(0, 10**9), seed=st.integers(0, 10))
def test_an_episode_is_decided_by_its_place_and_the_seed(index, seed):
    first, again = training_episode(index, seed), training_episode(index, seed)
    assert first.ability == again.ability
    assert first.messages() == again.messages()


def test_other_places_and_seeds_have_other_episodes():
    found = [tuple(training_episode(index, seed).messages()) for seed in range(3) for index in range(30)]
    assert len(set(found)) == len(found)


def test_each_episode_has_something_to_learn_or_a_demonstration_that_has():
    episodes = [training_episode(index, seed=0) for index in range(300)]
    learning = sum(any(message.learn for message in episode.messages()) for episode in episodes)
    assert learning > 285


def test_all_abilities_are_trained():
    found = Counter(training_episode(index, seed=0).ability.split("/")[0] for index in MIXED)
    assert {"reflect", "curate", "propose", "judge"} < set(found)
    assert sum(share for share, _ in MIXTURE.values()) > 0.99
    answered = sum(
        count for name, count in found.items() if name not in ("reflect", "curate", "propose", "judge")
    )
    assert abs(answered / 800 - MIXTURE["answer"][0]) < 0.08


def test_the_share_of_answers_is_as_told():
    places = [*range(200), *ANSWERS, *MIXED]
    answers = [
        place
        for place in places
        if training_episode(place, seed=0).ability.split("/")[-1]
        in ("plain", "playbook", "demonstrations", "both")
    ]
    told = {
        range(200): answering_share(200),
        ANSWERS: FIRST_SHARE * (1 - PRACTICE[-2].share),
        MIXED: MIXTURE["answer"][0] * (1 - PRACTICE[-1].share),
    }
    for part, share in told.items():
        assert abs(sum(place in part for place in answers) / len(part) - share) < 0.1, part


@given(st.integers(1, 10**6))
def test_answers_are_a_share(places):
    assert 0 < answering_share(places) < 1


ABILITIES = {
    "saying again": "recall/copy",
    "looking up": "recall/look up",
    "lists in another order": "recall/list",
    "questions in a row": "recall/questions",
    "applying rules": "apply",
    "questions below rules": "apply/questions",
}


@pytest.mark.parametrize("number", range(len(PRACTICE)))
def test_each_practice_has_its_share_of_what_those_before_it_leave(number):
    practice = PRACTICE[number]
    last = range(practice.places.stop - 300, practice.places.stop)
    left = 1.0
    for earlier in PRACTICE[:number]:
        left *= 1 - earlier.share if last.start in earlier.places else 1
    found = Counter(training_episode(index, seed=0).ability for index in last)
    assert abs(found[ABILITIES[practice.of]] / len(last) - left * practice.share) < 0.1
