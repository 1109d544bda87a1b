"""A sweep: every combination is checked before the first one starts; then all run, and a table says how.

Each job is a tracked run below the sweep's own run. A job that fails does not stop the others, and one that
has finished in an earlier run is taken from there.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from tiltyard.config import instantiate
from tiltyard.errors import InputError, JobError, TiltyardError
from tiltyard.files import write_text
from tiltyard.launching.assignment import assign
from tiltyard.launching.composing import Composer
from tiltyard.launching.dry_run import headline
from tiltyard.launching.identity import SweepIdentity
from tiltyard.launching.job import end_on_sigterm, store_flags
from tiltyard.launching.outlook import NEEDED, Fate, Outlook, outlooks
from tiltyard.launching.plan import PlannedJob, plan_jobs, write_plan
from tiltyard.launching.watching import watching
from tiltyard.launching.workforce import Workforce
from tiltyard.redaction import one_line
from tiltyard.result import RESULT_FILE, ExperimentResult, run_name
from tiltyard.telemetry import activity
from tiltyard.telemetry.activity import recording_activity
from tiltyard.tracking.tags import DESCRIPTION, KIND

if TYPE_CHECKING:
    from tiltyard.tracking.recorder import Run

logger = logging.getLogger(__name__)

ONE_BY_ONE = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""Hydra's launcher that runs jobs in this process, one after the other."""


def run_sweep(
    arguments: list[str], *, master: DictConfig, context: HydraContext, launcher: Launcher | Workforce
) -> None:
    """Plan, launch and sum up a sweep; with ``plan=true``, print the plan only.

    Args:
        arguments: Hydra overrides; those with several values span the combinations.
        master: The sweep's own composed config.
        context: What Hydra gave to the sweeper.
        launcher: Who runs the jobs: a workforce, or one of Hydra's own launchers, which composes them again.

    Raises:
        InputError: A combination is wrong; no job has been started.
        JobError: At least one job failed; the others have run.
    """
    end_on_sigterm()
    pins: dict[str, str] = {}
    composer = Composer(context.config_loader)
    jobs = plan_jobs(arguments, master, composer, pins)
    if isinstance(launcher, Launcher) and any(job.experiment.timeout is not None for job in jobs):
        raise InputError("this launcher cannot end jobs that hang", "leave out timeout, or hydra/launcher")
    if not jobs[0].experiment.plan:  # which changes nothing
        _end_dead_runs(jobs[0])
    expected = outlooks(jobs)
    if jobs[0].experiment.plan:
        from tiltyard.launching.dry_run import print_plan

        print_plan(jobs, expected)
        return

    folder = Path(str(master.hydra.sweep.dir)).absolute()
    for job in jobs:  # what an earlier sweep left in this folder is not this one's
        (job.folder / RESULT_FILE).unlink(missing_ok=True)
        (job.folder / activity.FILE).unlink(missing_ok=True)
    expected = [settle(job, outlook) for job, outlook in zip(jobs, expected, strict=True)]
    write_text(folder / "multirun.yaml", OmegaConf.to_yaml(master))
    plan = write_plan(jobs, expected, folder)
    waiting = [job for job, outlook in zip(jobs, expected, strict=True) if outlook.fate is Fate.RUN]
    if len(waiting) < len(jobs):
        kept = sum(1 for outlook in expected if outlook.kept is not None)
        logger.info(
            "%d of %d jobs are to run; %d finished before and are kept", len(waiting), len(jobs), kept
        )

    tracking = instantiate(jobs[0].experiment.tracking)
    tags = {KIND: "sweep", "tiltyard.sweep": folder.name, DESCRIPTION: f"Planned: {headline(expected)}."}
    with tracking.start(f"sweep/{folder.name}", tags=tags, params={"jobs": len(jobs)}) as tracked:
        SweepIdentity(folder.name, tracked.run_id, pins).save(folder)
        tracked.log_file(plan)
        try:
            if not isinstance(launcher, Launcher):
                _work(launcher, waiting, composer, master, folder)
            else:
                for batch in _batches(jobs, waiting, master):
                    use(launcher, composer, master).launch(
                        [job.overrides for job in batch], initial_job_idx=batch[0].number
                    )
        except TiltyardError:
            raise
        except Exception as error:
            raise JobError(f"the launcher failed: {one_line(error)}", f"files are in {folder}") from error
        finally:
            failed = _sum_up(jobs, folder, tracked)
        if failed:
            raise JobError(
                f"{failed} of {len(jobs)} jobs failed", f"the table says why; their files are in {folder}"
            )


def _end_dead_runs(job: PlannedJob) -> None:
    from tiltyard.tracking.dead_runs import end_dead_runs

    end_dead_runs(instantiate(job.experiment.tracking))


