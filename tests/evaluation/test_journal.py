"""An evaluation that was interrupted goes on at the next example, and finds what it would have found."""

import json
import logging
from dataclasses import replace

import dspy
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.failures import HINTS, Failure
from tiltyard.evaluation.journal import TrialJournal
from tiltyard.evaluation.rows import Row, read_rows
from tiltyard.evaluation.trial import RowLabels, Trial
from tiltyard.models.engine import Completion, TextEngine
from tiltyard.tasks.task import Score
from tiltyard.telemetry.latency import Call, LatencyRecorder
from tiltyard.telemetry.usage import Usage

LABELS = RowLabels("adder", "sums", "baseline")
SETTINGS = {"epoch": 0, "evaluation.disable_caching": False}

texts = st.text(st.characters(exclude_categories=()), max_size=20)  # half surrogate pairs, too
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**40)
rows = st.builds(
    Row,
    **dict.fromkeys(("domain", "gold", "pred", "split", "finish_reason", "error"), texts),
    **dict.fromkeys(("model_id", "task_name", "mode", "question", "context"), st.just("")),
    sample_id=st.just("17"),
    latency_ms=numbers,
    correct=st.integers(0, 1),
    score=st.floats(0, 1),
    epoch=counts,
    reflection_latency_ms=numbers,
    reflected=st.integers(0, 1),
    prompt_tokens=counts,
    completion_tokens=counts,
    cached=st.integers(0, 1),
)
trials = st.builds(
    Trial,
    rows,
    st.builds(
        Usage,
        calls=counts,
        finish_reason=texts,
        spared_prompt_tokens=counts,
        original_latency_ms=numbers,
        cost_usd=st.none() | numbers,
        from_cache=st.booleans(),
    ),
    st.dictionaries(texts, numbers, max_size=3),
    st.none() | st.builds(Failure, texts, texts, texts, st.sampled_from([*HINTS]), texts, texts),
    st.lists(st.builds(Call, texts, numbers, st.booleans()), max_size=3).map(tuple),
    st.just(False),
)


