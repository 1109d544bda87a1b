import dspy
import pytest
from dspy.utils import DummyLM

from tiltyard.programs.abstracts import DecideFromAbstract
from tiltyard.programs.finance import CalculateWithFormula
from tiltyard.programs.qa import SCALES, AnswerFromTable, AnswerQuestion, ChooseOption


@pytest.mark.parametrize("signature", [AnswerQuestion, ChooseOption, AnswerFromTable])
@pytest.mark.parametrize("module", [dspy.Predict, dspy.ChainOfThought])
def test_a_signature_makes_a_program(signature, module):
    program = module(signature)
    inputs = dict.fromkeys(signature.input_fields, "x")
    written = {"reasoning": "because", "answer": "42", "scale": "million"}
    with dspy.context(lm=DummyLM([written])):
        prediction = program(**inputs)
    assert prediction.answer == "42"
    assert signature.instructions
    assert all(field.json_schema_extra["desc"] for field in signature.fields.values())


@pytest.mark.parametrize(
    "signature", [AnswerQuestion, ChooseOption, AnswerFromTable, CalculateWithFormula, DecideFromAbstract]
)
def test_the_context_comes_before_the_question(signature):
    assert list(signature.input_fields)[:2] == ["context", "question"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("adapter", [dspy.ChatAdapter, dspy.JSONAdapter])
def test_every_scale_is_parsed_and_shown_in_demonstrations(scale, adapter):
    program = dspy.Predict(AnswerFromTable)
    program.demos = [dspy.Example(question="q", context="c", answer="7", scale=scale)]
    adapter = adapter()
    lm = DummyLM([{"answer": "12.6", "scale": scale}], adapter=adapter)
    with dspy.context(lm=lm, adapter=adapter):
        prediction = program(question="q", context="c")
    assert (prediction.answer, prediction.scale) == ("12.6", scale)
    shown = " ".join(str(message["content"]) for message in lm.history[-1]["messages"])
    assert "Not supplied" not in shown
