"""Sweeps whose jobs come to harm, from the command line: each fails alone, and the next start does it."""

import csv
import os
import subprocess
import sys

import pytest

from tiltyard.launching.status import read_sweep
from tiltyard.tracking.reader import earlier_runs
from tiltyard.tracking.recorder import LocalTracking

pytestmark = pytest.mark.integration

MISHAPS = """
import os, signal, sys, time
from pathlib import Path

import dspy
from tiltyard.models.lexical import lexical


def model(*, mishap: str = "none") -> dspy.LM:
    if mishap != "none" and not Path("mended").exists():
        print("on the way to", mishap, flush=True)
        match mishap:
            case "kill": os.kill(os.getpid(), signal.SIGKILL)
            case "exit": sys.exit(3)
            case "raise": raise RuntimeError("it broke")
            case "hang": time.sleep(600)
    return lexical()
"""


def test_a_job_that_comes_to_harm_fails_alone_and_runs_the_next_time(tmp_path):
    (tmp_path / "mishaps.py").write_text(MISHAPS)

    def tiltyard(folder):
        command = [sys.executable, "-m", "tiltyard", "-m", "model=lexical", "model._target_=mishaps.model"]
        command += ["~model.neighbours", "~model.trust", "+model.mishap=none,kill,exit,raise,hang"]
        command += ["task=iot_tiny", "limit=1", "hardware.workers=2", f"hydra.sweep.dir={folder}"]
        if folder == "first":
            command.append("timeout=15")
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment
        )
        with (tmp_path / folder / "summary.csv").open(newline="", encoding="utf-8") as file:
            return done, list(csv.DictReader(file))

    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    }
    done, jobs = tiltyard("first")
    assert done.returncode == 1, done.stderr
    assert "4 of 5 jobs failed" in done.stderr
    assert [job["status"] for job in jobs] == ["ok", "failed", "failed", "failed", "failed"]
    reasons = [job["error"] for job in jobs]
    assert reasons[1].startswith("its process was killed by SIGKILL")
    assert read_sweep(tmp_path / "first").jobs[1].seconds > 0.0
    assert "sys.exit(3)" in reasons[2]
    assert reasons[3].startswith("RuntimeError: it broke")
    assert reasons[4] == "it took longer than timeout=15 seconds"
    folders = [tmp_path / "first" / job["folder"] for job in jobs]
    assert "RuntimeError: it broke" in (folders[3] / "traceback.txt").read_text()
    assert (folders[1] / "console.log").read_text() == "on the way to kill\n"
    tracked = {run.run_id: run for run in earlier_runs(LocalTracking(folder=str(tmp_path / "mlruns")))}
    assert sorted(run.status for run in tracked.values()) == [
        "FAILED",
        "FAILED",
        "FINISHED",
        "KILLED",
        "KILLED",
    ]
    assert {run.tags["tiltyard.error"] for run in tracked.values() if run.status == "KILLED"} == {
        reasons[1],
        reasons[4],
    }

    (tmp_path / "mended").touch()
    done, jobs = tiltyard("second")
    assert done.returncode == 0, done.stderr
    assert [job["status"] for job in jobs] == ["kept", "ok", "ok", "ok", "ok"]
