"""What paired tests and effect sizes are called: the same words in the terminal and in every report.

>>> TESTS[difference.test], EFFECTS[difference.effect.measure]
("McNemar's exact test", 'odds ratio of matched pairs')
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiltyard.evaluation.effect import Measure
    from tiltyard.evaluation.paired import Test

TESTS: "Mapping[Test, str]" = {
    "mcnemar": "McNemar's exact test",
    "sign-flip": "sign-flip permutation test",
    "cluster-sign-flip": "sign-flip permutation test over contexts",
}
EFFECTS: "Mapping[Measure, str]" = {"odds-ratio": "odds ratio of matched pairs", "cohens-dz": "Cohen's d_z"}
