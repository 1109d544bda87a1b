from hypothesis import given
from hypothesis import strategies as st

from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.recalling import bare_question, recalling

LABELLED = ("yes", "no", "high", "normal")


@given(st.integers(0, 10**6), st.booleans())
def test_all_that_is_to_say_stands_in_the_list(number, held_out):
    episode = recalling(Draw(str(number), held_out=held_out))
    shown, _, questions = episode.prompt.partition("\n\n")
    rows, said = shown.split("\n"), episode.reply.split("\n")
    if not questions:
        assert sorted(said) == sorted(rows)
        return
    for question, value in zip(questions.split("\n"), said, strict=True):
        (row,) = (
            row for row in rows if row.startswith(f"{question[:-1]} ") or row.startswith(question[:-1] + ":")
        )
        assert row.endswith(value)


def test_both_forms_are_drawn():
    found = [recalling(Draw(str(number))).prompt for number in range(30)]
    assert 5 < sum("?" in prompt for prompt in found) < 25


@given(st.integers(0, 10**6))
def test_the_answer_of_a_bare_question_stands_in_it_or_is_a_label(number):
    episode = bare_question(Draw(str(number)))
    assert episode.reply in (*LABELLED, "unknown") or episode.reply in episode.prompt
