import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tiltyard.errors import InputError, JobError
from tiltyard.evaluation.rows import COLUMNS
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import ServerTracking

pytestmark = pytest.mark.integration

SLOW_MODEL = """
import time
import dspy
from tiltyard.models.engine import Completion, TextEngine

class Slow(TextEngine):
    def generate(self, request):
        time.sleep(0.5)
        return Completion("[[ ## answer ## ]]\\nnormal\\n\\n[[ ## completed ## ]]", 1, 1)

def slow():
    return dspy.LM("local/slow", engine=Slow(), cache=False)
"""


def test_a_server_keeps_runs_and_its_loss_keeps_the_local_files(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    tracking = ServerTracking(uri=f"{server.address}/", experiment="team")
    output = tmp_path / "output"
    (output / "program").mkdir(parents=True)
    (output / "program" / "program.json").write_text("{}")
    (output / "predictions.csv").write_text(",".join(COLUMNS) + "\n")

    with pytest.raises(
        InputError, match=f"no experiment 'team' in {server.address}; experiments there: Default"
    ):
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
            server.kill()
            run.log_metrics({"score": 0.5})

    with pytest.raises(JobError, match="could not record its metrics") as caught:
        work()
    assert str(output) in str(caught.value)
    with pytest.raises(InputError, match="no MLflow server answers"):
        runs(tracking)


def test_a_sweep_whose_server_dies_says_so_and_keeps_its_files(server, tmp_path):
    (tmp_path / "slow_model.py").write_text(SLOW_MODEL)
    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/slow.yaml").write_text("_target_: slow_model.slow\n")
    python_path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tiltyard", "-m", "--config-dir", "mine", "model=slow", "task=iot_tiny"),
            *("limit=3", "seed=0,1", "evaluation.threads=1"),
            *("tracking=server", f"tracking.uri={server.address}"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": python_path, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = tmp_path / "outputs/sweeps"
    deadline = time.monotonic() + 90
    while not any(rows_in(path) for path in first.glob("*/0_*/predictions.csv")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.kill()
    out, err = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "Traceback" not in out + err
    assert f"{server.address}: could not record" in out + err
    assert f"no MLflow server answers at {server.address}" in out + err
    [kept] = first.glob("*/0_*")
    assert str(kept) in out + err
    assert rows_in(kept / "predictions.csv") == 3
    assert (kept / "result.json").is_file()


def rows_in(predictions: Path) -> int:
    with predictions.open(encoding="utf-8", newline="") as file:
        return max(0, sum(1 for _ in csv.reader(file)) - 1)
