import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.embedded.adapting import (
    LOOK_AGAIN,
    NOTHING,
    broken,
    curating,
    instruction,
    proposing,
    reflecting,
    stated,
)
from tiltyard.models.embedded.answering import shapes
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.episode import PromptEpisode
from tiltyard.models.embedded.questions import KINDS

SEEDS = st.integers(0, 10_000)
HELD_OUT = st.booleans()


@settings(deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(list(KINDS)), held_out=HELD_OUT)
def test_a_broken_convention_is_one_that_shapes_the_answer(seed, kind, held_out):
    question, house = broken(Draw(f"{seed}", held_out=held_out), kind)
    assert question.kind == kind
    assert question.answer_of(house) != question.answer
    assert all(shapes(one, question, house) for one in house)
    assert all(one.sentence in stated(question, house) for one in house)


@settings(deadline=None)
@given(seed=SEEDS, held_out=HELD_OUT)
def test_a_lesson_follows_from_what_the_reflector_reads(seed, held_out):
    for turn in reflecting(Draw(f"{seed}", held_out=held_out)).turns:
        lesson, inputs = turn.outputs["lesson"], turn.inputs
        assert inputs["answer"] != inputs["expected"]
        assert inputs["expected"] in inputs["feedback"]
        if lesson == LOOK_AGAIN:
            continue
        read = " ".join(inputs.values())
        # Whatever a rule brings, a word or a limit, can be read in the expected answer or the feedback.
        for word in re.findall(r"Write (\S+) (?:before|after|instead)|high from (\S+) on", lesson):
            assert next(filter(None, word)) in read


@pytest.mark.parametrize("change", ["add", "update", "none"])
@settings(deadline=None)
@given(seed=SEEDS, held_out=HELD_OUT)
def test_operations_fit_the_playbook(change, seed, held_out):
    for turn in curating(Draw(f"{seed}", held_out=held_out), change).turns:
        playbook = dict(re.findall(r"^\[(k\d+)\] (.+)$", turn.inputs["playbook"], re.MULTILINE))
        operations, lesson = turn.outputs["operations"], turn.inputs["lesson"]
        if operations == NOTHING:
            assert lesson == LOOK_AGAIN or lesson in playbook.values()
        else:
            target, rule = re.fullmatch(r"(?:ADD|UPDATE) (\w+): (.+)", operations).groups()
            assert rule == lesson
            assert lesson not in playbook.values()
            assert (target in playbook) == operations.startswith("UPDATE")


@settings(deadline=None)
@given(seed=SEEDS, held_out=HELD_OUT)
def test_a_proposal_adds_rules_that_its_examples_show(seed, held_out):
    episode = proposing(Draw(f"{seed}", held_out=held_out))
    if isinstance(episode, PromptEpisode):
        assert episode.ability == "propose/gepa"
        assert episode.reply.startswith("```\n")
        assert episode.reply.endswith("\n```")
        base, *rules = episode.reply.strip("`\n").splitlines()
        read = episode.prompt
    else:
        assert episode.ability == "propose/mipro"
        base, *rules = episode.asked.outputs["proposed_instruction"].splitlines()
        read = " ".join(map(str, episode.asked.inputs.values()))
    assert base in " ".join(read.split())
    for word in re.findall(r"Write (\S+) (?:before|after|instead)", " ".join(rules)):
        assert word in read


def test_an_instruction_has_one_line_for_each_rule():
    assert instruction("Answer\nthe question.", ["One.", "Two."]) == "Answer the question.\nOne.\nTwo."