def settle(job: PlannedJob, outlook: Outlook) -> Outlook:
    """Put what is known of a job that does not run into its folder, where table and job find it.

    Returns:
        The outlook; another one where the earlier run's files cannot be had.
    """
    if outlook.fate is Fate.LEAVE_OUT:
        result = ExperimentResult.failed(job.experiment, job.folder, "")
        _own(result, job, left_out=outlook.reason).save()
    elif outlook.kept is not None:
        try:
            for name in NEEDED:
                outlook.kept.copy(name, into=job.folder)
            found = ExperimentResult.load(job.folder)
        except (TiltyardError, OSError, ValueError, KeyError, TypeError) as error:
            (job.folder / RESULT_FILE).unlink(missing_ok=True)
            reason = f"run {outlook.kept.run_id} cannot be read: {one_line(error)}"
            logger.warning("Job %d runs again: %s", job.number, reason)
            return Outlook(Fate.RUN, reason)
        _own(found, job, run_id=outlook.kept.run_id, kept_from=outlook.kept.run_id).save()
    return outlook


def _own(result: ExperimentResult, job: PlannedJob, **changes: Any) -> ExperimentResult:
    """A result under the name and labels that it has in this sweep."""
    return replace(
        result,
        name=run_name(job.experiment),
        labels=job.experiment.labels,
        folder=job.folder,
        fingerprint=job.fingerprint,
        overrides=tuple(job.overrides),
        **changes,
    )


def _work(
    workforce: Workforce,
    waiting: Sequence[PlannedJob],
    composer: Composer,
    master: DictConfig,
    folder: Path,
) -> None:
    """Let a workforce run the jobs, and write down what becomes of those that cannot do it themselves."""
    if not waiting:
        return
    of_number = {job.number: job for job in waiting}
    with recording_activity(folder), watching(folder) as tell:

        def ended(number: int, reason: str) -> None:
            if reason:
                try:
                    write_off(of_number[number], reason)
                except OSError as error:  # a full disk; the others may still end well
                    logger.error("Job %d: %s (%s)", number, reason, error)  # noqa: TRY400 - one line says all
            tell(number)

        workforce.work([assign(job, composer, master) for job in waiting], ended)


def write_off(job: PlannedJob, reason: str) -> None:
    """Let the run of a job that was broken off end, and leave the reason in the job's folder.

    A process that dies when its run has ended well has done its work.
    """
    doing = activity.read_activity(job.folder)
    run_id = None if doing is None else doing.run_id
    ended_well = run_id is not None and _end_run(job, run_id, reason) == "FINISHED"
    try:
        found = ExperimentResult.load(job.folder)
    except (OSError, ValueError):
        found = ExperimentResult.failed(job.experiment, job.folder, reason)
        if doing is not None:
            found = replace(found, seconds=time.time() - doing.started)
    if not (ended_well and not found.error):
        replace(found, error=found.error or reason, overrides=tuple(job.overrides)).save()


def _end_run(job: PlannedJob, run_id: str, reason: str) -> str:
    """End a run that is still RUNNING; returns its status, or nothing where the store cannot tell."""
    from tiltyard.tracking.dead_runs import end_run

    try:
        return end_run(instantiate(job.experiment.tracking), run_id, "KILLED", reason)
    except TiltyardError as error:  # the next start does it
        logger.warning("Job %d leaves its run RUNNING: %s", job.number, error)
        return ""


def _batches(
    jobs: Sequence[PlannedJob], waiting: Sequence[PlannedJob], master: DictConfig
) -> Iterator[list[PlannedJob]]:
    """What is launched together. A launcher numbers jobs on from the first, and the number is in the config.

    So jobs that run one by one go in rows of consecutive numbers. A launcher that runs several at a time gets
    all of them, and those that need not run end at once.
    """
    if waiting and master.hydra.launcher.get("_target_") != ONE_BY_ONE:
        yield list(jobs)
        return
    batch: list[PlannedJob] = []
    for job in waiting:
        if batch and job.number != batch[-1].number + 1:
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def use(launcher: Any, composer: Composer, master: DictConfig) -> Launcher:
    """Let a launcher in this process take the configs that were checked; others compose them again."""
    if master.hydra.launcher.get("_target_") == ONE_BY_ONE:
        launcher.hydra_context = replace(launcher.hydra_context, config_loader=composer)
    chosen: Launcher = launcher
    return chosen


def _sum_up(jobs: Sequence[PlannedJob], folder: Path, tracked: "Run") -> int:
    """Show and keep what the jobs found; returns how many failed."""
    from tiltyard.reporting.against_baseline import against_baseline
    from tiltyard.reporting.description import describe_sweep
    from tiltyard.reporting.sweep_summary import write_sweep_summary
    from tiltyard.reporting.terminal import print_sweep

    results = [result_of(job) for job in jobs]
    failed = sum(1 for result in results if result.error)
    compared = against_baseline(results)
    written = write_sweep_summary(results, folder, compared)
    print_sweep(results, folder, compared, store=store_flags(jobs[0].experiment))
    for file in written:
        tracked.log_file(file)
    tracked.set_tags({DESCRIPTION: describe_sweep(results, compared)})
    kept = sum(1 for result in results if result.kept_from)
    tracked.log_metrics({"jobs": len(results), "jobs.failed": failed, "jobs.kept": kept})
    return failed


def result_of(job: PlannedJob) -> ExperimentResult:
    """What a job found; where it left nothing, that it was interrupted or not started."""
    try:
        return ExperimentResult.load(job.folder)
    except (OSError, ValueError):
        reason = "interrupted" if job.folder.exists() else "not started"
        failed = ExperimentResult.failed(job.experiment, job.folder, reason)
        return replace(failed, overrides=tuple(job.overrides))
