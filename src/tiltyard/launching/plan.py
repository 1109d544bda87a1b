"""The plan of a sweep: every combination, composed and checked, and what becomes of it.

>>> jobs = plan_jobs(["seed=0,1"], master, composer, pins={})
>>> jobs[1].overrides, jobs[1].fingerprint
(['seed=1'], '5f0c…')
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict

from tiltyard.config import ExperimentConfig
from tiltyard.errors import InputError, TiltyardError
from tiltyard.files import write_text
from tiltyard.launching.checking import resolve_job
from tiltyard.launching.outlook import Outlook
from tiltyard.result import run_name

logger = logging.getLogger(__name__)

PLAN_FILE = "plan.json"
SECONDS_BETWEEN_LINES = 5.0
"""How often a log hears of a plan that takes long: a combination takes about 0.06 s."""
SAME_FOR_ALL = {
    "split": "scores on different splits do not compare: give one split, as in split=validation",
    "tracking": "the runs of a sweep are kept in one store",
    "plan": "a sweep is planned or run as a whole",
    "resume": "it decides about the sweep as a whole",
    "retry": "it decides about the sweep as a whole",
}
"""Keys that cannot be swept over, and why."""
SAME_HARDWARE = {"workers": "all jobs share the workers: give one number, as in hardware.workers=4"}
"""Options of the hardware that cannot be swept over, and why."""


@dataclass(frozen=True)
class PlannedJob:
    """One combination of a sweep."""

    number: int
    overrides: list[str]
    experiment: ExperimentConfig
    folder: Path
    """Where the job will write its files."""
    fingerprint: str
    """As far as it is known before the job runs: a Hub model that is not cached counts by its name. Empty
    where a file that counts cannot be read; the job will say so."""


def plan_jobs(
    arguments: list[str], master: DictConfig, loader: ConfigLoader, pins: dict[str, str]
) -> list[PlannedJob]:
    """Compose and check every combination.

    Args:
        arguments: Hydra overrides; those with several values span the combinations.
        master: The sweep's own composed config.
        loader: Composes a job's config from the sweep's config and the job's overrides.
        pins: Takes up the registered versions that the jobs name, by their references.

    Raises:
        InputError: A combination is wrong.
    """
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    for override in overrides:
        if override.is_sweep_override() and override.get_key_element().startswith("hydra"):
            raise InputError(
                f"'{override.get_key_element()}' cannot be swept over",
                "a sweep has one launcher and one set of Hydra settings; start one sweep for each",
            )
    combinations = _combinations(overrides)
    jobs, told = [], time.monotonic()
    for number, combination in enumerate(combinations):
        jobs.append(plan_job(number, list(combination), master, loader, pins))
        if time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            logger.info("%d of %d combinations are checked", len(jobs), len(combinations))
    if not jobs:
        raise InputError("the sweep has no combination", "give every key at least one value")
    if len({job.folder for job in jobs}) < len(jobs):
        raise InputError(
            "jobs of the sweep share a folder", "let hydra.sweep.subdir contain ${hydra.job.num}"
        )
    for key, why in SAME_FOR_ALL.items():
        if any(getattr(job.experiment, key) != getattr(jobs[0].experiment, key) for job in jobs):
            raise InputError(f"'{key}' cannot be swept over", why)
    for option, why in SAME_HARDWARE.items():
        if any(
            job.experiment.hardware.get(option) != jobs[0].experiment.hardware.get(option) for job in jobs
        ):
            raise InputError(f"'hardware.{option}' cannot be swept over", why)
    return jobs


def _combinations(overrides: list[Override]) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    try:
        [combinations] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    except HydraException as error:
        raise InputError(str(error), "list the values, as in seed=0,1,2 or seed=range(3)") from error
    return combinations


def plan_job(
    number: int,
    overrides: list[str],
    master: DictConfig,
    loader: ConfigLoader,
    pins: dict[str, str],
    *,
    called: str = "job",
) -> PlannedJob:
    """Compose and check one combination.

    Args:
        number: Its number.
        overrides: Its overrides, with one value each.
        master: The sweep's own composed config.
        loader: Composes a job's config from the sweep's config and the job's overrides.
        pins: Takes up the registered versions that the job names, by their references.
        called: What an error calls it.

    Raises:
        InputError: The combination is wrong.
    """
    cfg = loader.load_sweep_config(master, overrides)
    with open_dict(cfg):
        cfg.hydra.job.id = str(number)
        cfg.hydra.job.num = number
    if cfg.hydra.launcher.get("_target_") != master.hydra.launcher.get("_target_"):
        raise InputError(
            f"job {number} ({' '.join(overrides)}) has another launcher than the sweep",
            "a sweep has one launcher; start one sweep for each",
        )
    try:
        experiment, fingerprint = resolve_job(cfg, pins)
    except TiltyardError as error:
        raise type(error)(f"{called} {number} ({' '.join(overrides)}): {error.what}", error.remedy) from error
    folder = Path(str(master.hydra.sweep.dir)).absolute() / str(cfg.hydra.sweep.subdir)
    return PlannedJob(number, overrides, experiment, folder, fingerprint)


def write_plan(jobs: Sequence[PlannedJob], outlooks: Sequence[Outlook], folder: Path) -> Path:
    """Write ``plan.json`` into the sweep's folder, atomically.

    Args:
        jobs: The sweep's jobs.
        outlooks: What becomes of each.
        folder: The sweep's folder; jobs' folders stand relative to it.

    Returns:
        The file.
    """
    plan = {"sweep": folder.name, "jobs": [_entry(*job, folder) for job in zip(jobs, outlooks, strict=True)]}
    write_text(folder / PLAN_FILE, json.dumps(plan, indent=2) + "\n")
    return folder / PLAN_FILE


def fingerprints(folder: Path) -> dict[int, str]:
    """The fingerprints of a sweep's jobs by their numbers, from its ``plan.json``; none without one."""
    try:
        plan = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
        return {int(job["job"]): str(job["fingerprint"]) for job in plan["jobs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _entry(job: PlannedJob, outlook: Outlook, folder: Path) -> dict[str, Any]:
    return {
        "job": job.number,
        "name": run_name(job.experiment),
        "overrides": job.overrides,
        "labels": asdict(job.experiment.labels),
        "fingerprint": job.fingerprint,
        "folder": str(job.folder.relative_to(folder) if job.folder.is_relative_to(folder) else job.folder),
        "fate": outlook.fate.value,
        "reason": outlook.reason,
        "finished": None
        if outlook.kept is None
        else {"run_id": outlook.kept.run_id, "score": outlook.kept.metrics.get("score")},
        "estimated_seconds": outlook.seconds,
    }
