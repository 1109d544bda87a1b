"""The pipeline through its one function, with the shipped configs."""

import json

import pytest

from tiltyard.config import resolve
from tiltyard.errors import InputError, JobError
from tiltyard.evaluation.rows import COLUMNS, read_rows
from tiltyard.experiment import run
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

METRICS = {
    "score",
    "score.low",
    "score.high",
    "accuracy",
    "examples",
    "examples.failed",
    "examples.truncated",
    "examples.unparsed",
    "tokens.prompt",
    "tokens.completion",
    "tokens.cached",
    "examples_per_second",
    "tokens_per_second",
    "memory.peak_mb",
    *(
        f"latency.{phase}.{figure}"
        for phase in ("compile", "generate", "AnswerQuestion")
        for figure in ("p50_ms", "p95_ms", "p99_ms", "mean_ms", "count", "success_rate")
    ),
}
TAGS = {
    "tiltyard.fingerprint",
    "tiltyard.version",
    "tiltyard.mode",
    "tiltyard.task",
    "tiltyard.model",
    "tiltyard.optimizer",
    "tiltyard.simulation",
    "tiltyard.sweep",
    "tiltyard.git_commit",
}


@pytest.fixture
def experiment(composed, in_folder):
    """Runs the shipped config with overrides; returns its result."""

    def run_with(*overrides: str) -> ExperimentResult:
        return run(resolve(composed(*overrides)), in_folder / "out")

    return run_with


def test_a_run_keeps_what_its_contract_says(experiment, in_folder):
    result = experiment("task=iot_tiny", "optimizer=bootstrap", "seed=3")
    assert result.name == "iot_tiny/lexical/bootstrap/s3"
    assert set(result.metrics) >= METRICS
    [tracked] = runs(LocalTracking())
    assert tracked.run_id == result.run_id
    assert tracked.metrics == result.metrics
    assert set(tracked.tags) >= TAGS
    assert tracked.fingerprint == result.fingerprint
    assert tracked.params["optimizer._target_"] == "dspy.BootstrapFewShot"
    assert tracked.params["seed"] == "3"
    kept = {str(path.relative_to(result.folder)) for path in result.folder.rglob("*") if path.is_file()}
    [artifacts] = (in_folder / "mlruns/artifacts").glob("*/*/artifacts")
    tracked_files = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
    assert tracked_files - {"predictions.json"} == kept
    assert ExperimentResult.load(result.folder) == result


def test_rows_say_what_happened(experiment):
    result = experiment("task=iot_tiny", "optimizer=labeled_few_shot")
    rows = read_rows(result.folder / "predictions.csv")
    assert tuple(rows.columns) == COLUMNS
    assert len(rows) == result.metrics["examples"] == 5
    assert rows["score"].mean() == pytest.approx(result.metrics["score"])
    assert set(rows["mode"]) == {"labeled_few_shot"}
    assert set(rows["split"]) == {"test"}
    assert not (result.folder / "errors.jsonl").exists()


def test_demonstrations_raise_the_score_offline(experiment):
    base = experiment("task=iot_tiny")
    assert base.labels.mode == "baseline"
    taught = experiment("task=iot_tiny", "optimizer=bootstrap")
    assert taught.metrics["score"] > base.metrics["score"]


def test_equal_configs_give_equal_predictions(experiment):
    first, second = (
        read_rows(experiment("task=medqa_tiny", "optimizer=bootstrap").folder / "predictions.csv")
        for _ in range(2)
    )
    columns = ["sample_id", "question", "gold", "pred", "score", "prompt_tokens"]
    assert first[columns].equals(second[columns])


def test_the_reasoning_program_runs_and_is_saved_as_such(experiment):
    result = experiment("task=iot_tiny", "task/program=cot", "limit=2", "tracking=off")
    metadata = json.loads((result.folder / "program/metadata.json").read_text())
    assert metadata["program"]["_target_"] == "dspy.ChainOfThought"
    assert result.run_id is None
    assert result.metrics["examples.failed"] == 0


def test_an_experiment_that_cannot_go_on_is_failed_and_keeps_its_config(experiment, in_folder):
    with pytest.raises(InputError):
        experiment("model=hf", "model.id=no/such-model")
    [tracked] = runs(LocalTracking(), statuses=("FAILED",))
    assert "no/such-model" in tracked.tags["tiltyard.error"]
    assert (in_folder / "out/config.yaml").is_file()


def test_every_example_may_fail_and_the_run_still_ends(experiment, in_folder):
    result = experiment("model=tiny-gpt2", "model.weights=random", "task=iot_tiny", "limit=2")
    assert result.metrics["score"] == 0
    assert result.metrics["examples.failed"] == 2
    errors = [json.loads(line) for line in (result.folder / "errors.jsonl").read_text().splitlines()]
    assert {"time", "phase", "sample", "kind", "message", "hint"} <= set(errors[0])
    rows = read_rows(result.folder / "predictions.csv")
    assert (rows["error"] != "").all()


def test_a_tracker_that_fails_at_the_end_costs_no_files(composed, in_folder, monkeypatch):
    from tiltyard.tracking.run import MlflowRun

    def fail(self, folder):
        raise JobError("the store failed", f"the run's files are in {folder}")

    monkeypatch.setattr(MlflowRun, "log_folder", fail)
    with pytest.raises(JobError, match="the run's files are in"):
        run(resolve(composed("task=iot_tiny")), in_folder / "out")
    assert (in_folder / "out/predictions.csv").is_file()
    assert (in_folder / "out/report.md").is_file()
