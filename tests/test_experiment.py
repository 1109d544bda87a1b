"""The pipeline through its one function, with the shipped configs."""

import contextlib
import json
import os
import threading
import time
from typing import ClassVar

import dspy
import pytest
from dspy.clients.cache import Cache
from omegaconf import open_dict

from tiltyard.config import instantiate, resolve
from tiltyard.errors import InputError, JobError
from tiltyard.evaluation.rows import COLUMNS, read_rows
from tiltyard.experiment import run
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.optimizers.recorded import uses_both_sets
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.run import MlflowRun
from tiltyard.tracking.tags import DESCRIPTION

METRICS = {
    "score",
    "score.low",
    "score.high",
    "accuracy",
    "examples",
    "examples.failed",
    "examples.truncated",
    "examples.unparsed",
    "examples.cached",
    *(f"health.{check}" for check in ("truncated", "unparsed", "error", "empty", "constant", "duplicates")),
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
    "tiltyard.program",
    "tiltyard.demos",
    "tiltyard.adapter",
    "tiltyard.chat_template",
    "tiltyard.metric",
}


@pytest.fixture
def experiment(composed, in_folder):
    """Runs the shipped config with a model, by default the quickest, and overrides; returns its result."""

    def run_with(*overrides: str, model: str = "lexical") -> ExperimentResult:
        return run(resolve(composed(f"model={model}", *overrides)), in_folder / "out")

    return run_with


def test_a_run_keeps_what_its_contract_says(experiment, in_folder):
    result = experiment("task=iot_tiny", "optimizer=bootstrap", "seed=3")
    assert result.name == "iot_tiny/lexical/bootstrap/s3"
    assert set(result.metrics) >= METRICS
    [tracked] = runs(LocalTracking())
    assert tracked.run_id == result.run_id
    assert {name: tracked.metrics[name] for name in result.metrics} == result.metrics
    assert set(tracked.tags) >= TAGS
    assert tracked.fingerprint == result.fingerprint
    assert tracked.params["optimizer._target_"].endswith(".BootstrapFewShot")
    assert tracked.params["seed"] == "3"
    kept = {str(path.relative_to(result.folder)) for path in result.folder.rglob("*") if path.is_file()}
    [artifacts] = (in_folder / "mlruns/artifacts").glob("*/*/artifacts")
    tracked_files = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
    assert tracked_files - {"predictions.json"} == kept
    assert ExperimentResult.load(result.folder) == result


def test_the_page_of_a_run_says_what_it_found_and_how_to_run_it_again(composed, in_folder):
    cfg = resolve(composed("model=lexical", "task=iot_tiny", "optimizer=bootstrap"))
    result = run(cfg, in_folder / "out", command="tiltyard task=iot_tiny optimizer=bootstrap")
    [tracked] = runs(LocalTracking())
    description = tracked.tags[DESCRIPTION]
    assert description.startswith(f"Score {result.metrics['score']:.3f} [")
    assert "```sh\ntiltyard task=iot_tiny optimizer=bootstrap\n```" in description
    client = LocalTracking().connect(create=False).client
    version = client.get_model_version("iot_tiny.lexical.bootstrap", "1").description
    assert "Signature: `context: str, question: str -> answer: str`" in version
    assert 'mlflow.pyfunc.load_model("models:/iot_tiny.lexical.bootstrap/1")' in version
    assert result.fingerprint in version


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
        experiment("model.id=no/such-model", model="hf")
    [tracked] = runs(LocalTracking(), statuses=("FAILED",))
    assert "no/such-model" in tracked.tags["tiltyard.error"]
    assert (in_folder / "out/config.yaml").is_file()


def test_every_example_may_fail_and_the_run_still_ends(experiment, in_folder):
    result = experiment("model.weights=random", "task=iot_tiny", "limit=2", model="tiny-gpt2")
    assert result.metrics["score"] == 0
    assert result.metrics["examples.failed"] == 2
    errors = [json.loads(line) for line in (result.folder / "errors.jsonl").read_text().splitlines()]
    assert {"time", "phase", "sample", "kind", "message", "hint"} <= set(errors[0])
    rows = read_rows(result.folder / "predictions.csv")
    assert (rows["error"] != "").all()


