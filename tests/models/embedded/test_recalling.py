from hypothesis import given
from hypothesis import strategies as st

from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.recalling import (
    COMPARED,
    LOOKED_UP,
    asking_in_a_row,
    copying,
    looking_up,
    recalling,
)

LABELLED = ("yes", "no", "high", "normal")


@given(st.integers(0, 10**6), st.booleans())
def test_a_text_is_said_again_as_it_is(number, held_out):
    episode = copying(Draw(str(number), held_out=held_out))
    assert episode.reply == episode.prompt
    assert len(episode.reply.split()) >= 8


@given(st.integers(0, 10**6), st.booleans())
def test_a_list_is_said_again_in_some_order(number, held_out):
    episode = recalling(Draw(str(number), held_out=held_out))
    assert sorted(episode.reply.split("\n")) == sorted(episode.prompt.split("\n"))


@given(st.integers(0, 10**6), st.booleans())
def test_what_is_looked_up_stands_beside_the_name(number, held_out):
    exchanges = looking_up(Draw(str(number), held_out=held_out)).exchanges
    rows = exchanges[0][0].partition("\n\n")[0].split("\n")
    for prompt, reply in exchanges:
        name, value = prompt.split("\n")[-1], reply.removeprefix("\n")
        assert sum(row.startswith(name) and row.endswith(value) for row in rows) == 1


@given(st.integers(0, 10**6), st.sampled_from(LOOKED_UP + COMPARED))
def test_the_answers_stand_in_the_context_or_are_labels(number, kind):
    (context, *asked), replies = _parts(asking_in_a_row(Draw(str(number)), [kind]))
    for question, reply in zip(asked, replies, strict=True):
        assert reply in (*LABELLED, "unknown") or reply in context + question


@given(st.integers(0, 10**6))
def test_questions_in_a_row_are_over_one_context(number):
    first, *others = asking_in_a_row(Draw(str(number)), ["reading"]).exchanges
    context = first[0].partition("\n\n")[0]
    for question, reply in [(first[0].partition("\n\n")[2], first[1]), *others]:
        (row,) = (row for row in context.splitlines() if row.split()[0] in question)
        assert reply.strip() == row.split()[1]


def test_what_is_asked_once_is_asked_once():
    assert len(asking_in_a_row(Draw("7"), ["option"]).exchanges) == 1
    assert max(len(asking_in_a_row(Draw(str(number)), ["dose"]).exchanges) for number in range(20)) > 2


def _parts(conversation):
    (first, _), *_ = conversation.exchanges
    context, _, question = first.partition("\n\n")
    asked = [question, *(prompt for prompt, _ in conversation.exchanges[1:])]
    return (context, *asked), [reply.removeprefix("\n") for _, reply in conversation.exchanges]
