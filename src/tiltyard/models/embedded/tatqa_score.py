"""Scores the embedded model on TAT-QA, real questions over real reports, as a run of the whole pipeline.

>>> measure_tatqa(Path("tatqa_dataset_dev.json"), Path("trained/model"))["score"]
0.02
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tiltyard.errors import InputError, JobError
from tiltyard.models.embedded import FOLDER


def measure_tatqa(file: Path, model: Path) -> dict[str, Any]:
    """Score a model on a file of TAT-QA through the whole pipeline, in a process of its own.

    Args:
        file: A file in TAT-QA's own format; all its questions are asked.
        model: The folder with the weights.

    Returns:
        The run's ``score`` (exact match) with its 95% interval, ``f1``, and how many ``examples`` there were,
        had no answer (``failed``), did not fit into the context (``too_long``), or had an answer that could
        not be read (``unparsed``).

    Raises:
        InputError: The pipeline refuses the file.
        JobError: It failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            "task=tatqa",
            f"task.path={_quoted(file.resolve())}",
            "task.fractions={train: 0, validation: 0, test: 1}",
            "model=embedded",
            *([] if model == FOLDER else [f"model.weights={_quoted(model.resolve())}"]),
            "optimizer=none",
            "tracking=off",
            "cache.enabled=false",
            f"hydra.run.dir={folder}",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tiltyard", *overrides], capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            kind = InputError if done.returncode == InputError.exit_code else JobError
            raise kind(f"TAT-QA could not be measured ({lines[-1].removeprefix('error: ')})")
        metrics = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))["metrics"]
        errors = Path(folder) / "errors.jsonl"
        lines = errors.read_text(encoding="utf-8").splitlines() if errors.exists() else []
        too_long = sum(json.loads(line)["kind"] == "context" for line in lines)
    wanted = {
        "score": "score",
        "low": "score.low",
        "high": "score.high",
        "f1": "f1",
        "examples": "examples",
        "failed": "examples.failed",
        "unparsed": "examples.unparsed",
        "truncated": "examples.truncated",
    }
    return {
        "file": file.name,
        "too_long": too_long,
        **{name: metrics[key] for name, key in wanted.items() if key in metrics},
    }


def _quoted(path: Path) -> str:
    """A path as a value of Hydra's override grammar."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
