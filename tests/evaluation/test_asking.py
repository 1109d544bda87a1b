import dspy
import pytest

from tiltyard.evaluation.asking import asked, demonstrations
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.optimizers.nearest import KnnFewShot
from tiltyard.tasks.task import Score

SIGNATURE = dspy.Signature("question -> answer")
TRAIN = [dspy.Example(id=str(n), question=f"{n}?", answer=str(n)).with_inputs("question") for n in range(5)]


class Templated(TextEngine):
    def __init__(self, **facts):
        self.facts = facts

    @property
    def provenance(self):
        return self.facts

    def generate(self, request):
        return Completion("[[ ## answer ## ]]\n1\n\n[[ ## completed ## ]]", 1, 1)


class Named:
    primary = "accuracy, strict extraction"


def metric(example, prediction, trace=None, pred_name=None, pred_trace=None):
    return Score(float(example.answer == prediction.answer))


@pytest.mark.parametrize(
    ("facts", "template"),
    [
        ({"chat_template": "tokenizer", "chat_template_digest": "0123456789ab"}, "tokenizer 0123456789ab"),
        ({"chat_template": "none"}, "none"),
        ({"endpoint": "http://localhost"}, "unknown"),
    ],
)
def test_a_run_is_tagged_with_how_it_asks(facts, template):
    program = dspy.LabeledFewShot(k=3).compile(dspy.ChainOfThought(SIGNATURE), trainset=TRAIN)
    node = {"program": {"_target_": "dspy.ChainOfThought", "_partial_": True}}
    assert asked(node, Named(), program, engine_lm("local/x", Templated(**facts))) == {
        "tiltyard.program": "dspy.ChainOfThought",
        "tiltyard.demos": "3",
        "tiltyard.adapter": "ChatAdapter",
        "tiltyard.chat_template": template,
        "tiltyard.metric": "accuracy, strict extraction",
    }


def test_what_a_task_does_not_say_is_not_tagged():
    found = asked({}, object(), dspy.Predict(SIGNATURE), engine_lm("local/x", Templated()))
    assert found["tiltyard.program"] == "unknown"
    assert found["tiltyard.demos"] == "0"
    assert "tiltyard.metric" not in found


def test_demonstrations_that_are_chosen_for_each_call_count():
    def compiled(k):
        optimizer = KnnFewShot(metric=metric, k=k, bootstrap=False)
        return optimizer.compile(dspy.Predict(SIGNATURE), trainset=TRAIN)

    assert demonstrations(compiled(2)) == 2
    assert demonstrations(compiled(50)) == 5
