"""Shows the local store in MLflow's own UI, served by a process of its own until Ctrl-C.

>>> serve(LocalTracking(), port=5000, on_ready=print)
http://127.0.0.1:5000
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltyard.errors import InputError, JobError
from tiltyard.tracking.connection import probe_server
from tiltyard.tracking.recorder import LocalTracking, ServerTracking, Tracking
from tiltyard.tracking.store import LocalStore, open_store

LOG = "ui.log"
"""What the server writes, in the store's folder."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.2


def serve(
    tracking: Tracking,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Run MLflow's server on the local store until it is interrupted.

    Args:
        tracking: Which store; it must be local.
        host: The address to listen on; ``0.0.0.0`` lets other machines of a private network in.
        port: The port to listen on, 1 to 65535.
        on_ready: Called once with the UI's address, as soon as the server answers.

    Raises:
        InputError: The tracking is not a local store, the store is missing, or the port cannot be used.
        JobError: The server did not start, or ended by itself.
    """
    store = _local_store(tracking)
    _check_port(host, port)
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    try:
        with _signals_interrupt(), _server(store, host, port) as server:
            _wait_until_ready(server, address, store)
            on_ready(address)
            code = server.wait()
    except KeyboardInterrupt:
        return
    raise JobError(f"the MLflow UI ended with code {code}", f"see {store.folder / LOG}")


def _local_store(tracking: Tracking) -> LocalStore:
    if isinstance(tracking, LocalTracking):
        return open_store(tracking.folder, create=False)
    if isinstance(tracking, ServerTracking):
        raise InputError(f"the runs are on the server {tracking.uri}", "open that address in a browser")
    raise InputError("tracking=off keeps no runs", "use tracking=local")


def _check_port(host: str, port: int) -> None:
    refusal = _refusal(host, port)
    if refusal is not None:
        others = range(max(port, 1023) + 1, min(port + 1100, 65536))
        free = next((str(other) for other in others if _refusal(host, other) is None), "5000")
        raise InputError(f"port {port} on {host} cannot be used ({refusal})", f"use another, such as {free}")


def _refusal(host: str, port: int) -> str | None:
    """Why the port cannot be listened on; None when it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
        except OverflowError:
            return "ports are numbers from 1 to 65535"
    return None


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let a closed terminal and a polite kill end the server too: it is in a process group of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _server(store: LocalStore, host: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", store.uri),
        *("--default-artifact-root", store.artifacts_uri, "--artifacts-destination", store.artifacts_uri),
        *("--uvicorn-opts", "--log-level warning"),
    ]
    # MLflow 3.17's server does not answer while its job runner is on; viewing needs none.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (store.folder / LOG).open("wb") as log:
        server = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # one group: whatever MLflow starts ends with it
        )
        try:
            yield server
        finally:
            _stop(server)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        return
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_until_ready(server: "subprocess.Popen[bytes]", address: str, store: LocalStore) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            probe_server(address)
        except InputError:
            time.sleep(_POLL_S)
        else:
            return
    log = store.folder / LOG
    raise JobError(f"the MLflow UI did not start ({_last_line(log)})", f"see {log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