@pytest.mark.parametrize("call", ["log_metrics", "log_rows", "register_program", "log_file"])
def test_a_store_that_fails_after_the_evaluation_costs_no_files(call, composed, in_folder, monkeypatch):
    def fail(*arguments, **options):
        if not (in_folder / "out/predictions.csv").exists():
            return original(*arguments, **options)
        raise JobError("the store failed", "try again")

    original = getattr(MlflowRun, call)
    monkeypatch.setattr(MlflowRun, call, fail)
    with pytest.raises(JobError, match="the store failed"):
        run(resolve(composed("model=lexical", "task=iot_tiny")), in_folder / "out")
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


class Interrupting(dspy.teleprompt.Teleprompter):
    """Is interrupted while it compiles."""

    def compile(self, student, *, trainset, valset=None):
        raise KeyboardInterrupt


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


def task_of(cfg):
    return instantiate(resolve(cfg).task)


def of_this_module(cfg, axis, name):
    with open_dict(cfg):
        cfg[axis] = {"_target_": f"{__name__}.{name}"}
    return cfg


def test_an_optimizer_never_sees_the_test_split(composed, in_folder):
    cfg = of_this_module(composed("model=lexical", "task=iot_tiny"), "optimizer", "Recording")
    result = run(resolve(cfg), in_folder / "out")
    tested = set(read_rows(result.folder / "predictions.csv")["sample_id"])
    assert len(Recording.seen["train"]) == 16
    assert len(Recording.seen["validation"]) == 8
    assert not tested & {*Recording.seen["train"], *Recording.seen["validation"]}


def test_validation_can_be_evaluated_and_no_optimizer_sees_it_then(composed, in_folder):
    cfg = composed("model=lexical", "task=iot_tiny")
    validation = {example.id for example in task_of(cfg).splits(0, None).validation}
    train = {example.id for example in task_of(cfg).splits(0, None).train}
    with open_dict(cfg):
        cfg.split = "validation"
    result = run(resolve(of_this_module(cfg, "optimizer", "Recording")), in_folder / "out")
    rows = read_rows(result.folder / "predictions.csv")
    assert set(rows["sample_id"]) == validation
    assert set(rows["split"]) == {"validation"}
    learnt, chosen = (set(Recording.seen[name]) for name in ("train", "validation"))
    assert (len(learnt), len(chosen)) == (11, 5)  # a third, as validation is of both
    assert learnt | chosen == train
    [tracked] = runs(LocalTracking())
    assert (tracked.split, tracked.tags["tiltyard.split"]) == ("validation", "validation")
    assert result.name == tracked.name == "iot_tiny/lexical/none/validation/s0"
    assert ExperimentResult.load(result.folder).split == "validation"
    metadata = json.loads((result.folder / "program/metadata.json").read_text())
    assert metadata["score"]["split"] == "validation"
    assert "on the validation split" in (result.folder / "program/README.md").read_text()


@pytest.mark.parametrize(
    ("optimizer", "apart"),
    [
        ("none", False),
        ("labeled_few_shot", False),
        ("bootstrap", False),
        ("copro", False),
        ("simba", False),
        ("knn_few_shot", False),
        ("bootstrap_random_search", True),
        ("mipro", True),
        ("gepa", True),
        ("ace", True),
        ("cheatsheet", False),  # without labels nothing is measured
    ],
)
def test_train_is_divided_only_for_what_learns_and_chooses_by_different_examples(optimizer, apart, composed):
    node = resolve(composed(f"optimizer={optimizer}")).optimizer
    assert uses_both_sets(instantiate(node, metric=lambda *given: 1.0, checkpoints=None)) is apart


def test_a_task_without_validation_cannot_be_evaluated_on_it(experiment, in_folder):
    data = in_folder / "mine.jsonl"
    data.write_text(
        "".join(json.dumps({"question": f"q{n}?", "answer": "a", "split": "test"}) + "\n" for n in (1, 2))
    )
    with pytest.raises(InputError, match="no validation examples"):
        experiment("task=qa", f"task.path={data}", "split=validation")


