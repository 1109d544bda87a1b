"""One Hydra job: the function that Hydra calls for a single run and for every job of a sweep."""

import logging
import shlex
import traceback
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from tiltyard.config import ExperimentConfig, resolve
from tiltyard.errors import JobError, TiltyardError
from tiltyard.files import write_text
from tiltyard.launching.identity import SweepIdentity
from tiltyard.redaction import one_line
from tiltyard.result import ExperimentResult

logger = logging.getLogger(__name__)

TRACEBACK_FILE = "traceback.txt"


def run_job(cfg: DictConfig) -> None:
    """Run the experiment that a composed config declares; its files stand in Hydra's output folder.

    What it found is in ``result.json`` there: a sweep reads it from the file, because a job may have run
    on another machine, or died.

    Raises:
        SystemExit: The job failed; its code is the TiltyardError that says why. An ordinary exception would
            make Hydra print lines of its own. Jobs of a sweep do not raise: their failure is written into
            ``result.json``, and the others go on.
    """
    from tiltyard.experiment import run
    from tiltyard.reporting.terminal import print_result

    _file_dspy_log()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    in_sweep = hydra.mode == RunMode.MULTIRUN
    experiment = resolve(cfg)
    command = shlex.join(["tiltyard", *hydra.overrides.task])
    try:
        sweep = SweepIdentity.load(Path(hydra.sweep.dir)) if in_sweep else None
        result = run(
            experiment,
            folder,
            sweep=sweep.id if sweep else None,
            parent_run_id=sweep.parent_run_id if sweep else None,
            command=command,
        )
    except Exception as error:
        failure = _describe(error, folder)
        if not in_sweep:
            raise SystemExit(failure) from error
        logger.error("Job failed: %s", failure)  # noqa: TRY400 - the traceback is in its own file
        _write_failure(experiment, failure, folder)
    else:
        if not in_sweep:
            print_result(result, command=command)


def _file_dspy_log() -> None:
    """Send DSPy's log to the job's file only.

    It warns on every truncated answer and every failed example; rows and metrics count those already.
    """
    log = logging.getLogger("dspy")
    log.handlers = [
        handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)
    ]
    log.setLevel(logging.WARNING)
    log.propagate = False


def _describe(error: Exception, folder: Path) -> TiltyardError:
    """The failure in one line; the traceback of an unforeseen one is kept beside the job's files."""
    if isinstance(error, TiltyardError):
        return error
    write_text(folder / TRACEBACK_FILE, "".join(traceback.format_exception(error)))
    return JobError(one_line(error), f"see {folder / TRACEBACK_FILE}")


def _write_failure(experiment: ExperimentConfig, failure: TiltyardError, folder: Path) -> None:
    ExperimentResult.failed(experiment, folder, str(failure)).save()
