"""How well the shipped weights follow their context, on a few held-out questions of each kind.

The whole evaluation is ``python -m tiltyard.models.embedded evaluate``.
"""

import json
from collections import defaultdict

from tiltyard.models.embedded import FOLDER, embedded, weights_digest
from tiltyard.models.embedded.evaluation import evaluate_model
from tiltyard.models.embedded.held_out import trials
from tiltyard.models.hardware import Hardware

AT_LEAST = {"plain": 0.35, "playbook": 0.12, "demonstrations": 0.35}
"""The share of right answers in each setting."""
AT_MOST_WITHOUT = 0.1
"""The share of answers in the house's way where nothing says what that is."""
CASES = 4
"""Of each kind of question; there are thirteen kinds."""


def test_the_shipped_weights_are_those_of_their_card():
    evaluation = json.loads((FOLDER / "evaluation.json").read_text())
    assert evaluation["model"] == weights_digest()
    assert json.loads((FOLDER / "training.json").read_text())["steps"] > 1000
    assert evaluation["model"][:16] in (FOLDER / "README.md").read_text()


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
