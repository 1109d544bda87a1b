"""Real processes: interrupts, several starts at once, weights shared over a sweep, the wheel elsewhere."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

pytestmark = pytest.mark.integration

EVERY = ("FINISHED", "FAILED", "KILLED", "RUNNING")
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


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tiltyard", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError


def rows_below(folder: Path) -> int:
    return sum(
        max(0, sum(1 for _ in csv.reader(path.open(encoding="utf-8"))) - 1)
        for path in folder.glob("outputs/**/predictions.csv")
    )


@pytest.fixture
def slow(tmp_path):
    (tmp_path / "slow_model.py").write_text(SLOW_MODEL)
    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/slow.yaml").write_text("_target_: slow_model.slow\n")
    return ("--config-dir", "mine", "model=slow", "task=iot_tiny", "evaluation.threads=1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_killed_and_keeps_its_rows(tmp_path, slow, number):
    process = start(tmp_path, *slow)
    wait_for(lambda: rows_below(tmp_path) >= 1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "interrupted; what was finished is kept"
    assert "Traceback" not in err
    [run] = runs(LocalTracking(folder=str(tmp_path / "mlruns")), statuses=EVERY)
    assert run.status == "KILLED"
    assert 1 <= len(run.rows()) < 5
    assert len(run.rows()) == rows_below(tmp_path)


def test_an_interrupted_sweep_says_what_was_done(tmp_path, slow):
    process = start(tmp_path, "-m", *slow, "seed=0,1", "limit=3")
    wait_for(lambda: rows_below(tmp_path) >= 4)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in out
    found = runs(LocalTracking(folder=str(tmp_path / "mlruns")), statuses=EVERY)
    assert sorted(run.status for run in found) == ["FINISHED", "KILLED"]


def test_several_starts_at_once_share_a_fresh_store(tmp_path):
    processes = [
        start(tmp_path, "model=lexical", "task=iot_tiny", f"seed={seed}", "limit=1") for seed in range(4)
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    found = runs(LocalTracking(folder=str(tmp_path / "mlruns")), statuses=EVERY)
    assert [run.status for run in found] == ["FINISHED"] * 4
    assert len({run.fingerprint for run in found}) == 4
    assert len(list(tmp_path.glob("outputs/*/*/result.json"))) == 4


def test_a_sweep_loads_a_models_weights_once(tmp_path):
    process = start(
        tmp_path,
        "-m",
        "model=tiny-gpt2",
        "model.weights=random",
        "task=iot_tiny,medqa_tiny",
        "optimizer=none,bootstrap",
        "limit=1",
        "tracking=off",
    )
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    logs = [file.read_text() for file in tmp_path.glob("outputs/sweeps/*/*/tiltyard.log")]
    assert len(logs) == 4
    assert "".join(logs).count("Loaded weights") == 1


def test_the_wheel_works_outside_the_checkout(tmp_path):
    """The wheel's own files, unpacked elsewhere, carry the configs, the data, the model and Hydra's door."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    root = Path(__file__).parents[2]
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(tmp_path / "dist"),
            str(root),
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    [wheel] = (tmp_path / "dist").glob("*.whl")
    assert wheel.stat().st_size <= 16_000_000
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import tiltyard; "
        f"assert tiltyard.__file__.startswith({str(site)!r}), tiltyard.__file__; "
        "from tiltyard.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-m", "model=lexical,embedded", "task=iot_tiny", "limit=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "2 jobs" in done.stdout
