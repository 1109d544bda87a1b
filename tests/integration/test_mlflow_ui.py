import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tiltyard.errors import InputError
from tiltyard.tracking.recorder import LocalTracking, NoTracking, ServerTracking
from tiltyard.tracking.store import open_store
from tiltyard.tracking.ui import serve

pytestmark = pytest.mark.integration

SERVE = """
import sys
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.ui import serve
tracking = LocalTracking(folder=sys.argv[1])
serve(tracking, port=int(sys.argv[2]), on_ready=lambda address: print(address, flush=True))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=20) as response:
        return bytes(response.read())


def post(address: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return dict(json.load(response))


def test_the_ui_shows_runs_and_artifacts_and_ends_with_ctrl_c(tmp_path):
    folder = tmp_path / "my runs" / "mlruns"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.md").write_text("# Report\n")
    with LocalTracking(folder=str(folder)).start("a run", tags={}, params={"seed": 3}) as run:
        run.log_folder(tmp_path / "out")
        run.log_metrics({"score": 0.5})
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder), str(port)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address == f"http://127.0.0.1:{port}"
        assert b"<html" in get(f"{address}/")
        found = post(f"{address}/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]})
        [listed] = found["runs"]
        assert listed["info"]["run_name"] == "a run"
        assert listed["data"]["metrics"][0]["value"] == 0.5
        assert get(f"{address}/get-artifact?path=report.md&run_uuid={run.run_id}") == b"# Report\n"
        with pytest.raises(InputError, match=rf"port {port} .* cannot be used .*; use another, such as \d+"):
            serve(LocalTracking(folder=str(folder)), port=port)
        os.kill(server.pid, signal.SIGINT)
        assert server.wait(20) == 0
    finally:
        server.terminate()
        server.wait(20)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert {path.name for path in tmp_path.iterdir()} == {"my runs", "out"}


def test_a_kill_while_it_starts_leaves_nothing_running(tmp_path):
    folder = tmp_path / "mlruns"
    open_store(folder, create=True)
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", SERVE, str(folder), str(port)], cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (folder / "ui.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    assert not [
        other for other in psutil.process_iter(["cmdline"]) if str(port) in (other.info["cmdline"] or [])
    ]


def test_a_port_that_no_socket_has_is_refused(tmp_path):
    open_store(tmp_path / "mlruns", create=True)
    with pytest.raises(InputError, match=r"port 70000 .* numbers from 1 to 65535"):
        serve(LocalTracking(folder=str(tmp_path / "mlruns")), port=70000)


def test_only_a_local_store_that_exists_is_served(tmp_path):
    with pytest.raises(InputError, match="no runs are tracked in"):
        serve(LocalTracking(folder=str(tmp_path / "mlruns")))
    with pytest.raises(InputError, match=r"the runs are on the server http://a\.example"):
        serve(ServerTracking(uri="http://a.example"))
    with pytest.raises(InputError, match="tracking=off"):
        serve(NoTracking())
    assert list(Path(tmp_path).iterdir()) == []
