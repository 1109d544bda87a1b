"""The way to a store of runs: an MLflow client, and what its failures mean to a user."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from tiltyard.errors import InputError
from tiltyard.redaction import one_line
from tiltyard.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from requests import Response

T = TypeVar("T")

PROBE = "/api/2.0/mlflow/experiments/search"
"""What a server is asked for to see that it is there and lets one in."""
PROBE_TIMEOUTS_S = (3.0, 30.0)
"""How long a server may take to be reached, and to answer: one that many write to has a queue."""
BUSY_WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a local database that other processes keep busy is tried again."""


class StoreFailureError(Exception):
    """A call to MLflow that failed after its retries, in one line."""


@dataclass(frozen=True)
class Connection:
    """A store that answered. Threads may share it."""

    client: "MlflowClient"
    place: str
    """Where the runs are, as a user knows it: the folder or the address."""
    artifacts_uri: str | None
    """Where new experiments keep their artifacts; None leaves it to the server."""
    probe: Callable[[], object]
    """Raises :class:`InputError` at once when the store is out of reach."""

    def call(self, action: Callable[[], T]) -> T:
        """Call MLflow; a busy local database is tried again, and a server by MLflow itself.

        Raises:
            StoreFailureError: The call failed.
        """
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        waits = iter(BUSY_WAITS_S if self.artifacts_uri is not None else ())
        while True:
            try:
                return action()
            except (MlflowException, RequestException, OSError) as error:
                wait = next(waits, None) if "database is locked" in str(error) else None
                if wait is None:
                    raise StoreFailureError(one_line(error)) from error
                time.sleep(wait)

    def experiment_id(self, name: str) -> str | None:
        """The id of an experiment; None where there is none of this name.

        Raises:
            InputError: The experiment was deleted.
            StoreFailureError: The store does not answer.
        """
        experiment = self.call(lambda: self.client.get_experiment_by_name(name))
        if experiment is None:
            return None
        if experiment.lifecycle_stage != "active":
            raise InputError(
                f"experiment '{name}' in {self.place} was deleted",
                f"restore it (mlflow experiments restore -x {experiment.experiment_id}) or choose another "
                "tracking.experiment",
            )
        return str(experiment.experiment_id)

    def ensure_experiment(self, name: str) -> str:
        """The id of an experiment, created where there is none; several processes may ask at once.

        Raises:
            InputError: The experiment was deleted.
            StoreFailureError: The store does not answer.
        """
        existing = self.experiment_id(name)
        if existing is not None:
            return existing
        try:
            return self.call(lambda: str(self.client.create_experiment(name, self._location(name))))
        except StoreFailureError:
            created_by_another = self.experiment_id(name)
            if created_by_another is None:
                raise
            return created_by_another

    def _location(self, experiment: str) -> str | None:
        if self.artifacts_uri is None:
            return None
        folder = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in experiment)
        return f"{self.artifacts_uri}/{folder}"


def open_local(folder: Path, *, create: bool) -> Connection:
    """Connect to the local store in a folder.

    Raises:
        InputError: See :func:`tiltyard.tracking.store.open_store`.
    """
    from mlflow.tracking import MlflowClient

    _hush()
    store = open_store(folder, create=create)
    client = MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)
    return Connection(client, str(folder), store.artifacts_uri, probe=lambda: None)


def open_server(uri: str) -> Connection:
    """Connect to an MLflow server.

    Raises:
        InputError: No MLflow server answers at the address, or it refuses the credentials.
    """
    from mlflow.tracking import MlflowClient

    _hush()
    probe_server(uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return Connection(client, uri, None, probe=lambda: probe_server(uri))


def probe_server(uri: str) -> None:
    """Ask a server for a list of experiments, once: it answers only those whom it lets in.

    ``/health`` would not do: MLflow's server answers it without credentials, under any host name and
    without its database.

    Raises:
        InputError: No MLflow server answers, its certificate is not trusted, it refuses the credentials or
            the name in its address, or its database is down.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        response = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(uri),  # type: ignore[no-untyped-call]
            PROBE,
            "GET",
            params={"max_results": 1},
            max_retries=0,
            timeout=PROBE_TIMEOUTS_S,
            raise_on_status=False,
            allow_redirects=False,  # a login page is no answer
        )
    except MlflowException as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise InputError(
                f"the certificate of {uri} is not trusted",
                "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of its authority",
            ) from error
        raise InputError(
            f"no MLflow server answers at {uri}", "start it, correct tracking.uri, or use tracking=local"
        ) from error
    if response.status_code == 403 and "Invalid Host header" in response.text:
        name = urlsplit(uri).netloc
        raise InputError(
            f"the MLflow server at {uri} refuses requests to {name}",
            f"start it with --allowed-hosts {name}, or correct tracking.uri",
        )
    if response.status_code in (401, 403):
        raise InputError(
            f"the MLflow server at {uri} refused the credentials",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if response.status_code >= 500:
        raise InputError(
            f"the MLflow server at {uri} answers {response.status_code}",
            "see whether it and its database are up, or use tracking=local",
        )
    if not _lists_experiments(response):
        raise InputError(
            f"{uri}{PROBE} answered {response.status_code}: no MLflow server", "correct tracking.uri"
        )


def _lists_experiments(response: "Response") -> bool:
    """Whether a server's answer is MLflow's; an empty list is an empty object."""
    try:
        return response.status_code == 200 and isinstance(response.json(), dict)
    except ValueError:
        return False


@cache
def _hush() -> None:
    """Hold back the tracebacks that MLflow prints of database errors which it then raises as well."""
    logging.getLogger("mlflow.store.db.utils").addFilter(
        lambda record: not str(record.msg).startswith("SQLAlchemy database error")
    )
