import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tiltyard.evaluation.rows import Row
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.store import open_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made once: MLflow's migrations take a second, a copy of the folder takes none."""
    return open_store(tmp_path_factory.mktemp("store") / "mlruns", create=True).folder


@pytest.fixture
def tracking(empty_store: Path, tmp_path: Path) -> LocalTracking:
    shutil.copytree(empty_store, tmp_path / "mlruns")
    return LocalTracking(folder=str(tmp_path / "mlruns"))


@pytest.fixture
def make_row() -> Callable[..., Row]:
    def make(sample_id: str, **values: object) -> Row:
        row: dict[str, object] = {
            "model_id": "lexical",
            "task_name": "tatqa_tiny",
            "domain": "finance",
            "mode": "baseline",
            "sample_id": sample_id,
            "gold": "007",
            "pred": "NA",
            "latency_ms": 1.5,
            "question": "Which agent, née “Bond”?",
            "context": "a, b\nc",
            "correct": 0,
            "score": 0.5,
            "split": "test",
            "epoch": 0,
            "finish_reason": "stop",
            "error": "",
            "reflection_latency_ms": 0.0,
            "reflected": 0,
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "cached": 0,
        }
        return Row(**(row | values))  # type: ignore[arg-type]

    return make
