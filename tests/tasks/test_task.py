import dspy
import pytest

from tiltyard.tasks.task import Score


def test_truth_is_full_marks():
    # A plain prediction is true whatever its score, which lets wrong demonstrations in.
    assert bool(dspy.Prediction(score=0.0))
    assert not Score(0.0)
    assert not Score(0.99)
    assert Score(1.0)


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_score_counts_as_a_number(value):
    score = Score(value, "why")
    assert float(score) == value
    assert score >= value
    assert sum([score, score]) == 2 * value
    assert score.feedback == "why"
