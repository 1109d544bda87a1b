"""Checks a config before Hydra makes an output folder for it."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tiltyard.config import ExperimentConfig, fingerprint, resolve
from tiltyard.errors import InputError, JobError, TiltyardError
from tiltyard.redaction import one_line
from tiltyard.tracking.references import without_references

LAUNCHERS = "hydra_plugins.tiltyard_launchers."
"""Where Tiltyard's own launchers are."""
ON_THIS_MACHINE = f"{LAUNCHERS}WorkersLauncher"
"""The one whose jobs run where a single run does."""


def resolve_job(config: DictConfig, pins: dict[str, str] | None = None) -> tuple[ExperimentConfig, str]:
    """Check one job's composed config, Hydra's own part included, and what it names in the tracking store.

    Args:
        config: The composed config.
        pins: Registered versions that other jobs of the same sweep name, by their references; those of this
            one are added. None for a run by itself.

    Returns:
        The checked config; and the fingerprint of a sweep's job, empty where a file of it cannot be read.

    Raises:
        TiltyardError: The first thing that is wrong with it.
    """
    HydraConfig.instance().set_config(config)
    if config.hydra.job.chdir:
        raise InputError(
            "hydra.job.chdir=true would move paths", "leave it out; outputs have their own folder"
        )
    try:
        experiment = resolve(config)
        with without_references(experiment, pins) as found:
            if pins is None:
                return experiment, ""
            pins |= found.pins
            return experiment, _fingerprint(found.cfg)
    except TiltyardError:
        raise
    except Exception as error:  # a user's class may raise anything when it is looked at
        raise JobError(f"the config cannot be checked: {one_line(error)}") from error


def _fingerprint(experiment: ExperimentConfig) -> str:
    try:
        return fingerprint(experiment)
    except InputError:  # the job fails by itself, and the others do not
        return ""


class CheckBeforeRun(Callback):
    """A Hydra callback that refuses wrong input before anything is written."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the composed config.

        Hydra turns a callback's exceptions into warnings, so the error travels as the code of a
        SystemExit; the command line unpacks it.
        """
        try:
            experiment, _ = resolve_job(config)
            refuse_what_is_for_sweeps(experiment)
            _refuse_other_machines(config)
        except TiltyardError as error:
            raise SystemExit(error) from error


def refuse_what_is_for_sweeps(experiment: ExperimentConfig) -> None:
    """Refuse options that a single run would ignore.

    Raises:
        InputError: There is one.
    """
    for key, given in (
        ("plan=true", experiment.plan),
        (f"retry={experiment.retry}", experiment.retry),
        (f"timeout={experiment.timeout}", experiment.timeout is not None),
    ):
        if given:
            raise InputError(f"{key} is for sweeps, and this is a single run", "add -m, or leave it out")


def _refuse_other_machines(config: DictConfig) -> None:
    """A single run is of this process; options of ``hardware`` that bring a launcher of a cluster are not."""
    launcher = str(config.hydra.launcher.get("_target_"))
    if launcher.startswith(LAUNCHERS) and launcher != ON_THIS_MACHINE:
        raise InputError(
            f"hardware={config.hydra.runtime.choices.hardware} runs the jobs of a sweep elsewhere, and this "
            "is a single run",
            "add -m, which makes it a sweep of one, or choose other hardware",
        )
