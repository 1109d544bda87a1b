import json
import os
import subprocess
import sys

import dspy
import pytest

from tiltyard.artifacts.metadata import Origin
from tiltyard.artifacts.program import build_program_folder
from tiltyard.models.lexical import lexical
from tiltyard.programs.qa import AnswerQuestion
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.store import open_store

pytestmark = pytest.mark.integration

PREDICT = """
import sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model("models:/tatqa_tiny.lexical.none/1")
frame = pd.DataFrame({"question": ["What is the limit?"], "context": ["The limit is 80 °C. It rains."]})
print(model.predict(frame).to_json(orient="records"))
"""


def test_a_registered_program_answers_after_its_store_has_moved(tmp_path):
    origin = Origin(
        task="tatqa_tiny",
        model="lexical",
        optimizer="none",
        seed=0,
        fingerprint="f00d",
        score=(0.5, 0.2, 0.8),
        signature=AnswerQuestion,
        program_node={"_target_": "dspy.Predict", "_partial_": True},
        model_node={"_target_": "tiltyard.models.lexical.lexical"},
        hardware_node={},
    )
    program = dspy.Predict(AnswerQuestion)
    with dspy.context(lm=lexical()):
        expected = program(question="What is the limit?", context="The limit is 80 °C. It rains.").answer
    folder = build_program_folder(tmp_path / "out" / "program", program, origin)
    with LocalTracking(folder=str(tmp_path / "mlruns")).start("a run", tags={}, params={}) as run:
        assert run.register_program(folder, "tatqa_tiny/lexical/none") == "1"
        run.log_folder(tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mlruns").rename(tmp_path / "elsewhere" / "mlruns")
    store = open_store(tmp_path / "elsewhere" / "mlruns", create=False)
    done = subprocess.run(
        [sys.executable, "-c", PREDICT],
        env=os.environ
        | {
            "MLFLOW_TRACKING_URI": store.uri,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"answer": expected}]
