"""How sure the difference of two runs is that evaluated the same examples: paired interval, test and effect.

What is hard for one run is often hard for the other. Pairing takes that out, and so sees smaller differences
than two separate intervals can.

>>> compare({"a": 1, "b": 1, "c": 1, "d": 0}, baseline={"a": 0, "b": 0, "c": 1, "d": 0})
Difference(mean=0.5, low=-0.135, high=0.789, p=0.5, test='mcnemar', examples=4, effect=Effect(…))
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltyard.evaluation.clusters import are_grouped, clustered_mean, labels_of, positions
from tiltyard.evaluation.effect import Effect, cohens_dz, odds_ratio
from tiltyard.evaluation.statistics import NO_SPREAD, interval

Test = Literal["mcnemar", "sign-flip", "cluster-sign-flip"]

PERMUTATIONS = 9999
FEWEST_FOR_BOOTSTRAP = 100
"""Fewer differences, most of which can be 0, make a bootstrap's interval too narrow."""
_NUMBERS_AT_ONCE = 10_000_000
"""How many permuted differences are held in memory together (80 MB)."""


class UnpairedError(ValueError):
    """Two runs that are not about the same examples, and so cannot be compared example by example."""


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
    effect: Effect | None = None
    """The size of the effect: the odds ratio of matched pairs for scores of 0 and 1, else Cohen's d_z; None
    where it is not defined, since no example differs or all differ alike."""


