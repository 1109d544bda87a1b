import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dspy
import pytest
from dspy import lm15
from dspy.clients.cache import Cache

from tiltyard.errors import InputError
from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.rows import COLUMNS, read_rows
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.cached_engine import cached_lm
from tiltyard.models.caching import without_caches
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.models.response_cache import ResponseCache
from tiltyard.tasks.task import Score
from tiltyard.telemetry.latency import LatencyRecorder


class AnswerQuestion(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    context: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Arithmetic:
    """Sums with their results; an answer that is off by one earns half."""

    domain = "arithmetic"
    signature = AnswerQuestion
    program = dspy.Predict

    def examples(self, count=6):
        return [
            dspy.Example(id=f"sum-{n}", question=f"{n} + 1", context="add", answer=str(n + 1)).with_inputs(
                "question", "context"
            )
            for n in range(count)
        ]

    def metric(self, example, prediction, trace=None, pred_name=None, pred_trace=None):
        distance = abs(int(prediction.answer) - int(example.answer))
        return Score({0: 1.0, 1: 0.5}.get(distance, 0.0), "")

    def gold(self, example):
        return example.answer

    def answer(self, prediction):
        return prediction.answer


class Adder(TextEngine):
    """Adds the numbers of the question. ``wrong`` maps questions to other answers, or to exceptions."""

    def __init__(self, wrong=None, finish_reason="stop"):
        self.wrong = wrong or {}
        self.finish_reason = finish_reason
        self.systems = []

    def generate(self, request):
        self.systems.append(str(request.system))
        question = request.messages[-1].parts[-1].text.split("## ]]")[1].split("\n")[1]
        answer = self.wrong.get(question, str(sum(map(int, question.split(" + ")))))
        if isinstance(answer, Exception):
            raise answer
        text = f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]" if answer != "garbage" else answer
        return Completion(text, 50, 5, finish_reason=self.finish_reason, cached_tokens=10)


class Four(TextEngine):
    """Always answers 4."""

    def generate(self, request):
        return Completion("[[ ## answer ## ]]\n4\n\n[[ ## completed ## ]]", 50, 5)


class Run:
    """One evaluation's settings, with what it leaves in its folder."""

    def __init__(self, folder):
        self.folder = folder
        self.task = Arithmetic()
        self.latencies = LatencyRecorder()

    def __call__(self, engine, program=None, examples=None, threads=4, lm=None, **options):
        return evaluate(
            program or dspy.Predict(AnswerQuestion),
            self.task.examples() if examples is None else examples,
            self.task,
            lm=lm or dspy.LM("local/adder", engine=engine, cache=False, num_retries=0),
            labels=RowLabels("adder", "arithmetic_tiny", "baseline"),
            threads=threads,
            latencies=self.latencies,
            folder=self.folder,
            progress=False,
            **options,
        )

    @property
    def rows(self):
        return read_rows(self.folder / "predictions.csv")

    @property
    def errors(self):
        path = self.folder / "errors.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "outputs")


def test_a_good_run(run):
    evaluation = run(Adder())

    assert (evaluation.score, evaluation.accuracy, evaluation.failed) == (1.0, 1.0, 0)
    assert evaluation.interval_method == "wilson"
    assert 0.5 < evaluation.low < evaluation.high == 1.0
    assert not (run.folder / "errors.jsonl").exists()
    assert list(run.rows.columns) == list(COLUMNS)
    row = run.rows.iloc[2].to_dict()
    assert row.pop("latency_ms") > 0
    assert row == {
        "model_id": "adder",
        "task_name": "arithmetic_tiny",
        "domain": "arithmetic",
        "mode": "baseline",
        "sample_id": "sum-2",
        "gold": "3",
        "pred": "3",
        "question": "2 + 1",
        "context": "add",
        "correct": 1,
        "score": 1.0,
        "split": "test",
        "epoch": 0,
        "finish_reason": "stop",
        "error": "",
        "reflection_latency_ms": 0.0,
        "reflected": 0,
        "prompt_tokens": 50,
        "completion_tokens": 5,
        "cached": 0,
    }


