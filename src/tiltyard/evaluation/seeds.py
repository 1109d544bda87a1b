"""How sure a score is that several seeds got on the same examples.

>>> found = across_seeds({0: {"a": 1, "b": 0, "c": 1}, 1: {"a": 1, "b": 1, "c": 1}})
>>> found.mean, found.sd, found.seeds
(0.833, 0.236, 2)
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltyard.evaluation.clusters import are_grouped, clustered_mean, labels_of
from tiltyard.evaluation.paired import check_paired
from tiltyard.evaluation.statistics import NO_SPREAD, interval, of_variance


@dataclass(frozen=True)
class AcrossSeeds:
    """The score of one arm over its seeds."""

    mean: float
    """The mean score over seeds and examples, in [0, 1]."""
    sd: float | None
    """The standard deviation of the seeds' mean scores; None for one seed, which says nothing of it."""
    low: float
    """Lower limit of the interval for other seeds and other examples, in [0, 1]."""
    high: float
    """Upper limit of that interval, in [0, 1]."""
    low_same_examples: float | None
    """Lower limit of the interval for other seeds on these very examples, in [0, 1]; None for one seed."""
    high_same_examples: float | None
    """Upper limit of that interval, in [0, 1]; None for one seed."""
    seeds: int
    examples: int
    by_seed: Mapping[Any, float]
    """Each seed's mean score."""
    by_example: Mapping[str, float]
    """Each example's mean score over the seeds, by sample id: what a comparison of arms is made of."""


def across_seeds(
    scores: Mapping[Any, Mapping[str, float]],
    *,
    clusters: Mapping[str, Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> AcrossSeeds:
    """Sum up one arm over the seeds that it ran with.

    There are two intervals, of different things:

    * ``low`` to ``high`` is for the mean score over all seeds and all examples of the kind. The variance of
      the mean is estimated both ways, between seeds and between examples (or clusters), less what both
      contain (crossed random effects; Cameron, Gelbach and Miller, 2011), with the degrees of freedom of
      Satterthwaite (1946) and Wilson's formula. Three seeds that differ a lot give it few of these, and so a
      wide interval. For one seed, or seeds that never differ, it is
      :func:`tiltyard.evaluation.statistics.interval` over the examples, and of this seed alone.
    * ``low_same_examples`` to ``high_same_examples`` is Student's interval over the seeds' means: how far
      other seeds could move the score of these examples. Other examples are not in it.

    Args:
        scores: For each seed, the score of each example, in [0, 1], by sample id.
        clusters: The cluster of each example, as for :func:`tiltyard.evaluation.paired.compare`.
        confidence: The probability that an interval holds what it is for.
        seed: Seeds a bootstrap where the interval over examples is one.

    Raises:
        UnpairedError: The seeds are not about the same examples; it says which.
        ValueError: There is no seed or no example, or a score is outside [0, 1] or not a number.
    """
    if not scores:
        raise ValueError("a score over seeds needs at least one seed")
    first, *others = scores
    for other in others:
        check_paired(scores[first], scores[other], f"seed {first}", f"seed {other}")
    samples = list(scores[first])
    table = np.array([[of_seed[sample] for sample in samples] for of_seed in scores.values()], dtype=float)
    if not np.all((table >= 0) & (table <= 1)):
        raise ValueError("scores must be numbers in [0, 1]")
    labels = None if clusters is None else labels_of(samples, clusters)
    of_examples = table.mean(axis=0)
    limits = interval(of_examples.tolist(), clusters=labels, confidence=confidence, seed=seed)
    low, high = limits.low, limits.high
    of_seeds = table.mean(axis=1)
    mean = float(of_seeds.mean())
    sd = low_same = high_same = None
    if others:
        from scipy.special import stdtrit

        sd = float(of_seeds.std(ddof=1))
        half = float(stdtrit(len(others), (1 + confidence) / 2)) * sd / len(scores) ** 0.5
        low_same, high_same = max(0.0, mean - half), min(1.0, mean + half)
        of_units = labels if labels is not None and are_grouped(labels) else range(len(samples))
        if sd**2 > NO_SPREAD and len(samples) > 1:
            bounded = limits.method == "wilson-bound"
            low, high = of_variance(mean, *_crossed(table, of_units, bounded=bounded), confidence)
    return AcrossSeeds(
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        low_same_examples=low_same,
        high_same_examples=high_same,
        seeds=len(scores),
        examples=len(samples),
        by_seed=dict(zip(scores, of_seeds.tolist(), strict=True)),
        by_example=dict(zip(samples, of_examples.tolist(), strict=True)),
    )


def _crossed(table: NDArray[np.float64], labels: Sequence[Hashable], *, bounded: bool) -> tuple[float, float]:
    """The variance of the mean of a table of seeds by examples, and its degrees of freedom.

    Args:
        table: A row per seed, a column per example.
        labels: The cluster of each example.
        bounded: Whether the variance between examples is too little known, and the largest possible is taken.
    """
    seeds = len(table)
    between_seeds = float(table.mean(axis=1).var(ddof=1)) / seeds
    units = clustered_mean(table.mean(axis=0), labels)
    if bounded:
        variance = units.mean * (1 - units.mean) / units.effective + between_seeds
        return variance, variance**2 / between_seeds**2 * (seeds - 1)
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    both = sum(clustered_mean(row, labels).variance for row in rest) / (seeds * (seeds - 1))
    # The estimates vary: the mean is no surer than it is for these seeds, or for these examples, alone.
    variance = max(units.variance + between_seeds - both, units.variance, between_seeds)
    parts = units.variance**2 / units.freedom + between_seeds**2 / (seeds - 1)
    return variance, variance**2 / parts
