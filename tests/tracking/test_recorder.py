import json
import math
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from tiltyard.errors import InputError, JobError
from tiltyard.evaluation.rows import write_rows
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking, NoTracking, ServerTracking

ANY_STATUS = ("RUNNING", "FINISHED", "FAILED", "KILLED")


@pytest.fixture
def output(tmp_path, make_row):
    folder = tmp_path / "output"
    (folder / "figures").mkdir(parents=True)
    (folder / "program").mkdir()
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("seed: 0\n")
    (folder / "figures" / "latency.svg").write_text("<svg/>")
    (folder / "program" / "program.json").write_text("{}")
    write_rows(folder / "predictions.csv", [make_row("1"), make_row("2", pred="x", correct=1)])
    return folder


def test_a_run_reads_back_as_it_was_written(tracking, output):
    before = datetime.now(UTC) - timedelta(seconds=1)
    tags = {
        "tiltyard.fingerprint": "f00d",
        "tiltyard.sweep": "2026-11-20",
        "tiltyard.task": "tatqa_tiny",
        "tiltyard.model": "lexical",
        "tiltyard.optimizer": "bootstrap",
        "tiltyard.simulation": "none",
        "tiltyard.mode": "bootstrap",
    }
    params = {"seed": 3, "model": {"name": "lexical"}} | {f"p{n}": n for n in range(250)}
    metrics = {"score": 0.75, "cost.usd": math.nan} | {
        f"latency.phase{n}.p50_ms": float(n) for n in range(1100)
    }
    with (
        tracking.start("sweep", tags={"tiltyard.kind": "sweep"}, params={}) as sweep,
        tracking.start("t/m/o/s3", tags=tags, params=params, parent=sweep.run_id) as run,
    ):
        run.log_metrics(metrics)
        run.set_tags({"tiltyard.weights": "random"})
        run.log_folder(output)
        run.log_rows(output / "predictions.csv")

    [found] = runs(tracking)
    assert (found.run_id, found.parent, found.name, found.status) == (
        run.run_id,
        sweep.run_id,
        "t/m/o/s3",
        "FINISHED",
    )
    assert before < found.started <= found.ended < datetime.now(UTC) + timedelta(seconds=1)
    assert (found.sweep, found.fingerprint) == ("2026-11-20", "f00d")
    assert (found.task, found.model, found.optimizer) == ("tatqa_tiny", "lexical", "bootstrap")
    assert (found.simulation, found.mode) == ("none", "bootstrap")
    assert found.tags["tiltyard.weights"] == "random"
    assert found.params["model.name"] == "lexical"
    assert len(found.params) == 252
    assert found.metrics["score"] == 0.75
    assert math.isnan(found.metrics["cost.usd"])
    assert len(found.metrics) == 1102
    assert list(found.rows()["sample_id"]) == ["1", "2"]
    assert list(found.rows()["gold"]) == ["007", "007"]
    assert list(found.rows()["pred"]) == ["NA", "x"]


def test_artifacts_keep_their_paths_and_the_rows_are_a_table(tracking, output):
    with tracking.start("a run", tags={}, params={}) as run:
        run.log_folder(output)
        run.log_rows(output / "predictions.csv")
    [root] = tracking.folder.glob(f"artifacts/tiltyard/{run.run_id}/artifacts")
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {
        ".hydra/config.yaml",
        "figures/latency.svg",
        "predictions.csv",
        "predictions.json",
        "program/program.json",
    }
    table = json.loads((root / "predictions.json").read_text())
    assert dict(zip(table["columns"], table["data"][0], strict=True))["pred"] == "NA"
    [found] = runs(tracking)
    assert json.loads(found.tags["mlflow.loggedArtifacts"]) == [{"path": "predictions.json", "type": "table"}]


def test_a_table_of_thousands_of_rows_is_quick(tracking, tmp_path, make_row):
    import time

    write_rows(tmp_path / "predictions.csv", [make_row(str(n), context="word " * 200) for n in range(5000)])
    with tracking.start("a run", tags={}, params={}) as run:
        start = time.perf_counter()
        run.log_rows(tmp_path / "predictions.csv")
        assert time.perf_counter() - start < 5


