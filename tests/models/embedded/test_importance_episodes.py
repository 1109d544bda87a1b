import itertools

import pytest
from dspy import ChatAdapter

from tiltyard.models.embedded.draw import Draw, reserved
from tiltyard.models.embedded.importance import (
    SEVERITIES,
    TOPICS,
    importance,
    importance_pairs,
    importance_tally,
    listed,
    observation,
    town_reflection,
)

STEPS = list(itertools.product(SEVERITIES.values(), (-1, 0, 1), (False, True), (-1, 0, 1)))


@pytest.mark.parametrize("place", range(4))
def test_the_score_never_falls_when_one_step_rises(place):
    ranges = [sorted({steps[place] for steps in STEPS}) for place in range(4)]
    for steps in STEPS:
        raised = [value for value in ranges[place] if value > steps[place]]
        for value in raised:
            higher = (*steps[:place], value, *steps[place + 1 :])
            assert importance_tally(*higher)[-1] >= importance_tally(*steps)[-1]


def test_scores_stay_within_1_to_10_and_all_are_drawn():
    assert {score for steps in STEPS for score in importance_tally(*steps)} == set(range(1, 11))
    drawn = {importance(Draw(f"scores/{index}")).asked.outputs["score"] for index in range(300)}
    assert drawn == set(range(1, 11))


def test_each_step_moves_the_score_as_documented():
    assert importance_tally(5, 0, False, 0) == (5, 5, 5, 5)
    assert importance_tally(5, 1, True, -1) == (5, 6, 8, 7)
    assert importance_tally(1, -1, False, -1) == (1, 1, 1, 1)
    assert importance_tally(9, 1, True, 1) == (9, 10, 10, 10)


def test_the_inputs_hold_what_the_score_follows_from():
    for index in range(200):
        drawn = observation(Draw(f"evidence/{index}", held_out=index % 2 == 0))
        turn = drawn.turn()
        assert drawn.event in turn.inputs["observation"]
        assert f" {drawn.topic}." in turn.inputs["observation"]
        assert turn.inputs["agent_goal"].count(drawn.goal_topic) == 1
        assert drawn.care_word in turn.inputs["agent_personality"]
        assert drawn.size_word in turn.inputs["observation"]
        assert turn.outputs["reasoning"].endswith(f"{turn.outputs['score']}.")
        assert "{" not in " ".join(turn.inputs.values())


def test_pairs_differ_in_the_severity_alone():
    for index in range(50):
        lower, higher = importance_pairs(Draw(f"pairs/{index}", held_out=True))
        assert lower.asked.outputs["score"] < higher.asked.outputs["score"]
        assert lower.turns[:-1] == higher.turns[:-1]
        differing = {name for name, value in lower.asked.inputs.items() if higher.asked.inputs[name] != value}
        assert differing == {"observation"}


@pytest.mark.parametrize("field", ["topic", "goal_topic", "frame", "link", "goal", "personality", "name"])
def test_training_never_draws_what_is_kept_for_evaluation(field):
    trained = {getattr(observation(Draw(f"a/{index}")), field) for index in range(500)}
    evaluated = {getattr(observation(Draw(f"b/{index}", held_out=True)), field) for index in range(500)}
    assert trained
    assert evaluated
    assert not trained & evaluated


def test_made_up_topics_of_the_evaluation_are_reserved():
    topics = {observation(Draw(f"words/{index}", held_out=True)).topic for index in range(100)}
    made_up = topics - set(listed(TOPICS))
    assert made_up
    assert all(reserved(word) for word in made_up)


@pytest.mark.parametrize("generate", [importance, town_reflection])
def test_episodes_are_seeded_short_and_parse_back(generate):
    for index in range(40):
        episode = generate(Draw(f"parse/{index}", held_out=index % 2 == 0))
        assert episode == generate(Draw(f"parse/{index}", held_out=index % 2 == 0))
        assert 0 <= len(episode.demos) <= 3
        messages = episode.messages()
        answers = [message.content for message in messages if message.role == "assistant"]
        assert len(answers) == len(episode.turns)
        assert all(message.learn for message in messages if message.role == "assistant")
        for turn, answer in zip(episode.turns, answers, strict=True):
            assert ChatAdapter().parse(episode.signature, answer) == turn.outputs
            words = " ".join([*turn.inputs.values(), *map(str, turn.outputs.values())]).split()
            assert len(words) <= 90


def test_the_reflection_names_what_recurs_and_whether_it_is_the_goal():
    matters = set()
    for index in range(100):
        turn = town_reflection(Draw(f"reflection/{index}", held_out=index % 2 == 0)).asked
        recurring = turn.outputs["insight"].split()[1]
        named = sum(f" {recurring}" in line for line in turn.inputs["recent_memories"].splitlines())
        assert named >= 2
        assert f"recurs, {named} times" in turn.outputs["reasoning"]
        is_goal = recurring in turn.inputs["agent_goal"].split()
        assert ("It is my goal" in turn.outputs["insight"]) == is_goal
        matters.add(is_goal)
    assert matters == {False, True}


def test_the_personality_decides_what_an_agent_does():
    done = {}
    for index in range(300):
        turn = town_reflection(Draw(f"stance/{index}")).asked
        for trait in ("careless", "anxious"):
            if trait in turn.inputs["agent_personality"]:
                done.setdefault(trait, set()).add(turn.outputs["insight"].rpartition("; I ")[2].split()[0])
    assert done == {"careless": {"let"}, "anxious": {"look"}}
