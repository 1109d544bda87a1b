"""The record of one experiment: its files in its folder, and the same in its tracked run.

>>> with recording(cfg, folder) as record:
...     result = record.keep(...)
"""

import contextlib
import json
import logging
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import dspy
from omegaconf import OmegaConf

from tiltyard import __version__
from tiltyard.artifacts.metadata import Origin, fields_of, written
from tiltyard.artifacts.program import UnsavableProgramError, build_program_folder
from tiltyard.config import ExperimentConfig, data_digests, fingerprint, instantiate
from tiltyard.digests import versions
from tiltyard.errors import JobError, TiltyardError
from tiltyard.evaluation.evaluate import ERRORS_FILE, ROWS_FILE
from tiltyard.evaluation.health import refuse_unhealthy
from tiltyard.evaluation.result import Evaluation
from tiltyard.evaluation.trial import RowLabels
from tiltyard.files import write_text
from tiltyard.optimizers.report import OptimizationReport
from tiltyard.redaction import one_line, redact
from tiltyard.reporting.attempts import attempt_rows
from tiltyard.reporting.description import describe_run, describe_start, describe_version
from tiltyard.reporting.one_run import PACKAGE
from tiltyard.reporting.optimization import legal_curves, legal_metrics, write_optimization
from tiltyard.reporting.run_report import write_run_report
from tiltyard.result import RESULT_FILE, TRACEBACK_FILE, EpochScore, ExperimentResult, run_name
from tiltyard.tasks.task import Task
from tiltyard.telemetry import activity
from tiltyard.telemetry.latency import LatencyRecorder
from tiltyard.telemetry.processor import processor
from tiltyard.telemetry.slurm import LOG_FILE, copy_log, slurm_tags
from tiltyard.telemetry.source import git_commit
from tiltyard.tracking.recorder import Run, Tracking
from tiltyard.tracking.run import TABLE
from tiltyard.tracking.tags import DESCRIPTION

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
LATENCY_FILE = "latency.json"
SIMULATION_FOLDER = "simulation"
"""Where a simulation writes its own files."""
FILES = (
    CONFIG_FILE,
    ROWS_FILE,
    ERRORS_FILE,
    LATENCY_FILE,
    "report.md",
    RESULT_FILE,
    TRACEBACK_FILE,
    "tiltyard.log",
    LOG_FILE,
)
"""What is tracked of a run's folder, where it exists, beside the program; nothing else that may lie there."""
FINGERPRINT = "tiltyard.fingerprint"
"""The tag that tells repetitions of one experiment from others."""
DATA = "tiltyard.data."
"""How the tags begin that hold the digests of the data files, by the options that name them."""
FOLDERS = ("figures", SIMULATION_FOLDER)


