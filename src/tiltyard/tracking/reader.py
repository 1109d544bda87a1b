"""Reads runs back: the one module that queries MLflow.

>>> for run in runs(LocalTracking()):
...     print(run.name, run.metrics["score"], len(run.rows()))
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tiltyard.errors import InputError, JobError
from tiltyard.evaluation.rows import read_rows, rows_of_the_score
from tiltyard.files import write_bytes
from tiltyard.tracking.connection import Connection, StoreFailureError
from tiltyard.tracking.recorder import Tracking
from tiltyard.tracking.tags import KIND, PARENT

if TYPE_CHECKING:
    import pandas as pd

PAGE = 1000
"""Runs asked for at once."""
ROWS = "predictions.csv"


@dataclass(frozen=True)
class TrackedRun:
    """One recorded run of one combination."""

    run_id: str
    name: str
    status: str
    """``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``. A process that could not say how it ended
    (SIGKILL, power) leaves ``RUNNING`` until :func:`tiltyard.tracking.dead_runs.end_dead_runs`."""
    started: datetime
    """UTC."""
    ended: datetime | None
    """UTC; None while the run has not ended."""
    tags: Mapping[str, str]
    params: Mapping[str, str]
    """The run's config, flattened with dots."""
    metrics: Mapping[str, float]
    """The last value of each."""
    _connection: Connection = field(repr=False, compare=False)
    _artifacts: str = field(default="", repr=False, compare=False)
    """Where the run's artifacts are, as a URI."""

    @property
    def parent(self) -> str | None:
        """The run id of the sweep; None outside a sweep."""
        return self.tags.get(PARENT)

    @property
    def sweep(self) -> str:
        """The sweep's id; empty outside a sweep."""
        return self.tags.get("tiltyard.sweep", "")

    @property
    def fingerprint(self) -> str:
        """The hash of everything that can change the result."""
        return self.tags.get("tiltyard.fingerprint", "")

    @property
    def task(self) -> str:
        """The task's label."""
        return self.tags.get("tiltyard.task", "")

    @property
    def model(self) -> str:
        """The model's label."""
        return self.tags.get("tiltyard.model", "")

    @property
    def optimizer(self) -> str:
        """The optimizer's label."""
        return self.tags.get("tiltyard.optimizer", "")

    @property
    def simulation(self) -> str:
        """The simulation's label."""
        return self.tags.get("tiltyard.simulation", "")

    @property
    def mode(self) -> str:
        """``baseline``, or the optimizer's label."""
        return self.tags.get("tiltyard.mode", "")

    @property
    def split(self) -> str:
        """The split that was evaluated."""
        return self.tags.get("tiltyard.split", "test")

    @property
    def asked_the_model(self) -> bool:
        """Whether the response cache did not answer everything: such a run says something of speed."""
        examples = self.metrics.get("examples")
        return examples is None or self.metrics.get("examples.cached", 0.0) < examples

    def rows(self) -> "pd.DataFrame":
        """The rows of the run's ``predictions.csv`` that its score is of, one per evaluated example.

        Raises:
            InputError: The run has none.
            JobError: The store failed.
        """
        with _explaining(self._connection), self._artifact(ROWS) as path:
            if path is None:
                raise InputError(
                    f"run {self.name} ({self.run_id}) has no {ROWS}",
                    "it ended before its first example; run it again",
                )
            return rows_of_the_score(read_rows(path), self.metrics)

    def text(self, name: str) -> str | None:
        """The text of one of the run's artifacts, such as ``config.yaml``; None where it has no such one.

        Raises:
            JobError: The store failed.
        """
        with _explaining(self._connection), self._artifact(name) as path:
            return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    def files(self) -> set[str]:
        """The names of the files at the root of the run's artifacts.

        Raises:
            JobError: The store failed.
        """
        if (folder := self._folder) is not None:
            return {path.name for path in folder.iterdir() if path.is_file()}
        client = self._connection.client
        with _explaining(self._connection):
            found = self._connection.call(lambda: client.list_artifacts(self.run_id))
        return {item.path for item in found if not item.is_dir}

    def copy(self, name: str, into: Path) -> None:
        """Copy one of the run's artifacts into a folder, which is made when it does not exist.

        Raises:
            InputError: The run has no such file.
            JobError: The store failed.
        """
        with _explaining(self._connection), self._artifact(name) as path:
            if path is None:
                raise InputError(f"run {self.name} ({self.run_id}) has no {name}", "run it again")
            write_bytes(into / name, path.read_bytes())

    @property
    def _folder(self) -> Path | None:
        """The run's artifacts, where they are on this disk."""
        place = urlsplit(self._artifacts)
        folder = Path(unquote(place.path))
        return folder if place.scheme == "file" and folder.is_dir() else None

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """All values of a metric as steps and values, by step; of a step with several, the last one.

        Raises:
            JobError: The store failed.
        """
        client = self._connection.client
        with _explaining(self._connection):
            history = self._connection.call(lambda: client.get_metric_history(self.run_id, metric))
        values = {point.step: point.value for point in sorted(history, key=lambda point: point.timestamp)}
        return sorted(values.items())

    @contextmanager
    def _artifact(self, name: str) -> Iterator[Path | None]:
        """A file with the artifact's content, as long as the block lasts; None where there is none."""
        if (folder := self._folder) is not None:  # on this disk, no question to the store is needed
            yield folder / name if (folder / name).is_file() else None
            return
        client = self._connection.client
        names = self._connection.call(lambda: [item.path for item in client.list_artifacts(self.run_id)])
        if name not in names:
            yield None
            return
        with tempfile.TemporaryDirectory() as into:
            path = self._connection.call(lambda: client.download_artifacts(self.run_id, name, into))
            yield Path(path)