def test_metrics_have_the_names_of_the_contract(run):
    metrics = run(Adder()).metrics()

    assert set(metrics) == {
        "score",
        "score.low",
        "score.high",
        "accuracy",
        "examples",
        "examples.failed",
        "examples.truncated",
        "examples.unparsed",
        "examples.cached",
        "tokens.prompt",
        "tokens.completion",
        "tokens.cached",
        "examples_per_second",
        "tokens_per_second",
    }
    assert (metrics["examples"], metrics["tokens.prompt"], metrics["tokens.completion"]) == (6, 300, 30)
    assert metrics["tokens.cached"] == 60
    assert metrics["tokens_per_second"] == pytest.approx(5 * metrics["examples_per_second"])


def test_rows_of_the_file_and_of_the_result_are_the_same_and_in_order(run):
    evaluation = run(Adder({"3 + 1": "5"}), split="validation", epoch=2)

    assert [row.sample_id for row in evaluation.rows] == [f"sum-{n}" for n in range(6)]
    assert [vars(row) for row in evaluation.rows] == run.rows.to_dict("records")
    assert set(run.rows.split) == {"validation"}
    assert set(run.rows.epoch) == {2}


def test_partial_scores_count_in_the_score_and_not_in_the_accuracy(run):
    evaluation = run(Adder({"0 + 1": "2", "1 + 1": "9"}))

    assert evaluation.score == pytest.approx(4.5 / 6)
    assert evaluation.accuracy == pytest.approx(4 / 6)
    assert list(run.rows.correct) == [0, 0, 1, 1, 1, 1]
    assert evaluation.interval_method == "wilson-t"


@pytest.mark.parametrize(
    ("failure", "kind", "phase"),
    [
        ("garbage", "parse", "generate"),
        (lm15.ContextLengthError("2100 tokens, 2048 fit"), "context", "generate"),
        (lm15.TimeoutError("too slow"), "timeout", "generate"),
        (lm15.RateLimitError("slow down"), "rate_limit", "generate"),
        (lm15.AuthError("wrong key"), "auth", "generate"),
        (ZeroDivisionError("engine bug"), "model", "generate"),
        ("not a number", "metric", "score"),
    ],
)
def test_a_failure_keeps_its_row_and_is_listed(run, failure, kind, phase):
    evaluation = run(Adder({"2 + 1": failure}))

    assert evaluation.score == pytest.approx(5 / 6)
    assert evaluation.metrics()["examples"] == 6
    assert evaluation.metrics()["examples.failed"] == 1
    assert evaluation.metrics()["examples.unparsed"] == (kind == "parse")
    row = run.rows.iloc[2]
    assert (row.sample_id, row.gold, row.pred, row.score, row.correct) == ("sum-2", "3", "", 0, 0)
    assert row.error.startswith(f"{kind}: ")
    assert "\n" not in row.error
    assert row.latency_ms > 0
    assert len(run.errors) == 1
    error = run.errors[0]
    assert (error["sample"], error["kind"], error["phase"]) == ("sum-2", kind, phase)
    assert error["message"] in row.error
    assert error["hint"]


def test_a_program_that_raises(run):
    class Broken(dspy.Module):
        def forward(self, question, context):
            return {}[question]

    evaluation = run(Adder(), program=Broken())

    assert (evaluation.score, evaluation.failed) == (0, 6)
    assert evaluation.high < 0.5
    assert set(run.rows.error) == {f"error: KeyError: '{n} + 1'" for n in range(6)}
    assert set(run.rows.finish_reason) == {""}
    assert len(run.errors) == 6


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan")])
def test_a_score_out_of_range_is_a_failure_of_the_metric(run, score):
    run.task.metric = lambda example, prediction: Score(score, "")
    evaluation = run(Adder())

    assert (evaluation.score, evaluation.failed) == (0, 6)
    assert run.errors[0]["kind"] == "metric"
    assert str(score) in run.errors[0]["message"]


def test_truncation_is_counted_whether_the_example_failed_or_not(run):
    evaluation = run(Adder({"2 + 1": "garbage"}, finish_reason="length"))

    assert (evaluation.truncated, evaluation.failed, evaluation.unparsed) == (6, 1, 1)
    assert set(run.rows.finish_reason) == {"length"}


