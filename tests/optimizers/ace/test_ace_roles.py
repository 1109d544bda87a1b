import dspy
import pytest
from house_of_codes import lm, reply, system_of

from tiltyard.models.constrained_adapter import ConstrainedChatAdapter
from tiltyard.models.engine import Completion, TextEngine
from tiltyard.optimizers.ace.roles import Curator, Reflector, salvaged


class Replying(TextEngine):
    """Gives one reply after another, and keeps the requests."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []

    def generate(self, request):
        self.requests.append(request)
        said = self.replies.pop(0)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Completion) else Completion(said, 7, 3)


def lesson(engine):
    with dspy.context(lm=lm(engine)):
        return Reflector().lesson(task="t", answer="a", expected="e", feedback="f")


def operations(engine):
    with dspy.context(lm=lm(engine)):
        return Curator().operations({"k1": "Write USD before salt."}, "Write EUR before salt.")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[[ ## lesson ## ]]\nWrite USD before salt.", "Write USD before salt."),
        ("[[ ## lesson ## ]]\nOne.\nTwo.\n\n[[ ## comp", "One.\nTwo."),
        ('{"lesson": "Say \\"aye\\".", "x": 1}', 'Say "aye".'),
        ('```json\n{"lesson": "Write USD bef', "Write USD bef"),
        ("**Lesson:** Write USD.", "Write USD."),
        ("I do not know.", ""),
        ("", ""),
        ("[[ ## lesson ## ]]\n\n[[ ## completed ## ]]", ""),
    ],
)
def test_what_a_broken_reply_holds_is_saved(text, found):
    assert salvaged(text, "lesson") == found


def test_a_reply_that_can_be_saved_is_not_asked_for_again():
    engine = Replying("lesson: Write USD before salt.")
    said = lesson(engine)
    assert (said.text, said.problem, said.retried) == ("Write USD before salt.", "", False)
    assert said.spent.calls == 1
    assert (said.spent.prompt_tokens, said.spent.completion_tokens) == (7, 3)


def test_a_reply_without_form_is_asked_for_once_more_with_what_was_wrong():
    engine = Replying("Sorry, no idea.", reply(lesson="Write USD before salt."))
    said = lesson(engine)
    assert (said.text, said.problem, said.retried) == ("Write USD before salt.", "", True)
    assert said.spent.calls == 2
    assert "Sorry, no idea." not in system_of(engine.requests[0])
    assert "could not be used: it has no field lesson: Sorry, no idea." in system_of(engine.requests[1])


@pytest.mark.parametrize("second", ["Still none.", RuntimeError("out of order")])
def test_a_reply_that_stays_broken_says_why(second):
    said = lesson(Replying("Sorry, no idea.", second))
    assert said.text == ""
    assert said.retried
    assert ("Still none." if isinstance(second, str) else "out of order") in said.problem


def test_a_model_that_fails_is_not_asked_again():
    engine = Replying(RuntimeError("out of order"))
    said = lesson(engine)
    assert said.text == ""
    assert "out of order" in said.problem
    assert not said.retried


def test_an_empty_lesson_is_asked_for_again():
    engine = Replying(reply(lesson="None"), reply(lesson=""))
    assert lesson(engine).problem == "the lesson is empty"


def test_half_a_surrogate_pair_can_be_written_to_a_file():
    said = lesson(Replying(reply(lesson="Write \ud83d first.")))
    assert said.text.encode("utf-8") == b"Write \\ud83d first."


@pytest.mark.parametrize("text", ["NONE", "ADD salt: Write EUR.\nTidy up.", "UPDATE k1: Write EUR."])
def test_operations_of_which_one_can_be_read_are_taken(text):
    said = operations(Replying(reply(operations=text)))
    assert (said.text, said.problem) == (text, "")


@pytest.mark.parametrize("text", ["NONE", "- ADD salt: Write EUR before salt."])
def test_operations_outside_the_form_are_saved(text):
    said = operations(Replying(text))
    assert said.text.endswith(text)
    assert not said.retried


def test_operations_none_of_which_can_be_read_are_asked_for_again():
    engine = Replying(reply(operations="Tidy up."), reply(operations="NONE"))
    said = operations(engine)
    assert (said.text, said.retried) == ("NONE", True)
    assert "no line is an operation" in system_of(engine.requests[1])


def test_another_model_answers_through_its_own_adapter():
    class Constrained(Replying):
        adapter = ConstrainedChatAdapter()

    mine, theirs = Replying(), Constrained(reply(lesson="Write USD."))
    with dspy.context(lm=lm(mine)):
        said = Reflector(lm(theirs)).lesson(task="t", answer="a", expected="e", feedback="f")
    assert said.text == "Write USD."
    assert not mine.requests
    assert theirs.requests[0].config.extensions or "lesson" in str(theirs.requests[0])
