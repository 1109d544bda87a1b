"""The pipeline through its one function, with the shipped configs."""

import contextlib
import json
import os
from typing import ClassVar

import dspy
import pytest
from omegaconf import open_dict

from tiltyard.config import resolve
from tiltyard.errors import InputError, JobError
from tiltyard.evaluation.rows import COLUMNS, read_rows
from tiltyard.experiment import run
from tiltyard.models.engine import Completion, TextEngine
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.run import MlflowRun

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
    "tokens.compile.prompt",
    "tokens.compile.completion",
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


@pytest.mark.parametrize("call", ["log_metrics", "log_rows", "register_program", "log_file"])
def test_a_store_that_fails_after_the_evaluation_costs_no_files(call, composed, in_folder, monkeypatch):
    def fail(*arguments, **options):
        raise JobError("the store failed", "try again")

    monkeypatch.setattr(MlflowRun, call, fail)
    with pytest.raises(JobError, match="the store failed"):
        run(resolve(composed("task=iot_tiny")), in_folder / "out")
    left = {path.name for path in (in_folder / "out").iterdir()}
    assert left >= {"predictions.csv", "report.md", "latency.json", "program", "result.json"}
    result = ExperimentResult.load(in_folder / "out")
    assert result.metrics["examples"] == 5
    assert "the store failed" in result.error


class Recording(dspy.teleprompt.Teleprompter):
    """Keeps what it was given."""

    seen: ClassVar[dict[str, list[str]]] = {}

    def compile(self, student, *, trainset, valset=None):
        Recording.seen = {"train": [e.id for e in trainset], "validation": [e.id for e in valset]}
        return student


class Broken(TextEngine):
    """Never answers."""

    def generate(self, request):
        raise RuntimeError(f"no answer with {os.environ['PLANTED_API_KEY']}")


class Leaking(TextEngine):
    """Answers with what it should keep to itself."""

    def generate(self, request):
        return Completion(
            f"[[ ## answer ## ]]\n{os.environ['PLANTED_API_KEY']}\n\n[[ ## completed ## ]]", 1, 1
        )


def broken():
    return dspy.LM("local/broken", engine=Broken(), cache=False, num_retries=0)


def leaking():
    return dspy.LM("local/leaking", engine=Leaking(), cache=False, num_retries=0)


def of_this_module(cfg, axis, name):
    with open_dict(cfg):
        cfg[axis] = {"_target_": f"{__name__}.{name}"}
    return cfg


def test_an_optimizer_never_sees_the_test_split(composed, in_folder):
    result = run(
        resolve(of_this_module(composed("task=iot_tiny"), "optimizer", "Recording")), in_folder / "out"
    )
    tested = set(read_rows(result.folder / "predictions.csv")["sample_id"])
    assert len(Recording.seen["train"]) == 16
    assert len(Recording.seen["validation"]) == 8
    assert not tested & {*Recording.seen["train"], *Recording.seen["validation"]}


def test_the_seed_decides_the_order(composed, in_folder):
    orders = []
    for seed in (0, 1):
        cfg = of_this_module(
            composed("task=iot_tiny", f"seed={seed}", "tracking=off"), "optimizer", "Recording"
        )
        run(resolve(cfg), in_folder / "out")
        orders.append(Recording.seen["train"])
    assert orders[0] != orders[1]
    assert set(orders[0]) == set(orders[1])


def test_a_model_that_never_answers_fails_the_run(composed, in_folder, monkeypatch):
    monkeypatch.setenv("PLANTED_API_KEY", "a-planted-secret")
    with pytest.raises(JobError, match="all 5 examples failed"):
        run(resolve(of_this_module(composed("task=iot_tiny"), "model", "broken")), in_folder / "out")
    [tracked] = runs(LocalTracking(), statuses=("FAILED",))
    assert tracked.metrics["examples.failed"] == 5
    assert len(tracked.rows()) == 5


@pytest.mark.parametrize("model", ["broken", "leaking"])
def test_no_secret_reaches_a_file(model, composed, in_folder, monkeypatch):
    monkeypatch.setenv("PLANTED_API_KEY", "a-planted-secret")
    cfg = of_this_module(composed("task=iot_tiny", "optimizer=bootstrap"), "model", model)
    with contextlib.suppress(JobError):
        run(resolve(cfg), in_folder / "out")
    files = [path for path in in_folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if b"a-planted-secret" in path.read_bytes()] == []


def test_the_program_is_registered_and_the_rows_are_a_table(experiment, in_folder):
    import mlflow

    result = experiment("task=iot_tiny", "optimizer=bootstrap")
    client = mlflow.MlflowClient(f"sqlite:///{in_folder / 'mlruns/mlflow.db'}")
    [version] = client.search_model_versions("name='iot_tiny.lexical.bootstrap'")
    assert version.run_id == result.run_id
    assert "predictions.json" in {file.path for file in client.list_artifacts(result.run_id)}