def test_every_call_of_an_example_counts(run):
    run(Adder({"2 + 1": "garbage"}))  # DSPy asks a second time, for JSON

    assert list(run.rows.prompt_tokens) == [50, 50, 100, 50, 50, 50]


def test_latencies_by_phase_and_signature(run):
    run(Adder({"2 + 1": lm15.AuthError("wrong key")}), program=dspy.ChainOfThought(AnswerQuestion))

    summary = run.latencies.summary()
    assert set(summary) == {"generate", "AnswerQuestion"}
    assert summary["generate"]["count"] == 6
    # Without a reasoning field no answer parses, so each of the other five examples asks twice.
    assert summary["AnswerQuestion"]["count"] == 11
    assert summary["AnswerQuestion"]["success_rate"] == pytest.approx(10 / 11)


def test_a_predictor_with_its_own_model_is_measured_too(run):
    program = dspy.Predict(AnswerQuestion)
    program.set_lm(dspy.LM("local/own", engine=Adder(), cache=False))
    evaluation = run(Adder({f"{n} + 1": "9" for n in range(6)}), program=program)

    assert evaluation.score == 1.0
    assert evaluation.prompt_tokens == 300
    assert run.latencies.summary()["AnswerQuestion"]["count"] == 6


def test_the_callers_model_and_settings_are_left_alone(run):
    lm = dspy.LM("local/adder", engine=Adder(), cache=False)
    with dspy.context(trace=[]):
        run(None, lm=lm)
        assert dspy.settings.trace == []
    assert lm.history == []
    assert lm.callbacks == []
    assert dspy.settings.callbacks == []


def test_the_callers_settings_reach_the_threads(run):
    engine = Adder()
    with dspy.context(adapter=dspy.JSONAdapter()):
        run(engine)

    assert all("JSON" in system for system in engine.systems)


def test_examples_run_at_the_same_time(run):
    together = threading.Barrier(4, timeout=10)

    class Meeting(Adder):
        def generate(self, request):
            together.wait()
            return super().generate(request)

    assert run(Meeting(), examples=run.task.examples(8), threads=4).score == 1.0


def test_no_more_examples_than_threads_run_at_the_same_time(run):
    running, most = [], []

    class Counting(Adder):
        def generate(self, request):
            running.append(1)
            most.append(len(running))
            time.sleep(0.005)
            running.pop()
            return super().generate(request)

    run(Counting(), examples=run.task.examples(12), threads=2)
    assert max(most) == 2


def test_rows_are_on_disk_while_others_still_run(run):
    seen = []

    class Looking(Adder):
        def generate(self, request):
            seen.append(len(run.rows))
            return super().generate(request)

    run(Looking(), threads=1)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_an_interrupt_lets_the_running_examples_finish_and_starts_no_more(run, caplog):
    started = []

    class Interrupting(Adder):
        def generate(self, request):
            started.append(1)
            if len(started) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            return super().generate(request)

    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.WARNING, logger="tiltyard"):
        run(Interrupting(), examples=run.task.examples(100), threads=2)

    assert 3 <= len(started) <= 6
    assert len(run.rows) == len(started)
    assert set(run.rows.score) == {1.0}
    assert "interrupted" in caplog.text


def test_an_interrupt_does_not_wait_for_ever(run, monkeypatch):
    monkeypatch.setattr("tiltyard.evaluation.evaluate.PATIENCE", 0.1)
    release = threading.Event()

    class Stuck(Adder):
        def generate(self, request):
            if "0 + 1" not in request.messages[-1].parts[-1].text:
                os.kill(os.getpid(), signal.SIGINT)
                release.wait(10)
            return super().generate(request)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(Stuck(), threads=1)
    waited = time.monotonic() - start
    release.set()

    assert waited < 5
    assert list(run.rows.sample_id) == ["sum-0"]


STUCK = """
import sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
import tiltyard.evaluation.evaluate as module
from test_evaluate import Adder, Run

class Stuck(Adder):
    def generate(self, request):
        print("running", flush=True)
        time.sleep(60)

module.PATIENCE = 0.2
Run(Path({folder!r}))(Stuck(), threads=1)
"""


