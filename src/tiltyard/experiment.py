"""The pipeline: one declared experiment, from its config to its record.

>>> result = run(resolve(cfg), Path("outputs/mine"))
>>> result.metrics["score"], result.metrics["score.low"], result.metrics["score.high"]
(0.667, 0.208, 0.939)
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from tiltyard.checkpoints import FOLDER, checkpoint_folder
from tiltyard.config import ExperimentConfig, fingerprint, instantiate
from tiltyard.errors import InputError
from tiltyard.evaluation.asking import asked
from tiltyard.evaluation.epochs import chosen_epoch, evaluate_epochs
from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.health import health
from tiltyard.evaluation.journal import TrialJournal
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.rows import Row
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.caching import without_caches
from tiltyard.models.engine import adapter, inference, max_concurrency, model_id, provenance
from tiltyard.models.in_use import ModelsInUse, models_in_use
from tiltyard.models.response_cache import cache_folder
from tiltyard.nested_models import with_models
from tiltyard.optimizers.compiling import Compiled, compile_program, printing_to_log, report_of
from tiltyard.optimizers.recorded import uses_both_sets
from tiltyard.record import SIMULATION_FOLDER, Record, recording
from tiltyard.result import EpochScore, ExperimentResult
from tiltyard.simulations.simulation import Simulation
from tiltyard.tasks.splits import hold_back
from tiltyard.tasks.task import Splits, Task
from tiltyard.telemetry import activity
from tiltyard.telemetry.energy import EnergyMeter
from tiltyard.telemetry.latency import LatencyRecorder
from tiltyard.telemetry.memory import PeakMemory
from tiltyard.tracking.references import without_references

OF_OPTIMIZER, OF_EVALUATION = "optimizer", "evaluation"
"""The folders of a run's checkpoints."""
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
    pins: Mapping[str, str] | None = None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> ExperimentResult:
    """Run one experiment and record it.

    Args:
        cfg: The checked config.
        folder: Where its files are written; made when it does not exist.
        sweep: The id of the sweep that it is a job of.
        parent_run_id: The sweep's tracked run.
        command: The command line that runs the same again, for the report.
        overrides: What of the config was chosen for this run.
        pins: Registered versions that its sweep has looked up, by what names them in the config.
        tags: Further tags of the tracked run.

    Raises:
        TiltyardError: The input was wrong, or the experiment could not go on. What was found until then
            stands in the folder and in the tracked run.
    """
    with (
        without_references(cfg, pins) as found,
        recording(
            cfg,
            folder,
            sweep=sweep,
            parent_run_id=parent_run_id,
            command=command,
            overrides=overrides,
            digest=fingerprint(found.cfg),
        ) as record,
    ):
        record.tracked.set_tags(found.tags() | dict(tags))
        cfg = found.cfg
        task: Task = instantiate(cfg.task)
        splits = task.splits(cfg.seed, cfg.limit)
        examples = _evaluated(splits, cfg)
        student = task.program(task.signature)
        simulation: Simulation = instantiate(cfg.simulation)
        latencies = LatencyRecorder()
        activity.phase("load")
        with models_in_use(cfg) as models, PeakMemory() as memory, EnergyMeter() as energy:
            lm = models.own
            _describe(models, record)
            digest = fingerprint(cfg)
            record.settle_fingerprint(digest)
            threads = _threads(cfg, lm)
            with (
                checkpoint_folder(
                    cache_folder(cfg.cache.folder) / FOLDER, digest, resume=cfg.resume
                ) as checkpoints,
                dspy.context(**_settings(lm, threads)),
            ):
                judge = _Judge(examples, task, lm, threads, folder, cfg, checkpoints)
                activity.phase("compile")
                with latencies.measure("compile"):
                    compiled = _compile(
                        student, splits, task, models, cfg, record, found.notes(), checkpoints
                    )
                record.describe_asking(asked(cfg.task, task, compiled.program, lm))
                epoch, others = compiled.epochs(student)
                before = inference(lm)
                evaluation = judge.evaluate(compiled.program, epoch, latencies=latencies)
                measured = inference(lm).since(before)
                epochs: tuple[EpochScore, ...] = ()
                if cfg.evaluation.each_epoch and others:
                    epochs = evaluate_epochs(others, epoch, evaluation, folder, judge.evaluate)
                activity.phase("simulate")
                simulated = simulation.simulate(
                    compiled.program, lm=lm, seed=cfg.seed, folder=folder / SIMULATION_FOLDER
                )
        activity.phase("record")
        return record.keep(
            model_id=model_id(lm),
            task=task,
            program=compiled.program,
            evaluation=evaluation,
            latencies=latencies,
            metrics={
                **health(evaluation, examples, seen=_seen(splits, cfg)),
                **compiled.metrics(),
                **measured.metrics(),
                **memory.metrics(),
                **energy.metrics(),
                **simulated,
                **chosen_epoch(epochs),
            },
            epochs=epochs,
        )


