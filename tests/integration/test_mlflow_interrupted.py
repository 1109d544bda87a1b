import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

pytestmark = pytest.mark.integration

WORK = """
import signal, sys, time
from pathlib import Path
from tiltyard.tracking.recorder import LocalTracking

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
with LocalTracking(folder=sys.argv[1]).start("a run", tags={}, params={}) as run:
    run.log_metrics({"score": 0.5})
    print("started", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_as_killed_with_what_it_had(tmp_path: Path, number: int) -> None:
    folder = str(tmp_path / "mlruns")
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    process.send_signal(number)
    assert process.wait(20) != 0
    [found] = runs(LocalTracking(folder=folder), statuses=("KILLED",))
    assert found.metrics == {"score": 0.5}