def test_an_interrupted_process_ends_although_a_model_hangs(tmp_path):
    script = STUCK.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=15)
        finally:
            process.kill()

    assert first == "running\n"
    assert errors.endswith("KeyboardInterrupt\n")
    assert process.returncode != 0


def test_a_row_that_cannot_be_written_ends_the_evaluation(run, monkeypatch):
    def full(self, row):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tiltyard.evaluation.rows.RowWriter.add", full)
    with pytest.raises(OSError, match="No space left"):
        run(Adder())


def test_further_metrics_are_means_over_all_examples(run):
    run.task.extra_metrics = lambda example, prediction: {"f1": 0.8, "score": 0.1}
    evaluation = run(Adder({"2 + 1": "garbage"}))

    assert evaluation.metrics()["f1"] == pytest.approx(0.8 * 5 / 6)
    assert evaluation.metrics()["score"] == pytest.approx(5 / 6)


def test_a_further_metric_may_apply_to_some_examples_only(run):
    run.task.extra_metrics = lambda example, prediction: {} if example.id == "sum-0" else {"f1": 1.0}
    evaluation = run(Adder({"2 + 1": "garbage"}))

    assert evaluation.extra == {"f1": pytest.approx(4 / 5)}


def test_a_task_sums_up_the_whole_split_failed_examples_included(run):
    def summary(judged):
        assert [one.example.id for one in judged] == [f"sum-{n}" for n in range(6)]
        assert [(one.answer, one.score) for one in judged[:3]] == [("1", 1.0), ("2", 1.0), ("", 0.0)]
        return {"answered": sum(bool(one.answer) for one in judged), "score": 7.0}

    run.task.summary = summary
    metrics = run(Adder({"2 + 1": "garbage"})).metrics()
    assert metrics["answered"] == 5.0
    assert metrics["score"] == pytest.approx(5 / 6)


def test_a_summary_that_is_no_number_is_an_error_and_keeps_the_rows(run):
    run.task.summary = lambda judged: {"macro": float("nan")}
    with pytest.raises(ValueError, match="metric macro of the task's summary is nan"):
        run(Adder())
    assert len(run.rows) == 6


def test_a_record_without_a_question_shows_its_inputs(run):
    class Sort(dspy.Signature):
        numbers: list[int] = dspy.InputField()
        order: str = dspy.InputField()
        answer: str = dspy.OutputField()

    examples = [
        dspy.Example(id=1, numbers=[3, 1], order="größte zuerst", answer="4").with_inputs("numbers", "order")
    ]
    run.task.signature = Sort
    run(Four(), program=dspy.Predict(Sort), examples=examples)

    row = run.rows.iloc[0]
    assert row.question == "numbers: [3, 1]\norder: größte zuerst"
    assert (row.context, row.sample_id, row.score) == ("", "1", 1.0)


def test_awkward_text_comes_back_from_the_file(run):
    text = 'a "quoted", line\r\nand\nanother; é 漢 😀 \0'
    example = dspy.Example(id="x", question="1 + 1", context=text, answer=text).with_inputs(
        "question", "context"
    )
    run.task.answer = lambda prediction: text
    run.task.metric = lambda example, prediction: Score(1.0, "")
    run(Adder(), examples=[example])

    row = run.rows.iloc[0]
    assert row.context == row.gold == row.pred == text


def test_no_secret_reaches_the_files(run, monkeypatch):
    monkeypatch.setenv("ADDER_API_KEY", "a-very-secret-key")
    run(Adder({"2 + 1": lm15.AuthError("refused a-very-secret-key and sk-abcdefghijklmnopqrst")}))

    written = "".join(path.read_text(encoding="utf-8") for path in run.folder.iterdir())
    assert "refused ***" in written
    assert "a-very-secret-key" not in written
    assert "sk-abc" not in written


def test_files_of_an_earlier_run_are_replaced(run):
    run(Adder({"2 + 1": "garbage"}))
    run(Adder(), examples=run.task.examples(2))

    assert list(run.rows.sample_id) == ["sum-0", "sum-1"]
    assert not (run.folder / "errors.jsonl").exists()


