"""Writes one run: its metrics, tags, artifacts, program and final status.

A run that ends its ``with`` block is FINISHED; one that a signal interrupts is KILLED; any other exception
makes it FAILED, with the reason in the tag ``tiltyard.error``. What was recorded before stays. While the run
is open, a thread beside it says every minute that it lives, and sends the metrics that wait.
"""

import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from tiltyard.errors import InputError, JobError, TiltyardError
from tiltyard.redaction import one_line, redact
from tiltyard.telemetry.processes import this_process
from tiltyard.tracking.buffer import MetricBuffer
from tiltyard.tracking.connection import Connection, StoreFailureError
from tiltyard.tracking.heartbeat import FLUSH_EVERY_S, HEARTBEAT_EVERY_S, Heartbeat, Pulse
from tiltyard.tracking.params import DESCRIPTION_LIMIT, TAG_LIMIT, legal_name, shorten
from tiltyard.tracking.tags import ERROR, HEARTBEAT

if TYPE_CHECKING:
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)

T = TypeVar("T")

PROGRAM = "program"
"""The artifact folder of a run's compiled program."""
TABLE = "predictions.json"
"""The artifact that shows a run's rows as an MLflow table."""

MODEL_DESCRIPTION = (
    "Programs that Tiltyard compiled for one task and model, by one optimizer: a version for each run, whose "
    "description says how it scored."
)
"""What a registered model says of itself, in Markdown."""
PARAMS_PER_BATCH = 100
INTERRUPTED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})
"""Exit codes that say which signal ended the process."""


