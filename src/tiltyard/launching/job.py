"""One Hydra job: what happens when Hydra runs a single experiment, or a job of a sweep."""

import logging
import shlex
import signal
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from tiltyard.config import ExperimentConfig, instantiate, resolve
from tiltyard.errors import JobError, TiltyardError
from tiltyard.files import write_text
from tiltyard.launching.identity import SweepIdentity
from tiltyard.redaction import one_line
from tiltyard.result import RESULT_FILE, TRACEBACK_FILE, ExperimentResult

logger = logging.getLogger(__name__)


def run_job(cfg: DictConfig) -> None:
    """Run the experiment that a composed config declares; its files stand in Hydra's output folder.

    What it found is in ``result.json`` there: a sweep reads it from the file, because a job may have run
    on another machine, or died.

    Raises:
        SystemExit: The job failed; its code is the TiltyardError that says why. An ordinary exception would
            make Hydra print lines of its own. Jobs of a sweep do not raise: their failure is written into
            ``result.json``, and the others go on.
        KeyboardInterrupt: The process was interrupted, or told to end.
    """
    from tiltyard.experiment import run
    from tiltyard.reporting.terminal import print_result
    from tiltyard.tracking.dead_runs import end_dead_runs

    end_on_sigterm()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    in_sweep = hydra.mode == RunMode.MULTIRUN
    experiment = resolve(cfg)
    if in_sweep and _is_settled(folder):
        return
    set_up_logging(experiment.debug)
    command = command_of(hydra)
    try:
        sweep = SweepIdentity.load(Path(hydra.sweep.dir)) if in_sweep else None
        if sweep is None:  # a sweep has done it for its jobs
            end_dead_runs(instantiate(experiment.tracking))
        result = run(
            experiment,
            folder,
            sweep=sweep.id if sweep else None,
            parent_run_id=sweep.parent_run_id if sweep else None,
            command=command,
            overrides=tuple(hydra.overrides.task),
            pins=sweep.pins if sweep else None,
        )
    except Exception as error:
        failure = failure_of(experiment, folder, error)
        if not in_sweep:
            raise SystemExit(failure) from error
        logger.error("Job failed: %s", failure)  # noqa: TRY400 - the traceback is in its own file
    else:
        if not in_sweep:
            print_result(result, command=command, store=store_flags(experiment))


def _is_settled(folder: Path) -> bool:
    """Whether the sweep has put an earlier run's result into a job's folder, or leaves the job out."""
    try:
        result = ExperimentResult.load(folder)
    except (OSError, ValueError):
        return False
    return bool(result.kept_from or result.left_out)


def command_of(hydra: Any) -> str:
    """The command line that runs a job again, with the user's own config folder."""
    folders = [
        source.path.removeprefix("file://")
        for source in hydra.runtime.config_sources
        if source.provider == "command-line"
    ]
    flags = [word for folder in folders for word in ("--config-dir", _shown(Path(folder)))]
    overrides = list(hydra.overrides.task)
    if hydra.mode == RunMode.MULTIRUN and any(word.startswith("experiment=") for word in overrides):
        overrides.append("hydra.mode=RUN")  # the experiment may itself be the sweep that this job is from
    return shlex.join(["tiltyard", *overrides, *flags])


def store_flags(experiment: ExperimentConfig) -> Sequence[str]:
    """The flags with which ``tiltyard report`` finds the runs; none where it finds them anyway."""
    tracking = experiment.tracking
    place, name = tracking.get("folder") or tracking.get("uri"), tracking.get("experiment")
    flags = ["--tracking", str(place)] if place not in (None, "mlruns") else []
    return [*flags, "--experiment", str(name)] if name not in (None, "tiltyard") else flags


def end_on_sigterm() -> None:
    """Let a scheduler's SIGTERM end this process as Ctrl-C does, unless whoever started it handles that."""
    if threading.current_thread() is threading.main_thread() and not callable(
        signal.getsignal(signal.SIGTERM)
    ):
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def set_up_logging(debug: bool) -> None:
    """Send DSPy's log to the job's file only; with ``debug``, log what is otherwise left out.

    DSPy warns on every truncated answer and every failed example; rows and metrics count those already.
    """
    log = logging.getLogger("dspy")
    log.handlers = [
        handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)
    ]
    log.setLevel(logging.WARNING)
    log.propagate = False
    if debug:
        logging.getLogger("tiltyard").setLevel(logging.DEBUG)


def failure_of(experiment: ExperimentConfig, folder: Path, error: Exception) -> TiltyardError:
    """The failure of an experiment in one line, which its folder is told as well.

    The traceback of an unforeseen one is kept beside the other files.
    """
    failure = _describe(error, folder)
    if not (folder / RESULT_FILE).exists():  # it failed before anything was recorded
        ExperimentResult.failed(experiment, folder, str(failure)).save()
    return failure


def _describe(error: Exception, folder: Path) -> TiltyardError:
    if isinstance(error, TiltyardError):
        return error
    write_text(folder / TRACEBACK_FILE, "".join(traceback.format_exception(error)))
    return JobError(one_line(error), f"see {folder / TRACEBACK_FILE}")
