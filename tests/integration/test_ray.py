"""Sweeps on a real Ray cluster: two nodes on this machine, of one job each."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytestmark = pytest.mark.integration

NODES = """
import signal, sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print("address", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
MODELS = """
import os, signal, time
import dspy
from tiltyard.models.engine import Completion, TextEngine

class Slow(TextEngine):
    def generate(self, request):
        time.sleep(0.5)
        return Completion("[[ ## answer ## ]]\\nnormal\\n\\n[[ ## completed ## ]]", 1, 1)

def slow():
    return dspy.LM("local/slow", engine=Slow(), cache=False)

def deadly():
    os.kill(os.getpid(), signal.SIGKILL)

def hanging():
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def address():
    """A cluster in a process of its own, which ends with its standard input."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # sockets need short paths
        environment = {
            **os.environ,
            "RAY_TMPDIR": folder,
            "RAY_worker_niceness": "0",  # else a busy machine lets the jobs wait
            "HF_HUB_OFFLINE": "1",
        }
        nodes = subprocess.Popen(
            [sys.executable, "-c", NODES],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            found = next((line for line in nodes.stdout if line.startswith("address ")), None)
            assert found, "the cluster did not start"
            yield found.split()[1]
        finally:
            nodes.stdin.close()
            nodes.wait(timeout=60)


@pytest.fixture
def sweep(tmp_path, address):
    """Starts ``tiltyard -m hardware=ray`` on the cluster, with models that misbehave."""
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "mine/model").mkdir(parents=True)
    for name in ("slow", "deadly", "hanging"):
        (tmp_path / f"mine/model/{name}.yaml").write_text(f"_target_: models.{name}\n")
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tiltyard", "-m", "--config-dir", "mine", "hardware=ray"]
        command += ["task=iot_tiny", "evaluation.threads=1", "hydra.sweep.dir=swept"]
        process = subprocess.Popen(
            [*command, f"hydra.launcher.address={address}", *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def results(folder: Path) -> dict[str, ExperimentResult]:
    found = [ExperimentResult.load(file.parent) for file in folder.glob("swept/*/result.json")]
    return {result.labels.model: result for result in found}


def activity(folder: Path, least: int) -> dict[str, Any]:
    """What the first job is doing, once it has done some examples."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for file in folder.glob("swept/0_*/activity.json"):
            doing = json.loads(file.read_text())
            if doing["done"] >= least:
                return doing
        time.sleep(0.1)
    raise TimeoutError


def gone(pid: int, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and time.monotonic() < end:
        time.sleep(0.1)
    return not psutil.pid_exists(pid)


def test_jobs_that_die_or_hang_end_alone(sweep, tmp_path):
    process = sweep("model=hanging,deadly,slow", "limit=2", "timeout=15")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 1, err
    assert "3 jobs, 2 failed" in out
    found = results(tmp_path)
    assert found["slow"].error == ""
    assert "killed by SIGKILL" in found["deadly"].error
    assert found["hanging"].error == "it took longer than timeout=15 seconds"
    assert not list(tmp_path.glob("swept/.seen-by-nodes-*"))
    assert not list(tmp_path.glob("mlruns/.seen-by-nodes-*"))


def test_ctrl_c_lets_the_running_job_keep_its_rows(sweep, tmp_path):
    process = sweep("model=slow", "seed=0,1,2")
    pid = activity(tmp_path, least=1)["process"]["pid"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    found = runs(LocalTracking(folder=str(tmp_path / "mlruns")), statuses=("FINISHED", "KILLED", "RUNNING"))
    assert "KILLED" in {run.status for run in found}
    assert "RUNNING" not in {run.status for run in found}
    assert gone(pid)


def test_no_job_outlives_a_sweep_that_is_killed(sweep, tmp_path):
    process = sweep("model=slow", "seed=0")
    pid = activity(tmp_path, least=1)["process"]["pid"]
    process.kill()
    assert gone(pid)


def test_an_address_where_nothing_listens_is_refused_soon(sweep):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        process = sweep("model=slow", "seed=0", f"hydra.launcher.address={closed}")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"error: no Ray cluster answers at {closed} (Connection refused)" in err
    assert time.monotonic() - began < 30


def test_nodes_without_what_a_job_reserves_are_refused(sweep, tmp_path):
    process = sweep("model=slow", "seed=0", "hydra.launcher.cpus=2")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: no node of the Ray cluster has CPU 2 for a job" in err
    assert not list(tmp_path.glob("swept/*/predictions.csv"))