def compare(
    scores: Mapping[str, float],
    baseline: Mapping[str, float],
    *,
    clusters: Mapping[str, Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two runs by their scores on the same examples; a failed example counts as its score, 0.

    The scores decide the test:

    * All 0 or 1: ``mcnemar``, McNemar's exact test on the examples that only one of the two got right.
    * Else ``sign-flip``, the permutation test of the mean difference, over all sign changes where these are
      at most 9,999 and over as many random ones otherwise.
    * If examples share a cluster, whatever the scores: ``cluster-sign-flip``, the same with one sign for all
      examples of a cluster. The smallest possible p value is 2 / 2^K for K clusters that differ.

    and the interval:

    * For partial scores of a hundred independent examples or more, the bootstrap of
      :func:`tiltyard.evaluation.statistics.interval`, over the differences.
    * Else both runs' own intervals joined by how much the runs agree (MOVER: Zou and Donner, 2008). For
      independent scores of 0 and 1 that is Newcombe's score interval for paired proportions (1998, method
      10). It keeps its coverage near 0 and 1 and is no point where no example differs.

    Exchanging the two exchanges the sign of the difference and leaves the p value as it is.

    Args:
        scores: The run's score of each example, in [0, 1], by sample id.
        baseline: The scores of the run that it is compared with, on the same examples.
        clusters: The cluster of each example by sample id, as from
            :func:`tiltyard.evaluation.clusters.contexts`; an example that it lacks is a cluster of its own.
            Clusters of one each give what None gives, and so does a single one.
        confidence: The probability that the interval holds the true difference.
        seed: Seeds the bootstrap and the random sign changes.

    Raises:
        UnpairedError: The two are not about the same examples; it says how many and which.
        ValueError: There is no example, or a score is outside [0, 1] or not a number.
    """
    after, before = paired(scores, baseline)
    differences = after - before
    labels = None if clusters is None else labels_of(scores, clusters)
    grouped = labels if labels is not None and are_grouped(labels) else None
    both = np.concatenate([after, before])
    binary = bool(np.all((both == 0) | (both == 1)))
    test: Test
    if grouped is not None:
        sums = np.bincount(positions(grouped), weights=differences).astype(float)
        test, p = "cluster-sign-flip", _sign_flip(sums, seed)
    elif binary:
        test, p = "mcnemar", _mcnemar(after, before)
    else:
        test, p = "sign-flip", _sign_flip(differences, seed)
    if binary or grouped is not None or after.size < FEWEST_FOR_BOOTSTRAP or not differences.any():
        low, high = _joined(after, before, grouped, confidence)
    else:
        # Halved and moved, a difference is a number in [0, 1], as a score is.
        moved = ((1 + differences) / 2).clip(0, 1).tolist()
        limits = interval(moved, confidence=confidence, seed=seed)
        low, high = 2 * limits.low - 1, 2 * limits.high - 1
    if binary:
        effect = odds_ratio(differences, grouped, confidence=confidence)
    else:
        effect = cohens_dz(differences, grouped, limits=(low, high), confidence=confidence)
    return Difference(
        mean=float(after.mean() - before.mean()),
        low=low,
        high=high,
        p=p,
        test=test,
        examples=after.size,
        effect=effect,
    )


def paired(
    scores: Mapping[str, float], baseline: Mapping[str, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both runs' scores in the order of the first.

    Raises:
        UnpairedError: The two are not about the same examples.
        ValueError: There is no example, or a score is outside [0, 1] or not a number.
    """
    check_paired(scores, baseline, "the run", "the baseline")
    if not scores:
        raise ValueError("there are no examples to compare")
    after = np.array([scores[sample] for sample in scores], dtype=float)
    before = np.array([baseline[sample] for sample in scores], dtype=float)
    for one in (after, before):
        if not np.all((one >= 0) & (one <= 1)):
            raise ValueError("scores must be numbers in [0, 1]")
    return after, before


def check_paired(one: Mapping[str, float], other: Mapping[str, float], name: str, of_other: str) -> None:
    """Refuse scores of different examples.

    Args:
        one: Scores by sample id.
        other: Those of another run.
        name: What the error calls the first.
        of_other: What the error calls the second.

    Raises:
        UnpairedError: An example is in only one of them.
    """
    parts = []
    for present, samples in ((name, one.keys() - other.keys()), (of_other, other.keys() - one.keys())):
        if samples:
            parts.append(f"{len(samples)} only in {present}, such as {min(samples, key=str)!r}")
    if parts:
        shared = len(one.keys() & other.keys())
        raise UnpairedError(
            f"{name} and {of_other} are of different examples: {'; '.join(parts)}; {shared} in both"
        )


def _mcnemar(after: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    from scipy.stats import binomtest

    gained, lost = int((after > before).sum()), int((after < before).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _sign_flip(differences: NDArray[np.float64], seed: int) -> float:
    # scipy's permutation_test gives the same p value, in ten times as long: 4 s for 500 examples.
    moved = differences[np.abs(differences) > 1e-12]  # a sign changes nothing of the others
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


def _joined(
    after: NDArray[np.float64],
    before: NDArray[np.float64],
    clusters: Sequence[Hashable] | None,
    confidence: float,
) -> tuple[float, float]:
    """Both runs' limits, joined by the correlation of their means.

    MOVER of Zou and Donner, "Construction of confidence limits about effect measures" (2008), with Newcombe's
    correction for continuity of 1998: scores of 0 and 1 say no more about the correlation.
    """
    correlation = _correlation(after, before, clusters)

    def joined(first: float, second: float) -> float:
        return float(max(0.0, first**2 - 2 * correlation * first * second + second**2) ** 0.5)

    of_after = interval(after.tolist(), clusters=clusters, confidence=confidence)
    of_before = interval(before.tolist(), clusters=clusters, confidence=confidence)
    p_after, p_before = float(after.mean()), float(before.mean())
    low = p_after - p_before - joined(p_after - of_after.low, of_before.high - p_before)
    high = p_after - p_before + joined(of_after.high - p_after, p_before - of_before.low)
    return max(-1.0, low), min(1.0, high)


def _correlation(
    after: NDArray[np.float64], before: NDArray[np.float64], clusters: Sequence[Hashable] | None
) -> float:
    """The correlation of the two means, nearer to 0 by the correction for continuity where it is above."""
    labels = range(after.size) if clusters is None else clusters
    if after.size < 2:
        return 0.0
    # Polarization: the covariance of two means is that of their sum's and difference's variances.
    variances = [clustered_mean(values, labels).variance for values in (after, before, after - before)]
    if min(variances[:2]) < NO_SPREAD:
        return 0.0
    correlation = (variances[0] + variances[1] - variances[2]) / (2 * (variances[0] * variances[1]) ** 0.5)
    if correlation > 0:
        largest = (after.mean() * (1 - after.mean()) * before.mean() * (1 - before.mean())) ** 0.5
        correlation = max(correlation - 1 / (2 * after.size * largest), 0.0)
    return float(correlation)


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
    # statsmodels' multipletests does the same, but takes a second to import and collects garbage each time.
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted
