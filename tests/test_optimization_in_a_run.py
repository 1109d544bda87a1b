"""What a run keeps of its optimizer: its report, its epochs, its checkpoints, its further models."""

import csv
import json
import math

import dspy
import pytest
from omegaconf import open_dict

from tiltyard.artifacts.program import load_program
from tiltyard.config import fingerprint, resolve
from tiltyard.errors import JobError
from tiltyard.evaluation.rows import COLUMNS, read_rows
from tiltyard.experiment import run
from tiltyard.models.engine import Completion, TextEngine, engine_lm
from tiltyard.optimizers.playbook.entry import Entry
from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.optimizers.report import Attempt, Candidate, OptimizationReport, Point, Snapshot
from tiltyard.reporting.terminal import print_result
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

STEPS = 3


class Advised(TextEngine):
    """Answers "yes" until a rule in its prompt says otherwise."""

    def generate(self, request):
        text = f"{request.system}{[message.parts for message in request.messages]}"
        answer = next((word for word in ("Epoch two", "Epoch one", "lesson") if word in text), "yes")
        return Completion(f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]", 20, 2)


def advised():
    return engine_lm("local/advised", Advised(), temperature=0.0)


def asked_for_lessons(hardware, name: str = "teacher") -> dspy.LM:
    assert hardware.device
    return engine_lm(f"local/{name}", Advised(), temperature=0.0)


class Growing(dspy.teleprompt.Teleprompter):
    """Grows a playbook by a rule an epoch, a checkpoint a step; keeps the best, the first epoch's.

    Args:
        interrupt_at: The step at which it is interrupted; None for never.
    """

    def __init__(
        self,
        metric=None,
        checkpoints=None,
        reflector: dspy.LM | None = None,
        interrupt_at: int | None = None,
        named: bool = True,
    ):
        self.metric, self.checkpoints, self.reflector = metric, checkpoints, reflector
        self.interrupt_at, self.named = interrupt_at, named
        self.report = OptimizationReport()

    def compile(self, student, *, trainset, valset=None):
        self.report = report = OptimizationReport(
            notes=["The steps of this try are noted."], warnings=["Nothing was learnt."]
        )
        done = self.checkpoints / "steps.txt"
        first = len(done.read_text()) if done.exists() else 0
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for step in range(first, STEPS):
            if step == self.interrupt_at:
                raise KeyboardInterrupt
            report.attempts.append(self._attempt(student, trainset[step], step))
            report.metrics["optimizer.steps"] = float(step + 1 - first)
            done.write_text("." * (step + 1))
        playbook = Playbook()
        for epoch, rule in enumerate(("Epoch one: be brief.", "Epoch two: be briefer."), start=1):
            playbook.apply(Add("style", rule), step=epoch)
            report.snapshots.append(Snapshot(epoch, PlaybookProgram(student, playbook.copy())))
            report.points.append(Point(epoch, {"optimizer.playbook.entries": epoch, "entries": epoch}))
            report.candidates.append(Candidate(f"epoch {epoch}", 1 / epoch, 8, 8 * epoch, chosen=epoch == 1))
        chosen = report.snapshots[0].program
        report.metrics |= {"score": 7.0, "optimizer.unknown": math.nan}
        report.chosen_epoch = 1 if self.named else None
        report.files = {
            "playbook.jsonl": chosen.playbook.dumps(),
            "playbook_history.jsonl": playbook.history.dumps(),
            "playbook.md": chosen.playbook.rendered(),
            "../outside.md": "no",
            "predictions.csv": "no",
        }
        return chosen.deepcopy()

    def _attempt(self, student, example, step):
        lm = self.reflector or dspy.settings.lm
        lesson = lm("a lesson?")[0]
        prediction = student(**example.inputs()) if step else None
        score = float(self.metric(example, prediction)) if step == 1 else None
        return Attempt(
            epoch=1,
            step=step,
            example=example,
            prediction=prediction,
            score=score,
            latency_ms=2.5,
            reflected=bool(lesson),
            reflection_latency_ms=4.25,
            error="" if prediction else "it failed",
        )


@pytest.fixture
def grown(composed, in_folder):
    """Runs an experiment with the growing optimizer; returns its result."""

    def run_with(*overrides, name="out", model="advised", **options):
        cfg = composed("task=iot_tiny", "tracking=off", "labels.optimizer=growing", *overrides)
        with open_dict(cfg):
            cfg.optimizer = {"_target_": f"{__name__}.Growing", **options}
            cfg.model = {"_target_": f"{__name__}.{model}"}
        cfg = resolve(cfg)
        run_with.fingerprint = fingerprint(cfg)
        return run(cfg, in_folder / name)

    return run_with