def test_kept_answers_are_flagged_and_their_rows_keep_what_they_used(run, tmp_path):
    def evaluated(identity="one model"):
        cache = ResponseCache(tmp_path / "responses", 100)
        return run(None, lm=cached_lm(engine_lm("local/adder", Adder(), temperature=0.0), cache, identity))

    first, rows = evaluated(), run.rows
    assert "generate.original" not in run.latencies.summary()
    run.latencies = LatencyRecorder()
    again = evaluated()
    figures = run.latencies.summary()

    assert (first.cached, first.prompt_tokens, first.cached_tokens) == (0, 300, 60)
    assert (again.cached, again.prompt_tokens, again.completion_tokens, again.cached_tokens) == (6, 0, 0, 0)
    assert (again.cost_usd, again.metrics()["cost.usd"], again.metrics()["examples.cached"]) == (
        0.0,
        0.0,
        6.0,
    )
    assert not [name for name in again.metrics() if name.endswith("_per_second")]
    assert set(run.rows.cached) == {1}
    assert set(run.rows.prompt_tokens) == {50}
    same = [name for name in COLUMNS if name not in ("latency_ms", "cached")]
    assert run.rows[same].equals(rows[same])
    assert counts_of(run, "generate") == {"generate.cached": 6, "generate.original": 6}
    assert not [name for name in figures if "." not in name], "each call was a look-up too"
    assert figures["generate.original"]["mean_ms"] < rows.latency_ms.mean()
    assert evaluated("another model").cached == 0


def test_a_half_kept_run_counts_what_it_spent(run, tmp_path):
    def evaluated(count):
        cache = ResponseCache(tmp_path / "responses", 100)
        lm = cached_lm(engine_lm("local/adder", Adder(), temperature=0.0), cache, "one model")
        return run(None, lm=lm, examples=run.task.examples(count))

    evaluated(2)
    evaluation = evaluated(6)
    assert (evaluation.examples, evaluation.cached, evaluation.prompt_tokens) == (6, 2, 200)
    assert evaluation.examples_per_second == pytest.approx(4 / evaluation.seconds)
    assert evaluation.tokens_per_second == pytest.approx(20 / evaluation.seconds)
    assert list(run.rows.cached) == [1, 1, 0, 0, 0, 0]
    phases = run.latencies.summary()
    assert (phases["generate"]["count"], phases["generate.cached"]["count"]) == (2 + 4, 2)
    with without_caches():
        assert evaluated(6).cached == 0


class Halting(TextEngine):
    """Writes no format, and fails when DSPy asks once more for JSON."""

    def __init__(self):
        self.asked = 0

    def generate(self, request):
        self.asked += 1
        if "JSON" in request.messages[-1].parts[-1].text:
            raise lm15.ServerError("out of order")
        return Completion("garbage", 50, 5)


def test_a_call_that_failed_was_no_look_up(run, tmp_path):
    engines = [Halting(), Halting()]
    for engine in engines:
        run.latencies = LatencyRecorder()
        cache = ResponseCache(tmp_path / "responses", 100)
        lm = engine_lm("local/adder", engine, temperature=0.0).copy(num_retries=0)
        evaluation = run(None, lm=cached_lm(lm, cache, "one model"), examples=run.task.examples(1))
    assert [engine.asked for engine in engines] == [2, 1], "the first answer is kept, the failure is not"
    assert (evaluation.failed, evaluation.cached) == (1, 0)
    assert counts_of(run, "generate") == {"generate": 1}


def counts_of(run, beginning):
    phases = run.latencies.summary().items()
    return {name: figures["count"] for name, figures in phases if name.startswith(beginning)}


def test_cached_answers_are_flagged_and_use_nothing(run, monkeypatch, tmp_path):
    cache = Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(dspy, "cache", cache)
    lm = dspy.LM("local/adder", engine=Adder(), cache=True)
    first, again = run(None, lm=lm), run(None, lm=lm)

    assert (first.cached, first.prompt_tokens, first.cost_usd) == (0, 300, None)
    assert (again.cached, again.prompt_tokens, again.cost_usd) == (6, 0, 0.0)
    assert set(run.rows.cached) == {1}
    assert set(run.rows.finish_reason) == {"stop"}
    assert again.score == 1.0


def test_no_example_is_an_input_error(run):
    with pytest.raises(InputError, match="arithmetic_tiny has no test examples"):
        run(Adder(), examples=[])
