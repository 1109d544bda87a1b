"""A process that is killed in the middle of its evaluation, and the next one, which goes on behind it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tiltyard.evaluation.rows import read_rows

pytestmark = pytest.mark.integration

MODEL = """
import os
import time
from pathlib import Path

import dspy
from tiltyard.models.engine import Completion, TextEngine

class Gated(TextEngine):
    '''Answers three questions; the others wait until there is a file ``open``. Notes what it was asked.'''

    def generate(self, request):
        question = str(request.messages[-1].parts[-1].text)
        here = Path(os.environ["GATE"])
        with (here / "asked.txt").open("a") as asked:
            asked.write(f"{question!r}\\n")
        number = len((here / "asked.txt").read_text().splitlines())
        while number > 3 and not (here / "open").exists():
            time.sleep(0.05)
        return Completion("[[ ## answer ## ]]\\nnormal\\n\\n[[ ## completed ## ]]", len(question), 7)

def gated():
    return dspy.LM("local/gated", engine=Gated(), cache=False)
"""


class Folder:
    """A folder with the model, a gate and a cache of its own, in which one command is run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "mine/model").mkdir(parents=True)
        (path / "gated_model.py").write_text(MODEL)
        (path / "mine/model/gated.yaml").write_text("_target_: gated_model.gated\n")

    def start(self) -> subprocess.Popen[str]:
        chosen = ("--config-dir", "mine", "model=gated", "task=iot_tiny", "tracking=off")
        places = {"PYTHONPATH": f"{self.path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        return subprocess.Popen(
            [sys.executable, "-m", "tiltyard", *chosen, "evaluation.threads=1"],
            cwd=self.path,
            env={
                **os.environ,
                **places,
                "GATE": str(self.path),
                "TILTYARD_CACHE_DIR": str(self.path / "caches"),
                "HF_HUB_OFFLINE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def open(self) -> None:
        (self.path / "open").touch()

    @property
    def asked(self) -> Counter[str]:
        path = self.path / "asked.txt"
        return Counter(path.read_text().splitlines() if path.exists() else [])

    def result(self):
        """Metrics and rows of the run that ended, less what was measured anew."""
        [written] = self.path.glob("outputs/**/result.json")
        metrics = json.loads(written.read_text())["metrics"]
        anew = ("_per_second", "_ms", "memory.", "energy.")
        rows = read_rows(written.parent / "predictions.csv").drop(columns="latency_ms")
        return {
            name: value for name, value in metrics.items() if not any(part in name for part in anew)
        }, rows


def test_a_killed_evaluation_goes_on_at_the_next_example(tmp_path):
    whole, broken = Folder(tmp_path / "whole"), Folder(tmp_path / "broken")
    whole.open()
    undisturbed, killed = whole.start(), broken.start()
    end = time.monotonic() + 120
    while broken.asked.total() < 4 and time.monotonic() < end:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert undisturbed.communicate(timeout=120)[1] == ""
    assert broken.asked.total() == 4
    assert not list(broken.path.glob("outputs/**/result.json"))

    broken.open()
    again = broken.start()
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0
    assert "3 of 5 examples are kept from an earlier try" in err
    assert "3 taken over from an interrupted try" in out

    # Only what was being answered at the end was asked a second time.
    assert sorted(broken.asked.values()) == [*([1] * (len(whole.asked) - 1)), 2]
    metrics, rows = broken.result()
    expected, expected_rows = whole.result()
    assert metrics.pop("examples.resumed") == 3
    assert metrics == expected
    assert rows.equals(expected_rows)
    assert list((broken.path / "caches/checkpoints").iterdir()) == []
