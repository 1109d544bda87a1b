"""Logs a report to MLflow: to the run of its sweep, or to a run of its own.

>>> log_report(written, folder, runs, tracking, source="sweep 2026-11-20_18-00-00")
'sweep/2026-11-20_18-00-00'

Runs of jobs are left as they are.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tiltyard.errors import JobError
from tiltyard.reporting.report_files import FIGURES_FOLDER

if TYPE_CHECKING:
    from tiltyard.tracking.connection import Connection
    from tiltyard.tracking.reader import TrackedRun
    from tiltyard.tracking.recorder import Tracking

FOLDER = "report"
"""The artifact folder that a report has in the run of its sweep."""
KIND = "report"
"""The tag ``tiltyard.kind`` of a report's own run."""


def sweep_of(runs: "Sequence[TrackedRun]") -> str | None:
    """The run id of the sweep that all of the runs are from; None where they are from several, or none."""
    parents = {run.parent for run in runs}
    return parents.pop() if len(parents) == 1 else None


def log_report(
    written: Sequence[Path],
    folder: Path,
    runs: "Sequence[TrackedRun]",
    tracking: "Tracking",
    *,
    source: str,
) -> str:
    """Log the files of a report.

    A report of one sweep goes into the sweep's own run, as ``report/``, in the place of an earlier one.
    Another one gets a run of its own in the same experiment, with the tag ``tiltyard.kind=report``.

    Args:
        written: The report's files.
        folder: The folder that they are in.
        runs: The runs that it is about.
        tracking: The store and the experiment.
        source: Where the runs are from.

    Returns:
        The name of the run that has the files.

    Raises:
        InputError: The store cannot be used.
        JobError: The store failed.
    """
    from tiltyard.tracking.connection import StoreFailureError
    from tiltyard.tracking.run import MlflowRun

    with tempfile.TemporaryDirectory() as staged:
        for path in written:  # the folder may hold other files, which are not the report's
            place = Path(staged, path.relative_to(folder))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        sweep = sweep_of(runs)
        if sweep is not None:
            connection = tracking.connect(create=False)
            try:
                name = connection.call(lambda: connection.client.get_run(sweep).info.run_name)
            except StoreFailureError as failure:
                raise JobError(
                    f"{connection.place}: the sweep's run {sweep} cannot be read ({failure})",
                    "write the report with --no-log",
                ) from failure
            MlflowRun(connection, sweep, {}, folder).log_folder(Path(staged), into=FOLDER)
            _remove_others(connection, sweep, Path(staged))
            return str(name)
        name = f"report/{max(run.started for run in runs):%Y-%m-%d_%H-%M-%S}"
        tags = {"tiltyard.kind": KIND, "tiltyard.report.source": source}
        with tracking.start(name, tags=tags, params={"runs": len(runs)}, folder=folder) as run:
            run.log_folder(Path(staged))
        return name


def _remove_others(connection: "Connection", run_id: str, report: Path) -> None:
    """Remove the figures that an earlier report logged to the run and this one has not.

    Raises:
        JobError: The store failed.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from tiltyard.tracking.connection import StoreFailureError

    figures, client = f"{FOLDER}/{FIGURES_FOLDER}", connection.client

    def remove() -> None:
        place = client.get_run(run_id).info.artifact_uri
        store = get_artifact_repository(place, tracking_uri=client.tracking_uri)
        for item in client.list_artifacts(run_id, figures):
            if not (report / FIGURES_FOLDER / Path(item.path).name).exists():
                store.delete_artifacts(item.path)  # type: ignore[no-untyped-call]

    try:
        connection.call(remove)
    except StoreFailureError as failure:
        raise JobError(
            f"{connection.place}: figures of an earlier report cannot be removed from {figures} ({failure})",
            "the new report is logged; remove the figures that its report.md does not name",
        ) from failure
