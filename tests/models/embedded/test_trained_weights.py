"""How well the shipped weights follow their context, on a few held-out questions of each kind.

Greedy answers of the same weights are the same each time, so the thresholds may stand near what was seen. The
whole evaluation is ``python -m tiltyard.models.embedded evaluate``. Weights whose training is not on record,
without ``training.json`` beside them, are not tried.
"""

from collections import defaultdict

import pytest

from tiltyard.models.embedded import FOLDER, embedded
from tiltyard.models.embedded.evaluation import evaluate_model
from tiltyard.models.embedded.held_out import trials
from tiltyard.models.hardware import Hardware

AT_LEAST = {"plain": 0.8, "playbook": 0.7, "demonstrations": 0.6}
"""The share of right answers in each setting."""
AT_MOST_WITHOUT = 0.1
"""The share of answers in the house's way where nothing says what that is."""
CASES = 2
"""Of each kind of question; there are thirteen kinds."""


@pytest.mark.skipif(not (FOLDER / "training.json").exists(), reason="the weights are not trained ones")
def test_held_out_answers_follow_the_context():
    lm = embedded(hardware=Hardware(device="cpu"))
    asked = [one for one in trials(CASES, seed=1) if one.episodes[0].ability.startswith("answers/")]
    tally = evaluate_model(lm, asked)

    marks = defaultdict(list)
    for cell, found in tally.marks.items():
        marks[cell.rsplit("/", 1)[1]] += found
    shares = {setting: sum(found) / len(found) for setting, found in marks.items()}
    assert len(marks["plain"]) == 13 * CASES
    assert {setting: share for setting, share in AT_LEAST.items() if shares[setting] < share} == {}, shares
    assert shares["without"] <= AT_MOST_WITHOUT, shares
