import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiltyard.errors import InputError, JobError
from tiltyard.evaluation.rows import COLUMNS
from tiltyard.tracking.connection import probe_server
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import ServerTracking

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A team's server as MLflow starts it by default: artifacts travel through it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{tmp_path}/server.db"),
        *("--artifacts-destination", str(tmp_path / "server-artifacts")),
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                probe_server(address)
                break
            except InputError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield address, process
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def test_a_server_keeps_runs_and_its_loss_keeps_the_local_files(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    address, process = server
    tracking = ServerTracking(uri=f"{address}/", experiment="team")
    output = tmp_path / "output"
    (output / "program").mkdir(parents=True)
    (output / "program" / "program.json").write_text("{}")
    (output / "predictions.csv").write_text(",".join(COLUMNS) + "\n")

    with pytest.raises(InputError, match=f"no experiment 'team' in {address}; experiments there: Default"):
        runs(tracking)
    with tracking.start("a run", tags={"tiltyard.task": "t"}, params={"seed": 0}, folder=output) as run:
        run.log_metrics({"score": 0.5})
        run.log_folder(output)
        run.log_rows(output / "predictions.csv")
        assert run.register_program(output / "program", "a model") == "1"
    [found] = runs(tracking)
    assert (found.status, found.task, found.metrics) == ("FINISHED", "t", {"score": 0.5})
    assert list(found.rows().columns) == list(COLUMNS)

    def work() -> None:
        with tracking.start("another run", tags={}, params={}, folder=output) as run:
            stop(process)
            run.log_metrics({"score": 0.5})

    with pytest.raises(JobError, match="could not record its metrics") as caught:
        work()
    assert str(output) in str(caught.value)
    with pytest.raises(InputError, match="no MLflow server answers"):
        runs(tracking)