def test_a_registered_program_counts_its_versions(tracking, output):
    for number in ("1", "2"):
        with tracking.start("a run", tags={"tiltyard.fingerprint": number}, params={}) as run:
            assert run.register_program(output / "program", "tatqa/tiny:lexical") == number
    client = tracking.connect(create=False).client
    version = client.get_model_version("tatqa.tiny.lexical", "2")
    assert version.run_id == run.run_id
    assert version.tags["tiltyard.fingerprint"] == "2"
    assert [item.path for item in client.list_artifacts(run.run_id, "program")] == ["program/program.json"]


def test_a_version_is_described_without_secrets_and_within_the_limit(tracking, output, monkeypatch):
    monkeypatch.setenv("PLANTED_API_KEY", "a-planted-secret")
    with tracking.start("a run", tags={}, params={}) as run:
        run.register_program(
            output / "program", "a/model", lambda uri: f"{uri} a-planted-secret {'long ' * 2000}"
        )
    client = tracking.connect(create=False).client
    description = client.get_model_version("a.model", "1").description
    assert description.startswith("models:/a.model/1 *** long ")
    assert len(description) == 5000
    assert "a version for each run" in client.get_registered_model("a.model").description


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), "KILLED", None),
        (SystemExit(143), "KILLED", None),
        (SystemExit(130), "KILLED", None),
        (SystemExit(1), "FAILED", "SystemExit: 1"),
        (SystemExit(0), "FAILED", "SystemExit: 0"),
        (ValueError("no\nluck with hunter2-hunter2"), "FAILED", "ValueError: no luck with ***"),
        (JobError("the model died", "try another"), "FAILED", "the model died; try another"),
        (ZeroDivisionError(), "FAILED", "ZeroDivisionError"),
    ],
)
def test_how_a_run_ends_and_what_it_keeps(tracking, output, monkeypatch, error, status, reason):
    monkeypatch.setenv("SOME_API_KEY", "hunter2-hunter2")

    def work() -> None:
        with tracking.start("a run", tags={}, params={}) as run:
            run.log_folder(output)
            run.log_metrics({"score": 0.5})
            raise error

    with pytest.raises(type(error)):
        work()
    [found] = runs(tracking, statuses=ANY_STATUS)
    assert (found.status, found.tags.get("tiltyard.error")) == (status, reason)
    assert found.ended is not None
    assert found.metrics == {"score": 0.5}
    assert len(found.rows()) == 2
    assert runs(tracking) == []


