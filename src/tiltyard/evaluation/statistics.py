"""How sure a mean score is: its confidence interval.

>>> interval([1, 1, 0, 1, 0, 1, 1, 1])
Interval(low=0.409, high=0.929, method='wilson')
>>> interval([1, 1, 0, 1, 0, 1, 1, 1, 1, 0], clusters=["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"])
Interval(low=0.363, high=0.905, method='wilson-clustered')
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltyard.evaluation.clusters import are_grouped, clustered_mean

Method = Literal[
    "wilson", "wilson-t", "wilson-clustered", "wilson-bound", "bootstrap-bca", "bootstrap-percentile"
]

FEWEST_FOR_SPREAD = 5
"""Fewer scores or clusters say too little of how much they vary."""
FEWEST_FOR_BOOTSTRAP = 50
RESAMPLES = 9999
NO_SPREAD = 1e-18
"""A variance of a mean of scores in [0, 1] that only rounding can make."""
_NUMBERS_AT_ONCE = 10_000_000
"""How many resampled scores are held in memory together (80 MB)."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean score."""

    low: float
    """Lower limit, in [0, 1]."""
    high: float
    """Upper limit, in [0, 1]."""
    method: Method
    """How the limits were found; see :func:`interval`."""


def interval(
    scores: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The confidence interval of the mean of scores that examples or clusters of examples got independently.

    The scores decide the method:

    * ``wilson``, if all are 0 or 1. Wilson's score interval keeps its coverage with few examples and near 0
      or 1, where the textbook interval collapses to a point (Brown, Cai and DasGupta, 2001).
    * ``bootstrap-bca``, for fifty scores or more of which some lie between. The bias-corrected accelerated
      bootstrap (Efron, 1987) assumes no distribution and allows for the skew that scores have near their
      limits. Where its correction is undefined, ``bootstrap-percentile`` takes its place.
    * ``wilson-t``, for fewer, where that bootstrap is too narrow: Wilson's formula for the effective number
      of zeros and ones that would have the observed variance, with the quantile of Student's t.
    * ``wilson-clustered``, if examples share a cluster, whatever the scores: the same formula with the
      variance between clusters of :func:`tiltyard.evaluation.clusters.clustered_mean` and its degrees of
      freedom; the effective number is at most that of the examples. Intervals of this form keep their
      coverage best for proportions of clustered samples (Korn and Graubard, 1998; Franco, Little, Louis and
      Slud, 2019).
    * ``wilson-bound``, where the sample cannot tell its own spread: fewer than five scores, some between 0
      and 1, or five clusters, or all means alike. Scores in [0, 1] vary at most as much as zeros and ones of
      the same mean, and clusters most if each is all alike, so Wilson's interval for that is wide enough.

    Simulated coverage of all of them is in ``docs/statistics.md``.

    Args:
        scores: One score per example, each in [0, 1].
        clusters: The cluster of each score: examples with equal labels, such as questions on one table, may
            resemble each other. Clusters of one each give what None gives. So does one cluster of them all,
            which is no sample of clusters: the interval is then about further examples of that one.
        confidence: The probability that the interval holds the true mean.
        seed: Seeds the bootstrap; the same scores and seed give the same interval.

    Raises:
        ValueError: There is no score, one is outside [0, 1] or not a number, or there are more or fewer
            clusters than scores.
    """
    sample = np.asarray(scores, dtype=float)
    if not sample.size:
        raise ValueError("an interval needs at least one score")
    if not np.all((sample >= 0) & (sample <= 1)):
        raise ValueError("scores must be numbers in [0, 1]")
    if clusters is not None and len(clusters) != sample.size:
        raise ValueError(f"{sample.size} scores need as many clusters, not {len(clusters)}")
    if clusters is not None and are_grouped(clusters):
        return _clustered(sample, clusters, confidence)
    if np.all((sample == 0) | (sample == 1)):
        return _wilson(sample, confidence)
    variance = float(sample.var(ddof=1)) / sample.size if sample.size > 1 else 0.0
    if sample.size < FEWEST_FOR_SPREAD or variance < NO_SPREAD:
        return _bound(float(sample.mean()), sample.size, confidence)
    if sample.size < FEWEST_FOR_BOOTSTRAP:
        return Interval(*of_variance(float(sample.mean()), variance, sample.size - 1, confidence), "wilson-t")
    return _bootstrap(sample, confidence, seed)


def of_variance(mean: float, variance: float, freedom: float, confidence: float) -> tuple[float, float]:
    """Wilson's limits for a mean of scores in [0, 1] whose variance was estimated.

    Args:
        mean: In [0, 1].
        variance: Of the mean, above 0.
        freedom: Degrees of freedom of the variance, above 0.
        confidence: The probability that the limits hold the true mean.
    """
    from scipy.special import stdtrit

    return _limits(mean, mean * (1 - mean) / variance, float(stdtrit(freedom, (1 + confidence) / 2)))


def _clustered(sample: NDArray[np.float64], clusters: Sequence[Hashable], confidence: float) -> Interval:
    found = clustered_mean(sample, clusters)
    if found.clusters < FEWEST_FOR_SPREAD or found.variance < NO_SPREAD:
        return _bound(found.mean, found.effective, confidence)
    # Clusters that look more alike than chance makes them are taken for as many independent zeros and ones as
    # there are examples, as Korn and Graubard truncate: else a rare bad cluster that is missing is forgotten.
    variance = max(found.variance, found.mean * (1 - found.mean) / sample.size)
    low, high = of_variance(found.mean, variance, found.freedom, confidence)
    return Interval(low, high, "wilson-clustered")


def _wilson(sample: NDArray[np.float64], confidence: float) -> Interval:
    return Interval(*_limits(float(sample.mean()), sample.size, _normal(confidence)), "wilson")


def _bound(mean: float, examples: float, confidence: float) -> Interval:
    return Interval(*_limits(mean, examples, _normal(confidence)), "wilson-bound")


def _normal(confidence: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2))


def _limits(mean: float, examples: float, quantile: float) -> tuple[float, float]:
    """Wilson's formula; unlike in scipy, the numbers of examples and of right answers need not be whole."""
    share = quantile**2 / examples
    centre = (mean + share / 2) / (1 + share)
    half = quantile / (1 + share) * (mean * (1 - mean) / examples + share / (4 * examples)) ** 0.5
    # The mean of equal numbers can differ from them in the last bit, and so can the limits from 0 and 1.
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def _bootstrap(sample: NDArray[np.float64], confidence: float, seed: int) -> Interval:
    import warnings

    from scipy.stats import DegenerateDataWarning, bootstrap

    def limits(method: str) -> tuple[float, float]:
        found = bootstrap(
            (sample,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=max(1, _NUMBERS_AT_ONCE // sample.size),
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
        # The mean of equal numbers can differ from them in the last bit.
        return max(0.0, float(found.low)), min(1.0, float(found.high))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # the percentiles answer then
        low, high = limits("BCa")
    if np.isfinite([low, high]).all():
        return Interval(low, high, "bootstrap-bca")
    return Interval(*limits("percentile"), "bootstrap-percentile")
