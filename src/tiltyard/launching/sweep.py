"""A sweep: every combination is checked before the first one starts; then all run, and a table says how.

Each job is a tracked run below the sweep's own run. A job that fails does not stop the others.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from tiltyard.config import ExperimentConfig, instantiate
from tiltyard.errors import InputError, JobError, TiltyardError
from tiltyard.files import write_text
from tiltyard.launching.checking import resolve_job
from tiltyard.launching.identity import SweepIdentity
from tiltyard.launching.job import store_flags
from tiltyard.redaction import one_line
from tiltyard.result import RESULT_FILE, ExperimentResult

if TYPE_CHECKING:
    from tiltyard.tracking.recorder import Run

logger = logging.getLogger(__name__)

Launch = Callable[..., Sequence[Any]]
"""A Hydra launcher's ``launch(job_overrides, initial_job_idx)``."""


@dataclass(frozen=True)
class PlannedJob:
    """One combination of a sweep."""

    number: int
    overrides: list[str]
    experiment: ExperimentConfig
    folder: Path
    """Where the job will write its files."""


def run_sweep(arguments: list[str], *, master: DictConfig, loader: ConfigLoader, launch: Launch) -> None:
    """Plan, launch and sum up a sweep.

    Args:
        arguments: Hydra overrides; those with several values span the combinations.
        master: The sweep's own composed config.
        loader: Composes a job's config from the sweep's config and the job's overrides.
        launch: Runs the jobs; returns when all have ended.

    Raises:
        InputError: A combination is wrong; no job has been started.
        JobError: At least one job failed; the others have run.
    """
    pins: dict[str, str] = {}
    jobs = _plan(arguments, master, loader, pins)
    folder = Path(str(master.hydra.sweep.dir)).absolute()
    for job in jobs:  # what an earlier sweep left in this folder is not this one's
        (job.folder / RESULT_FILE).unlink(missing_ok=True)
    write_text(folder / "multirun.yaml", OmegaConf.to_yaml(master))

    tracking = instantiate(jobs[0].experiment.tracking)
    tags = {"tiltyard.kind": "sweep", "tiltyard.sweep": folder.name}
    with tracking.start(f"sweep/{folder.name}", tags=tags, params={"jobs": len(jobs)}) as tracked:
        SweepIdentity(folder.name, tracked.run_id, pins).save(folder)
        try:
            launch([job.overrides for job in jobs], initial_job_idx=0)
        except Exception as error:
            raise JobError(f"the launcher failed: {one_line(error)}", f"files are in {folder}") from error
        finally:
            failed = _sum_up(jobs, folder, tracked)
        if failed:
            raise JobError(
                f"{failed} of {len(jobs)} jobs failed", f"the table says why; their files are in {folder}"
            )


def _sum_up(jobs: Sequence[PlannedJob], folder: Path, tracked: "Run") -> int:
    """Show and keep what the jobs found; returns how many failed."""
    from tiltyard.reporting.against_baseline import against_baseline
    from tiltyard.reporting.sweep_summary import write_sweep_summary
    from tiltyard.reporting.terminal import print_sweep

    results = [_result_of(job) for job in jobs]
    failed = sum(1 for result in results if result.error)
    compared = against_baseline(results)
    written = write_sweep_summary(results, folder, compared)
    print_sweep(results, folder, compared, store=store_flags(jobs[0].experiment))
    for file in written:
        tracked.log_file(file)
    tracked.log_metrics({"jobs": len(results), "jobs.failed": failed})
    return failed


def _plan(
    arguments: list[str], master: DictConfig, loader: ConfigLoader, pins: dict[str, str]
) -> list[PlannedJob]:
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    for override in overrides:
        if override.is_sweep_override() and override.get_key_element().startswith("hydra"):
            raise InputError(
                f"'{override.get_key_element()}' cannot be swept over",
                "a sweep has one launcher and one set of Hydra settings; start one sweep for each",
            )
    jobs = [
        _plan_job(number, list(combination), master, loader, pins)
        for number, combination in enumerate(_combinations(overrides))
    ]
    if not jobs:
        raise InputError("the sweep has no combination", "give every key at least one value")
    if len({job.folder for job in jobs}) < len(jobs):
        raise InputError(
            "jobs of the sweep share a folder", "let hydra.sweep.subdir contain ${hydra.job.num}"
        )
    if any(job.experiment.tracking != jobs[0].experiment.tracking for job in jobs):
        raise InputError("'tracking' cannot be swept over", "the runs of a sweep are kept in one store")
    return jobs


def _combinations(overrides: list[Override]) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    try:
        [combinations] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    except HydraException as error:
        raise InputError(str(error), "list the values, as in seed=0,1,2 or seed=range(3)") from error
    return combinations


def _plan_job(
    number: int, overrides: list[str], master: DictConfig, loader: ConfigLoader, pins: dict[str, str]
) -> PlannedJob:
    cfg = loader.load_sweep_config(master, overrides)
    with open_dict(cfg):
        cfg.hydra.job.id = str(number)
        cfg.hydra.job.num = number
    try:
        experiment = resolve_job(cfg, pins)
    except TiltyardError as error:
        raise type(error)(f"job {number} ({' '.join(overrides)}): {error.what}", error.remedy) from error
    folder = Path(str(master.hydra.sweep.dir)).absolute() / str(cfg.hydra.sweep.subdir)
    return PlannedJob(number, overrides, experiment, folder)


def _result_of(job: PlannedJob) -> ExperimentResult:
    try:
        return ExperimentResult.load(job.folder)
    except (OSError, ValueError):
        reason = "interrupted" if job.folder.exists() else "not started"
        failed = ExperimentResult.failed(job.experiment, job.folder, reason)
        return replace(failed, overrides=tuple(job.overrides))