def runs(
    tracking: Tracking,
    *,
    experiment: str | None = None,
    statuses: Collection[str] = ("FINISHED",),
    filter: str = "",
) -> list[TrackedRun]:
    """The recorded jobs of an experiment, oldest first; sweeps, their parents, are left out.

    Args:
        tracking: Where the runs are.
        experiment: The MLflow experiment; the tracking's own when None.
        statuses: Which runs: any of ``RUNNING``, ``FINISHED``, ``FAILED``, ``KILLED``.
        filter: Only runs that MLflow's search finds by this, such as ``metrics.score > 0.5``.

    Raises:
        InputError: There is no store, no such experiment in it, or MLflow refuses the filter.
        JobError: The store failed.
    """
    connection = tracking.connect(create=False)
    name = experiment if experiment is not None else tracking.experiment
    with _explaining(connection):
        experiment_id = connection.experiment_id(name)
        if experiment_id is None:
            raise InputError(
                f"no experiment '{name}' in {connection.place}",
                f"experiments there: {_experiments(connection)}",
            )
        found = [_tracked_run(run, connection) for run in _search(connection, experiment_id, filter)]
    return [run for run in found if run.status in statuses]


def earlier_runs(tracking: Tracking) -> list[TrackedRun]:
    """All recorded jobs of the tracking's experiment, however they ended, oldest first.

    None where nothing is recorded yet, or ever; a store is not made.

    Raises:
        InputError: The store cannot be used or does not answer, or the experiment was deleted.
        JobError: The store failed.
    """
    if not tracking.exists():
        return []
    connection = tracking.connect(create=False)
    with _explaining(connection):
        experiment_id = connection.experiment_id(tracking.experiment)
        if experiment_id is None:
            return []
        return [_tracked_run(run, connection) for run in _search(connection, experiment_id, "")]


def _search(connection: Connection, experiment_id: str, filter: str) -> Iterator[Any]:
    jobs = f"tags.`{KIND}` = 'job'"
    token: str | None = None
    while True:
        search = partial(
            connection.client.search_runs,
            [experiment_id],
            f"{jobs} AND {filter}" if filter.strip() else jobs,
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        try:
            page = connection.call(search)
        except StoreFailureError as failure:
            if filter.strip() and getattr(failure.__cause__, "error_code", "") == "INVALID_PARAMETER_VALUE":
                raise InputError(
                    f"MLflow does not understand the filter {filter!r} ({failure})",
                    "write it as \"metrics.score > 0.5 and params.seed = '0'\"",
                ) from failure
            raise
        yield from page
        token = page.token
        if not token:
            return


def _tracked_run(run: Any, connection: Connection) -> TrackedRun:
    return TrackedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        started=_time(run.info.start_time),
        ended=_time(run.info.end_time) if run.info.end_time else None,
        tags=run.data.tags,
        params=run.data.params,
        metrics=run.data.metrics,
        _connection=connection,
        _artifacts=run.info.artifact_uri or "",
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _experiments(connection: Connection) -> str:
    found = connection.call(lambda: connection.client.search_experiments())
    return ", ".join(sorted(experiment.name for experiment in found)) or "none"


@contextmanager
def _explaining(connection: Connection) -> Iterator[None]:
    try:
        yield
    except StoreFailureError as failure:
        raise JobError(f"{connection.place}: could not read the runs ({failure})", "try again") from failure
