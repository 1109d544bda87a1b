import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.exceptions import AdapterParseError

from tiltyard.programs.panel import AssessChannelPreference, EvaluateCreative, SimulatePurchaseDecision
from tiltyard.programs.town import ReflectOnMemories, ScoreImportance

WRITTEN = {
    ScoreImportance: {"reasoning": "A fire.", "score": 9},
    ReflectOnMemories: {"reasoning": "The mill recurs.", "insight": "I look after the mill."},
    EvaluateCreative: {"reaction": "I like it.", "intent": 4},
    AssessChannelPreference: {"receptivity": 0.8, "fatigue_level": "low"},
    SimulatePurchaseDecision: {"decision_factors": "It is too dear.", "purchase_decision": "no"},
}


@pytest.mark.parametrize("signature", WRITTEN)
@pytest.mark.parametrize("adapter", [dspy.ChatAdapter, dspy.JSONAdapter])
def test_what_a_model_writes_is_read_with_its_type(signature, adapter):
    adapter = adapter()
    with dspy.context(lm=DummyLM([WRITTEN[signature]], adapter=adapter), adapter=adapter):
        prediction = dspy.Predict(signature)(**dict.fromkeys(signature.input_fields, "x"))
    assert dict(prediction) == WRITTEN[signature]


@pytest.mark.parametrize("signature", WRITTEN)
def test_instructions_are_short(signature):
    assert 5 <= len(signature.instructions.split()) <= 60
    assert all(field.json_schema_extra["desc"] for field in signature.fields.values())


@pytest.mark.parametrize(
    ("signature", "field", "wrong"),
    [
        (ScoreImportance, "score", "very"),
        (AssessChannelPreference, "fatigue_level", "saturated"),
        (SimulatePurchaseDecision, "purchase_decision", "perhaps"),
    ],
)
def test_what_has_no_such_value_is_not_read(signature, field, wrong):
    text = "\n\n".join(f"[[ ## {n} ## ]]\n{v}" for n, v in (WRITTEN[signature] | {field: wrong}).items())
    with pytest.raises(AdapterParseError):
        dspy.ChatAdapter().parse(signature, text)
