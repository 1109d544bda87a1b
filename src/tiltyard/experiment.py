"""The pipeline: one declared experiment, from its config to its record.

>>> result = run(resolve(cfg), Path("outputs/mine"))
>>> result.metrics["score"], result.metrics["score.low"], result.metrics["score.high"]
(0.667, 0.208, 0.939)
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import dspy

from tiltyard.config import ExperimentConfig, instantiate, model_identity
from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.cached_engine import cached_lm, is_cacheable
from tiltyard.models.caching import without_caches
from tiltyard.models.engine import adapter, inference, max_concurrency, model_id, provenance
from tiltyard.models.response_cache import ResponseCache, response_folder
from tiltyard.optimizers.compiling import compile_program, printing_to_log
from tiltyard.record import SIMULATION_FOLDER, recording
from tiltyard.result import ExperimentResult
from tiltyard.simulations.simulation import Simulation
from tiltyard.tasks.task import Task
from tiltyard.telemetry.energy import EnergyMeter
from tiltyard.telemetry.latency import LatencyRecorder
from tiltyard.telemetry.memory import PeakMemory

THREADS = 8
"""Examples in flight at once where neither the config nor the model says."""


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
        model = instantiate(cfg.model, hardware=instantiate(cfg.hardware))
        record.describe_model(provenance(model))
        threads = _threads(cfg.evaluation.threads, max_concurrency(model))

        latencies = LatencyRecorder()
        with (
            _in_use(model, cfg) as lm,
            PeakMemory() as memory,
            EnergyMeter() as energy,
            dspy.context(**_settings(lm, threads)),
        ):
            with latencies.measure("compile"):
                compiled = compile_program(
                    optimizer, student, train=splits.train, validation=splits.validation
                )
            before = inference(model)
            with without_caches() if cfg.evaluation.disable_caching else nullcontext():
                evaluation = evaluate(
                    compiled.program,
                    splits.test,
                    task,
                    lm=lm,
                    labels=RowLabels(model_id(lm), cfg.labels.task, cfg.labels.mode),
                    threads=threads,
                    latencies=latencies,
                    folder=folder,
                )
            measured = inference(model).since(before)
            simulated = simulation.simulate(
                compiled.program, lm=lm, seed=cfg.seed, folder=folder / SIMULATION_FOLDER
            )
        return record.keep(
            model_id=model_id(lm),
            task=task,
            program=compiled.program,
            evaluation=evaluation,
            latencies=latencies,
            metrics={
                **compiled.metrics(),
                **measured.metrics(),
                **memory.metrics(),
                **energy.metrics(),
                **simulated,
            },
        )


@contextmanager
def _in_use(lm: dspy.LM, cfg: ExperimentConfig) -> Iterator[dspy.LM]:
    """The model with its answers kept, where it can be told from others and is slower than a disk.

    DSPy's own cache is off in any case: its key has neither weights nor endpoint, so that it would give one
    model's answers for another's. Afterwards the engine is closed: connections to a server end with the run.
    """
    with ExitStack() as until_done:
        if callable(close := getattr(lm.engine, "close", None)):
            until_done.callback(close)
        lm = lm.copy(cache=False)
        if cfg.cache.enabled and is_cacheable(lm):
            cache = ResponseCache(response_folder(cfg.cache.folder), cfg.cache.size_limit_mb)
            until_done.callback(cache.close)
            lm = cached_lm(lm, cache, model_identity(cfg))
        yield lm


def _settings(lm: dspy.LM, threads: int) -> dict[str, Any]:
    """What programs and optimizers find in DSPy's settings.

    The model, how many requests it works on at once, and the adapter that it was built for, if any.
    """
    wanted = adapter(lm)
    settings = {"lm": lm, "num_threads": threads}
    return settings if wanted is None else {**settings, "adapter": wanted}


def _threads(wanted: int | None, model_limit: int | None) -> int:
    return min((limit for limit in (wanted, model_limit) if limit is not None), default=THREADS)