def test_duplicates_are_looked_for_in_what_an_optimizer_may_see(experiment, in_folder):
    data = in_folder / "mine.jsonl"
    asked = [("train", "q1?"), ("validation", "q1!"), ("validation", "q2?"), ("test", "q2!"), ("test", "q3?")]
    data.write_text(
        "".join(json.dumps({"question": q, "answer": "a", "split": split}) + "\n" for split, q in asked)
    )
    given = ("task=qa", f"task.path={data}", "tracking=off")
    assert experiment(*given).metrics["health.duplicates"] == 0.5
    assert experiment(*given, "split=validation").metrics["health.duplicates"] == 0.5
    (in_folder / "mine.jsonl").write_text(data.read_text().replace("q1?", "q4?"))
    assert experiment(*given).metrics["health.duplicates"] == 0.5
    assert experiment(*given, "split=validation").metrics["health.duplicates"] == 0.0


def test_the_seed_decides_the_order(composed, in_folder):
    orders = []
    for seed in (0, 1):
        cfg = composed("model=lexical", "task=iot_tiny", f"seed={seed}", "tracking=off")
        cfg = of_this_module(cfg, "optimizer", "Recording")
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
    description = tracked.tags[DESCRIPTION]
    assert description.startswith("**Failed:** all 5 examples failed")
    assert "Score 0.000" in description
    assert "***" in description.replace("\\", "")
    assert "a-planted-secret" not in description


def test_the_page_of_an_interrupted_run_says_so(composed, in_folder):
    with pytest.raises(KeyboardInterrupt):
        run(
            resolve(of_this_module(composed("model=lexical", "task=iot_tiny"), "optimizer", "Interrupting")),
            in_folder / "out",
            command="tiltyard task=iot_tiny",
        )
    [tracked] = runs(LocalTracking(), statuses=("KILLED",))
    assert tracked.tags[DESCRIPTION].startswith("**Interrupted** before its end.\n\nRun it again:")


def test_a_run_that_exceeds_a_limit_of_its_health_fails_and_keeps_everything(experiment, in_folder):
    passed = experiment("task=medqa_tiny", "evaluation.fail_on.gold_position_skew=0.9")
    with pytest.raises(JobError, match=r"gold_position_skew is 0\.\d+, above evaluation\.fail_on"):
        experiment("task=medqa_tiny", "evaluation.fail_on={gold_position_skew: 0.1, error: 0}")
    [failed] = runs(LocalTracking(), statuses=("FAILED",))
    assert failed.fingerprint == passed.fingerprint
    assert failed.metrics["score"] == passed.metrics["score"]
    assert set(failed.metrics) == set(passed.metrics)
    assert len(failed.rows()) == 3
    kept = ExperimentResult.load(in_folder / "out")
    assert "gold_position_skew" in kept.error
    assert kept.metrics == failed.metrics
    assert "## Health" in (in_folder / "out/report.md").read_text()
    assert (in_folder / "out/program/program.json").is_file()


def test_a_run_says_how_it_asked_and_which_position_was_chosen(experiment):
    result = experiment("task=medqa_tiny", "optimizer=labeled_few_shot", "optimizer.k=4", "task/program=cot")
    [tracked] = runs(LocalTracking())
    assert tracked.tags["tiltyard.program"] == "dspy.ChainOfThought"
    assert tracked.tags["tiltyard.demos"] == "4"
    assert tracked.tags["tiltyard.metric"] == "option accuracy, flexible extraction"
    chosen = [value for name, value in result.metrics.items() if name.startswith("predicted_")]
    assert len(chosen) >= 4
    assert 0 < sum(chosen) <= 1
    assert {name for name in result.metrics if name.startswith("accuracy.gold_")}


@pytest.mark.parametrize("model", ["broken", "leaking"])
def test_no_secret_reaches_a_file(model, composed, in_folder, cache_folder, monkeypatch):
    monkeypatch.setenv("PLANTED_API_KEY", "a-planted-secret")
    cfg = of_this_module(composed("task=iot_tiny", "optimizer=bootstrap"), "model", model)
    with contextlib.suppress(JobError):
        run(resolve(cfg), in_folder / "out")
    files = [path for place in (in_folder, cache_folder) for path in place.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if b"a-planted-secret" in path.read_bytes()] == []