def test_a_run_keeps_what_its_optimizer_tells(grown, in_folder):
    result = grown("evaluation.each_epoch=true", "tracking=local")
    folder = result.folder

    assert result.metrics["optimizer.steps"] == STEPS
    assert ExperimentResult.load(folder).warnings == result.warnings == ("Nothing was learnt.",)
    assert result.metrics["optimizer.score"] == 7.0  # a foreign name takes no place of the run's own
    assert 0 <= result.metrics["score"] <= 1
    assert "optimizer.unknown" not in result.metrics
    assert not (in_folder / "outside.md").exists()
    assert {path.name for path in folder.iterdir()} >= {
        *("playbook.jsonl", "playbook_history.jsonl", "playbook.md", "candidates.csv", "adaptation.csv"),
        *("predictions.csv", "program", "report.md"),
    }
    with (folder / "candidates.csv").open(newline="") as lines:
        candidates = list(csv.DictReader(lines))
    assert [(one["name"], one["score"], one["chosen"]) for one in candidates] == [
        ("epoch 1", "1.0", "1"),
        ("epoch 2", "0.5", "0"),
    ]
    attempts = read_rows(folder / "adaptation.csv")
    assert tuple(attempts.columns) == COLUMNS
    assert set(attempts["split"]) == {"train"}
    assert list(attempts["reflected"]) == [1] * STEPS
    assert list(attempts["reflection_latency_ms"]) == [4.25] * STEPS
    assert list(attempts["pred"]) == ["", "yes", "yes"]
    assert list(attempts["error"]) == ["it failed", "", ""]
    assert [math.isnan(score) for score in attempts["score"]] == [True, False, True]
    report = (folder / "report.md").read_text()
    for shown in (
        "The steps of this try are noted.",
        "| epoch 1",
        "0 entries of 0 tokens before, 1 of",
        "+ [k1] style: Epoch one: be brief.",
    ):
        assert shown in report, shown

    [tracked] = runs(LocalTracking())
    assert {name: tracked.metrics[name] for name in result.metrics} == result.metrics
    client = tracked._connection.client
    entries = client.get_metric_history(tracked.run_id, "optimizer.playbook.entries")
    assert [(point.step, point.value) for point in entries] == [(1, 1.0), (2, 2.0)]
    assert client.get_metric_history(tracked.run_id, "optimizer.entries")[-1].value == 2.0
    curve = client.get_metric_history(tracked.run_id, "epoch.score")
    assert [(point.step, point.value) for point in curve] == [(e.epoch, e.score) for e in result.epochs]
    artifacts = {file.path for file in client.list_artifacts(tracked.run_id)}
    assert artifacts >= {"playbook.jsonl", "playbook_history.jsonl", "candidates.csv", "adaptation.csv"}
    assert len(tracked.rows()) == result.metrics["examples"] == 5
    assert set(tracked.rows()["epoch"]) == {1}
    loaded = load_program(folder / "program")
    assert loaded.playbook.contents() == {"k1": "Epoch one: be brief."}
    assert "[k1] Epoch one: be brief." in (folder / "program/README.md").read_text()


@pytest.mark.parametrize("named", [True, False])
def test_each_epoch_is_evaluated_once_and_the_chosen_one_is_the_run(named, grown, capsys):
    result = grown("evaluation.each_epoch=true", named=named)
    rows = read_rows(result.folder / "predictions.csv")

    assert [(one.epoch, one.chosen) for one in result.epochs] == [(0, False), (1, True), (2, False)]
    assert result.metrics["epoch.chosen"] == 1
    assert list(rows.groupby("epoch").size()) == [5, 5, 5]
    assert {(row.epoch, row.mode, row.pred) for row in rows.itertuples()} == {
        (0, "baseline", "yes"),
        (1, "growing", "Epoch one"),
        (2, "growing", "Epoch two"),
    }
    assert result.metrics["examples"] == result.metrics["latency.generate.count"] == 5
    assert result.epochs[1].score == result.metrics["score"]
    assert ExperimentResult.load(result.folder) == result
    assert "## Epochs" in (result.folder / "report.md").read_text()
    print_result(result)
    assert "the program as it came" in capsys.readouterr().out


def test_without_epochs_asked_for_the_rows_say_which_was_chosen(grown):
    result = grown()
    rows = read_rows(result.folder / "predictions.csv")
    assert set(rows["epoch"]) == {1}
    assert set(rows["mode"]) == {"growing"}
    assert result.epochs == ()
    assert "epoch.chosen" not in result.metrics


