"""What the optimizer changed: each job of a sweep against the job that is the same without an optimizer.

>>> against_baseline(results)  # of -m optimizer=none,bootstrap
{1: Against(difference=Difference(mean=0.254, low=0.201, high=0.313, p=8.7e-19, …), p_adjusted=8.7e-19)}
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tiltyard.evaluation.clusters import contexts
from tiltyard.evaluation.paired import Difference, UnpairedError, check_paired, compare, holm
from tiltyard.evaluation.rows import read_rows, rows_of_the_score
from tiltyard.reporting import numbers
from tiltyard.reporting.significance import TESTS
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import ROWS

HEADING = "vs none"
"""What tables call the column: the score less that of ``optimizer=none``."""


@dataclass(frozen=True)
class Against:
    """How a job's score differs from its baseline's."""

    difference: Difference
    p_adjusted: float
    """The difference's p value, adjusted by Holm's method for all comparisons of the sweep."""
    remark: str = ""
    """What difference so many examples could have shown; empty where the two were told apart."""


def against_baseline(results: Sequence[ExperimentResult]) -> dict[int, Against]:
    """Compare each job with the one that differs from it in having no optimizer, example by example.

    Jobs belong together that have the same task, model, simulation and seed, and the same overrides but for
    those of the optimizer. The rows come from each job's ``predictions.csv``; those with the same context
    form a cluster.

    Args:
        results: One per job, in the order of the jobs.

    Returns:
        The comparisons by the job's position. Left out are the baselines, jobs without one, and those that
        failed, whose baseline failed, or whose rows cannot be read or are of other examples.
    """
    from tiltyard.evaluation.power import Detectable, detectable

    found: dict[int, Difference] = {}
    could: dict[int, Detectable] = {}
    for group in _groups(results):
        before, clusters = ({}, {}) if group.baseline is None else _scores(results[group.baseline])
        for position in group.adapted if before else []:
            with suppress(ValueError):  # its rows are missing or of other examples
                after = _scores(results[position])[0]
                found[position] = compare(after, before, clusters=clusters)
                could[position] = detectable(after, before, clusters=clusters)
    adjusted = holm([difference.p for difference in found.values()])
    return {
        position: Against(difference, p, could[position].remark(p))
        for (position, difference), p in zip(found.items(), adjusted, strict=True)
    }


def not_compared(results: Sequence[ExperimentResult], compared: Collection[int]) -> list[str]:
    """Why jobs are not compared that a sweep has a baseline for, one sentence each, without a full stop.

    Args:
        results: One per job, in the order of the jobs.
        compared: The positions of those that are.
    """
    notes = []
    for group in _groups(results):
        lacking = [position for position in group.adapted if position not in compared]
        if not lacking:
            continue
        labels = results[lacking[0]].labels
        beginning = f"no comparison for {labels.model} on {labels.task}"
        if group.baseline is not None:
            reasons = _unpaired(results, lacking, group.baseline)
        else:
            reasons = [f"job {position} (optimizer=none) failed" for position in group.failed[:1]]
        notes += [f"{beginning}: {reason}" for reason in reasons]
    return notes


def _unpaired(results: Sequence[ExperimentResult], adapted: Sequence[int], baseline: int) -> list[str]:
    """Why the rows of these jobs were not paired with those of their baseline."""
    none = f"job {baseline} (optimizer=none)"
    if not _scores(results[baseline])[0]:
        return [f"the rows of {none} cannot be read"]
    return [_why_unpaired(results, position, baseline) for position in adapted]


def _why_unpaired(results: Sequence[ExperimentResult], position: int, baseline: int) -> str:
    """Why the rows of one job were not paired; the comparison says how its examples differ."""
    after, before = _scores(results[position])[0], _scores(results[baseline])[0]
    if not after:
        return f"the rows of job {position} cannot be read"
    none = f"job {baseline} (optimizer=none)"
    try:
        check_paired(after, before, f"job {position}", none)
    except UnpairedError as error:
        return str(error)
    return f"the scores of job {position} or of {none} are no numbers in [0, 1]"


@dataclass
class _Group:
    """The positions of jobs that differ in nothing but the optimizer."""

    baseline: int | None = None
    """The first baseline that did not fail."""
    failed: list[int] = field(default_factory=list)
    """Baselines that failed."""
    adapted: list[int] = field(default_factory=list)
    """Jobs with an optimizer that did not fail."""

    def add(self, position: int, result: ExperimentResult) -> None:
        if result.left_out:
            return
        if result.labels.mode != "baseline":
            self.adapted += [] if result.error else [position]
        elif result.error:
            self.failed.append(position)
        elif self.baseline is None:
            self.baseline = position


def _groups(results: Sequence[ExperimentResult]) -> Iterable[_Group]:
    groups: defaultdict[Hashable, _Group] = defaultdict(_Group)
    for position, result in enumerate(results):
        labels = result.labels
        overrides = frozenset(o for o in result.overrides if not _is_of_the_optimizer(o))
        groups[labels.task, labels.model, labels.simulation, result.seed, overrides].add(position, result)
    return groups.values()


def _is_of_the_optimizer(override: str) -> bool:
    key = override.partition("=")[0].lstrip("+~").rpartition("@")[2]  # +model@optimizer.reflector=NAME
    return key in ("optimizer", "labels.optimizer") or key.startswith("optimizer.")


def _scores(result: ExperimentResult) -> tuple[dict[str, float], dict[str, Hashable]]:
    """The job's score of each example, and the cluster of each; empty where its rows cannot be read."""
    try:
        rows = rows_of_the_score(read_rows(result.folder / ROWS), result.metrics)
        of_samples = rows.groupby("sample_id")["score"].mean()
        clusters = contexts(rows)
    except (OSError, ValueError, KeyError):  # a report on the other jobs is worth more than none
        return {}, {}
    return {str(sample): float(score) for sample, score in of_samples.items()}, clusters


def shown(against: Against | None) -> str:
    """The difference for reading: ``+0.254 [+0.20, +0.31] p<0.001``; empty where there is none."""
    if against is None:
        return ""
    difference = against.difference
    limits = f"[{numbers.signed(difference.low, 2)}, {numbers.signed(difference.high, 2)}]"
    return f"{numbers.signed(difference.mean)} {limits} {numbers.p_value(against.p_adjusted)}"


def remarks(compared: Mapping[int, Against], most: int | None = None) -> list[str]:
    """What the examples of jobs could have shown that were not told apart from their baselines.

    One sentence each, without a full stop; jobs of which the same is true share one.

    Args:
        compared: The comparisons by the job's position.
        most: How many sentences; a further one then says where the others are. None for all.
    """
    of_remark: defaultdict[str, list[int]] = defaultdict(list)
    for position, against in compared.items():
        if against.remark:
            of_remark[against.remark].append(position)
    said = [
        f"job{'s' if len(positions) > 1 else ''} {', '.join(map(str, positions))}: {remark}"
        for remark, positions in of_remark.items()
    ]
    if most is None or len(said) <= most:
        return said
    return [*said[:most], "summary.md says what the examples of the other jobs could show"]


def explained(compared: Mapping[int, Against]) -> str:
    """What stands below a table that has the column: how its figures were found."""
    tests = dict.fromkeys(TESTS[against.difference.test] for against in compared.values())
    adjusted = f", adjusted for {len(compared)} comparisons (Holm)" if len(compared) > 1 else ""
    return (
        f"{HEADING}: difference from optimizer=none on the same examples, with its 95% interval; "
        f"p by {' or '.join(tests)}{adjusted}"
    )
