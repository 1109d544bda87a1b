"""Sweeps on a real Slurm of one machine, through the command line."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import missing, slurm_cluster

from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed: no {', '.join(missing())}"),
]

EVERY = ("FINISHED", "FAILED", "KILLED", "RUNNING")
MODELS = """
import os, signal, time
import dspy
from tiltyard.models.engine import Completion, TextEngine

class Kind(TextEngine):
    def __init__(self, kind):
        self.kind, self.asked = kind, 0

    def generate(self, request):
        print("the model was asked", flush=True)
        if self.kind == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "slow":
            time.sleep(1)
        if self.kind == "long" and self.asked and "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(5)
        self.asked += 1
        while self.kind == "patient" and self.asked > 1 and not os.path.exists("hurry"):
            time.sleep(0.1)
        return Completion("[[ ## answer ## ]]\\nnormal\\n\\n[[ ## completed ## ]]", 1, 1)

def model(kind):
    return dspy.LM("local/" + kind, engine=Kind(kind), cache=False)
"""
KINDS = ("quick", "deadly", "long", "slow", "patient")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture(scope="module")
def start(cluster):
    """Starts sweeps in folders of their own."""
    started = []

    def start_in(folder: Path, *arguments: str) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        (folder / "models_of_tests.py").write_text(MODELS)
        (folder / "mine/model").mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            node = f"_target_: models_of_tests.model\nkind: {kind}\n"
            (folder / f"mine/model/{kind}.yaml").write_text(node)
        command = ["-m", "--config-dir", "mine", "hardware=slurm", "hydra.launcher.poll_seconds=1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "tiltyard", *command, "task=iot_tiny", "evaluation.threads=1", *arguments],
            cwd=folder,
            env=cluster
            | {"HF_HUB_OFFLINE": "1", "TILTYARD_CACHE_DIR": str(folder / "cache")}
            | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_in
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def tracked(folder):
    return {
        (run.tags.get("tiltyard.model"), run.status): run
        for run in runs(LocalTracking(folder=str(folder / "mlruns")), statuses=EVERY)
    }


def rows_below(folder: Path) -> int:
    return sum(
        max(0, sum(1 for _ in csv.reader(path.open(encoding="utf-8"))) - 1)
        for path in folder.glob("outputs/**/predictions.csv")
    )


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError


def in_queue(cluster, sweep: Path) -> list[str]:
    command = ["squeue", "--noheader", "--array", "--format=%i|%k"]
    listed = subprocess.run(command, env=cluster, capture_output=True, text=True, check=True).stdout
    return [line.split("|")[0] for line in listed.splitlines() if line.endswith(str(sweep))]


def sweep_of(folder: Path) -> Path:
    [sweep] = (folder / "outputs/sweeps").iterdir()
    return sweep


def test_ctrl_c_ends_running_jobs_with_their_rows_and_takes_waiting_ones_out(start, cluster, tmp_path):
    process = start(tmp_path, "model=slow", "seed=0,1", "hydra.launcher.array_parallelism=1")
    wait_for(lambda: rows_below(tmp_path) >= 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert in_queue(cluster, sweep_of(tmp_path)) == []
    [(_, run)] = tracked(tmp_path).items()
    assert run.status == "KILLED"
    assert 1 <= len(run.rows()) < 5
    assert "not started" in out


def test_jobs_outlive_their_sweep_and_are_not_run_twice(start, cluster, tmp_path):
    arguments = ("model=patient",)
    process = start(tmp_path, *arguments)
    wait_for(lambda: rows_below(tmp_path) >= 1)
    process.kill()
    process.communicate()
    again = start(tmp_path, *arguments)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 2
    assert "1 of these jobs are in Slurm's queue already" in err.splitlines()[-1]
    assert "scancel" in err.splitlines()[-1]
    (tmp_path / "hurry").touch()
    wait_for(lambda: ("patient", "FINISHED") in tracked(tmp_path))
    kept = start(tmp_path, *arguments)
    out, err = kept.communicate(timeout=60)
    assert kept.returncode == 0, err
    assert "kept" in out + err


def test_what_slurm_refuses_is_one_line(start, tmp_path):
    process = start(tmp_path, "model=quick", "hydra.launcher.additional_parameters={time-min: nonsense}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("error: Slurm refused the jobs: ")


def test_jobs_of_an_array_end_by_themselves_and_one_told_to_make_room_is_queued_again(
    start, cluster, tmp_path
):
    process = start(tmp_path, "model=quick,deadly,long")
    wait_for(lambda: rows_below(tmp_path) and list(tmp_path.glob("outputs/sweeps/*/2_*/predictions.csv")))
    [told] = [job for job in in_queue(cluster, sweep_of(tmp_path)) if job.endswith("_2")]
    # What Slurm sends when a job's time is nearly over.
    subprocess.run(["scancel", "--signal=USR2", told], env=cluster, check=True)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1, err
    assert "error: 1 of 3 jobs failed" in err

    deadly = json.loads(next(tmp_path.glob("outputs/sweeps/*/1_*/result.json")).read_text())
    assert "its process was killed by SIGKILL" in deadly["error"]
    assert Path(deadly["error"].rpartition("its log is ")[2]).is_file()

    found = tracked(tmp_path)
    assert {model for model, status in found if status == "FINISHED"} == {"quick", "long"}
    first, second = found["long", "KILLED"], found["long", "FINISHED"]
    assert first.tags["tiltyard.slurm.job"] == second.tags["tiltyard.slurm.job"] == told
    assert len(second.rows()) == 5
    log = Path(second.tags["tiltyard.log"])
    assert "the model was asked" in log.read_text()
    assert "the model was asked" in (second.text("slurm.log") or "")
    assert list(log.parent.glob("*.pkl")) == []
