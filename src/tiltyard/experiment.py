"""The pipeline: one declared experiment, from its config to its record.

>>> result = run(resolve(cfg), Path("outputs/mine"))
>>> result.metrics["score"], result.metrics["score.low"], result.metrics["score.high"]
(0.667, 0.208, 0.939)
"""

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import dspy
from omegaconf import OmegaConf

from tiltyard import __version__
from tiltyard.artifacts.metadata import Origin
from tiltyard.artifacts.program import UnsavableProgramError, build_program_folder
from tiltyard.config import ExperimentConfig, fingerprint, instantiate
from tiltyard.errors import JobError
from tiltyard.evaluation.evaluate import ROWS_FILE, evaluate
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.trial import RowLabels
from tiltyard.files import write_text
from tiltyard.models.engine import model_id, provenance
from tiltyard.optimizers.compiling import compile_program
from tiltyard.reporting.run_report import write_run_report
from tiltyard.result import ExperimentResult, run_name
from tiltyard.simulations.simulation import Simulation
from tiltyard.tasks.task import Task
from tiltyard.telemetry.latency import LatencyRecorder
from tiltyard.telemetry.memory import PeakMemory
from tiltyard.telemetry.source import git_commit
from tiltyard.tracking.recorder import Run, Tracking

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
LATENCY_FILE = "latency.json"


def run(
    cfg: ExperimentConfig,
    folder: Path,
    *,
    sweep: str | None = None,
    parent_run_id: str | None = None,
    command: str = "",
) -> ExperimentResult:
    """Run one experiment and record it.

    Args:
        cfg: The checked config.
        folder: Where its files are written; made when it does not exist.
        sweep: The id of the sweep that it is a job of.
        parent_run_id: The sweep's tracked run.
        command: The command line that runs the same again, for the report.

    Raises:
        TiltyardError: The input was wrong, or the experiment could not go on. Rows made until then stand
            in the folder and in the tracked run.
    """
    started = time.perf_counter()
    digest = fingerprint(cfg)
    with _tracked(cfg, digest, folder, sweep, parent_run_id) as tracked:
        lm = instantiate(cfg.model, hardware=instantiate(cfg.hardware))
        task: Task = instantiate(cfg.task)
        optimizer = instantiate(cfg.optimizer, metric=task.metric)
        simulation: Simulation = instantiate(cfg.simulation)
        tracked.set_tags({f"tiltyard.model.{key}": value for key, value in provenance(lm).items()})

        splits = task.splits(cfg.seed, cfg.limit)
        student = task.program(task.signature)
        latencies = LatencyRecorder()
        with PeakMemory() as memory, dspy.context(lm=lm):
            with latencies.measure("compile"):
                program = compile_program(
                    optimizer, student, train=splits.train, validation=splits.validation
                )
            evaluation = evaluate(
                program,
                splits.test,
                task,
                lm=lm,
                labels=RowLabels(model_id(lm), cfg.labels.task, cfg.labels.mode),
                threads=cfg.evaluation.threads,
                latencies=latencies,
                folder=folder,
            )
            simulated = simulation.simulate(program, lm=lm, seed=cfg.seed, folder=folder)

        result = ExperimentResult(
            name=run_name(cfg),
            labels=cfg.labels,
            seed=cfg.seed,
            fingerprint=digest,
            model_id=model_id(lm),
            folder=folder,
            run_id=tracked.run_id,
            metrics={**evaluation.metrics(), **latencies.metrics(), **memory.metrics(), **simulated},
            seconds=time.perf_counter() - started,
        )
        tracked.log_metrics(result.metrics)
        tracked.log_rows(folder / ROWS_FILE)
        write_text(folder / LATENCY_FILE, json.dumps(latencies.summary(), indent=2) + "\n")
        write_run_report(result, evaluation.rows, latencies.summary(), folder, command=command)
        _keep_program(cfg, tracked, program, _origin(cfg, task, evaluation, digest), folder)
        result.save()
    return result


@contextlib.contextmanager
def _tracked(
    cfg: ExperimentConfig, digest: str, folder: Path, sweep: str | None, parent_run_id: str | None
) -> Iterator[Run]:
    """A tracked run that keeps the folder's files, also those of an experiment that failed half-way."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(cfg.as_dict())))
    tracking: Tracking = instantiate(cfg.tracking)
    with tracking.start(
        run_name(cfg),
        tags=_tags(cfg, digest, sweep),
        params=cfg.as_dict(),
        parent=parent_run_id,
        folder=folder,
    ) as tracked:
        try:
            yield tracked
        except BaseException:
            _log_what_there_is(tracked, folder)
            raise
        tracked.log_folder(folder)


def _log_what_there_is(tracked: Run, folder: Path) -> None:
    try:
        tracked.log_folder(folder)
    except JobError as lost:  # what ended the experiment matters more
        logger.error("%s", lost)  # noqa: TRY400


def _tags(cfg: ExperimentConfig, digest: str, sweep: str | None) -> dict[str, str]:
    labels = cfg.labels
    return {
        "tiltyard.fingerprint": digest,
        "tiltyard.version": __version__,
        "tiltyard.mode": labels.mode,
        "tiltyard.task": labels.task,
        "tiltyard.model": labels.model,
        "tiltyard.optimizer": labels.optimizer,
        "tiltyard.simulation": labels.simulation,
        "tiltyard.sweep": sweep or "",
        "tiltyard.git_commit": git_commit(Path.cwd()),
    }


def _keep_program(
    cfg: ExperimentConfig, tracked: Run, program: dspy.Module, origin: Origin, folder: Path
) -> None:
    """Save the compiled program and register it; one that state JSON cannot hold costs no results."""
    try:
        saved = build_program_folder(folder / "program", program, origin)
    except UnsavableProgramError as error:
        logger.warning("The compiled program is not saved: %s", error)
        tracked.set_tags({"tiltyard.program": f"not saved: {error}"})
    else:
        tracked.register_program(saved, f"{cfg.labels.task}/{cfg.labels.model}/{cfg.labels.optimizer}")


def _origin(cfg: ExperimentConfig, task: Task, evaluation: Evaluation, digest: str) -> Origin:
    return Origin(
        task=cfg.labels.task,
        model=cfg.labels.model,
        optimizer=cfg.labels.optimizer,
        seed=cfg.seed,
        fingerprint=digest,
        score=(evaluation.score, evaluation.low, evaluation.high),
        signature=task.signature,
        program_node=cfg.task["program"],
        model_node=cfg.model,
        hardware_node=cfg.hardware,
    )
