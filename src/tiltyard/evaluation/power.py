"""How large a difference of two runs must be for their examples to show it: a paired test's power.

>>> found = detectable(after, before)                # scores by sample id, of 40 examples
>>> found.smallest, found.observed, found.needed
(0.187, 0.05, 383)
>>> found.remark(compare(after, before).p)
'40 examples show a difference of 0.187 or more in 80% of cases; to show one of 0.050 takes about 383'
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from tiltyard.evaluation.clusters import are_grouped, clustered_mean, labels_of
from tiltyard.evaluation.paired import paired
from tiltyard.evaluation.statistics import NO_SPREAD

MOST = 10_000_000
"""More examples than this nobody gathers: that many are not said to be needed."""


@dataclass(frozen=True)
class Detectable:
    """What a paired comparison of so many examples can show."""

    smallest: float | None
    """The minimum detectable effect: the smallest true difference of the mean scores, in (0, 1], that the
    test finds with the wanted power. None where no difference can be found, however large."""
    observed: float
    """The difference that was found, in [-1, 1]."""
    examples: int
    clusters: int | None
    """How many clusters the examples form; None where they are independent."""
    needed: int | None
    """About how many examples would show the observed difference with the wanted power, if they were like
    these; None where the observed difference is 0 or they would be too many to count."""
    power: float
    alpha: float
    alike: bool = False
    """Whether all differences are the same, so that they do not tell how much they vary."""

    def remark(self, p: float) -> str:
        """One sentence for a report, without a full stop; empty where the arms were told apart.

        Args:
            p: The comparison's p value, adjusted where there are several.
        """
        if p < self.alpha:
            return ""
        sample = f"{self.examples} examples"
        if self.clusters is not None:
            sample += f" in {self.clusters} contexts"
        if self.alike:
            return f"{sample} differ all alike, which does not tell what difference they could show"
        if self.smallest is None:
            return f"{sample} are too few to show any difference at p<{self.alpha:g}"
        shown = f"{sample} show a difference of {self.smallest:.3f} or more in {self.power:.0%} of cases"
        if self.needed is None or self.needed <= self.examples:
            return shown
        return f"{shown}; to show one of {abs(self.observed):.3f} takes about {self.needed:,}"


def detectable(
    scores: Mapping[str, float],
    baseline: Mapping[str, float],
    *,
    clusters: Mapping[str, Hashable] | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> Detectable:
    """The minimum detectable effect of a comparison, from how much the two runs were seen to disagree.

    For independent scores of 0 and 1 it is that of McNemar's exact test, whose power is summed over the
    numbers of examples that only one of the runs gets right; the share of these is as observed, or as large
    as the difference demands. Otherwise it is that of the paired t test with the observed standard deviation
    of the differences, between clusters where examples share them, which the permutation tests of
    :func:`tiltyard.evaluation.paired.compare` equal in power but for few examples.

    Args:
        scores: The run's score of each example, in [0, 1], by sample id.
        baseline: The scores of the run that it is compared with, on the same examples.
        clusters: The cluster of each example, as for :func:`tiltyard.evaluation.paired.compare`.
        power: The wanted probability to find a difference that is there, in (alpha, 1).
        alpha: The level of the two-sided test, in (0, 1): a p value below it is a finding.

    Raises:
        UnpairedError: The two are not about the same examples.
        ValueError: There is no example, or a score is outside [0, 1] or not a number.
    """
    after, before = paired(scores, baseline)
    differences = after - before
    both = np.concatenate([after, before])
    binary = bool(np.all((both == 0) | (both == 1)))
    labels = None if clusters is None else labels_of(scores, clusters)
    grouped = labels is not None and are_grouped(labels)
    units = len(set(labels)) if labels is not None and grouped else differences.size
    smallest: float | None = None
    needed: int | None = None
    alike = False
    if math.ldexp(2.0, -units) < alpha:  # else even the same sign throughout is no finding
        if binary and not grouped:
            gained, lost = float((differences > 0).mean()), float((differences < 0).mean())
            smallest = _smallest_of_mcnemar(units, gained + lost, power, alpha)
            needed = _needed_of_mcnemar(gained, lost, power, alpha)
        else:
            spread = clustered_mean(differences, labels if labels is not None and grouped else range(units))
            alike = spread.variance <= NO_SPREAD
            if not alike:
                smallest = _smallest_of_t(spread.variance, spread.freedom, power, alpha)
                # How much each of as many independent units varies as the degrees of freedom amount to.
                deviation = (spread.variance * (spread.freedom + 1)) ** 0.5
                of_units = _needed_of_t(abs(spread.mean) / deviation, power, alpha)
                share = differences.size / (spread.freedom + 1)
                needed = math.ceil(of_units * share) if of_units * share <= MOST else None
    return Detectable(
        smallest=smallest,
        observed=float(after.mean() - before.mean()),
        examples=differences.size,
        clusters=units if grouped else None,
        needed=needed,
        power=power,
        alpha=alpha,
        alike=alike,
    )


def mcnemar_power(examples: int, gained: float, lost: float, alpha: float = 0.05) -> float:
    """The power of McNemar's exact test.

    Args:
        examples: How many are compared.
        gained: The probability that only the run gets an example right.
        lost: The probability that only the baseline does; with ``gained`` more than 0.
        alpha: The level of the two-sided test.

    Returns:
        The probability that the test's p value is at most ``alpha``, summed over all outcomes but for tails
        of less than one in a billion.
    """
    from scipy.stats import binom

    differing = min(gained + lost, 1.0)
    least, most = (int(binom.ppf(tail, examples, differing)) for tail in (1e-10, 1 - 1e-10))
    counts = np.arange(least, most + 1)
    # The largest number of the rarer kind that is a finding, -1 where none is.
    rarer = binom.ppf(alpha / 2, counts, 0.5)
    rarer = np.where(binom.cdf(rarer, counts, 0.5) <= alpha / 2, rarer, rarer - 1)
    share = min(gained / differing, 1.0)
    found = binom.cdf(rarer, counts, share) + binom.sf(counts - rarer - 1, counts, share)
    return float((binom.pmf(counts, examples, differing) * found).sum())


def _smallest_of_mcnemar(examples: int, differing: float, power: float, alpha: float) -> float | None:
    from scipy.optimize import brentq

    def lacking(difference: float) -> float:
        of_all = max(differing, difference)
        return mcnemar_power(examples, (of_all + difference) / 2, (of_all - difference) / 2, alpha) - power

    return float(brentq(lacking, 1e-9, 1.0, xtol=1e-6)) if lacking(1.0) > 0 else None


def _needed_of_mcnemar(gained: float, lost: float, power: float, alpha: float) -> int | None:
    if gained == lost:
        return None
    enough = 1
    while mcnemar_power(enough, gained, lost, alpha) < power:
        enough *= 2
        if enough > MOST:
            return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if mcnemar_power(middle, gained, lost, alpha) < power:
            too_few = middle
        else:
            enough = middle
    return enough


def _smallest_of_t(variance: float, freedom: float, power: float, alpha: float) -> float | None:
    from scipy.optimize import brentq
    from statsmodels.stats.power import TTestPower

    test = TTestPower()

    def lacking(difference: float) -> float:
        # The noncentrality is this effect times the root of this number of examples.
        effect = difference / (variance * (freedom + 1)) ** 0.5
        return float(test.power(effect, nobs=freedom + 1, alpha=alpha, df=freedom)) - power

    # From below, step by step: far above, the noncentral distribution is not a number.
    enough = variance**0.5
    while lacking(enough) < 0:
        enough *= 1.25
    if enough > 1.25 or not lacking(enough) >= 0:
        return None
    found = float(brentq(lacking, 0.0, enough, xtol=1e-6))
    return found if found <= 1 else None


def _needed_of_t(effect: float, power: float, alpha: float) -> float:
    """Guenther's formula (1981): the normal distribution's number, and what Student's t adds to it."""
    from scipy.stats import norm

    if effect < 1e-12:
        return math.inf
    level, tail = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    return ((level + tail) / effect) ** 2 + level**2 / 2