def test_the_program_is_registered_and_the_rows_are_a_table(experiment, in_folder):
    import mlflow

    result = experiment("task=iot_tiny", "optimizer=bootstrap")
    client = mlflow.MlflowClient(f"sqlite:///{in_folder / 'mlruns/mlflow.db'}")
    [version] = client.search_model_versions("name='iot_tiny.lexical.bootstrap'")
    assert version.run_id == result.run_id
    assert "predictions.json" in {file.path for file in client.list_artifacts(result.run_id)}


class Numbering(TextEngine):
    """Numbers its answers; no two are alike. Notes how many requests it had at once."""

    asked: ClassVar[int] = 0
    most_at_once: ClassVar[int] = 0
    _at_once: ClassVar[int] = 0
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, limit=None, seconds=0.0):
        self._limit = limit
        self._seconds = seconds

    @property
    def max_concurrency(self):
        return self._limit

    def generate(self, request):
        with self._lock:
            Numbering.asked += 1
            Numbering._at_once += 1
            Numbering.most_at_once = max(Numbering.most_at_once, Numbering._at_once)
            number = Numbering.asked
        time.sleep(self._seconds)
        with self._lock:
            Numbering._at_once -= 1
        return Completion(f"[[ ## answer ## ]]\n{number}\n\n[[ ## completed ## ]]", 100, 10)


def numbering(temperature=0.0, limit=None, seconds=0.0):
    return engine_lm("local/numbering", Numbering(limit, seconds), temperature=temperature)


def numbering_with_dspys_cache(answers="a"):
    return dspy.LM("local/numbering", engine=Numbering(), temperature=0.0, cache=True)


@pytest.fixture
def numbered(composed, in_folder):
    """Runs an experiment on the numbering model; returns its result, its rows and how often it asked."""

    def run_with(*overrides, model="numbering", **options):
        cfg = of_this_module(composed("task=iot_tiny", "tracking=off", *overrides), "model", model)
        with open_dict(cfg):
            cfg.model.update(options)
        before, Numbering.most_at_once = Numbering.asked, 0
        result = run(resolve(cfg), in_folder / "out")
        return result, read_rows(result.folder / "predictions.csv"), Numbering.asked - before

    return run_with


def test_a_repeated_run_comes_from_the_response_cache(numbered):
    first, rows, asked = numbered("optimizer=bootstrap")
    again, same_rows, asked_again = numbered("optimizer=bootstrap")

    assert asked > 5
    assert asked_again == 0
    assert (set(rows["cached"]), set(same_rows["cached"])) == ({0}, {1})
    columns = ["sample_id", "pred", "score", "prompt_tokens", "completion_tokens", "finish_reason"]
    assert rows[columns].equals(same_rows[columns])
    assert (first.metrics["tokens.prompt"], again.metrics["tokens.prompt"]) == (500, 0)
    assert first.metrics["tokens.compile.prompt"] > 0
    assert again.metrics["tokens.compile.prompt"] == again.metrics["tokens.compile.completion"] == 0
    assert again.metrics["examples.cached"] == again.metrics["latency.generate.original.count"] == 5
    assert first.metrics["latency.generate.count"] == again.metrics["latency.generate.cached.count"] == 5
    assert "latency.generate.count" not in again.metrics
    assert first.fingerprint == again.fingerprint


def test_another_model_gets_none_of_its_answers(numbered):
    _, rows, _ = numbered()
    _, others, asked = numbered(limit=3)
    assert asked == 5
    assert not set(rows["pred"]) & set(others["pred"])


def test_the_measured_phase_can_do_without_caches(numbered):
    first, _, asked = numbered("optimizer=bootstrap")
    again, rows, asked_again = numbered("optimizer=bootstrap", "evaluation.disable_caching=true")
    assert 0 < asked_again == 5 < asked
    assert set(rows["cached"]) == {0}
    assert again.metrics["tokens.prompt"] == 500
    assert again.metrics["tokens.compile.prompt"] == 0
    assert again.fingerprint == first.fingerprint