class Run(Protocol):
    """One run while it is being recorded. Threads may share it."""

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None without tracking."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics; one that is given again at another step becomes a curve.

        They reach the store within seconds, or when the run ends.
        """
        ...

    def log_curves(self, points: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Record the metrics of many steps at once, each as a step and its metrics."""
        ...

    def log_folder(self, folder: Path, into: str | None = None) -> None:
        """Record every file below a folder as an artifact, under its path in the folder.

        Args:
            folder: The folder.
            into: The artifact folder that the files go into; the run's root when None.
        """
        ...

    def log_file(self, file: Path) -> None:
        """Record one file as an artifact, under its own name."""
        ...

    def log_rows(self, predictions: Path) -> None:
        """Record the rows of a ``predictions.csv`` as the MLflow table ``predictions.json``."""
        ...

    def register_program(
        self, folder: Path, name: str, describe: Callable[[str], str] | None = None
    ) -> str | None:
        """Record a program folder as the artifact ``program/`` and as a version of a registered model.

        Args:
            folder: A folder that :func:`tiltyard.artifacts.program.build_program_folder` made.
            name: The registered model's name; ``/`` and ``:``, which MLflow refuses, become ``.``.
            describe: Gives the version's description, in Markdown, for what names the version:
                ``models:/NAME/NUMBER``.

        Returns:
            The new version; None without tracking.
        """
        ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags, or change them."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class MlflowRun:
    """A run in MLflow, written through a client of its own: MLflow's global active run is per thread.

    When the store fails, the call that noticed it raises a :class:`JobError` that says where the run's own
    files are, and so does every later one, at once. Metrics wait to be sent together, so that for them it may
    be a later call, or the run's end.

    Args:
        connection: The store.
        run_id: The run, which exists already.
        tags: The run's tags.
        folder: The run's own files.
    """

    def __init__(
        self, connection: Connection, run_id: str, tags: Mapping[str, str], folder: Path | None
    ) -> None:
        self.run_id: str | None = run_id
        self._id = run_id
        self._connection = connection
        self._client = connection.client
        self._tags = dict(tags)
        self._folder = folder
        self._lost: JobError | None = None
        self._metrics = MetricBuffer(self._send_metrics)
        self._heartbeat = Heartbeat(connection, run_id)
        self._pulse = Pulse({self._heartbeat.beat: HEARTBEAT_EVERY_S, self._metrics.flush: FLUSH_EVERY_S})

    @classmethod
    def create(
        cls,
        connection: Connection,
        experiment: str,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        folder: Path | None,
    ) -> Self:
        """Create a run of this process with its params, and begin to say that it lives.

        Raises:
            InputError: The experiment was deleted.
            JobError: The store failed.
        """
        clean = _clean_tags(tags)
        own = this_process().tags() | {HEARTBEAT: Heartbeat.now()}
        try:
            experiment_id = connection.ensure_experiment(experiment)
            created = connection.call(
                lambda: connection.client.create_run(experiment_id, tags=clean | own, run_name=name)
            )
        except StoreFailureError as failure:
            raise _lost_store(connection, f"start run {name}", failure, folder) from failure
        run = cls(connection, created.info.run_id, clean, folder)
        try:
            run._pulse.start()
            run._log_params(params)
        except BaseException as error:
            run.__exit__(type(error), error, error.__traceback__)
            raise
        return run

    @classmethod
    def go_on(cls, connection: Connection, run_id: str, folder: Path | None) -> Self:
        """Take up a run that has ended: it is RUNNING again, as one of this process.

        Raises:
            JobError: The store has no such run, or failed.
        """
        client, call = connection.client, connection.call
        run = cls(connection, run_id, {}, folder)
        # Before it is RUNNING: whoever looks for dead runs is not to find it with the process that left it.
        run.set_tags(this_process().tags() | {HEARTBEAT: Heartbeat.now()})
        try:
            if ERROR in call(lambda: client.get_run(run_id)).data.tags:  # what ended it before is over
                call(lambda: client.delete_tag(run_id, ERROR))
            call(lambda: client.update_run(run_id, status="RUNNING"))
        except StoreFailureError as failure:
            raise _lost_store(connection, f"go on with run {run_id}", failure, folder) from failure
        run._pulse.start()
        return run

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """See :meth:`Run.log_metrics`."""
        self.log_curves([(step, metrics)])

    def log_curves(self, points: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """See :meth:`Run.log_curves`."""
        from mlflow.entities import Metric

        if self._lost is not None:
            raise self._lost
        now = int(time.time() * 1000)
        self._metrics.add(
            [
                Metric(legal_name(name), float(value), now, step)
                for step, metrics in points
                for name, value in metrics.items()
            ]
        )

    def log_folder(self, folder: Path, into: str | None = None) -> None:
        """See :meth:`Run.log_folder`."""
        self._write("its files", lambda: self._client.log_artifacts(self._id, str(folder), into))

    def log_file(self, file: Path) -> None:
        """See :meth:`Run.log_file`."""
        self._write(file.name, lambda: self._client.log_artifact(self._id, str(file)))

    def log_rows(self, predictions: Path) -> None:
        """See :meth:`Run.log_rows`."""
        from tiltyard.evaluation.rows import read_rows

        rows = read_rows(predictions)
        self._write("its rows", lambda: self._client.log_table(self._id, rows, TABLE))

    def register_program(
        self, folder: Path, name: str, describe: Callable[[str], str] | None = None
    ) -> str | None:
        """See :meth:`Run.register_program`."""
        model = name.replace("/", ".").replace(":", ".")
        source = self._write("its program", lambda: self._upload_program(folder))
        self._write("its model", lambda: self._ensure_model(model))
        registered = self._write(
            "its model version",
            lambda: self._client.create_model_version(
                model, source, self._id, tags=self._own_tags(), await_creation_for=0
            ),
        )
        number = str(registered.version)
        if describe is not None:
            text = shorten(redact(describe(f"models:/{model}/{number}")), DESCRIPTION_LIMIT)
            self._write(
                "its model version's description",
                lambda: self._client.update_model_version(model, number, text),
            )
        return number

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See :meth:`Run.set_tags`."""
        from mlflow.entities import RunTag

        clean = _clean_tags(tags)
        entities = [RunTag(name, value) for name, value in clean.items()]
        for batch in _batches(entities, PARAMS_PER_BATCH):
            self._write("its tags", partial(self._client.log_batch, self._id, tags=batch))
        self._tags |= clean

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pulse.stop()
        if error is None:
            self._metrics.flush()
            self._write("its end", self._finish)
            return
        try:
            self._connection.probe()
            self._save_metrics()
            if _is_interruption(error):
                self._end("KILLED")
            else:
                reason = redact(str(error)) if isinstance(error, TiltyardError) else one_line(error)
                self._end("FAILED", reason)
        except (StoreFailureError, InputError) as failure:  # the error that ended the run matters more
            logger.warning("Run %s keeps the status RUNNING: %s", self._id, failure)

    def _finish(self) -> None:
        self._heartbeat.end_silence()
        self._client.set_terminated(self._id, "FINISHED")

    def _save_metrics(self) -> None:
        """Send what waits, also to a store that has failed: it may be back."""
        self._lost = None
        try:
            self._metrics.flush()
        except JobError as lost:  # what ended the run matters more
            logger.warning("Run %s lacks its latest metrics: %s", self._id, lost)

    def _send_metrics(self, batch: "list[Metric]") -> None:
        self._write("its metrics", lambda: self._client.log_batch(self._id, metrics=batch))

    def _end(self, status: str, reason: str | None = None) -> None:
        call = self._connection.call
        if reason is not None:
            call(lambda: self._client.set_tag(self._id, ERROR, shorten(reason, TAG_LIMIT)))
        call(lambda: self._client.set_terminated(self._id, status))

    def _log_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        entities = [Param(name, value) for name, value in params.items()]
        for batch in _batches(entities, PARAMS_PER_BATCH):
            self._write("its params", partial(self._client.log_batch, self._id, params=batch))

    def _upload_program(self, folder: Path) -> str:
        if not self._client.list_artifacts(self._id, PROGRAM):
            self._client.log_artifacts(self._id, str(folder), PROGRAM)
        return f"{self._client.get_run(self._id).info.artifact_uri}/{PROGRAM}"

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name, description=MODEL_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _own_tags(self) -> dict[str, str]:
        return {name: value for name, value in self._tags.items() if name.startswith("tiltyard.")}

    def _write(self, what: str, action: Callable[[], T]) -> T:
        if self._lost is not None:
            raise self._lost
        try:
            return self._connection.call(action)
        except StoreFailureError as failure:
            self._lost = _lost_store(
                self._connection, f"record {what} for run {self._id}", failure, self._folder
            )
            raise self._lost from failure


def _is_interruption(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and error.code in INTERRUPTED
    )


def _lost_store(
    connection: Connection, what: str, failure: StoreFailureError, folder: Path | None
) -> JobError:
    remedy = "see whether the store is full or down"
    if folder is not None:
        remedy += f"; the run's own files are in {folder}"
    return JobError(f"{connection.place}: could not {what} ({failure})", remedy)


def _clean_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: shorten(redact(str(value)), TAG_LIMIT) for name, value in tags.items()}


def _batches(entities: Sequence[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(entities)
    while batch := list(islice(remaining, size)):
        yield batch
