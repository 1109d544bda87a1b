from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tiltyard.config import Labels
from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.reporting.reading import Evidence, read
from tiltyard.reporting.selection import Selected
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import TrackedRun

MEASURED = {
    "score": 0.667,
    "score.low": 0.208,
    "score.high": 0.939,
    "accuracy": 0.667,
    "examples": 3.0,
    "examples.failed": 0.0,
    "examples.truncated": 0.0,
    "examples.unparsed": 0.0,
    "examples_per_second": 85.2,
    "latency.generate.p50_ms": 12.34,
    "latency.generate.p95_ms": 2812.0,
    "memory.peak_mb": 812.3,
    "tokens.prompt": 12345.0,
    "tokens.completion": 321.0,
}


@pytest.fixture
def make_result(tmp_path: Path) -> Callable[..., ExperimentResult]:
    def make(
        task: str = "tatqa_tiny",
        model: str = "lexical",
        optimizer: str = "none",
        *,
        seed: int = 0,
        error: str = "",
        run_id: str | None = "5f0c",
        without: tuple[str, ...] = (),
        overrides: tuple[str, ...] = (),
        **metrics: float,
    ) -> ExperimentResult:
        measured = MEASURED | {name.replace("__", "."): value for name, value in metrics.items()}
        return ExperimentResult(
            name=f"{task}/{model}/{optimizer}/s{seed}",
            labels=Labels(model=model, task=task, optimizer=optimizer, simulation="none"),
            seed=seed,
            fingerprint="ab12",
            model_id="" if error else f"{model}-id",
            folder=tmp_path / f"{task}_{model}_{optimizer}",
            run_id=None if error else run_id,
            metrics={} if error else {name: measured[name] for name in measured if name not in without},
            error=error,
            seconds=0.0 if error else 3.21,
            overrides=overrides,
        )

    return make


@pytest.fixture
def make_row() -> Callable[..., Row]:
    def make(sample_id: str, score: float = 1.0, **values: Any) -> Row:
        row: dict[str, Any] = {
            "model_id": "lexical",
            "task_name": "tatqa_tiny",
            "domain": "finance",
            "mode": "baseline",
            "sample_id": sample_id,
            "gold": "$5 | $6",
            "pred": "$5",
            "latency_ms": 12.0,
            "question": "How much?",
            "context": "a\nb",
            "correct": int(score == 1),
            "score": score,
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
        return Row(**(row | values))

    return make


@pytest.fixture
def make_run() -> Callable[..., TrackedRun]:
    def make(
        run_id: str,
        *,
        task: str = "tatqa_tiny",
        model: str = "lexical",
        mode: str = "baseline",
        fingerprint: str | None = None,
        minute: int = 0,
        params: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> TrackedRun:
        tags = {
            "tiltyard.task": task,
            "tiltyard.model": model,
            "tiltyard.mode": mode,
            "tiltyard.fingerprint": run_id if fingerprint is None else fingerprint,
        }
        started = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=minute)
        return TrackedRun(
            *(run_id, run_id, "FINISHED", started, started, tags, params or {}, metrics or {}),
            _connection=None,  # type: ignore[arg-type]
        )

    return make


@pytest.fixture
def frame() -> Callable[..., pd.DataFrame]:
    def of(*rows: Row) -> pd.DataFrame:
        from dataclasses import asdict

        return pd.DataFrame([asdict(row) for row in rows])

    return of


@pytest.fixture
def track(tmp_path: Path, make_row: Callable[..., Row]) -> Callable[..., TrackedRun]:
    """A run whose artifacts lie on this disk, as a local store's do."""

    def make(
        scores: dict[str, float],
        *,
        task: str = "tatqa_tiny",
        model: str = "lexical",
        mode: str = "baseline",
        seed: int = 0,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
        config: str | None = None,
        files: dict[str, str] | None = None,
        **values: Any,
    ) -> TrackedRun:
        run_id = f"{task}-{model}-{mode}-{seed}-{len(list(tmp_path.iterdir()))}"
        artifacts = tmp_path / run_id
        rows = [make_row(sample, score, **values) for sample, score in scores.items()]
        write_rows(artifacts / "predictions.csv", rows)
        for name, content in {"config.yaml": config or f"seed: {seed}\n", **(files or {})}.items():
            (artifacts / name).write_text(content, encoding="utf-8")
        labels = {
            "tiltyard.task": task,
            "tiltyard.model": model,
            "tiltyard.mode": mode,
            "tiltyard.optimizer": "none" if mode == "baseline" else mode,
            "tiltyard.simulation": "none",
            "tiltyard.fingerprint": run_id,
        }
        started = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=seed)
        return TrackedRun(
            *(run_id, f"{task}/{model}/{mode}/s{seed}", "FINISHED", started, started),
            tags=labels | (tags or {}),
            params={"seed": str(seed)} | (params or {}),
            metrics=metrics or {},
            _connection=None,  # type: ignore[arg-type]
            _artifacts=artifacts.as_uri(),
        )

    return make


@pytest.fixture
def evidence_of() -> Callable[..., Evidence]:
    def of(*runs: TrackedRun, failed: tuple[TrackedRun, ...] = ()) -> Evidence:
        return read(Selected(list(runs), list(failed)), source="a test")

    return of
