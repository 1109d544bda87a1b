"""The pipeline: one declared experiment, from its config to its record.

>>> result = run(resolve(cfg), Path("outputs/mine"))
>>> result.metrics["score"], result.metrics["score.low"], result.metrics["score.high"]
(0.667, 0.208, 0.939)
"""

from pathlib import Path

import dspy

from tiltyard.config import ExperimentConfig, instantiate
from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.engine import max_concurrency, model_id, provenance
from tiltyard.optimizers.compiling import compile_program, printing_to_log
from tiltyard.record import SIMULATION_FOLDER, recording
from tiltyard.result import ExperimentResult
from tiltyard.simulations.simulation import Simulation
from tiltyard.tasks.task import Task
from tiltyard.telemetry.latency import LatencyRecorder
from tiltyard.telemetry.memory import PeakMemory


def run(
    cfg: ExperimentConfig,
    folder: Path,
    *,
    sweep: str | None = None,
    parent_run_id: str | None = None,
    command: str = "",
    overrides: tuple[str, ...] = (),
) -> ExperimentResult:
    """Run one experiment and record it.

    Args:
        cfg: The checked config.
        folder: Where its files are written; made when it does not exist.
        sweep: The id of the sweep that it is a job of.
        parent_run_id: The sweep's tracked run.
        command: The command line that runs the same again, for the report.
        overrides: What of the config was chosen for this run.

    Raises:
        TiltyardError: The input was wrong, or the experiment could not go on. What was found until then
            stands in the folder and in the tracked run.
    """
    with recording(
        cfg, folder, sweep=sweep, parent_run_id=parent_run_id, command=command, overrides=overrides
    ) as record:
        task: Task = instantiate(cfg.task)
        splits = task.splits(cfg.seed, cfg.limit)
        student = task.program(task.signature)
        with printing_to_log():
            optimizer = instantiate(cfg.optimizer, metric=task.metric)
        simulation: Simulation = instantiate(cfg.simulation)
        lm = instantiate(cfg.model, hardware=instantiate(cfg.hardware))
        record.describe_model(provenance(lm))

        latencies = LatencyRecorder()
        with PeakMemory() as memory, dspy.context(lm=lm):
            with latencies.measure("compile"):
                compiled = compile_program(
                    optimizer, student, train=splits.train, validation=splits.validation
                )
            evaluation = evaluate(
                compiled.program,
                splits.test,
                task,
                lm=lm,
                labels=RowLabels(model_id(lm), cfg.labels.task, cfg.labels.mode),
                threads=min(cfg.evaluation.threads, max_concurrency(lm) or cfg.evaluation.threads),
                latencies=latencies,
                folder=folder,
            )
            simulated = simulation.simulate(
                compiled.program, lm=lm, seed=cfg.seed, folder=folder / SIMULATION_FOLDER
            )
        return record.keep(
            model_id=model_id(lm),
            task=task,
            program=compiled.program,
            evaluation=evaluation,
            latencies=latencies,
            metrics={**compiled.metrics(), **memory.metrics(), **simulated},
        )
