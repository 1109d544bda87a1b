"""A team's server: MLflow with accounts, its runs in PostgreSQL, written to by several sweeps at once."""

import base64
import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tiltyard.cli import main
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import ServerTracking

pytestmark = pytest.mark.integration

EVERY = ("FINISHED", "FAILED", "KILLED", "RUNNING")
USER, PASSWORD = "ada", "kept-in-the-environment-only"
EXPERIMENT = "nobody made it before"
SWEEPS = ("seed=0", "seed=1")
"""What is started at the same time; each of them with and without an optimizer."""
PARALLEL = ("hardware.workers=2",)
"""Overrides that let each sweep run several jobs at a time."""
MODEL = "iot_tiny.lexical.bootstrap"


@dataclass(frozen=True)
class Team:
    """What the tests of this module share."""

    address: str
    tracking: ServerTracking
    folder: Path
    """Where sweeps were started; each of them has a folder in it."""

    def sweep(self, number: int) -> "subprocess.Popen[str]":
        """Start a sweep."""
        folder = self.folder / f"sweep-{number}"
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tiltyard", "-m", "model=lexical", "task=iot_tiny", "limit=2"),
                *("optimizer=none,bootstrap", SWEEPS[number], *PARALLEL, "tracking=server"),
                *(f"tracking.uri={self.address}", f"tracking.experiment={EXPERIMENT}"),
            ],
            cwd=folder,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "TILTYARD_CACHE_DIR": str(self.folder / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def team(postgres, serve_mlflow, tmp_path_factory) -> Iterator[Team]:
    """The server, and what several sweeps at the same time have recorded on it."""
    pytest.importorskip("flask_wtf", reason="needs Flask-WTF, of the extra 'server'")
    folder = tmp_path_factory.mktemp("team")
    for database in ("runs", "accounts"):
        postgres.query("postgres", f"CREATE DATABASE {database}")
    (folder / "accounts.ini").write_text(
        f"[mlflow]\ndefault_permission = EDIT\ndatabase_uri = {postgres.uri('accounts')}\n"
        "auth_cache_ttl_seconds = 60\n"
    )
    environment = {
        "MLFLOW_BACKEND_STORE_URI": postgres.uri("runs"),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "accounts.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of no other use than to be long enough",
    }
    options = ("--app-name", "basic-auth", "--workers", "2")
    destination = ("--artifacts-destination", str(folder / "artifacts"))
    with (
        serve_mlflow(*options, *destination, environment=environment) as server,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        tracking = ServerTracking(uri=server.address, experiment=EXPERIMENT)
        found = Team(server.address, tracking, folder)
        for process in [found.sweep(number) for number in range(len(SWEEPS))]:
            out, err = process.communicate(timeout=180)
            assert process.returncode == 0, err
            assert "View run" not in out
        yield found


def test_sweeps_at_the_same_time_record_every_run_once(team, postgres):
    found = runs(team.tracking, statuses=EVERY)
    assert [run.status for run in found] == ["FINISHED"] * 4
    assert {(run.params["seed"], run.optimizer) for run in found} == {
        (str(seed), optimizer) for seed in range(2) for optimizer in ("none", "bootstrap")
    }
    assert len({run.sweep for run in found}) == len({run.parent for run in found}) == 2
    for run in found:
        assert run.metrics["examples"] == 2
        assert len(run.rows()) == 2
        assert {"config.yaml", "result.json", "report.md", "predictions.json"} <= run.files()

    client = team.tracking.connect(create=False).client
    versions = client.search_model_versions(f"name = '{MODEL}'")
    assert sorted(int(version.version) for version in versions) == [1, 2]
    adapted = {run.run_id for run in found if run.optimizer == "bootstrap"}
    assert {version.run_id for version in versions} == adapted
    for version in versions:
        assert "program/program.json" in artifacts_of(client, version.run_id)

    # The server keeps them in PostgreSQL, not in a file of its own.
    stored = postgres.query("runs", "SELECT run_uuid FROM runs WHERE status = 'FINISHED'")
    assert {run_id for (run_id,) in stored} >= {run.run_id for run in found}
    [(metrics,)] = postgres.query("runs", "SELECT count(*) FROM metrics WHERE key = 'score'")
    assert metrics == 4


def artifacts_of(client, run_id: str) -> set[str]:
    return {item.path for item in client.list_artifacts(run_id, "program")}


def test_the_same_sweep_again_keeps_what_has_finished(team):
    before = runs(team.tracking, statuses=EVERY)
    process = team.sweep(0)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    summary = max((team.folder / "sweep-0").glob("outputs/sweeps/*/summary.csv"))
    with summary.open(encoding="utf-8", newline="") as file:
        jobs = list(csv.DictReader(file))
    assert [job["status"] for job in jobs] == ["kept"] * 2
    assert {job["kept_from"] for job in jobs} == {run.run_id for run in before if run.params["seed"] == "0"}
    assert [run.run_id for run in runs(team.tracking, statuses=EVERY)] == [run.run_id for run in before]


def test_a_report_is_made_of_the_servers_runs(team, in_folder, capfd):
    assert main(["report", "--tracking", team.address, "--experiment", EXPERIMENT]) == 0
    out, _ = capfd.readouterr()
    assert out.count("lexical") >= 2
    assert (in_folder / "outputs/report/report.html").is_file()


def test_the_password_is_in_no_file_param_tag_or_table(team, postgres):
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    kept = [path for path in team.folder.rglob("*") if path.is_file()]
    assert any(path.name == "tiltyard.log" for path in kept)
    for path in kept:
        content = path.read_bytes()
        assert PASSWORD.encode() not in content, path
        assert encoded.encode() not in content, path
    for database in ("runs", "accounts"):
        dumped = postgres.dump(database)
        assert USER in dumped
        assert PASSWORD not in dumped
        assert encoded not in dumped
        assert postgres.password not in dumped


@pytest.mark.parametrize("password", ["wrong", None])
def test_credentials_that_are_wrong_or_missing_are_said_before_anything_runs(
    team, in_folder, monkeypatch, capfd, password
):
    if password is None:
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    server = ("tracking=server", f"tracking.uri={team.address}")
    for command in (["-m", "model=lexical", "task=iot_tiny", "seed=0,1", *server], ["report", *to(team)]):
        assert main(command) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.splitlines() == [
            f"error: the MLflow server at {team.address} refused the credentials; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        ]
    assert not list(in_folder.rglob("result.json"))


def to(team: Team) -> list[str]:
    return ["--tracking", team.address]
