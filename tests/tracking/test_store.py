import multiprocessing
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tiltyard.disks import on_local_disk
from tiltyard.errors import InputError
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.store import DATABASE, open_store

PROCESSES = 8


def record(folder: str, number: int, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    tracking = LocalTracking(folder=folder)
    with tracking.start(
        f"run-{number}", tags={"tiltyard.fingerprint": str(number)}, params={"n": number}
    ) as run:
        run.log_metrics({"score": number / 10})
        program = Path(folder).parent / "program"
        program.mkdir(exist_ok=True)
        run.register_program(program, "one model")


def test_processes_that_start_together_share_one_new_store(tmp_path):
    folder = str(tmp_path / "mlruns")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "mlflow.store.tracking.sqlalchemy_store", __name__])
    barrier = context.Barrier(PROCESSES)
    jobs = [context.Process(target=record, args=(folder, n, barrier)) for n in range(PROCESSES)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)

    assert [job.exitcode for job in jobs] == [0] * PROCESSES
    found = runs(LocalTracking(folder=folder))
    assert sorted(run.name for run in found) == [f"run-{n}" for n in range(PROCESSES)]
    assert {run.params["n"]: run.metrics["score"] for run in found} == {
        str(n): n / 10 for n in range(PROCESSES)
    }
    client = LocalTracking(folder=folder).connect(create=False).client
    versions = client.search_model_versions("name='one model'")
    assert sorted(int(version.version) for version in versions) == list(range(1, PROCESSES + 1))
    assert {version.run_id for version in versions} == {run.run_id for run in found}


def test_a_store_is_not_created_for_reading(tmp_path):
    with pytest.raises(InputError, match=r"no runs are tracked in .*; run `tiltyard` first"):
        open_store(tmp_path / "mlruns", create=False)
    assert not (tmp_path / "mlruns").exists()


def test_writes_ahead_on_a_local_disk(tracking):
    with closing(sqlite3.connect(tracking.folder / DATABASE)) as connection:
        [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    assert mode == ("wal" if on_local_disk(tracking.folder) else "delete")


def every_text(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        tables = [
            name for [name] in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return [
            value
            for table in tables
            for row in connection.execute(f"SELECT * FROM {table}")
            for value in row
            if isinstance(value, str)
        ]


@pytest.mark.parametrize("place", ["elsewhere", "a b #1 50% ü"])
def test_a_moved_store_knows_its_new_place(tracking, tmp_path, place):
    folder, moved = tracking.folder, tmp_path / place / "mlruns"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("kept")
    with tracking.start("a run", tags={}, params={}) as run:
        run.log_folder(tmp_path / "out")
        run.register_program(tmp_path / "out", "a model")
    store = open_store(folder, create=False)
    run._client.create_logged_model(run._client.get_run(run.run_id).info.experiment_id, name="logged")
    assert any(str(folder) in text for text in every_text(folder / DATABASE))

    moved.parent.mkdir()
    folder.rename(moved)
    at_new_place = LocalTracking(folder=str(moved))

    client = at_new_place.connect(create=False).client
    [found] = runs(at_new_place)
    artifact = Path(client.download_artifacts(found.run_id, "notes.txt", str(tmp_path)))
    assert artifact.read_text() == "kept"
    version = client.get_model_version("a model", "1")
    assert version.source.startswith(open_store(moved, create=False).artifacts_uri)
    assert client.get_model_version_download_uri("a model", "1") == version.source
    with closing(sqlite3.connect(moved / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not any(
        store.artifacts_uri in text or str(folder) + "/" in text for text in every_text(moved / DATABASE)
    )
    with at_new_place.start("another run", tags={}, params={}) as run:
        run.log_folder(tmp_path / "out")
    assert not folder.exists()


def test_a_copy_and_its_original_are_independent(tracking, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("kept")
    with tracking.start("original", tags={}, params={}) as run:
        run.log_folder(tmp_path / "out")
    shutil.copytree(tracking.folder, tmp_path / "copy")
    copy = LocalTracking(folder=str(tmp_path / "copy"))
    with copy.start("copied", tags={}, params={}) as run:
        run.log_folder(tmp_path / "out")

    assert [run.name for run in runs(tracking)] == ["original"]
    assert [run.name for run in runs(copy)] == ["original", "copied"]
    assert len(list((tmp_path / "copy").rglob("notes.txt"))) == 2
    assert len(list(tracking.folder.rglob("notes.txt"))) == 1


def test_an_older_store_is_upgraded_and_a_copy_kept(tmp_path):
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    folder = tmp_path / "mlruns"
    folder.mkdir()
    engine = sqlalchemy.create_engine(f"sqlite:///{folder / DATABASE}")
    Base.metadata.create_all(engine)
    config = _get_alembic_config(str(engine.url))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "400f98739977")  # MLflow 3.0's
    engine.dispose()

    with LocalTracking(folder=str(folder)).start("a run", tags={}, params={}):
        pass
    assert [run.name for run in runs(LocalTracking(folder=str(folder)))] == ["a run"]
    assert (folder / f"{DATABASE}.400f98739977.backup").is_file()


def test_a_newer_store_is_refused(tracking):
    with closing(sqlite3.connect(tracking.folder / DATABASE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
        connection.execute("DROP TABLE tiltyard_store")
    with pytest.raises(InputError, match="written by a newer MLflow"):
        open_store(tracking.folder, create=True)


@pytest.mark.parametrize("content", [b"not a database, " * 100, b""])
def test_a_file_that_is_no_store_is_refused(tmp_path, content):
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(InputError, match="is not an MLflow store"):
        open_store(tmp_path, create=True)
    assert (tmp_path / DATABASE).read_bytes() == content


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose a folder that you may write"):
        open_store(tmp_path / "file" / "mlruns", create=True)


def test_opening_a_store_is_silent(tmp_path, capfd):
    with LocalTracking(folder=str(tmp_path / "mlruns")).start("a run", tags={}, params={}):
        pass
    assert capfd.readouterr() == ("", "")


def test_nothing_phones_home():
    from mlflow.telemetry import get_telemetry_client
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
    assert get_telemetry_client() is None
