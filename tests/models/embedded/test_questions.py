import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readings import with_reading

from tiltyard.models.embedded.conventions import LEVELS, Convention
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.questions import (
    DOMAINS,
    KINDS,
    LABELS,
    SUBJECTS,
    UNKNOWN,
    ask,
)
from tiltyard.models.embedded.vocabulary import TEAMS

SEEDS = st.integers(0, 10_000)
HELD_OUT = st.booleans()


def drawn(kind, seed, held_out=False):
    return ask(Draw(f"{seed}", held_out=held_out), kind)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(seed=SEEDS, held_out=HELD_OUT)
def test_an_answer_in_the_default_way_is_what_no_house_changes(kind, seed, held_out):
    question = drawn(kind, seed, held_out)
    assert question == drawn(kind, seed, held_out)
    assert question.kind == kind
    assert question.answer_of(()) == question.answer
    labels = LABELS.get(kind, ())
    assert question.answer in labels or question.subject == SUBJECTS[kind]
    assert (question.subject == question.answer) == (question.answer in labels)
    assert "{" not in question.question + question.context


@pytest.mark.parametrize("kind", ["amount", "dose", "person", "reading", "date", "count"])
@settings(deadline=None)
@given(seed=SEEDS, held_out=HELD_OUT)
def test_an_answer_stands_in_the_context(kind, seed, held_out):
    question = drawn(kind, seed, held_out)
    assert question.answer in question.context or question.answer == UNKNOWN


@settings(deadline=None)
@given(seed=SEEDS)
def test_a_sum_adds_two_cells(seed):
    question = drawn("sum", seed)
    cells = dict(line.split(" | ") for line in question.context.splitlines()[1:])
    named = [int(cell) for row, cell in cells.items() if row in question.question.rstrip("?.").split()]
    assert sum(named) == int(question.answer)
    assert len(named) == 2


@settings(deadline=None)
@given(seed=SEEDS, held_out=HELD_OUT)
def test_an_option_is_lettered_in_the_question_and_named_in_the_context(seed, held_out):
    question = drawn("option", seed, held_out)
    text = question.options["ABCD".index(question.answer)]
    assert f"{question.answer}. {text}" in question.question
    assert text in question.context
    assert len(set(question.options)) == len(question.options)


@settings(deadline=None)
@given(seed=SEEDS)
def test_growth_compares_the_two_years(seed):
    question = drawn("growth", seed)
    rows = [line.split(" | ") for line in question.context.splitlines()[1:]]
    asked = question.question.rstrip("?").split()
    grew = {"yes" if int(last) > int(first) else "no" for name, first, last in rows if name in asked}
    assert grew == {question.answer}


@settings(deadline=None)
@given(seed=SEEDS, limit=st.integers(0, 120))
def test_a_level_is_high_from_the_limit_of_the_house_on(seed, limit):
    question = drawn("level", seed)
    house = (Convention(LEVELS, "limit", str(limit)), Convention("high", "say", "red"))
    assert question.answer_of(house) == ("red" if int(question.reading) >= limit else "normal")
    assert question.answer == ("high" if int(question.reading) >= int(question.limit) else "normal")


@settings(deadline=None)
@given(seed=SEEDS, reading=st.integers(100, 999))
def test_another_reading_changes_the_level_alone(seed, reading):
    question = drawn("level", seed)
    changed = with_reading(question, str(reading))
    assert changed.question == question.question
    assert changed.answer == "high"
    assert f" {reading}" in changed.context


@settings(deadline=None)
@given(seed=SEEDS, held_out=HELD_OUT)
def test_a_complaint_belongs_to_its_team(seed, held_out):
    question = drawn("team", seed, held_out)
    assert any(complaint in question.context for complaint in TEAMS[question.answer])


def test_each_kind_has_one_domain_and_something_to_have_conventions_about():
    assert sorted(kind for kinds in DOMAINS.values() for kind in kinds) == sorted(KINDS)
    assert all(kind in SUBJECTS or kind in LABELS for kind in KINDS)