def test_an_interrupted_compilation_goes_on_where_it_was(grown, cache_folder, in_folder):
    with pytest.raises(KeyboardInterrupt):
        grown(interrupt_at=2)
    left = cache_folder / "checkpoints" / grown.fingerprint
    assert (left / "optimizer/steps.txt").read_text() == ".."
    # What was found until then stands in the folder of the run that was interrupted.
    assert len(read_rows(in_folder / "out/adaptation.csv")) == 2

    # Another experiment finds nothing of it.
    assert grown(name="other").metrics["optimizer.steps"] == STEPS
    assert left.exists()
    (in_folder / "out/adaptation.csv").unlink()
    with pytest.raises(KeyboardInterrupt):
        grown(interrupt_at=2)
    assert not (in_folder / "out/adaptation.csv").exists()  # it had nothing left to do before step 2
    with pytest.raises(KeyboardInterrupt):
        grown("resume=false", interrupt_at=2)
    assert len(read_rows(in_folder / "out/adaptation.csv")) == 2


def test_checkpoints_go_when_the_run_has_ended(grown, cache_folder, in_folder):
    grown("cache.folder=mine")
    assert not list(cache_folder.iterdir())
    assert not list((in_folder / "mine/checkpoints").iterdir())


def test_an_interrupted_evaluation_costs_no_second_compilation_and_no_other_epoch(grown, monkeypatch):
    answered, left = Advised.generate, 0

    def counting(self, request):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return answered(self, request)

    monkeypatch.setattr(Advised, "generate", counting)
    overrides = ("cache.enabled=false", "evaluation.threads=1", "evaluation.each_epoch=true")
    of_compilation, chosen, before, after = 5, 5, 5, 5
    for answers in (of_compilation + 3, chosen - 3 + before + 2):  # into the first evaluation, and the last
        left = answers
        with pytest.raises(KeyboardInterrupt):
            grown(*overrides)
    left = after - 2
    result = grown(*overrides)
    assert left == 0
    assert result.metrics["examples.resumed"] == chosen
    rows = read_rows(result.folder / "predictions.csv")
    assert list(rows.epoch) == [0] * before + [1] * chosen + [2] * after
    assert list(rows.pred) == ["yes"] * before + ["Epoch one"] * chosen + ["Epoch two"] * after


def test_the_optimizers_report_is_kept_when_a_later_step_fails(grown, in_folder, monkeypatch):
    def fail(*arguments, **options):
        raise JobError("the evaluation failed", "try again")

    monkeypatch.setattr("tiltyard.experiment.evaluate", fail)
    with pytest.raises(JobError, match="the evaluation failed"):
        grown("tracking=local")
    assert (in_folder / "out/playbook.jsonl").is_file()
    [tracked] = runs(LocalTracking(), statuses=("FAILED",))
    assert tracked.metrics["optimizer.steps"] == STEPS
    assert "playbook.jsonl" in {
        file.path for file in tracked._connection.client.list_artifacts(tracked.run_id)
    }


def test_an_optimizers_own_model_is_built_cached_and_counted(grown):
    node = {"_target_": f"{__name__}.asked_for_lessons"}
    first = grown(reflector=node)
    of_first = grown.fingerprint
    again = grown(reflector=node)
    other = grown(reflector={**node, "name": "another"})
    assert first.fingerprint == again.fingerprint == of_first
    assert first.fingerprint != other.fingerprint
    # Three lessons by the reflector, two answers by the program's model, 20 tokens each; then both are kept.
    asked = [one.metrics["tokens.compile.prompt"] for one in (first, again, other)]
    assert asked[0] >= 60
    assert asked[1] == 0
    assert 0 < asked[2] < asked[0]


def test_a_playbook_can_be_carried_on(grown):
    """The file that a run leaves is a playbook to start from."""
    left = Playbook.loads((grown().folder / "playbook.jsonl").read_text())
    assert [entry.content for entry in left.entries] == ["Epoch one: be brief."]
    assert isinstance(left.entries[0], Entry)
    left.apply(Add("style", "Another."), step=3)
    assert "k1" in left
    assert len(left) == 2


def test_result_files_of_before_epochs_still_load(tmp_path, grown):
    result = grown()
    plain = json.loads((result.folder / "result.json").read_text())
    del plain["epochs"]
    (tmp_path / "result.json").write_text(json.dumps(plain))
    assert ExperimentResult.load(tmp_path).epochs == ()
