"""What becomes of a sweep's jobs, by what the tracking store knows of earlier runs.

A combination that has a finished run with its fingerprint is kept from there. With ``retry=failed`` only
those run whose last run failed or was killed.

>>> outlooks([Wanted(experiment, fingerprint)], tracking)[0]
Outlook(fate=<Fate.KEEP: 'keep'>, reason='finished before', kept=TrackedRun(…), seconds=None)
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from tiltyard.config import OUTSIDE_FINGERPRINT, ExperimentConfig, instantiate
from tiltyard.errors import JobError

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun

NEEDED = ("predictions.csv", "result.json")
"""What a kept run must still have: its rows, and what it found."""
MEASURING = ("evaluation", "cache")
"""Top-level keys outside the fingerprint that say how a run is measured."""
AT_ONCE = 8
"""Runs whose files are looked up at the same time."""
FAILED = ("FAILED", "KILLED")


class Fate(Enum):
    """What becomes of a job."""

    RUN = "run"
    KEEP = "keep"
    """It has finished before: it appears in the table from there."""
    LEAVE_OUT = "leave out"
    """It neither finished nor failed, and only failures are asked for."""


@dataclass(frozen=True)
class Outlook:
    """What becomes of a job, and why."""

    fate: Fate
    reason: str
    kept: "TrackedRun | None" = None
    """The run that it is kept from."""
    seconds: float | None = None
    """How long it will take, as far as earlier runs tell; None where they do not, or nothing runs."""


class Planned(Protocol):
    """What is to be known of a job."""

    @property
    def experiment(self) -> ExperimentConfig:
        """Its config."""
        ...

    @property
    def fingerprint(self) -> str:
        """Its fingerprint, or nothing."""
        ...


def outlooks(jobs: Sequence[Planned]) -> list[Outlook]:
    """What becomes of each job of a sweep; reads the store and changes nothing.

    Jobs with one fingerprint are repetitions, so each of them needs a finished run of its own. One that was
    measured with the same settings is preferred, then one that asked the model, then the latest.

    Args:
        jobs: The jobs, at least one; all of them track to one store.

    Raises:
        InputError: The store cannot be used or does not answer.
        JobError: The store failed.
    """
    from tiltyard.launching.estimating import estimate
    from tiltyard.tracking.reader import earlier_runs

    experiment = jobs[0].experiment
    if not (experiment.resume or experiment.retry or experiment.plan):
        return [Outlook(Fate.RUN, "resume=false") for _ in jobs]
    earlier = earlier_runs(instantiate(experiment.tracking))
    of_fingerprint: defaultdict[str, list[TrackedRun]] = defaultdict(list)
    for run in earlier:
        of_fingerprint[run.fingerprint].append(run)
    kept, gone = ({}, set()) if not (experiment.resume or experiment.retry) else _kept(jobs, of_fingerprint)
    found = []
    for number, job in enumerate(jobs):
        before = of_fingerprint[job.fingerprint] if job.fingerprint else []
        fate, reason = _fate(job.experiment, before, kept.get(number), number in gone)
        found.append(
            Outlook(
                fate,
                reason,
                kept[number] if fate is Fate.KEEP else None,
                estimate(job.experiment, earlier) if fate is Fate.RUN else None,
            )
        )
    return found


def _fate(
    experiment: ExperimentConfig, before: "Sequence[TrackedRun]", kept: "TrackedRun | None", gone: bool
) -> tuple[Fate, str]:
    last = before[-1].status if before else ""
    if experiment.retry:
        if last in FAILED:
            return Fate.RUN, f"its last run is {last}"
        if kept is None:
            return Fate.LEAVE_OUT, f"its last run is {last}" if last else "it has not run"
    elif not experiment.resume:
        return Fate.RUN, "resume=false"
    if kept is not None:
        return Fate.KEEP, f"finished as run {kept.run_id}"
    if gone:
        return Fate.RUN, "the rows of its finished run are gone"
    return Fate.RUN, f"its last run is {last}" if last else "it has not run"


def _kept(
    jobs: Sequence[Planned], of_fingerprint: "Mapping[str, Sequence[TrackedRun]]"
) -> "tuple[dict[int, TrackedRun], set[int]]":
    """A finished run for each job that has one, by its position; and those whose run lost its files."""
    finished = {
        job.fingerprint: [run for run in of_fingerprint.get(job.fingerprint, ()) if run.status == "FINISHED"]
        for job in jobs
        if job.fingerprint
    }
    whole = set(_whole([run for runs in finished.values() for run in runs]))
    kept: dict[int, TrackedRun] = {}
    for exactly in (True, False):
        for number, job in enumerate(jobs):
            if number in kept:
                continue
            taken = {run.run_id for run in kept.values()}
            free = [
                run
                for run in finished.get(job.fingerprint, ())
                if run.run_id in whole and run.run_id not in taken and _will_do(run, job.experiment)
            ]
            if exactly:
                free = [run for run in free if _measured_alike(run, job.experiment)]
            if free:
                kept[number] = max(free, key=lambda run: (run.asked_the_model, run.started))
    gone = {
        number
        for number, job in enumerate(jobs)
        if number not in kept and any(run.run_id not in whole for run in finished.get(job.fingerprint, ()))
    }
    return kept, gone


def _whole(runs: "Sequence[TrackedRun]") -> Iterator[str]:
    """The ids of the runs that have their files still."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for run, files in zip(runs, pool.map(_files, runs), strict=True):
            if files.issuperset(NEEDED):
                yield run.run_id


def _files(run: "TrackedRun") -> set[str]:
    try:
        return run.files()
    except JobError:  # an artifact store that lost a run's folder costs a repetition, not the sweep
        return set()


def _will_do(run: "TrackedRun", experiment: ExperimentConfig) -> bool:
    """Whether a run with the same fingerprint measured what is asked for."""
    from tiltyard.evaluation.health import exceeded

    evaluation = experiment.evaluation
    for name in ("each_epoch", "disable_caching"):
        if getattr(evaluation, name) and run.params.get(f"evaluation.{name}") != "True":
            return False
    if not experiment.cache.enabled and run.metrics.get("examples.cached"):
        return False
    return not exceeded(run.metrics, evaluation.fail_on)


def _measured_alike(run: "TrackedRun", experiment: ExperimentConfig) -> bool:
    from tiltyard.tracking.params import flatten

    config = {name: value for name, value in experiment.as_dict().items() if name in _COMPARED}
    wanted = flatten(config)
    return wanted == {name: value for name, value in run.params.items() if name.split(".")[0] in config}


_COMPARED = frozenset(
    {name for name in ExperimentConfig.__dataclass_fields__ if name not in OUTSIDE_FINGERPRINT} | {*MEASURING}
)


def total_seconds(found: Iterable[Outlook]) -> tuple[float, int]:
    """How long the jobs that run take together, one after the other, and how many of them are unknown."""
    running = [outlook for outlook in found if outlook.fate is Fate.RUN]
    known = [outlook.seconds for outlook in running if outlook.seconds is not None]
    return sum(known), len(running) - len(known)
