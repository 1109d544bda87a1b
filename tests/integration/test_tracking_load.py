"""Many processes that start at the same instant on a folder without a store lose nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

pytestmark = pytest.mark.integration

LOAD = Path(__file__).parents[2] / "benchmarks" / "tracking_load.py"
PROCESSES = 32
STEPS = 100
PARAMS = 100


def test_32_processes_record_at_once_and_lose_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(LOAD), "--processes", str(PROCESSES), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "locked" not in done.stdout + done.stderr
    assert not any(file.stat().st_size for file in tmp_path.glob("*.out"))

    found = runs(LocalTracking(folder=str(tmp_path / "mlruns")))
    assert sorted(run.name for run in found) == sorted(f"run-{number}" for number in range(PROCESSES))
    for run in found:
        number = int(run.name.removeprefix("run-"))
        assert run.curve("loss") == [(step, number + step / STEPS) for step in range(STEPS)]
        assert run.params == {f"p{position}": str(position * number) for position in range(PARAMS)}
        assert run.files() == {"one.txt", "two.txt", "three.txt"}