@dataclass
class Record:
    """An experiment that is being recorded."""

    cfg: ExperimentConfig
    folder: Path
    """Where the experiment's files are written."""
    fingerprint: str
    tracked: Run
    command: str = ""
    """The command line that runs the same again."""
    overrides: tuple[str, ...] = ()
    """What of the config was chosen for this run."""
    started: float = field(default_factory=time.perf_counter)
    result: ExperimentResult | None = None
    """What was found, once it is known."""
    report: OptimizationReport = field(default_factory=OptimizationReport)
    """How the compilation went, once that is known."""
    optimization_files: list[str] = field(default_factory=list)
    """The names of the files that the compilation left in the folder."""

    def describe_model(self, provenance: Mapping[str, str], name: str = "model") -> None:
        """Tag the run with what a model says of itself.

        Args:
            provenance: What it says.
            name: What the tags call it: the path of its node.
        """
        self.tracked.set_tags({f"tiltyard.{name}.{key}": value for key, value in provenance.items()})

    def settle_fingerprint(self, digest: str) -> None:
        """Let the run count by the fingerprint that it has with the weights at hand.

        A Hub model that was not there when the run began counts by its commit then, as in the next run.
        """
        if digest != self.fingerprint:
            self.fingerprint = digest
            self.tracked.set_tags({FINGERPRINT: digest})

    def describe_asking(self, tags: Mapping[str, str]) -> None:
        """Tag the run with how its examples are asked."""
        self.tracked.set_tags(dict(tags))

    def keep_optimization(self, report: OptimizationReport, task: Task, model_id: str) -> None:
        """Write into the folder what is known of a compilation, whether or not it ended.

        The store gets it with the other files: one that fails costs no evaluation.
        """
        self.report = report
        labels = RowLabels(model_id, self.cfg.labels.task, self.cfg.labels.mode)
        attempts = attempt_rows(report.attempts, task, labels)
        taken = (*FILES, TABLE)
        self.optimization_files = write_optimization(report, self.folder, attempts=attempts, taken=taken)

    def keep(
        self,
        *,
        model_id: str,
        task: Task,
        program: dspy.Module,
        evaluation: Evaluation,
        latencies: LatencyRecorder,
        metrics: Mapping[str, float],
        epochs: tuple[EpochScore, ...] = (),
    ) -> ExperimentResult:
        """Write everything into the folder, then into the tracked run: a store that fails costs no files.

        Raises:
            JobError: The store failed, every example failed for a reason that is not the model's answer, or a
                health check exceeds the limit that the config sets.
        """
        cfg, tracked = self.cfg, self.tracked
        self.result = result = replace(
            self._blank(),
            model_id=model_id,
            metrics={
                **evaluation.metrics(),
                **latencies.metrics(),
                **legal_metrics(self.report.metrics),
                **metrics,
            },
            seconds=time.perf_counter() - self.started,
            epochs=epochs,
            warnings=tuple(map(redact, self.report.warnings)),
        )
        write_text(self.folder / LATENCY_FILE, json.dumps(latencies.summary(), indent=2) + "\n")
        write_run_report(
            result,
            evaluation.rows,
            latencies.summary(),
            self.folder,
            command=self.command,
            optimization=self.report,
            limits=cfg.evaluation.fail_on,
        )
        saved = self._save_program(program, task, evaluation)
        result.save()

        tracked.log_metrics(result.metrics)
        tracked.log_curves((row.epoch, row.metrics()) for row in epochs)
        tracked.log_rows(self.folder / ROWS_FILE)
        if saved:
            labels = cfg.labels
            tracked.register_program(
                saved,
                f"{labels.task}/{labels.model}/{labels.optimizer}",
                partial(describe_version, result, written(fields_of(task.signature))),
            )
        _refuse_total_failure(evaluation, cfg.optimizer)
        refuse_unhealthy(result.metrics, cfg.evaluation.fail_on)
        return result

    def fail(self, error: Exception) -> None:
        """Write down why the experiment failed; what it had found stays."""
        if not isinstance(error, TiltyardError):
            write_text(self.folder / TRACEBACK_FILE, "".join(traceback.format_exception(error)))
        replace(self.result or self._blank(), error=_reason(error)).save()

    def upload(self) -> None:
        """Track the folder's files, and the optimizer's curves."""
        if self.result is None:
            self.tracked.log_metrics(legal_metrics(self.report.metrics))
        self.tracked.log_curves(legal_curves(self.report))
        copy_log(self.folder)
        for name in (*FILES, *self.optimization_files):
            if name != CONFIG_FILE and (self.folder / name).is_file():
                self.tracked.log_file(self.folder / name)
        for name in FOLDERS:
            if (self.folder / name).is_dir():
                self.tracked.log_folder(self.folder / name, into=name)

    def describe(self, error: BaseException | None = None) -> None:
        """Let the run's page say in a few lines what was found, and what ended the run early, if anything."""
        result = self.result or self._blank()
        if isinstance(error, Exception):
            result = replace(result, error=_reason(error))
        interrupted = error is not None and not result.error
        description = describe_run(result, self.report, command=self.command, interrupted=interrupted)
        self.tracked.set_tags({DESCRIPTION: description})

    def _blank(self) -> ExperimentResult:
        blank = ExperimentResult.failed(self.cfg, self.folder, "")
        return replace(
            blank, fingerprint=self.fingerprint, run_id=self.tracked.run_id, overrides=self.overrides
        )

    def _save_program(self, program: dspy.Module, task: Task, evaluation: Evaluation) -> Path | None:
        """Save the compiled program; one that state JSON cannot hold costs no results."""
        labels = self.cfg.labels
        origin = Origin(
            task=labels.task,
            model=labels.model,
            optimizer=labels.optimizer,
            seed=self.cfg.seed,
            fingerprint=self.fingerprint,
            score=(evaluation.score, evaluation.low, evaluation.high),
            split=self.cfg.split,
            signature=task.signature,
            program_node=self.cfg.task["program"],
            model_node=self.cfg.model,
            hardware_node=self.cfg.hardware,
        )
        try:
            return build_program_folder(self.folder / "program", program, origin)
        except UnsavableProgramError as error:
            logger.warning("The compiled program is not saved: %s", error)
            self.tracked.set_tags({"tiltyard.program.unsaved": str(error)})
            return None


