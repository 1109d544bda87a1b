import dspy
import pytest

from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.optimizers.adapting.fingerprint import fingerprint

EXAMPLE = dspy.Example(question="?", context="salt 12", answer="12").with_inputs("question", "context")


class Silent(TextEngine):
    def generate(self, request):
        return Completion("", 1, 1)


def metric(example, prediction):
    return 1.0


def stricter(example, prediction):
    return 0.0


def of(**changes):
    described = {
        "settings": {"epochs": 2},
        "student": dspy.Predict("question, context -> answer"),
        "train": [EXAMPLE],
        "validation": [],
        "metric": metric,
        "models": [None],
        **changes,
    }
    return fingerprint(described.pop("settings"), described.pop("student"), **described)


def with_a_model_of_its_own():
    student = dspy.Predict("question, context -> answer")
    student.lm = engine_lm("local/own", Silent())
    return student


def with_a_demonstration():
    student = dspy.Predict("question, context -> answer")
    student.demos = [EXAMPLE]
    return student


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"epochs": 3}},
        {"student": dspy.ChainOfThought("question, context -> answer")},
        {"student": with_a_demonstration()},
        {"student": with_a_model_of_its_own()},
        {"train": [EXAMPLE.with_inputs("question")]},
        {"train": [EXAMPLE.copy(answer="USD 12").with_inputs("question", "context")]},
        {"validation": [EXAMPLE]},
        {"metric": stricter},
        {"models": [dspy.LM("openai/any")]},
    ],
)
def test_what_decides_a_compilation_changes_it(change):
    assert of() == of()
    assert of(**change) != of()


def test_the_adapter_and_the_settings_of_a_model_count_and_its_key_does_not():
    def with_lm(adapter=None, **settings):
        with dspy.context(lm=dspy.LM("openai/any", **settings), adapter=adapter):
            return of()

    assert with_lm(api_key="one") == with_lm(api_key="another")
    assert with_lm(temperature=1.0) != with_lm(temperature=0.5)
    assert with_lm(adapter=dspy.JSONAdapter()) != with_lm(adapter=dspy.ChatAdapter())
