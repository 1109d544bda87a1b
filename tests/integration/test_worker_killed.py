"""The run of a worker that is killed ends with its job; the sweep that saw it goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tiltyard.telemetry.activity import read_activity
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

pytestmark = pytest.mark.integration

SLOW = ("model=lexical", "task=conventions", "optimizer=bootstrap_random_search", "cache.enabled=false")


def test_the_run_of_a_killed_worker_is_killed_with_the_reason(in_folder: Path) -> None:
    command = [sys.executable, "-m", "tiltyard", "-m", *SLOW, "hardware.workers=1", "hydra.sweep.dir=sweep"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            doing = [read_activity(file.parent) for file in in_folder.glob("sweep/*/activity.json")]
            if doing and doing[0] is not None and doing[0].run_id is not None:
                break
            time.sleep(0.05)
        os.kill(doing[0].process.pid, signal.SIGKILL)
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.wait()
    [found] = runs(LocalTracking(), statuses=("RUNNING", "KILLED"))
    assert (found.run_id, found.status) == (doing[0].run_id, "KILLED")
    assert found.tags["tiltyard.error"].startswith("its process was killed by SIGKILL")
