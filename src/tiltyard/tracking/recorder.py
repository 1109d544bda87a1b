"""Starts runs: the options of the ``tracking`` group, and where each of them records.

>>> tracking = LocalTracking()
>>> with tracking.start("tatqa_tiny/lexical/none/s0", tags=tags, params=config) as run:
...     run.log_metrics({"score": 0.75})
...     run.log_folder(Path("outputs/2026-11-20/18-00-00"))
"""

import getpass
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from tiltyard.errors import InputError
from tiltyard.tracking.connection import Connection, open_local, open_server
from tiltyard.tracking.params import flatten
from tiltyard.tracking.run import MlflowRun, Run
from tiltyard.tracking.store import has_store
from tiltyard.tracking.tags import KIND, PARENT
from tiltyard.tracking.untracked import UntrackedRun

__all__ = ["LocalTracking", "NoTracking", "Run", "ServerTracking", "Tracking"]


class Tracking(ABC):
    """Where runs are recorded: the options of the ``tracking`` group."""

    experiment: str
    """The MLflow experiment that runs are recorded in."""

    def exists(self) -> bool:
        """Whether runs may have been recorded there before; False where the store is not made yet."""
        return True

    @abstractmethod
    def connect(self, *, create: bool) -> Connection:
        """Open the store.

        Args:
            create: Whether a local store that is missing is created.

        Raises:
            InputError: The store is missing, cannot be used, or does not answer.
        """

    def start(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        parent: str | None = None,
        folder: Path | None = None,
    ) -> Run:
        """Start a run.

        Args:
            name: The run's name.
            tags: The run's tags. A run without ``tiltyard.kind`` is a ``job``.
            params: The run's config: nested mappings become dotted names; keys that look like secrets are
                left out.
            parent: The run id of the sweep that the run belongs to.
            folder: The run's own files; an error of the store says that they are there.

        Raises:
            InputError: The store cannot be used or does not answer.
            JobError: The store failed after it had answered.
        """
        return MlflowRun.create(
            self.connect(create=True),
            self.experiment,
            name,
            tags={KIND: "job"} | _source() | dict(tags) | ({PARENT: parent} if parent else {}),
            params=flatten(params),
            folder=folder,
        )

    def go_on(self, run_id: str, *, folder: Path | None = None) -> Run:
        """Take up a run that was started before and has ended.

        Args:
            run_id: The run.
            folder: The run's own files; an error of the store says that they are there.

        Raises:
            InputError: The store is missing, cannot be used, or does not answer.
            JobError: The store has no such run, or failed.
        """
        return MlflowRun.go_on(self.connect(create=False), run_id, folder)


def _source() -> dict[str, str]:
    """What MLflow's own columns show: the program, and who started it."""
    try:
        user = {"mlflow.user": getpass.getuser()}
    except (ImportError, KeyError, OSError):  # a container's user may have no name
        user = {}
    return {"mlflow.source.name": "tiltyard", "mlflow.source.type": "LOCAL", **user}


class LocalTracking(Tracking):
    """Records in a folder: SQLite in ``mlflow.db``, files in ``artifacts/``. The folder can be moved.

    Args:
        folder: The folder, relative to the working directory or absolute; created when it is missing.
        experiment: The MLflow experiment that runs are recorded in.
    """

    def __init__(
        self,
        *,
        folder: Annotated[str, Field(min_length=1)] = "mlruns",
        experiment: Annotated[str, Field(min_length=1, max_length=500)] = "tiltyard",
    ) -> None:
        self.folder = Path(folder)
        self.experiment = experiment

    def exists(self) -> bool:
        """Whether the folder has a store."""
        return has_store(self.folder)

    def connect(self, *, create: bool) -> Connection:
        """Open the folder's store; see :meth:`Tracking.connect`."""
        return open_local(self.folder, create=create)


class ServerTracking(Tracking):
    """Records on an MLflow server, for a team.

    Credentials are MLflow's own environment variables: ``MLFLOW_TRACKING_USERNAME`` and
    ``MLFLOW_TRACKING_PASSWORD``, or ``MLFLOW_TRACKING_TOKEN``.

    Args:
        uri: The server's address, ``http://…`` or ``https://…``, without credentials.
        experiment: The MLflow experiment that runs are recorded in.
    """

    def __init__(
        self,
        *,
        uri: Annotated[str, Field(pattern=r"^https?://.+")] = "http://127.0.0.1:5000",
        experiment: Annotated[str, Field(min_length=1, max_length=500)] = "tiltyard",
    ) -> None:
        if "@" in urlsplit(uri).netloc:
            raise InputError(
                "tracking.uri holds credentials, and configs are written to disk",
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
            )
        self.uri = uri.rstrip("/")
        self.experiment = experiment

    def connect(self, *, create: bool) -> Connection:
        """Reach the server; see :meth:`Tracking.connect`."""
        return open_server(self.uri)


class NoTracking(Tracking):
    """Records nothing: a run's files are in its output folder only."""

    experiment = ""

    def exists(self) -> bool:
        """There is no store."""
        return False

    def connect(self, *, create: bool) -> Connection:
        """Refuse: there is no store."""
        raise InputError("tracking=off keeps no runs", "use tracking=local or tracking=server")

    def start(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        parent: str | None = None,
        folder: Path | None = None,
    ) -> Run:
        """Start a run that is not recorded."""
        return UntrackedRun()
