"""``tiltyard report`` on a real MLflow server: rows are fetched from it, and the report is kept there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tiltyard.errors import JobError
from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.reporting.command import report
from tiltyard.tracking.recorder import ServerTracking

pytestmark = pytest.mark.integration


@pytest.fixture
def address(server: Any, tmp_path: Path) -> str:
    """A server with a sweep of two jobs, and one job of another sweep with a second seed."""
    tracking = ServerTracking(uri=server.address, experiment="team")
    with tracking.start("sweep/s1", tags={"tiltyard.kind": "sweep"}, params={}) as sweep:
        parent = sweep.run_id
    for number, (mode, seed, above) in enumerate(
        [("baseline", 0, parent), ("ace", 0, parent), ("ace", 1, None)]
    ):
        folder = tmp_path / f"job {number}"
        folder.mkdir()
        write_rows(folder / "predictions.csv", [_row(mode, n) for n in range(4)])
        (folder / "config.yaml").write_text(f"seed: {seed}\n", encoding="utf-8")
        tags = {
            "tiltyard.task": "iot_tiny",
            "tiltyard.model": "lexical",
            "tiltyard.mode": mode,
            "tiltyard.optimizer": "none" if mode == "baseline" else mode,
            "tiltyard.fingerprint": str(number),
            "tiltyard.sweep": "s1" if above else "s2",
        }
        with tracking.start(mode, tags=tags, params={"seed": seed}, parent=above) as run:
            run.log_folder(folder)
    return server.address


def _row(mode: str, n: int) -> Row:
    score = int(mode == "ace" or n > 2)
    texts = ("lexical", "iot_tiny", "d", mode, str(n), "g", "p")
    return Row(*texts, 12.0, "q", "c", score, score, "test", 0, "stop", "", 0.0, 0, 1, 1, 0)


def logged(address: str, kind: str) -> dict[str, set[str]]:
    """The files of the runs of a kind, by the run's name."""
    client = ServerTracking(uri=address, experiment="team").connect(create=False).client
    experiment = client.get_experiment_by_name("team")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`tiltyard.kind` = '{kind}'")
    return {
        run.info.run_name: {
            item.path
            for folder in ("", "figures", "report", "report/figures")
            for item in client.list_artifacts(run.info.run_id, folder)
        }
        for run in runs
    }


def test_a_report_is_read_from_a_server_and_kept_there(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    options = ["--tracking", address, "--experiment", "team", "--output", str(tmp_path / "report")]
    of_sweep = [*options, "--sweep", "s1"]

    with refusing_files_of_the_sweep(address, tmp_path / "server-artifacts"):
        report(of_sweep)
        assert "not logged to MLflow: " in capsys.readouterr().out
        assert (tmp_path / "report" / "report.html").exists()
        with pytest.raises(JobError, match="could not record its files"):
            report([*of_sweep, "--log"])

    report([*options, "--log"])
    [(name, found)] = logged(address, "report").items()
    assert {"report.html", "report.md", "summary.csv", "figures/seeds.svg"} <= found
    assert f"logged to MLflow: run {name}" in capsys.readouterr().out

    report(of_sweep)
    [(name, found)] = logged(address, "sweep").items()
    assert name == "sweep/s1"
    assert {"report/report.html", "report/figures/differences.svg"} <= found
    assert "report/figures/seeds.svg" not in found

    report([*of_sweep, "--tag", "mode=baseline"])
    [found] = logged(address, "sweep").values()
    assert "report/figures/scores.svg" in found
    assert "report/figures/differences.svg" not in found  # the earlier report's, which this one has not


@contextmanager
def refusing_files_of_the_sweep(address: str, artifacts: Path) -> Iterator[None]:
    """A file stands where the server would make the folder of the sweep's run."""
    connection = ServerTracking(uri=address, experiment="team").connect(create=False)
    experiment = connection.ensure_experiment("team")
    [run] = connection.client.search_runs([experiment], "tags.`tiltyard.kind` = 'sweep'")
    place = artifacts / run.info.artifact_uri.partition("mlflow-artifacts:/")[2]
    place.parent.mkdir(parents=True)
    place.touch()
    yield
    place.unlink()
