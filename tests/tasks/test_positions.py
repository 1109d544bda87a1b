import dspy
import pytest

from tiltyard.tasks.positions import position_figures
from tiltyard.tasks.task import Judged

OPTIONS = {"A": "iron", "B": "zinc", "C": "lead"}


def judged(gold, answer):
    score = float(answer[:1] == gold)
    return Judged(dspy.Example(choices=OPTIONS, answer=gold), answer, score)


def test_figures_by_hand():
    found = position_figures(
        [judged("A", "A"), judged("A", "B"), judged("B", "A. iron"), judged("B", "B"), judged("B", "no idea")]
    )
    assert found == {
        "accuracy.gold_A": 1 / 2,
        "accuracy.gold_B": 1 / 3,
        "predicted_A": 2 / 5,
        "predicted_B": 2 / 5,
        "predicted_C": 0.0,
        "position_bias": 0.0,  # two of each were chosen, where two of each are right
    }


@pytest.mark.parametrize(
    ("answers", "bias"),
    [
        ("CCBBAA", 0.0),  # as often as each is right, though in the wrong questions
        ("AAAAAA", 4 / 6),  # A is right twice, and was chosen four times too often
        ("BBBBAC", 2 / 6),
    ],
)
def test_position_bias_compares_where_is_chosen_with_where_is_right(answers, bias):
    found = position_figures([judged(gold, answer) for gold, answer in zip("AABBCC", answers, strict=True)])
    assert found["position_bias"] == pytest.approx(bias)


def test_a_model_that_chooses_nothing_has_no_bias():
    found = position_figures([judged("A", ""), judged("B", "neither")])
    assert "position_bias" not in found
    assert found["predicted_A"] == found["accuracy.gold_A"] == 0.0
