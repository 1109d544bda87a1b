"""How sure the difference of two runs is that evaluated the same examples: paired interval and test.

What is hard for one run is often hard for the other. Pairing takes that out, and so sees smaller differences
than two separate intervals can.

>>> compare({"a": 1, "b": 1, "c": 1, "d": 0}, baseline={"a": 0, "b": 0, "c": 1, "d": 0})
Difference(mean=0.5, low=-0.135, high=0.789, p=0.5, test='mcnemar', examples=4)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltyard.evaluation.statistics import interval

Test = Literal["mcnemar", "sign-flip"]

PERMUTATIONS = 9999
_NUMBERS_AT_ONCE = 10_000_000
"""How many permuted differences are held in memory together (80 MB)."""


@dataclass(frozen=True)
class Difference:
    """A run's mean score less its baseline's, on the same examples."""

    mean: float
    """In [-1, 1]; above 0 where the run is better."""
    low: float
    """Lower limit of the confidence interval, in [-1, 1]."""
    high: float
    """Upper limit of the confidence interval, in [-1, 1]."""
    p: float
    """Two-sided p value, in [0, 1]: how probable a difference at least this large is by chance alone."""
    test: Test
    """Where ``p`` comes from; see :func:`compare`."""
    examples: int


def compare(
    scores: Mapping[str, float], baseline: Mapping[str, float], *, confidence: float = 0.95, seed: int = 0
) -> Difference:
    """Compare two runs by their scores on the same examples; a failed example counts as its score, 0.

    The scores decide the methods:

    * All 0 or 1: ``mcnemar``, McNemar's exact test on the examples that only one of the two got right, and
      Newcombe's score interval for paired proportions (1998, method 10). It is made of both runs' Wilson
      intervals, and like them keeps its coverage near 0 and 1 and is no point where no example differs.
    * Else ``sign-flip``, the permutation test of the mean difference, over all sign changes where these are
      at most 9,999 and over as many random ones otherwise, and the interval of
      :func:`tiltyard.evaluation.statistics.interval` for the differences, a bootstrap from ten examples on.

    Exchanging the two exchanges the sign of the difference and leaves the p value as it is.

    Args:
        scores: The run's score of each example, in [0, 1], by sample id.
        baseline: The scores of the run that it is compared with, on the same examples.
        confidence: The probability that the interval holds the true difference.
        seed: Seeds the bootstrap and the random sign changes.

    Raises:
        ValueError: There is no example, the two are not about the same ones, or a score is outside [0, 1]
            or not a number.
    """
    if not scores or scores.keys() != baseline.keys():
        raise ValueError("a paired comparison needs the same examples, one at least, in both runs")
    after = np.array([scores[sample] for sample in scores], dtype=float)
    before = np.array([baseline[sample] for sample in scores], dtype=float)
    both = np.concatenate([after, before])
    if not np.all((both >= 0) & (both <= 1)):
        raise ValueError("scores must be numbers in [0, 1]")
    mean = float(after.mean() - before.mean())
    if np.all((both == 0) | (both == 1)):
        low, high = _newcombe(after, before, confidence)
        return Difference(mean, low, high, _mcnemar(after, before), "mcnemar", after.size)
    differences = after - before
    # Halved and moved, a difference is a number in [0, 1], as a score is.
    limits = interval(((1 + differences) / 2).clip(0, 1).tolist(), confidence=confidence, seed=seed)
    low, high = 2 * limits.low - 1, 2 * limits.high - 1
    return Difference(mean, low, high, _sign_flip(differences, seed), "sign-flip", after.size)


def _mcnemar(after: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    from scipy.stats import binomtest

    gained, lost = int((after > before).sum()), int((after < before).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _sign_flip(differences: NDArray[np.float64], seed: int) -> float:
    moved = differences[differences != 0]  # a sign changes nothing of the others
    observed = abs(float(moved.sum()))
    # The same sum in another order can differ in the last bits.
    least = observed - 1e-9 * max(1.0, observed)

    def extreme(signs: NDArray[Any]) -> int:
        """How many rows of signs, + for odd numbers, make a difference as large as the observed one."""
        return int((np.abs(np.where(signs & 1, 1.0, -1.0) @ moved) >= least).sum())

    if 2**moved.size <= PERMUTATIONS:
        everyone = np.arange(2**moved.size)[:, None] >> np.arange(moved.size)
        return extreme(everyone) / len(everyone)
    random, found, left = np.random.default_rng(seed), 0, PERMUTATIONS
    while left:
        drawn = min(left, max(1, _NUMBERS_AT_ONCE // moved.size))
        found += extreme(random.integers(0, 2, (drawn, moved.size)))
        left -= drawn
    return (found + 1) / (PERMUTATIONS + 1)  # what was observed is one of the sign changes itself


def _newcombe(
    after: NDArray[np.float64], before: NDArray[np.float64], confidence: float
) -> tuple[float, float]:
    """Newcombe's interval: Wilson's limits of both, joined by how much the two agree.

    Method 10 of "Improved confidence intervals for the difference between binomial proportions based on
    paired data" (1998).
    """
    both, gained = float((after * before).sum()), float((after * (1 - before)).sum())
    lost, neither = float(((1 - after) * before).sum()), float(((1 - after) * (1 - before)).sum())
    spread = ((both + gained) * (lost + neither) * (both + lost) * (gained + neither)) ** 0.5
    alike = both * neither - gained * lost
    if alike > 0:
        alike = max(alike - after.size / 2, 0.0)  # the correction for continuity
    phi = alike / spread if spread else 0.0

    def joined(first: float, second: float) -> float:
        return float(max(0.0, first**2 - 2 * phi * first * second + second**2) ** 0.5)

    of_after = interval(after.tolist(), confidence=confidence)
    of_before = interval(before.tolist(), confidence=confidence)
    p_after, p_before = float(after.mean()), float(before.mean())
    low = p_after - p_before - joined(p_after - of_after.low, of_before.high - p_before)
    high = p_after - p_before + joined(of_after.high - p_after, p_before - of_before.low)
    return max(-1.0, low), min(1.0, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for how many there are, in the order given.

    Holm's step-down method: the probability that any of the true null hypotheses is rejected at a level stays
    below that level, whatever the tests have to do with each other (Holm, 1979, "A simple sequentially
    rejective multiple test procedure").

    Args:
        p_values: One p value per comparison, each in [0, 1].

    Returns:
        The adjusted p values, each at least as large as its own and at most 1.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted
