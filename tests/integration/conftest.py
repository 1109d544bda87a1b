"""Real servers that tests of tracking start: MLflow's, and a PostgreSQL cluster of their own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class MlflowServer:
    """An MLflow server that answers."""

    address: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """End it at once, as a power cut would, with all its workers."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL cluster on loopback that lets in nobody without a password."""

    binaries: Path
    port: int
    password: str

    def uri(self, database: str) -> str:
        """A database's address for SQLAlchemy, with the driver that the extra ``server`` installs."""
        return f"postgresql+psycopg://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def query(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, if it is one that has some."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=self.password,
            dbname=database,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def dump(self, database: str) -> str:
        """All that a database holds, as text."""
        done = subprocess.run(
            [
                *(self.binaries / "pg_dump", "-h", "127.0.0.1", "-p", str(self.port)),
                *("-U", "postgres", database),
            ],
            env=os.environ | {"PGPASSWORD": self.password},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


ServeMlflow = Callable[..., AbstractContextManager[MlflowServer]]


@pytest.fixture(scope="session")
def serve_mlflow() -> ServeMlflow:
    """Starts ``mlflow server`` with arguments and an environment; at the end of the block it is killed."""

    @contextmanager
    def serve(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[MlflowServer]:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(port), *arguments],
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | dict(environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        server = MlflowServer(f"http://127.0.0.1:{port}", process)
        try:
            wait_until(lambda: is_healthy(server.address), process)
            yield server
        finally:
            server.kill()

    return serve


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A private cluster, made from Debian's package and thrown away at the end."""
    pytest.importorskip("psycopg", reason="needs psycopg, of the extra 'server'")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: float(it.parts[-3]))
    if not installed:
        pytest.skip("needs Debian's package postgresql")
    binaries = installed[-1].parent
    owner: dict[str, Any] = {}
    if os.getuid() == 0:  # neither initdb nor postgres runs as root
        owner = {"user": "postgres", "group": "postgres", "extra_groups": []}
    home = Path(tempfile.mkdtemp(prefix="tiltyard-postgres-"))  # pytest's own folders let nobody else in
    server: subprocess.Popen[bytes] | None = None
    try:
        cluster = Postgres(binaries, free_port(), secrets.token_hex(12))
        (home / "password").write_text(cluster.password)
        if owner:
            for path in (home, home / "password"):
                shutil.chown(path, "postgres", "postgres")
        subprocess.run(
            [
                *(binaries / "initdb", "--pgdata", home / "data", "--username", "postgres", "--no-sync"),
                *("--auth", "scram-sha-256", "--pwfile", home / "password", "--encoding", "UTF8"),
                "--no-locale",
            ],
            cwd=home,
            check=True,
            stdout=subprocess.DEVNULL,
            **owner,
        )
        server = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", home / "data", "-c", "listen_addresses=127.0.0.1"),
                *("-c", f"port={cluster.port}", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"),
            ],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **owner,
        )
        wait_until(lambda: answers(cluster), server)
        yield cluster
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # its fast shutdown: open connections are cut
            server.wait(timeout=30)
        shutil.rmtree(home)


def free_port() -> int:
    """A port of loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait for a server to answer; fail when it ends before or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.1)


def is_healthy(address: str) -> bool:
    """Whether an MLflow server says that it is up; it does so without credentials."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def answers(cluster: Postgres) -> bool:
    """Whether a cluster takes connections."""
    import psycopg

    try:
        return cluster.query("postgres", "SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


@pytest.fixture
def server(serve_mlflow: ServeMlflow, tmp_path: Path) -> Iterator[MlflowServer]:
    """A server as MLflow starts it by default: artifacts travel through it."""
    store = ("--backend-store-uri", f"sqlite:///{tmp_path}/server.db")
    artifacts = ("--artifacts-destination", str(tmp_path / "server-artifacts"))
    with serve_mlflow("--workers", "1", *store, *artifacts) as server:
        yield server
