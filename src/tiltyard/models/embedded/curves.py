"""Writes the curves of a training to MLflow; a store that fails costs points, not the training.

>>> curves = Curves("sqlite:///trained/mlflow.db", "seed-0", run_id=None, params={"steps": 3000})
>>> curves.log(10, {"loss.answer": 2.31})
>>> curves.finish("FINISHED")
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tiltyard.errors import InputError
from tiltyard.redaction import one_line

logger = logging.getLogger(__name__)

EXPERIMENT = "embedded-training"


class Curves:
    """One run of MLflow.

    Args:
        uri: MLflow's address of the store.
        name: The run's name.
        run_id: The run to go on with. None makes one; so does a run that the store does not have.
        params: What the run was started with.
        artifacts: The address of the folder for artifacts of a new experiment; None is the store's own.

    Raises:
        InputError: The store cannot be opened.
    """

    def __init__(
        self,
        uri: str,
        name: str,
        *,
        run_id: str | None,
        params: Mapping[str, Any],
        artifacts: str | None = None,
    ) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for noisy in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._failed = False
        try:
            self._client = MlflowClient(uri)
            self.run_id = run_id if run_id and self._has(run_id) else self._create(name, params, artifacts)
            """The run that is written."""
        except MlflowException as error:
            raise InputError(
                f"MLflow cannot open the store for the curves ({one_line(error)})", "check --tracking-uri"
            ) from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each of the curves."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._try(lambda: self._client.log_batch(self.run_id, metrics=metrics))

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Say how the training ended."""
        self._try(lambda: self._client.set_terminated(self.run_id, status))

    def _has(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return False
        return True

    def _create(self, name: str, params: Mapping[str, Any], artifacts: str | None) -> str:
        from mlflow.entities import Param

        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        place = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        )
        run_id: str = self._client.create_run(place, run_name=name).info.run_id
        self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])
        return run_id

    def _try(self, action: Callable[[], object]) -> None:
        # Of whatever kind: hours of training are worth more than a point of a curve.
        try:
            action()
        except Exception as error:
            if not self._failed:
                logger.warning("MLflow did not take a point; the curves have gaps: %s", one_line(error))
            self._failed = True
