"""A sweep: every combination is checked before the first one starts; then all run, and a table says how.

Each job is a tracked run below the sweep's own run. A job that fails does not stop the others.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from tiltyard.config import ExperimentConfig, instantiate, resolve
from tiltyard.errors import InputError, JobError
from tiltyard.launching.identity import SweepIdentity
from tiltyard.result import ExperimentResult

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
    jobs = _plan(arguments, master, loader)
    folder = Path(str(master.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(master, folder / "multirun.yaml")

    tracking = instantiate(jobs[0].experiment.tracking)
    tags = {"tiltyard.kind": "sweep", "tiltyard.sweep": folder.name}
    with tracking.start(f"sweep/{folder.name}", tags=tags, params={"jobs": len(jobs)}) as tracked:
        SweepIdentity(folder.name, tracked.run_id).save(folder)
        try:
            launch([job.overrides for job in jobs], initial_job_idx=0)
        finally:
            failed = _sum_up([_result_of(job) for job in jobs], folder, tracked)
        if failed:
            raise JobError(
                f"{failed} of {len(jobs)} jobs failed", f"the table says why; their files are in {folder}"
            )


def _sum_up(results: Sequence[ExperimentResult], folder: Path, tracked: "Run") -> int:
    """Show and keep what the jobs found; returns how many failed."""
    from tiltyard.reporting.sweep_summary import write_sweep_summary
    from tiltyard.reporting.terminal import print_sweep

    failed = sum(1 for result in results if result.error)
    print_sweep(results, folder)
    for file in write_sweep_summary(results, folder):
        tracked.log_file(file)
    tracked.log_metrics({"jobs": len(results), "jobs.failed": failed})
    return failed


def _plan(arguments: list[str], master: DictConfig, loader: ConfigLoader) -> list[PlannedJob]:
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    for override in overrides:
        if override.is_sweep_override() and override.get_key_element().startswith("hydra"):
            raise InputError(
                f"'{override.get_key_element()}' cannot be swept over",
                "a sweep has one launcher and one set of Hydra settings; start one sweep for each",
            )
    return [
        _plan_job(number, list(combination), master, loader)
        for number, combination in enumerate(_combinations(overrides))
    ]


def _combinations(overrides: list[Override]) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    try:
        [combinations] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    except HydraException as error:
        raise InputError(str(error), "list the values, as in seed=0,1,2 or seed=range(3)") from error
    return combinations


def _plan_job(number: int, overrides: list[str], master: DictConfig, loader: ConfigLoader) -> PlannedJob:
    cfg = loader.load_sweep_config(master, overrides)
    with open_dict(cfg):
        cfg.hydra.job.id = str(number)
        cfg.hydra.job.num = number
    HydraConfig.instance().set_config(cfg)
    try:
        experiment = resolve(cfg)
    except InputError as error:
        raise InputError(f"job {number} ({' '.join(overrides)}): {error.what}", error.remedy) from error
    folder = Path(str(master.hydra.sweep.dir)).absolute() / str(cfg.hydra.sweep.subdir)
    return PlannedJob(number, overrides, experiment, folder)


def _result_of(job: PlannedJob) -> ExperimentResult:
    try:
        return ExperimentResult.load(job.folder)
    except (OSError, ValueError):
        reason = "interrupted" if job.folder.exists() else "not started"
        return ExperimentResult.failed(job.experiment, job.folder, reason)
