"""Keeps responses on disk, for all processes of a machine together, within a size limit.

>>> with closing(ResponseCache(response_folder(), size_limit_mb=4096)) as cache:
...     cache.put(key, Entry(b'{"model": "…"}', latency_ms=812.4))
...     cache.get(key).latency_ms
812.4

A cache never stops a run. What cannot be read is not there; where the disk is full or read-only, one warning
says so and the run goes on without.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from tiltyard.disks import on_local_disk

T = TypeVar("T")

logger = logging.getLogger(__name__)

DATABASE = "responses.db"
_BYTES_PER_MB = 1_000_000
_PAGE = 4096
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BUSY_TIMEOUT_S = 5.0
"""How long a process waits for another one's write, each of which takes milliseconds."""
_MOST_UNWRITTEN_USES = 1000
_EVICTED_AT_ONCE = 0.01
"""The share of the limit that is freed in one transaction, for which other processes wait."""

_VERSION = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE responses (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL,
    latency_ms REAL NOT NULL,
    stored REAL NOT NULL,
    used REAL NOT NULL
);
CREATE INDEX responses_by_use ON responses (used);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


def cache_folder(folder: str | None = None) -> Path:
    """Where caches stand: a folder of the user's, ``$TILTYARD_CACHE_DIR``, or the user's cache folder."""
    if chosen := folder or os.environ.get("TILTYARD_CACHE_DIR"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tiltyard"


def response_folder(folder: str | None = None) -> Path:
    """The response cache's own folder in :func:`cache_folder`."""
    return cache_folder(folder) / "responses"


@dataclass(frozen=True)
class Entry:
    """One kept response."""

    body: bytes
    """The response, as its reader writes it."""
    latency_ms: float
    """How long it took to get."""
    stored: float = field(default_factory=time.time)
    """When it was kept, in seconds since 1970."""


@dataclass(frozen=True)
class Contents:
    """What a cache holds."""

    entries: int
    size: int
    """Bytes on disk."""

    def __str__(self) -> str:
        return f"{self.entries:,} responses, {self.size / _BYTES_PER_MB:,.1f} MB"


class ResponseCache:
    """A table of responses in one SQLite file; threads and processes may share it.

    The responses that were not used for longest make room for new ones. The file is opened when it is first
    needed, and again after :meth:`close`.

    Args:
        folder: Where the file stands; made when it does not exist.
        size_limit_mb: The most that the folder takes, in MB (10**6 bytes).
    """

    def __init__(self, folder: Path, size_limit_mb: int) -> None:
        self.path = folder / DATABASE
        limit = size_limit_mb * _BYTES_PER_MB
        # SQLite writes its log back when it has so many pages; it counts towards the limit.
        self._log_pages = min(1000, max(8, limit // _PAGE // 20))
        self._room = limit - 2 * self._log_pages * _PAGE
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner = os.getpid()
        self._uses: dict[int, float] = {}
        self._given_up = False

    def get(self, key: bytes) -> Entry | None:
        """What was kept under a key, or None."""
        return self._attempt(lambda connection: self._read(connection, key))

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep a response. One that the limit leaves no room for is not kept."""
        self._attempt(lambda connection: self._write(connection, key, entry))

    def contents(self) -> Contents:
        """How many responses there are, and what they take on disk.

        Raises:
            sqlite3.Error: The file cannot be read.
            OSError: The folder cannot be read.
        """
        if not self.path.exists():
            return Contents(0, 0)
        with self._lock:
            [(entries,)] = self._opened().execute("SELECT count(*) FROM responses").fetchall()
        return Contents(entries, sum(path.stat().st_size for path in self._files()))

    def clear(self) -> None:
        """Forget everything; other processes may be using the cache meanwhile.

        Raises:
            sqlite3.Error: The file cannot be written.
            OSError: The files cannot be deleted.
        """
        if not self.path.exists():
            return
        try:
            with self._lock:
                connection = self._opened()
                connection.execute("DELETE FROM responses")
                connection.execute("VACUUM")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # damaged, or not a database at all: nobody can be using it
            self.close()
            for path in self._files():
                path.unlink(missing_ok=True)
        self._given_up = False

    def close(self) -> None:
        """Write down what was used, and close the file."""
        if self._connection is not None:
            self._attempt(self._write_uses)
            with self._lock:
                self._connection.close()
                self._connection = None

    def _attempt(self, action: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do something with the file, one thread at a time; None where that fails."""
        if self._given_up:
            return None
        try:
            with self._lock:
                return action(self._opened())
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
                logger.debug("the response cache was busy for %.0f s", _BUSY_TIMEOUT_S)
            elif not self._given_up:
                self._given_up = True
                logger.warning("going on without the response cache in %s: %s", self.path.parent, error)
            return None

    def _read(self, connection: sqlite3.Connection, key: bytes) -> Entry | None:
        found = connection.execute(
            "SELECT id, body, latency_ms, stored FROM responses WHERE key = ?", (key,)
        ).fetchall()
        if not found:
            return None
        number, body, latency_ms, stored = found[0]
        if not (isinstance(body, bytes) and isinstance(latency_ms, float) and isinstance(stored, float)):
            return None
        self._uses[number] = time.time()
        if len(self._uses) >= _MOST_UNWRITTEN_USES:
            self._write_uses(connection)
        return Entry(body, latency_ms, stored)

    def _write(self, connection: sqlite3.Connection, key: bytes, entry: Entry) -> None:
        # A row fills whole pages; its indexes and the tree may need some more.
        needed = (len(entry.body) // _PAGE + 4) * _PAGE
        if needed > self._room or not self._make_room(connection, needed):
            return
        self._write_uses(connection)
        with _transaction(connection):
            connection.execute(
                "INSERT OR REPLACE INTO responses (key, body, latency_ms, stored, used) "
                "VALUES (?, ?, ?, ?, ?)",
                (key, entry.body, float(entry.latency_ms), entry.stored, time.time()),
            )

    def _write_uses(self, connection: sqlite3.Connection) -> None:
        """Note when responses were used. Done for many together, a hit costs no write."""
        if self._uses:
            uses, self._uses = self._uses, {}
            with _transaction(connection):
                connection.executemany(
                    "UPDATE responses SET used = ? WHERE id = ?",
                    [(used, number) for number, used in uses.items()],
                )

    def _make_room(self, connection: sqlite3.Connection, needed: int) -> bool:
        """Delete what was not used for longest until so many bytes are free."""
        while _bytes_in_use(connection) + needed > self._room:
            self._write_uses(connection)
            with _transaction(connection):
                oldest = connection.execute("SELECT id, length(body) FROM responses ORDER BY used")
                doomed, freed = [], 0
                for number, size in oldest:
                    doomed.append((number,))
                    freed += size
                    if freed >= max(needed, _EVICTED_AT_ONCE * self._room):
                        break
                oldest.close()
                connection.executemany("DELETE FROM responses WHERE id = ?", doomed)
            if not doomed:
                return False
        if _pragma(connection, "page_count") * _PAGE > self._room:  # the limit is lower than it was
            connection.executescript("PRAGMA incremental_vacuum")  # execute() would do its first step only
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True

    def _opened(self) -> sqlite3.Connection:
        if self._owner != os.getpid():  # SQLite forbids to use a connection after a fork, or to close it
            self._inherited, self._connection, self._owner = self._connection, None, os.getpid()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            if _pragma(connection, "user_version") == 0:
                # Processes that start together would lock each other out of an empty database.
                with FileLock(self.path.with_suffix(".lock"), timeout=_BUSY_TIMEOUT_S):
                    self._prepare(connection)
            if _pragma(connection, "user_version") != _VERSION:
                raise sqlite3.DatabaseError(f"{self.path.name} is of another version of Tiltyard")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {self._log_pages}")
            connection.execute(f"PRAGMA journal_size_limit = {self._log_pages * _PAGE}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _pragma(connection, "user_version") == 0:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            journal = "WAL" if on_local_disk(self.path.parent) else "DELETE"
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.executescript(_SCHEMA)

    def _files(self) -> list[Path]:
        return [path for path in self.path.parent.glob(f"{self.path.stem}.*") if path.is_file()]


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself where the disk is full
            connection.execute("ROLLBACK")
        raise


def _bytes_in_use(connection: sqlite3.Connection) -> int:
    return (_pragma(connection, "page_count") - _pragma(connection, "freelist_count")) * _PAGE


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    [(value,)] = connection.execute(f"PRAGMA {name}").fetchall()
    return int(value)