def test_threads_may_write_one_run_and_run_side_by_side(tracking):
    def write(number: int, shared: object) -> None:
        with tracking.start(f"run-{number}", tags={}, params={}) as own:
            own.log_metrics({"score": number})
        shared.log_metrics({f"metric{number}": number})  # type: ignore[attr-defined]

    with tracking.start("shared", tags={}, params={}) as shared:
        threads = [threading.Thread(target=write, args=(number, shared)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = {run.name: run for run in runs(tracking)}
    assert len(found) == 9
    assert found["shared"].metrics == {f"metric{n}": float(n) for n in range(8)}
    assert found["run-7"].metrics == {"score": 7.0}


def test_all_pages_are_read(tracking, monkeypatch):
    monkeypatch.setattr("tiltyard.tracking.reader.PAGE", 2)
    for number in range(5):
        with tracking.start(f"run-{number}", tags={}, params={}):
            pass
    assert [run.name for run in runs(tracking)] == [f"run-{n}" for n in range(5)]


def test_experiments_are_apart_and_a_wrong_one_is_named(tracking):
    other = LocalTracking(folder=str(tracking.folder), experiment="a/b: ü")
    with other.start("a run", tags={}, params={}) as run:
        pass
    assert [found.run_id for found in runs(other)] == [run.run_id]
    assert [found.run_id for found in runs(tracking, experiment="a/b: ü")] == [run.run_id]
    with pytest.raises(
        InputError, match=r"no experiment 'tiltyard' in .*; experiments there: Default, a/b: ü"
    ):
        runs(tracking)


def test_a_deleted_experiment_is_named(tracking):
    with tracking.start("a run", tags={}, params={}):
        pass
    connection = tracking.connect(create=False)
    connection.client.delete_experiment(connection.experiment_id("tiltyard"))
    with pytest.raises(InputError, match=r"experiment 'tiltyard' in .* was deleted; restore it"):
        tracking.start("a run", tags={}, params={})


def test_a_run_without_rows_says_so(tracking):
    with tracking.start("a run", tags={}, params={}):
        pass
    [found] = runs(tracking)
    with pytest.raises(InputError, match=r"has no predictions\.csv"):
        found.rows()


def test_a_store_that_fails_in_the_middle_names_the_local_files(tracking, output, monkeypatch):
    calls = []

    def fail(*args: object, **kwargs: object) -> None:
        calls.append(args)
        raise MlflowException("503 from the store")

    def work() -> None:
        with tracking.start("a run", tags={}, params={}, folder=output) as run:
            run.log_metrics({"score": 0.5})
            monkeypatch.setattr(run._client, "log_artifacts", fail)
            with pytest.raises(JobError):
                run.log_folder(output)
            run.log_metrics({"never": 1.0})

    with pytest.raises(JobError) as caught:
        work()
    assert str(output) in str(caught.value)
    assert "could not record its files" in str(caught.value)
    assert "503 from the store" in str(caught.value)
    assert len(calls) == 1
    [found] = runs(tracking, statuses=ANY_STATUS)
    assert found.status == "FAILED"
    assert found.metrics == {"score": 0.5}


def test_a_busy_database_is_tried_again(tracking, monkeypatch):
    monkeypatch.setattr("tiltyard.tracking.connection.BUSY_WAITS_S", (0.0, 0.0))
    failures = [MlflowException("database is locked"), MlflowException("database is locked")]
    with tracking.start("a run", tags={}, params={}) as run:
        genuine = run._client.log_batch

        def sometimes(*args: object, **kwargs: object) -> None:
            if failures:
                raise failures.pop()
            genuine(*args, **kwargs)

        monkeypatch.setattr(run._client, "log_batch", sometimes)
        run.log_metrics({"score": 0.5})
    assert runs(tracking)[0].metrics == {"score": 0.5}


def test_without_tracking_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracking = NoTracking()
    with tracking.start("a run", tags={}, params={"a": 1}) as run:
        run.log_metrics({"score": 1.0})
        run.set_tags({"a": "b"})
        run.log_folder(tmp_path)
        run.log_rows(tmp_path / "predictions.csv")
        assert run.register_program(tmp_path, "a model") is None
        assert run.run_id is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="tracking=off keeps no runs"):
        runs(tracking)


def test_a_server_that_is_not_there_is_noticed_at_once():
    import time

    start = time.perf_counter()
    with pytest.raises(InputError, match=r"no MLflow server answers at http://127\.0\.0\.1:9") as caught:
        ServerTracking(uri="http://127.0.0.1:9").start("a run", tags={}, params={})
    assert time.perf_counter() - start < 5
    assert "\n" not in str(caught.value)


def test_credentials_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(InputError, match="MLFLOW_TRACKING_USERNAME") as caught:
        ServerTracking(uri="https://ada:hunter2@mlflow.example.org")
    assert "hunter2" not in str(caught.value)


def test_a_folder_is_where_the_process_works(tmp_path, monkeypatch, empty_store):
    import shutil

    shutil.copytree(empty_store, tmp_path / "mlruns")
    monkeypatch.chdir(tmp_path)
    with LocalTracking().start("a run", tags={}, params={}):
        pass
    assert [run.name for run in runs(LocalTracking(folder=str(Path.cwd() / "mlruns")))] == ["a run"]
