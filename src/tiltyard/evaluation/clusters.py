"""Which examples share a context, and how much less such examples say than independent ones.

>>> labels = contexts(read_rows(Path("predictions.csv")))     # sample id -> its cluster
>>> clustered_mean(np.array([1, 1, 1, 0, 0, 1.0]), ["a", "a", "a", "b", "b", "c"])
ClusteredMean(mean=0.667, variance=0.15, freedom=1.67, effective=2.57, clusters=3)
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


def contexts(rows: "pd.DataFrame") -> dict[str, Hashable]:
    """The cluster of each example: its context, such as the table that a question is about.

    An example without a context is a cluster of its own. Where rows of several runs give an example several
    contexts, the first counts.

    Args:
        rows: Rows with the columns ``sample_id`` and ``context``.

    Returns:
        A label by sample id; examples with equal labels share a context.
    """
    first = rows.drop_duplicates("sample_id")
    pairs = zip(first["sample_id"].astype(str), first["context"].fillna("").astype(str), strict=True)
    return {sample: label(sample, context) for sample, context in pairs}


def label(sample: str, context: str) -> Hashable:
    """The label of an example's cluster: its context, or itself where it has none."""
    return ("context", context) if context else ("sample", sample)


def labels_of(samples: Iterable[str], clusters: Mapping[str, Hashable]) -> list[Hashable]:
    """The cluster of each sample, in order; a sample that ``clusters`` does not have is one of its own."""
    return [clusters.get(sample, label(sample, "")) for sample in samples]


def are_grouped(labels: Sequence[Hashable]) -> bool:
    """Whether the labels make clusters that matter: several, at least one of which has several examples.

    Examples that all share one context are no sample of contexts. They are treated as independent, and what
    is inferred of them is about that context.
    """
    return 1 < len(set(labels)) < len(labels)


def positions(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    """The labels as numbers from 0, in the order in which they first occur."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(one, len(numbers)) for one in labels], dtype=np.int64)


@dataclass(frozen=True)
class ClusteredMean:
    """The mean of all examples, and how sure it is where examples of a cluster resemble each other."""

    mean: float
    variance: float
    """Of the mean: the cluster-robust estimate CR2."""
    freedom: float
    """Degrees of freedom of the variance, at least 1 and fewer than there are clusters."""
    effective: float
    """How many independent examples tell as much if those of a cluster are all alike: between 1 and the
    number of clusters, which it is where these are of equal size."""
    clusters: int


def clustered_mean(values: NDArray[np.float64], labels: Sequence[Hashable]) -> ClusteredMean:
    """The mean of values with its variance between clusters.

    The variance is the bias-reduced cluster-robust one (CR2) with the degrees of freedom of Bell and
    McCaffrey (2002, "Bias reduction in standard errors for linear regression with multi-stage samples"),
    which Imbens and Kolesár (2016) recommend for few clusters or clusters of unequal sizes. For a mean both
    have closed forms. Clusters of one give the textbook's variance of a mean and n - 1.

    Args:
        values: One per example.
        labels: The cluster of each, at least two different ones.
    """
    number = positions(labels)
    sizes = np.bincount(number).astype(float)
    mean = float(values.mean())
    weights = sizes / values.size
    sums = np.bincount(number, weights=values - mean) / values.size
    squared = weights**2 / (1 - weights)
    freedom = 1 / ((weights**2).sum() + squared.sum() ** 2 - (squared**2).sum())
    return ClusteredMean(
        mean=mean,
        variance=float((sums**2 / (1 - weights)).sum()),
        freedom=float(freedom),
        effective=float(1 / (weights**2).sum()),
        clusters=sizes.size,
    )
