"""Several programs on one test split: one table of rows, and a score for each epoch."""

import json
from types import SimpleNamespace

import dspy
import pytest

from tiltyard.evaluation.epochs import evaluate_epochs
from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.rows import CHOSEN_EPOCH, read_rows, rows_of_the_score
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.programs.qa import AnswerQuestion
from tiltyard.tasks.task import Score
from tiltyard.telemetry.latency import LatencyRecorder


class Instructed(TextEngine):
    """Answers with the last word of its instructions, and breaks the format when that is "break"."""

    def generate(self, request):
        word = message_text(request.messages[0]).split()[-1] if request.messages else ""
        instructions = str(request.system or "") + word
        answer = next((name for name in ("right", "break") if name in instructions), "wrong")
        text = "?" if answer == "break" else f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]"
        return Completion(text, 5, 1)


def told(word):
    return dspy.Predict(AnswerQuestion.with_instructions(f"Say {word}"))


@pytest.fixture
def run(tmp_path):
    task = SimpleNamespace(
        domain="none",
        signature=AnswerQuestion,
        gold=lambda example: example.answer,
        answer=lambda prediction: prediction.answer,
        metric=lambda example, prediction, **_: Score(float(prediction.answer == example.answer)),
    )
    examples = [
        dspy.Example(id=name, question=name, context="", answer="right").with_inputs("question", "context")
        for name in "abc"
    ]
    lm = engine_lm("local/instructed", Instructed())

    def run_one(program, epoch, before=()):
        return evaluate(
            program,
            examples,
            task,
            lm=lm,
            labels=RowLabels("m", "t", "x"),
            threads=2,
            latencies=LatencyRecorder(),
            folder=tmp_path,
            progress=False,
            epoch=epoch,
            before=before,
        )

    return run_one


def test_every_epoch_has_its_rows_and_the_chosen_one_its_score(run, tmp_path):
    first = run(told("right"), 1)
    epochs = evaluate_epochs({2: told("break"), 0: told("nothing")}, 1, first, tmp_path, run)

    assert [(one.epoch, one.score, one.failed, one.chosen) for one in epochs] == [
        (0, 0.0, 0, False),
        (1, 1.0, 0, True),
        (2, 0.0, 3, False),
    ]
    assert all(one.low <= one.score <= one.high and one.examples == 3 for one in epochs)
    rows = read_rows(tmp_path / "predictions.csv")
    assert list(rows["epoch"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert list(rows["sample_id"]) == list("abc") * 3
    assert len((tmp_path / "errors.jsonl").read_text().splitlines()) == 3
    scored = rows_of_the_score(rows, {CHOSEN_EPOCH: 1.0})
    assert list(scored["score"]) == [1.0, 1.0, 1.0]
    assert len(rows_of_the_score(rows, {})) == 9


def test_what_is_done_stays_when_a_later_epoch_is_interrupted(run, tmp_path):
    class Interrupting(dspy.Module):
        def forward(self, **inputs):
            raise KeyboardInterrupt

    first = run(told("right"), 1)
    with pytest.raises(KeyboardInterrupt):
        evaluate_epochs({0: told("break"), 2: Interrupting()}, 1, first, tmp_path, run)
    rows = read_rows(tmp_path / "predictions.csv")
    assert sorted(rows["epoch"]) == [0, 0, 0, 1, 1, 1]
    assert len((tmp_path / "errors.jsonl").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "errors.jsonl").read_text().splitlines()[0])["kind"] == "parse"


def test_a_first_evaluation_replaces_what_another_run_left(run, tmp_path):
    for _ in range(2):
        run(told("break"), 0)
        assert len(read_rows(tmp_path / "predictions.csv")) == 3
        assert len((tmp_path / "errors.jsonl").read_text().splitlines()) == 3
