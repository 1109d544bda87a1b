import dspy
import pytest

from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.optimizers.adapting.answering import (
    FORM_BROKEN,
    Answer,
    answer_example,
    answered,
    asked,
    expected,
)
from tiltyard.programs.qa import AnswerQuestion
from tiltyard.tasks.task import Score


class Says(TextEngine):
    def __init__(self, text):
        self.text = text

    def generate(self, request):
        return Completion(self.text, 50, 5)


TWELVE = Says("[[ ## answer ## ]]\n12\n\n[[ ## completed ## ]]")


def lm(engine):
    return engine_lm("local/says", engine)


def example(number, subject):
    return dspy.Example(
        id=f"e{number}",
        question=f"How much {subject} is there?",
        context=f"{subject} {number}",
        answer=f"USD {number}",
    ).with_inputs("question", "context")


def metric(example, prediction):
    right = example.answer == prediction.answer
    return Score(float(right), "Correct." if right else f"Expected '{example.answer}'.")


def test_an_answer_has_its_score_its_feedback_and_what_it_took():
    with dspy.context(lm=lm(TWELVE)):
        answer = answer_example(dspy.Predict(AnswerQuestion), example(12, "salt"), metric)
    assert (answer.score, answer.feedback, answer.error) == (0.0, "Expected 'USD 12'.", "")
    assert (answer.spent.calls, answer.spent.prompt_tokens, answer.spent.completion_tokens) == (1, 50, 5)
    assert answer.latency_ms > 0
    assert answer.can_be_reflected
    assert answer.judged
    assert "12" in answer.said


def test_without_a_metric_nothing_is_judged():
    with dspy.context(lm=lm(TWELVE)):
        answer = answer_example(dspy.Predict(AnswerQuestion), example(12, "salt"), None)
    assert (answer.score, answer.feedback, answer.judged) == (None, "", False)
    assert answer.prediction.answer == "12"


def test_a_reply_in_a_broken_form_scores_nothing_and_can_be_reflected_on():
    with dspy.context(lm=lm(Says("Twelve, I think"))):
        answer = answer_example(dspy.Predict(AnswerQuestion), example(12, "salt"), metric)
    assert answer.prediction is None
    assert answer.score == 0.0
    assert answer.feedback == FORM_BROKEN
    assert not answer.judged
    assert answered(answer) == "Twelve, I think"
    assert expected(example(12, "salt"), answer) == "USD 12"
    assert answer.can_be_reflected


@pytest.mark.parametrize("returned", [None, "12", {"answer": "12"}])
def test_what_is_no_prediction_is_a_failure(returned):
    answer = answer_example(lambda **inputs: returned, example(12, "salt"), metric)
    assert "not a dspy.Prediction" in answer.error
    assert not answer.can_be_reflected


@pytest.mark.parametrize(
    "broken", [lambda *arguments: 1 / 0, lambda *arguments: float("nan"), lambda *arguments: "much"]
)
def test_a_metric_that_fails_teaches_nothing(broken):
    answer = answer_example(lambda **inputs: dspy.Prediction(answer="12"), example(12, "salt"), broken)
    assert "the metric failed" in answer.error
    assert answer.score == 0.0
    assert not answer.can_be_reflected


@pytest.mark.parametrize("verdict", [True, 1, 0.5, dspy.Prediction(score=0.5)])
def test_any_number_is_a_score(verdict):
    answer = answer_example(
        lambda **inputs: dspy.Prediction(answer="12"), example(12, "salt"), lambda *arguments: verdict
    )
    assert answer.score == float(verdict)
    assert answer.feedback == ""


def test_the_reflector_reads_the_inputs_a_line_each():
    one = dspy.Example(context="salt 12", id="e1", question="How much?", answer="USD 12")
    assert asked(one.with_inputs("question", "context")) == "context: salt 12\nquestion: How much?"


def test_several_outputs_are_told_apart_and_compared_field_by_field():
    one = dspy.Example(question="?", answer="12", scale="million", note="kept", id="e1").with_inputs(
        "question"
    )
    answer = Answer(prediction=dspy.Prediction(reasoning="Look.", answer="12", scale=""))
    assert answered(answer) == "reasoning: Look.\nanswer: 12\nscale: "
    assert expected(one, answer) == "answer: 12\nscale: million"


def test_what_the_example_does_not_say_is_not_expected():
    one = dspy.Example(question="?", gold="12").with_inputs("question")
    assert expected(one, Answer(prediction=dspy.Prediction(answer="12"))) == ""
