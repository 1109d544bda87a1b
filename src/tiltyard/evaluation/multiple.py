"""Compares several arms with a declared reference, which takes more certainty than comparing one.

>>> comparisons({"none": before, "ace": after, "bootstrap": other}, reference="none")
{'ace': Compared(difference=…, p_adjusted=0.008, reference='none'), 'bootstrap': Compared(…)}
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from tiltyard.evaluation.paired import Difference, check_paired, compare, holm


@dataclass(frozen=True)
class Compared:
    """One of several comparisons that are read together."""

    difference: Difference
    p_adjusted: float
    """The difference's p value, adjusted by Holm's method for all comparisons made together."""
    reference: str
    """The arm that it was compared with."""


def comparisons(
    arms: Mapping[str, Mapping[str, float]],
    reference: str,
    *,
    clusters: Mapping[str, Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Compared]:
    """Compare every arm with a declared reference, and adjust the p values for how many arms there are.

    Where a report has several tables of comparisons, adjust all its p values together by
    :func:`tiltyard.evaluation.paired.holm`.

    Args:
        arms: Each arm's score of each example, in [0, 1], by sample id.
        reference: The arm that the others are compared with.
        clusters: As for :func:`compare`.
        confidence: As for :func:`compare`.
        seed: As for :func:`compare`.

    Returns:
        The comparisons by arm, in the order given, without the reference.

    Raises:
        UnpairedError: An arm is not about the reference's examples; it says which arm and which examples.
        ValueError: The reference is none of the arms, or a score cannot be compared.
    """
    if reference not in arms:
        raise ValueError(f"the reference {reference!r} is none of the arms: {', '.join(arms)}")
    others = [arm for arm in arms if arm != reference]
    for arm in others:
        check_paired(arms[arm], arms[reference], arm, reference)
    found = [
        compare(arms[arm], arms[reference], clusters=clusters, confidence=confidence, seed=seed)
        for arm in others
    ]
    adjusted = holm([difference.p for difference in found])
    return {
        arm: Compared(difference, p, reference)
        for arm, difference, p in zip(others, found, adjusted, strict=True)
    }
