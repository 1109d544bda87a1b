from collections.abc import Callable
from typing import Any

import dspy
import pytest

from tiltyard.artifacts.metadata import Origin
from tiltyard.programs.qa import AnswerQuestion


@pytest.fixture
def make_origin() -> Callable[..., Origin]:
    def make(**values: Any) -> Origin:
        known: dict[str, Any] = {
            "task": "tatqa_tiny",
            "model": "lexical",
            "optimizer": "labeled_few_shot",
            "seed": 3,
            "fingerprint": "f00d",
            "score": (0.75, 0.5, 0.9),
            "signature": AnswerQuestion,
            "program_node": {"_target_": "dspy.Predict", "_partial_": True},
            "model_node": {"_target_": "tiltyard.models.lexical.lexical", "neighbours": 8, "trust": 1.0},
            "hardware_node": {"_target_": "tiltyard.models.hardware.Hardware", "device": "cpu"},
        }
        return Origin(**(known | values))

    return make


@pytest.fixture
def demonstrations() -> list[dspy.Example]:
    """Two that a program can learn from, with a field that the signature lacks, as tasks' examples have."""
    return [
        dspy.Example(
            id="1", question="What is the limit?", context="The limit is 80 °C.", answer="80 °C"
        ).with_inputs("question", "context"),
        dspy.Example(
            id="2", question="Who signed?", context="It was signed by Ada.", answer="Ada"
        ).with_inputs("question", "context"),
    ]


@pytest.fixture
def compiled(demonstrations: list[dspy.Example]) -> dspy.Module:
    return dspy.LabeledFewShot(k=2).compile(dspy.Predict(AnswerQuestion), trainset=demonstrations)
