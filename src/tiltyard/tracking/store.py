"""The local store of runs: an SQLite database and the artifacts beside it, in one folder that can be moved.

    >>> store = open_store(Path("mlruns"), create=True)
    >>> store.uri
    'sqlite:////home/ada/mlruns/mlflow.db'

The first process to open a folder creates the store while the others wait. MLflow records absolute
artifact locations; a store that is opened at another place than where it was last opened gets them
rewritten, so a folder that was moved, copied or unpacked elsewhere works there.
"""

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tiltyard.disks import on_local_disk
from tiltyard.errors import InputError, JobError

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"
LOCK = ".lock"
LOCK_TIMEOUT_S = 300.0
"""How long a process waits for another one to create, upgrade or relocate the store."""

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
"""The columns in which MLflow records where artifacts are."""

_MARK = "tiltyard_store"


@dataclass(frozen=True)
class LocalStore:
    """A store that is ready for use."""

    folder: Path
    """The folder, absolute."""

    @property
    def uri(self) -> str:
        """The database, as MLflow's tracking and registry address."""
        return f"sqlite:///{self.folder / DATABASE}"

    @property
    def artifacts_uri(self) -> str:
        """The root of all artifacts."""
        return (self.folder / ARTIFACTS).as_uri()


def has_store(folder: Path) -> bool:
    """Whether a folder has a store."""
    return (folder.expanduser() / DATABASE).is_file()


def open_store(folder: Path, *, create: bool) -> LocalStore:
    """Make the store of a folder ready: create it, upgrade it, correct its locations, or just find it.

    Any number of processes may call this at the same time.

    Args:
        folder: The folder, relative to the working directory or absolute.
        create: Whether a folder without a store gets one.

    Raises:
        InputError: There is no store and ``create`` is false; the folder or its database cannot be used; or
            a newer MLflow wrote it.
    """
    store = LocalStore(folder.expanduser().resolve())
    if "?" in str(store.folder):
        raise InputError(f"tracking folder {folder}: '?' cannot stand in its path", "choose another folder")
    if not create and not (store.folder / DATABASE).is_file():
        raise InputError(
            f"no runs are tracked in {folder}", "run `tiltyard` first, or name the folder that has them"
        )
    with _explaining_failures(folder):
        if not _is_ready(store):
            store.folder.mkdir(parents=True, exist_ok=True)
            with _lock(store.folder):
                if not _is_ready(store):
                    _make_ready(store)
    return store


def _is_ready(store: LocalStore) -> bool:
    """Whether this version of MLflow opened the store at this place before."""
    database = store.folder / DATABASE
    if not database.is_file():
        return False
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return _read_mark(connection) == (store.artifacts_uri, version("mlflow"))


def _make_ready(store: LocalStore) -> None:
    if (store.folder / DATABASE).is_file():
        _upgrade(store)
        _settle(store.folder / DATABASE, store)
    else:
        _create(store)


def _create(store: LocalStore) -> None:
    """Create the database beside its place and move it there: nobody sees, or inherits, half of it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory(dir=store.folder, prefix=".creating-") as nursery:
        fresh = Path(nursery) / DATABASE
        with _quiet_migrations():
            created = SqlAlchemyStore(f"sqlite:///{fresh}", store.artifacts_uri)  # type: ignore[no-untyped-call]
            created.engine.dispose()
        _settle(fresh, store)
        os.replace(fresh, store.folder / DATABASE)  # noqa: PTH105 - says "atomic" to whoever reads it


def _upgrade(store: LocalStore) -> None:
    """Bring an older database to this MLflow's schema, keeping a copy of what was there."""
    import sqlalchemy
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_latest_schema_revision, _get_schema_version, _upgrade_db

    database = store.folder / DATABASE
    engine = sqlalchemy.create_engine(store.uri)
    try:
        revision = _get_schema_version(engine)  # type: ignore[no-untyped-call]
        if revision is None:
            raise InputError(f"{database} is not an MLflow store", "choose another tracking.folder")
        if revision != _get_latest_schema_revision():  # type: ignore[no-untyped-call]
            backup = database.with_name(f"{DATABASE}.{revision}.backup")
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as target:
                source.backup(target)
            with _quiet_migrations():
                _upgrade_db(engine)  # type: ignore[no-untyped-call]
    except CommandError as error:  # Alembic does not know the revision
        raise InputError(
            f"{database} was written by a newer MLflow than {version('mlflow')}",
            "upgrade tiltyard, or choose another tracking.folder",
        ) from error
    finally:
        engine.dispose()


def _settle(database: Path, store: LocalStore) -> None:
    """Bind a database to the place of its store, in one transaction."""
    journal = "WAL" if on_local_disk(store.folder) else "DELETE"
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("BEGIN IMMEDIATE")
        mark = _read_mark(connection)
        if mark is not None and mark[0] != store.artifacts_uri:
            _relocate(connection, mark[0], store.artifacts_uri)
        _write_mark(connection, store)
        connection.execute("COMMIT")


def _relocate(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Rewrite every recorded location under ``old``; a location elsewhere stays as it is."""
    for table, column in LOCATIONS:
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )


def _read_mark(connection: sqlite3.Connection) -> tuple[str, str] | None:
    exists = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_MARK,)).fetchone()
    if not exists:
        return None
    row: tuple[str, str] | None = connection.execute(f"SELECT artifacts, mlflow FROM {_MARK}").fetchone()
    return row


def _write_mark(connection: sqlite3.Connection, store: LocalStore) -> None:
    """Record where the store is, so that it is noticed when it is opened elsewhere."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_MARK} (artifacts TEXT NOT NULL, mlflow TEXT NOT NULL)")
    connection.execute(f"DELETE FROM {_MARK}")
    connection.execute(
        f"INSERT INTO {_MARK} VALUES (?, ?)",
        (store.artifacts_uri, version("mlflow")),
    )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise JobError(
            f"another process has been preparing {folder} for {LOCK_TIMEOUT_S:.0f} s", "end it and run again"
        ) from error


@contextmanager
def _explaining_failures(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputError(
            f"the store in {folder} cannot be opened for writing ({error})",
            "copy the folder to where you may write",
        ) from error
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{folder / DATABASE} is not an MLflow store ({error})", "choose another tracking.folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"tracking folder {folder}: {error.strerror or error}",
            "choose a folder that you may write, or tracking=off",
        ) from error


@contextmanager
def _quiet_migrations() -> Iterator[None]:
    """Hold back MLflow's progress messages about its own schema; warnings still show."""
    logger = logging.getLogger("mlflow.store.db.utils")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
