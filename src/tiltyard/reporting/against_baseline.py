"""What the optimizer changed: each job of a sweep against the job that is the same without an optimizer.

>>> against_baseline(results)  # of -m optimizer=none,bootstrap
{1: Against(difference=Difference(mean=0.254, low=0.201, high=0.313, p=8.7e-19, …), p_adjusted=8.7e-19)}
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tiltyard.evaluation.paired import Difference, compare, holm
from tiltyard.evaluation.rows import read_rows
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import ROWS

HEADING = "vs none"
"""What tables call the column: the score less that of ``optimizer=none``."""
TESTS = {"mcnemar": "McNemar's exact test", "sign-flip": "a sign-flip permutation test"}


@dataclass(frozen=True)
class Against:
    """How a job's score differs from its baseline's."""

    difference: Difference
    p_adjusted: float
    """The difference's p value, adjusted by Holm's method for all comparisons of the sweep."""


def against_baseline(results: Sequence[ExperimentResult]) -> dict[int, Against]:
    """Compare each job with the one that differs from it in having no optimizer, example by example.

    Jobs belong together that have the same task, model, simulation and seed, and the same overrides but for
    those of the optimizer. The rows come from each job's ``predictions.csv``.

    Args:
        results: One per job, in the order of the jobs.

    Returns:
        The comparisons by the job's position. Left out are the baselines, jobs without one, and those that
        failed, whose baseline failed, or whose rows cannot be read or are of other examples.
    """
    found: dict[int, Difference] = {}
    for jobs in _groups(results):
        baselines = [position for position in jobs if results[position].labels.mode == "baseline"]
        before = _scores(results[baselines[0]]) if baselines else {}
        for position in jobs:
            if before and position not in baselines:
                with suppress(ValueError):  # its rows are missing or of other examples
                    found[position] = compare(_scores(results[position]), before)
    adjusted = holm([difference.p for difference in found.values()])
    return {
        position: Against(difference, p)
        for (position, difference), p in zip(found.items(), adjusted, strict=True)
    }


def _groups(results: Sequence[ExperimentResult]) -> Iterable[Sequence[int]]:
    """The positions of jobs that did not fail and that differ in nothing but the optimizer."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, result in enumerate(results):
        if not result.error:
            labels = result.labels
            overrides = frozenset(o for o in result.overrides if not _is_of_the_optimizer(o))
            groups[labels.task, labels.model, labels.simulation, result.seed, overrides].append(position)
    return groups.values()


def _is_of_the_optimizer(override: str) -> bool:
    key = override.partition("=")[0].lstrip("+~")
    return key in ("optimizer", "labels.optimizer") or key.startswith("optimizer.")


def _scores(result: ExperimentResult) -> Mapping[str, float]:
    """The job's score of each example; empty where its rows cannot be read."""
    try:
        of_samples = read_rows(result.folder / ROWS).groupby("sample_id")["score"].mean()
    except (OSError, ValueError, KeyError):  # a report on the other jobs is worth more than none
        return {}
    return {str(sample): float(score) for sample, score in of_samples.items()}


def shown(against: Against | None) -> str:
    """The difference for reading: ``+0.254 [+0.20, +0.31] p<0.001``; empty where there is none."""
    if against is None:
        return ""
    difference = against.difference
    limits = f"[{_signed(difference.low, 2)}, {_signed(difference.high, 2)}]"
    p = f"p={against.p_adjusted:.3f}" if against.p_adjusted >= 0.001 else "p<0.001"
    return f"{_signed(difference.mean, 3)} {limits} {p}"


def _signed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"  # adding 0 turns -0.0 into 0.0


def explained(compared: Mapping[int, Against]) -> str:
    """What stands below a table that has the column: how its figures were found."""
    tests = dict.fromkeys(TESTS[against.difference.test] for against in compared.values())
    adjusted = f", adjusted for {len(compared)} comparisons (Holm)" if len(compared) > 1 else ""
    return (
        f"{HEADING}: difference from optimizer=none on the same examples, with its 95% interval; "
        f"p by {' or '.join(tests)}{adjusted}"
    )