@contextlib.contextmanager
def recording(
    cfg: ExperimentConfig,
    folder: Path,
    *,
    sweep: str | None = None,
    parent_run_id: str | None = None,
    command: str = "",
    overrides: tuple[str, ...] = (),
    digest: str | None = None,
) -> Iterator[Record]:
    """Record what happens in a block, also when it fails or is interrupted half-way.

    Args:
        cfg: The checked config.
        folder: Where the experiment's files are written; made when it does not exist.
        sweep: The id of the sweep that the experiment is a job of.
        parent_run_id: The sweep's tracked run.
        command: The command line that runs the same again.
        overrides: What of the config was chosen for this run.
        digest: The run's fingerprint; None for the config's. It is another where the config names what has to
            be fetched first.

    Raises:
        TiltyardError: What the block raised, or the store failed.
    """
    digest = fingerprint(cfg) if digest is None else digest
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(cfg.as_dict())))
    tracking: Tracking = instantiate(cfg.tracking)
    with tracking.start(
        run_name(cfg),
        tags=_tags(cfg, digest, sweep, command),
        params=cfg.as_dict(),
        parent=parent_run_id,
        folder=folder,
    ) as tracked:
        activity.tracked_as(tracked.run_id)
        record = Record(cfg, folder, digest, tracked, command, overrides)
        try:
            tracked.log_file(folder / CONFIG_FILE)  # now: of a run that is killed it is what can be run again
            yield record
            record.upload()
            record.describe()
        except SystemExit as stop:
            error = JobError(f"something in the job called sys.exit({stop.code})", "it should raise instead")
            _give_up(record, error)
            raise error from stop
        except Exception as error:
            _give_up(record, error)
            raise
        except BaseException as interruption:
            _upload_what_there_is(record, interruption)
            raise


def _give_up(record: Record, error: Exception) -> None:
    record.fail(error)
    _upload_what_there_is(record, error)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TiltyardError) else one_line(error)


def _upload_what_there_is(record: Record, error: BaseException) -> None:
    try:
        record.upload()
        record.describe(error)
    except JobError as lost:  # what ended the experiment matters more
        logger.error("%s", lost)  # noqa: TRY400


def _refuse_total_failure(evaluation: Evaluation, optimizer: Mapping[str, Any]) -> None:
    """A model that breaks the format scores 0; one that never answered has not been measured."""
    broken = [row for row in evaluation.rows if row.error]
    if len(broken) == evaluation.examples and not evaluation.unparsed:
        too_long = all(row.error.startswith("context:") for row in broken)
        fewer = _fewer_demonstrations(optimizer) if too_long else ""
        raise JobError(
            f"all {evaluation.examples} examples failed, the first with: {broken[0].error}",
            "; ".join([*([f"try {fewer}"] if fewer else []), f"{ERRORS_FILE} in the run's folder has all"]),
        )


def _fewer_demonstrations(optimizer: Mapping[str, Any]) -> str:
    """The override with which an optimizer shows fewer labelled demonstrations; empty where none is known."""
    few_shot = str(optimizer["_target_"]).endswith("FewShot")  # another optimizer's k may be anything
    for name in ("max_labeled_demos", *(["k"] if few_shot else [])):
        shown = optimizer.get(name)
        if isinstance(shown, int) and shown > 1:
            return f"optimizer.{name}={min(4, shown // 2)}"
    return ""


def _tags(cfg: ExperimentConfig, digest: str, sweep: str | None, command: str) -> dict[str, str]:
    labels = cfg.labels
    return {
        FINGERPRINT: digest,
        "tiltyard.version": __version__,
        "tiltyard.mode": labels.mode,
        "tiltyard.task": labels.task,
        "tiltyard.model": labels.model,
        "tiltyard.optimizer": labels.optimizer,
        "tiltyard.simulation": labels.simulation,
        "tiltyard.split": cfg.split,
        "tiltyard.sweep": sweep or "",
        "tiltyard.command": command,
        "tiltyard.git_commit": git_commit(Path.cwd()),
        "tiltyard.processor": processor(),
        **{f"{DATA}{path}": digest for path, digest in data_digests(cfg).items()},
        **({DESCRIPTION: describe_start(command)} if command else {}),
        **{f"{PACKAGE}{name}": version for name, version in versions().items() if name != "tiltyard"},
        f"{PACKAGE}python": platform.python_version(),
        **slurm_tags(),
    }