def test_the_response_cache_can_be_off_or_elsewhere(numbered, cache_folder, in_folder):
    for _ in range(2):
        assert numbered("cache.enabled=false")[2] == 5
    assert not (cache_folder / "responses").exists()
    assert numbered("cache.folder=mine")[2] == 5
    assert numbered("cache.folder=mine")[2] == 0
    assert (in_folder / "mine/responses/responses.db").is_file()
    assert not (cache_folder / "responses").exists()


@pytest.fixture
def broken_off(numbered, monkeypatch):
    """Runs an experiment on the numbering model that is interrupted when three examples are finished."""

    def run_with(*overrides, **options):
        last = Numbering.asked + 3
        generate = Numbering.generate

        def until_interrupted(self, request):
            if Numbering.asked >= last:
                raise KeyboardInterrupt
            return generate(self, request)

        with monkeypatch.context() as patch:
            patch.setattr(Numbering, "generate", until_interrupted)
            with pytest.raises(KeyboardInterrupt):
                numbered(*overrides, **options)

    return run_with


WITHOUT_CACHE = ("cache.enabled=false", "evaluation.threads=1")


def test_an_interrupted_evaluation_goes_on(broken_off, numbered, cache_folder):
    broken_off(*WITHOUT_CACHE)
    result, rows, asked = numbered(*WITHOUT_CACHE, "labels.model=renamed")
    assert asked == 2
    assert result.metrics["examples.resumed"] == 3
    assert result.metrics["latency.generate.count"] == result.metrics["latency.AnswerQuestion.count"] == 5
    assert result.metrics["tokens.prompt"] == 500
    assert rows.sample_id.is_unique
    again, _, asked = numbered(*WITHOUT_CACHE)
    assert asked == 5  # what has ended is not taken over
    assert "examples.resumed" not in again.metrics
    assert list((cache_folder / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("changed", ["resume=false", "evaluation.disable_caching=true", "seed=1"])
def test_an_evaluation_starts_anew_where_it_is_to_or_another_is_asked_for(changed, broken_off, numbered):
    broken_off(*WITHOUT_CACHE)
    result, _, asked = numbered(*WITHOUT_CACHE, changed)
    assert asked == 5
    assert "examples.resumed" not in result.metrics


def test_a_repeated_sampled_run_draws_the_same_answers(numbered):
    _, rows, asked = numbered(temperature=1.0)
    _, same_rows, asked_again = numbered(temperature=1.0)
    assert (asked, asked_again) == (5, 0)
    assert list(rows["pred"]) == list(same_rows["pred"])


def test_dspys_own_cache_is_off(numbered, monkeypatch):
    """Its key is the request: it would give one engine's answers for another's."""
    monkeypatch.setattr(dspy, "cache", Cache(False, True, None))
    _, rows, _ = numbered("cache.enabled=false", model="numbering_with_dspys_cache")
    _, others, asked = numbered("cache.enabled=false", model="numbering_with_dspys_cache", answers="b")
    assert asked == 5
    assert not set(rows["pred"]) & set(others["pred"])


def test_a_real_model_answers_a_repeated_run_alike(experiment):
    tiny = ("model.weights=random", "task=iot_tiny", "limit=2", "tracking=off")
    first = read_rows(experiment(*tiny, model="tiny-gpt2").folder / "predictions.csv")
    again = read_rows(experiment(*tiny, model="tiny-gpt2").folder / "predictions.csv")
    assert (set(first["cached"]), set(again["cached"])) == ({0}, {1})
    same = [name for name in COLUMNS if name not in ("latency_ms", "cached")]
    assert first[same].equals(again[same])
    assert again["latency_ms"].max() < first["latency_ms"].min()


@pytest.mark.parametrize(
    ("threads", "limit", "most"),
    [("null", None, 5), ("2", None, 2), ("null", 3, 3), ("2", 3, 2), ("4", 3, 3)],
)
def test_as_many_examples_run_at_once_as_are_wanted_and_worked_on(threads, limit, most, numbered):
    numbered(f"evaluation.threads={threads}", limit=limit, seconds=0.2)
    assert Numbering.most_at_once == most