class AnswerSum(dspy.Signature):
    """Add up."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


def asked_for(number):
    return dspy.Example(id=str(number), question=f"{number} + 1", answer=str(number + 1)).with_inputs(
        "question"
    )


class Sums:
    """Sums with their results; ``failing`` maps ids to what the metric raises."""

    domain = "arithmetic"
    signature = AnswerSum

    def __init__(self, failing=None):
        self.failing = failing or {}

    def metric(self, example, prediction, trace=None, pred_name=None, pred_trace=None):
        if example.id in self.failing:
            raise self.failing[example.id]
        return Score(float(prediction.answer == example.answer), "")

    def extra_metrics(self, example, prediction):
        return {"length": len(prediction.answer) / 7}

    def summary(self, judged):
        return {
            "right_in_a_row": float(
                max(len(run) for run in "".join(str(int(j.score)) for j in judged).split("0"))
            )
        }

    def gold(self, example):
        return example.answer

    def answer(self, prediction):
        return prediction.answer


class Adder(TextEngine):
    """Adds; ``wrong`` maps questions to other answers, or to exceptions. Notes what it was asked."""

    def __init__(self, wrong=None):
        self.wrong = wrong or {}
        self.asked = []

    def generate(self, request):
        question = request.messages[-1].parts[-1].text.split("## ]]")[1].split("\n")[1]
        self.asked.append(question)
        answer = self.wrong.get(question, str(sum(map(int, question.split(" + ")))))
        if isinstance(answer, BaseException):
            raise answer
        text = f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]" if answer != "garbage" else answer
        return Completion(text, 50, 5, cached_tokens=10)


class Try:
    """Evaluates ten sums in a folder of its own; the journal is the same for all tries."""

    def __init__(self, folder):
        self.journal = folder / "checkpoints" / "test-0.jsonl"
        self.tries = 0
        self.parent = folder

    def __call__(self, engine, task=None, labels=LABELS, program=None, settings=SETTINGS, threads=1):
        self.tries += 1
        self.folder = self.parent / f"try-{self.tries}"
        self.latencies = LatencyRecorder()
        program = program or dspy.Predict(AnswerSum)
        return evaluate(
            program,
            [asked_for(number) for number in range(10)],
            task or Sums(),
            lm=dspy.LM("local/adder", engine=engine, cache=False, num_retries=0),
            labels=labels,
            threads=threads,
            latencies=self.latencies,
            folder=self.folder,
            progress=False,
            journal=TrialJournal(self.journal, program, settings),
        )

    def interrupted(self, wrong=None, failing=None, **options):
        """Ends with an interrupt when four examples are finished; returns what was asked."""
        engine = Adder({question: answer for question, answer in (wrong or {}).items() if question < "4"})
        task = Sums({**(failing or {}), **{str(number): KeyboardInterrupt() for number in range(4, 10)}})
        with pytest.raises(KeyboardInterrupt):
            self(engine, task, **options)
        return engine.asked

    @property
    def errors(self):
        path = self.folder / "errors.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def counted(self):
        """What was timed, less the times."""
        return {phase: (one["count"], one["success_rate"]) for phase, one in self.latencies.summary().items()}


@pytest.fixture
def evaluated(tmp_path):
    return Try(tmp_path)


def without_times(value):
    """Rows or metrics but for what is measured anew."""
    if isinstance(value, dict):
        return {name: number for name, number in value.items() if not name.endswith("_per_second")}
    return [replace(row, latency_ms=0.0) for row in value]


def lines(path):
    return path.read_bytes().splitlines()[1:]


@given(kept=st.lists(trials, max_size=3))
def test_a_trial_comes_back_as_it_was(kept, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "test.jsonl"
    kept = [replace(one, row=replace(one.row, sample_id=str(number))) for number, one in enumerate(kept)]
    with TrialJournal(path, dspy.Predict(AnswerSum)) as journal:
        for trial in kept:
            journal.keep(trial)
    with TrialJournal(path, dspy.Predict(AnswerSum)) as journal:
        assert journal.found == len(kept)
        for number, trial in enumerate(kept):
            row = replace(trial.row, question=f"{number} + 1", **vars(LABELS))
            assert journal.finished(asked_for(number), LABELS) == replace(trial, row=row)
        assert journal.finished(asked_for(99), LABELS) is None


WRONG = {"1 + 1": "garbage", "2 + 1": "0", "3 + 1": lm15.ContextLengthError("too long"), "7 + 1": "garbage"}


@pytest.mark.parametrize("threads", [1, 4])
def test_an_interrupted_evaluation_ends_as_an_undisturbed_one(evaluated, tmp_path, caplog, threads):
    failing = {"0": ZeroDivisionError("a bug of the metric")}
    undisturbed = Try(tmp_path / "undisturbed")
    whole = undisturbed(Adder(WRONG), Sums(failing), threads=threads)

    first = evaluated.interrupted(wrong=WRONG, failing=failing, threads=threads)
    assert len(lines(evaluated.journal)) == 4
    engine = Adder(WRONG)
    with caplog.at_level(logging.INFO):
        resumed = evaluated(engine, Sums(failing), threads=threads)

    assert {*engine.asked} == {f"{number} + 1" for number in range(4, 10)}
    assert {*first} >= {f"{number} + 1" for number in range(4)}
    assert "4 of 10 examples are kept from an earlier try" in caplog.text
    assert without_times(resumed.rows) == without_times(whole.rows)
    assert (evaluated.folder / "predictions.csv").read_text().count("\n") == 11
    metrics = without_times(resumed.metrics())
    assert metrics.pop("examples.resumed") == 4
    assert metrics == without_times(whole.metrics())
    assert evaluated.counted == undisturbed.counted
    assert sorted((one["sample"], one["kind"]) for one in evaluated.errors) == [
        ("0", "metric"),
        ("1", "parse"),
        ("3", "context"),
        ("7", "parse"),
    ]


def test_what_is_taken_over_was_measured_once(evaluated):
    evaluated.interrupted(wrong=WRONG)
    rows = read_rows(evaluated.folder / "predictions.csv")
    failed = evaluated.errors
    calls = evaluated.latencies.calls
    resumed = evaluated(Adder(WRONG))

    assert [row.latency_ms for row in resumed.rows[:4]] == list(rows.latency_ms[:4])
    assert evaluated.errors[: len(failed)] == failed  # with the time at which they failed
    assert evaluated.latencies.calls[: len(calls)] == calls


def test_the_time_of_all_tries_counts(evaluated):
    evaluated.interrupted()
    last = json.loads(lines(evaluated.journal)[-1])
    with TrialJournal(evaluated.journal, dspy.Predict(AnswerSum), SETTINGS) as journal:
        assert journal.earlier_seconds == last["seconds"] > 0
    evaluated.journal.write_bytes(
        evaluated.journal.read_bytes().replace(b'"seconds": %r' % last["seconds"], b'"seconds": 1000.5')
    )
    resumed = evaluated(Adder())
    assert 1000.5 < resumed.seconds < 1060
    assert resumed.examples_per_second == 10 / resumed.seconds
    assert json.loads(lines(evaluated.journal)[-1])["seconds"] > 1000.5


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        ("garbage", False),
        (lm15.ContextLengthError("2100 tokens, 2048 fit"), False),
        (lm15.TimeoutError("too slow"), True),
        (lm15.RateLimitError("slow down"), True),
        (lm15.AuthError("wrong key"), True),
        (lm15.ServerError("CUDA out of memory"), True),
    ],
)
def test_only_failures_of_the_infrastructure_are_tried_again(evaluated, failure, again):
    evaluated.interrupted(wrong={"2 + 1": failure})
    engine = Adder()
    resumed = evaluated(engine)
    assert ("2 + 1" in engine.asked) == again
    assert resumed.failed == (not again)
    assert resumed.resumed == 4 - again
    assert len(evaluated.errors) == (not again)


@pytest.mark.parametrize(
    ("failure", "again"),
    [(KeyError("gold"), False), (ConnectionResetError("the judge is gone"), True), (MemoryError(), True)],
)
def test_a_metric_is_asked_again_where_its_surroundings_failed(evaluated, failure, again):
    evaluated.interrupted(failing={"2": failure})
    assert evaluated(Adder()).failed == (not again)


@given(cut=st.integers(1, 2000))
def test_a_journal_that_was_cut_off_anywhere_is_used_up_to_there(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "test.jsonl"
    program = dspy.Predict(AnswerSum)
    row = Row("m", "t", "d", "b", "", "", "", 1.5, "", "", 1, 1.0, "test", 0, "stop", "", 0.0, 0, 5, 1, 0)
    kept = [Trial(replace(row, sample_id=str(number)), Usage(), {}, None) for number in range(4)]
    with TrialJournal(path, program) as journal:
        for trial in kept[:3]:
            journal.keep(trial)
    content = path.read_bytes()[: max(0, path.stat().st_size - cut)]
    path.write_bytes(content)
    whole = max(0, content.count(b"\n") - 1)
    with TrialJournal(path, program) as journal:
        assert journal.found == whole
        journal.keep(kept[3])
    with TrialJournal(path, program) as journal:
        assert journal.found == whole + 1
        assert journal.finished(asked_for(3), LABELS)


def test_a_line_that_is_no_trial_ends_what_is_used(evaluated):
    evaluated.interrupted()
    header, *kept = evaluated.journal.read_bytes().splitlines(keepends=True)
    evaluated.journal.write_bytes(b"".join([header, kept[0], b'{"row": {}}\n', *kept[1:]]))
    engine = Adder()
    assert evaluated(engine).resumed == 1
    assert len(engine.asked) == 9


class Derived(dspy.Predict):
    """Another class with the same state."""


def other_program():
    program = dspy.Predict(AnswerSum)
    program.demos = [asked_for(3)]
    return program


@pytest.mark.parametrize(
    "changed",
    [
        {"program": other_program()},
        {"program": Derived(AnswerSum)},
        {"settings": {**SETTINGS, "evaluation.disable_caching": True}},
        {"settings": {**SETTINGS, "epoch": 1}},
    ],
)
def test_another_program_and_other_settings_start_anew(evaluated, changed):
    evaluated.interrupted()
    engine = Adder()
    resumed = evaluated(engine, **changed)
    assert (resumed.resumed, len(engine.asked)) == (0, 10)
    assert "examples.resumed" not in resumed.metrics()
    assert evaluated(Adder(), **changed).resumed == 10


def test_labels_are_those_of_the_run_that_shows_them(evaluated):
    evaluated.interrupted()
    resumed = evaluated(Adder(), labels=RowLabels("renamed", "mine", "ace"))
    assert {(row.model_id, row.task_name, row.mode) for row in resumed.rows} == {("renamed", "mine", "ace")}
    assert [row.question for row in resumed.rows] == [f"{number} + 1" for number in range(10)]


def test_no_secret_is_kept(evaluated, monkeypatch):
    monkeypatch.setenv("ADDER_API_KEY", "a-very-secret-key")
    wrong = {"1 + 1": "a-very-secret-key", "2 + 1": lm15.ContextLengthError("too long: a-very-secret-key")}
    evaluated.interrupted(wrong=wrong)
    assert b"a-very-secret-key" not in evaluated.journal.read_bytes()
    engine = Adder(wrong)
    assert evaluated(engine).rows[1].pred == "a-very-secret-key"
    assert "1 + 1" in engine.asked
    assert "2 + 1" not in engine.asked


def test_a_journal_that_cannot_be_written_costs_a_warning_alone(evaluated, tmp_path, caplog):
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    assert evaluated(Adder()).score == 1.0
    assert caplog.text.count("is not kept for another try") == 1


def test_a_trial_that_json_cannot_hold_costs_a_warning_alone(evaluated, caplog):
    task = Sums()
    task.gold = lambda example: {example.answer}
    assert evaluated(Adder(), task).score == 1.0
    assert caplog.text.count("is not kept for another try (TypeError)") == 1


def test_a_program_whose_state_cannot_be_told_is_not_kept(evaluated, caplog):
    class Stateless(dspy.Predict):
        def dump_state(self, json_mode=True):
            raise NotImplementedError("no state")

    assert evaluated(Adder(), program=Stateless(AnswerSum)).score == 1.0
    assert "is not kept for another try (NotImplementedError): no state" in caplog.text
    assert not evaluated.journal.exists()