def _evaluated(splits: Splits, cfg: ExperimentConfig) -> list[dspy.Example]:
    """The examples of the split that is evaluated.

    Raises:
        InputError: It is validation, and the task has none.
    """
    if cfg.split == "validation" and not splits.validation:
        raise InputError(
            f"task {cfg.labels.task} has no validation examples, and split=validation is to evaluate them",
            "declare some in its data or raise task.fractions.validation; or evaluate split=test",
        )
    return splits.test if cfg.split == "test" else splits.validation


def _seen(splits: Splits, cfg: ExperimentConfig) -> list[dspy.Example]:
    """The examples that an optimizer may see: what is evaluated is never among them."""
    return [*splits.train, *splits.validation] if cfg.split == "test" else splits.train


def _compile(
    student: dspy.Module,
    splits: Splits,
    task: Task,
    models: ModelsInUse,
    cfg: ExperimentConfig,
    record: Record,
    notes: Sequence[str],
    checkpoints: Path | None,
) -> Compiled:
    """Compile the program. What its optimizer tells is kept also when it is broken off."""
    node = with_models(cfg.optimizer, "optimizer", models.nested)
    with printing_to_log():
        optimizer = instantiate(
            node, metric=task.metric, checkpoints=checkpoints and checkpoints / OF_OPTIMIZER
        )
    train, validation = splits.train, splits.validation
    if cfg.split == "validation":
        train, validation = _within_train(splits, optimizer, cfg.seed)
        notes = [*notes, *_held_back(train, validation)]
    try:
        compiled = compile_program(optimizer, student, train=train, validation=validation)
    except BaseException:
        record.keep_optimization(report_of(optimizer), task, model_id(models.own))
        raise
    compiled.report.notes += notes
    record.keep_optimization(compiled.report, task, model_id(models.own))
    return compiled


def _within_train(
    splits: Splits, optimizer: Teleprompter, seed: int
) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """What an optimizer learns from and chooses by where validation is evaluated: train alone, for both.

    Choosing by the examples that are scored would flatter the score.
    """
    learning, choosing = len(splits.train), len(splits.validation)
    if not splits.train or not uses_both_sets(optimizer):
        return splits.train, []
    return hold_back(splits.train, share=min(0.5, choosing / (learning + choosing)), seed=seed)


def _held_back(train: Sequence[dspy.Example], validation: Sequence[dspy.Example]) -> list[str]:
    if not validation:
        return []
    return [
        f"Validation is evaluated, so {len(validation)} examples of train were held back to choose by; "
        f"{len(train)} were left to learn from."
    ]


@dataclass(frozen=True)
class _Judge:
    """The examples that are evaluated, and all that it takes to evaluate a program on them."""

    examples: list[dspy.Example]
    task: Task
    lm: dspy.LM
    threads: int
    folder: Path
    cfg: ExperimentConfig
    checkpoints: Path | None
    """Where finished examples are kept; None keeps none."""

    def evaluate(
        self,
        program: dspy.Module,
        epoch: int,
        before: Sequence[Row] = (),
        latencies: LatencyRecorder | None = None,
    ) -> Evaluation:
        """Evaluate the program of an epoch; ``before`` are the rows of other epochs, for the file."""
        cfg = self.cfg
        mode = "baseline" if before and epoch == 0 else cfg.labels.mode
        with without_caches() if cfg.evaluation.disable_caching else nullcontext():
            return evaluate(
                program,
                self.examples,
                self.task,
                lm=self.lm,
                labels=RowLabels(model_id(self.lm), cfg.labels.task, mode),
                split=cfg.split,
                threads=self.threads,
                latencies=latencies or LatencyRecorder(),
                folder=self.folder,
                epoch=epoch,
                before=before,
                journal=self._journal(program, epoch),
            )

    def _journal(self, program: dspy.Module, epoch: int) -> TrialJournal:
        """Of a program's evaluation. What is measured, not what is answered, depends on the caches."""
        if self.checkpoints is None:
            return TrialJournal()
        cfg = self.cfg
        return TrialJournal(
            self.checkpoints / OF_EVALUATION / f"{cfg.split}-{epoch}.jsonl",
            program,
            {
                "epoch": epoch,
                "split": cfg.split,
                "cache.enabled": cfg.cache.enabled,
                "evaluation.disable_caching": cfg.evaluation.disable_caching,
            },
        )


def _describe(models: ModelsInUse, record: Record) -> None:
    record.describe_model(provenance(models.own))
    for path, lm in models.nested.items():
        record.describe_model(provenance(lm), path)


def _settings(lm: dspy.LM, threads: int) -> dict[str, Any]:
    """What programs and optimizers find in DSPy's settings.

    The model, how many requests it works on at once, and the adapter that it was built for, if any.
    """
    wanted = adapter(lm)
    settings = {"lm": lm, "num_threads": threads}
    return settings if wanted is None else {**settings, "adapter": wanted}


def _threads(cfg: ExperimentConfig, lm: dspy.LM) -> int:
    limits = (cfg.evaluation.threads, max_concurrency(lm))
    return min((limit for limit in limits if limit is not None), default=THREADS)
