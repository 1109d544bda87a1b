"""How large the difference of two runs is on a scale that does not depend on the number of examples.

>>> odds_ratio(np.array([1.0] * 12 + [-1.0] * 2))
Effect(measure='odds-ratio', value=6.0, low=1.34, high=55.2)
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltyard.evaluation.clusters import are_grouped, clustered_mean
from tiltyard.evaluation.statistics import interval

Measure = Literal["odds-ratio", "cohens-dz"]


@dataclass(frozen=True)
class Effect:
    """A standardized size of a paired difference, with its confidence interval."""

    measure: Measure
    """``odds-ratio``: how many examples only the run got right for each that only the baseline got right; 1
    is no effect. ``cohens-dz``: the mean difference in standard deviations of the examples' differences; 0 is
    no effect."""
    value: float
    """Infinite for an odds ratio where only the run got any right that the other did not."""
    low: float
    """Lower limit of the confidence interval."""
    high: float
    """Upper limit of the confidence interval; infinite for an odds ratio without an upper limit."""


def odds_ratio(
    differences: NDArray[np.float64],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> Effect | None:
    """The odds ratio of matched pairs, by the examples that only one of the two runs got right.

    It is the conditional maximum-likelihood estimate, and the interval is exact: Clopper and Pearson's for
    the run's share among those examples, as odds (Agresti, Categorical Data Analysis, 2013, section 11.2).
    Where examples share a cluster the share's interval is that of
    :func:`tiltyard.evaluation.statistics.interval` for clusters, and that of a single example where all that
    differ share one cluster.

    Args:
        differences: The run's score less the baseline's of each example: -1, 0 or 1.
        clusters: The cluster of each example; None where all are independent.
        confidence: The probability that the interval holds the true ratio.

    Returns:
        The effect; None where no example differs, so that there is no ratio.
    """
    from scipy.special import betaincinv

    differing = np.flatnonzero(differences).tolist()
    if not differing:
        return None
    gains = (differences[differing] > 0).astype(float)
    gained = int(gains.sum())
    if clusters is not None and are_grouped(clusters):
        labels = [clusters[position] for position in differing]
        # Differences that all stand in one cluster tell no more than one example does.
        of_one = len(set(labels)) == 1
        shares, of = ([gained / len(differing)], None) if of_one else (gains.tolist(), labels)
        limits = interval(shares, clusters=of, confidence=confidence)
        low, high = limits.low, limits.high
    else:
        lost, tail = len(differing) - gained, (1 - confidence) / 2
        low = float(betaincinv(gained, lost + 1, tail)) if gained else 0.0
        high = float(betaincinv(gained + 1, lost, 1 - tail)) if lost else 1.0
    return Effect("odds-ratio", _odds(gained / len(differing)), _odds(low), _odds(high))


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 else float("inf")


def cohens_dz(
    differences: NDArray[np.float64],
    clusters: Sequence[Hashable] | None = None,
    *,
    limits: tuple[float, float] | None = None,
    confidence: float = 0.95,
) -> Effect | None:
    """Cohen's d_z, the mean of paired differences by their standard deviation (Cohen, 1988; Lakens, 2013).

    Its interval is Student's with the standard error of the delta method, which assumes no distribution: that
    of the mean of the examples' influences on d_z, between clusters where examples share them. Few examples,
    most of which are alike, make it too narrow, so it reaches at least as far as the mean difference's own
    interval does in standard deviations. A bootstrap's is narrower still, see ``docs/statistics.md``.

    Args:
        differences: The run's score less the baseline's of each example, in [-1, 1].
        clusters: The cluster of each example; None where all are independent.
        limits: The confidence interval of the mean difference; None where it is not known.
        confidence: The probability that the interval holds the true effect.

    Returns:
        The effect; None where all differences are the same, so that there is no spread to measure it by.
    """
    from scipy.special import stdtrit

    if differences.size < 2 or np.ptp(differences) < 1e-12:
        return None
    spread = float(differences.std(ddof=1))
    value = float(differences.mean()) / spread
    standard = (differences - differences.mean()) / spread
    influence = standard - value / 2 * (standard**2 - 1)
    labels: Sequence[Hashable] = range(differences.size)
    if clusters is not None and are_grouped(clusters):
        labels = clusters
    found = clustered_mean(influence, labels)
    half = float(stdtrit(found.freedom, (1 + confidence) / 2)) * found.variance**0.5
    low, high = value - half, value + half
    if limits is not None:
        low, high = min(low, limits[0] / spread), max(high, limits[1] / spread)
    return Effect("cohens-dz", value, low, high)
