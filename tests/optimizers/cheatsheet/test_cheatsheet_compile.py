import inspect
import json
import threading

import dspy
import pytest
from dspy.lm15 import AuthError
from scripted_house import (
    House,
    examples,
    fields_of,
    lm_of,
    metric,
    reply,
    rule,
    student,
    system_of,
)

from tiltyard.config import instantiate, resolve
from tiltyard.errors import InputError, JobError
from tiltyard.models.engine import Completion, message_text
from tiltyard.optimizers.cheatsheet.program import CheatsheetProgram
from tiltyard.optimizers.cheatsheet.teleprompter import DynamicCheatsheet
from tiltyard.optimizers.compiling import compile_program
from tiltyard.optimizers.playbook.entry import tokens

TRAIN = examples("sum", "weight", "date", "sum", "share", "date")
VALIDATION = examples("sum", "date", "share", "weight", first=50)
IN_ORDER = 1517
"""The seed by which the training examples come as they stand, in the first epoch."""


@pytest.fixture
def house():
    engine = House()
    with dspy.context(lm=lm_of(engine), num_threads=1):
        yield engine


def history(optimizer):
    return [json.loads(line) for line in optimizer.report.files["cheatsheet_history.jsonl"].splitlines()]


def compiled(valset=None, train=TRAIN, program=None, **options):
    """The optimizer, and what it made of a student; with labels unless told otherwise."""
    optimizer = DynamicCheatsheet(metric, **{"labels": True, "seed": IN_ORDER, **options})
    return optimizer, optimizer.compile(program or student(), trainset=train, valset=valset)


@pytest.mark.parametrize("variant", ["cumulative", "retrieval"])
def test_what_feedback_and_answers_teach_is_used_on_other_questions(house, variant):
    optimizer, program = compiled(VALIDATION, variant=variant, epochs=2)
    assert optimizer.report.metrics["optimizer.best_score"] == 1.0
    answers = [program(question=f"Write the {kind} 77.").answer for kind in ("sum", "weight", "date")]
    assert answers == ["USD 77", "77 kg", "77.11."]
    assert "against the student's 0.000 on 4 validation examples" in optimizer.report.notes[0]


def test_each_rewrite_starts_from_the_last_one_and_knows_the_task_and_the_answer(house):
    compiled(max_steps=3)
    first, second, third = map(fields_of, house.curating)
    assert first["previous"] == ""
    assert (second["previous"], third["previous"].splitlines()) == (
        rule("sum"),
        [rule("sum"), rule("weight")],
    )
    assert second["task"] == "question: Write the weight 11."
    assert second["answer"] == "11"
    assert second["feedback"] == "Expected '11 kg'."
    assert rule("sum") in system_of(house.answering[1])


def test_without_labels_nothing_of_them_is_looked_at(house):
    def peeking(*args, **kwargs):
        pytest.fail("a label was looked at")

    def prompts(trainset):
        house.requests.clear()
        optimizer = DynamicCheatsheet(peeking, seed=IN_ORDER)
        program = optimizer.compile(student(), trainset=trainset, valset=VALIDATION)
        return [(request.system, request.messages) for request in house.requests], optimizer, program

    asked, optimizer, program = prompts(TRAIN)
    mislabelled = [example.copy(answer="otherwise") for example in TRAIN]
    assert prompts(mislabelled)[0] == asked
    assert len(asked) == 2 * len(TRAIN)
    assert all(attempt.score is None for attempt in optimizer.report.attempts)
    assert [candidate.score for candidate in optimizer.report.candidates] == [None, None]
    assert optimizer.report.candidates[-1].chosen
    assert optimizer.report.notes[0].startswith("No label was looked at")
    assert optimizer.report.metrics["optimizer.metric_calls"] == 0
    assert program.sheet.splitlines() == [rule("sum"), rule("weight"), rule("date"), rule("share")]


def test_the_student_is_kept_when_no_sheet_beats_it(house):
    house.notes = lambda fields: ["- be careful"]
    optimizer, program = compiled(VALIDATION)
    assert not isinstance(program, CheatsheetProgram)
    assert optimizer.report.notes[0].startswith("No cheatsheet beat the student, 0.000 on 4")
    assert [one.name for one in optimizer.report.candidates if one.chosen] == ["student"]
    assert optimizer.report.chosen_epoch == 0
    assert "cheatsheet.md" not in optimizer.report.files
    assert len(history(optimizer)) == len(TRAIN)


def test_the_best_epoch_is_returned_and_not_the_last(house):
    forgetting = iter(range(100))

    def notes(fields):
        kept = fields["previous"].splitlines()
        return ["- all forgotten"] if next(forgetting) >= len(TRAIN) else [*kept, *House.notes(house, fields)]

    house.notes = notes
    optimizer, program = compiled(VALIDATION, epochs=2, max_loss=1.0)
    assert [point.values["optimizer.validation.score"] for point in optimizer.report.points] == [
        0.0,
        1.0,
        0.0,
    ]
    assert optimizer.report.chosen_epoch == 1
    assert rule("date") in program.sheet
    assert optimizer.report.files["cheatsheet.md"] == f"{program.sheet}\n"
    assert [snapshot.program.sheet for snapshot in optimizer.report.snapshots][1] == "- all forgotten"


def test_with_labels_and_without_validation_examples_the_last_sheet_is_returned(house):
    optimizer, program = compiled()
    assert optimizer.report.notes[0].startswith("There are no validation examples")
    assert rule("date") in program.sheet


def test_a_collapse_is_refused_and_recorded_and_the_old_sheet_stays(house):
    rewrites = iter(range(100))
    house.notes = lambda fields: (
        ["- always answer well"] if next(rewrites) == 4 else House.notes(house, fields)
    )
    optimizer, program = compiled(guarded_from=0)
    refused = history(optimizer)[4]
    assert refused["verdict"] == "refused"
    assert refused["proposed"] == "- always answer well"
    assert refused["sheet"] == history(optimizer)[3]["sheet"]
    assert refused["lost_lines"] == 1.0
    assert len(program.sheet.splitlines()) >= 3
    assert optimizer.report.metrics["optimizer.rewrites.refused"] == 1
    assert any("1 of 6 rewrites were refused" in note for note in optimizer.report.notes)


def test_the_budget_holds_and_the_report_says_so(house):
    budget = tokens(rule("sum")) + tokens(rule("weight")) + 3
    optimizer, program = compiled(budget_tokens=budget, guarded_from=0)
    assert all(rewrite["tokens"] <= budget for rewrite in history(optimizer))
    assert program.sheet.splitlines() == [rule("sum"), rule("weight")]
    assert any("over the token budget" in note for note in optimizer.report.notes)
    refusing, _ = compiled(budget_tokens=budget, guarded_from=0, over_budget="refuse")
    assert {one["verdict"] for one in history(refusing)} == {"kept", "unchanged", "refused"}


def test_the_curator_is_told_the_budget(house):
    compiled(max_steps=1, budget_tokens=400)
    assert "at most 300 words" in system_of(house.curating[0])


def test_a_broken_reply_is_asked_for_once_more_with_what_was_wrong(house):
    replies = iter(["I do not know what you want.", reply("cheatsheet", rule("sum"))])
    house.curate = lambda request, fields: next(replies)
    optimizer, program = compiled(max_steps=1)
    assert program.sheet == rule("sum")
    assert len(house.curating) == 2
    again = system_of(house.curating[1])
    assert "Your last reply could not be used" in again
    assert "I do not know what you want." in again
    assert history(optimizer)[0]["retried"]


def test_a_reply_that_stays_broken_costs_its_rewrite_alone(house):
    house.curate = lambda request, fields: (
        "Hm." if "weight" in fields["task"] else House.curate(house, request, fields)
    )
    optimizer, program = compiled()
    assert program.sheet.splitlines() == [rule("sum"), rule("date"), rule("share")]
    failed = [one for one in history(optimizer) if one["verdict"] == "failed"]
    assert [one["example"] for one in failed] == ["weight-11"]
    assert "no field cheatsheet" in failed[0]["reason"]
    assert any("1 of 6 rewrites could not be read" in note for note in optimizer.report.notes)


def test_a_reply_with_another_form_is_salvaged_without_asking_again(house):
    house.curate = lambda request, fields: f"My notes:\n<cheatsheet>\n{rule('sum')}\n</cheatsheet>"
    _, program = compiled(max_steps=1)
    assert program.sheet == rule("sum")
    assert len(house.curating) == 1


def test_a_failing_curator_ends_nothing_and_one_without_credentials_does(house):
    def failing(error):
        def curate(request, fields):
            raise error

        return curate

    house.curate = failing(RuntimeError("out of memory"))
    optimizer, _ = compiled()
    assert {one["verdict"] for one in history(optimizer)} == {"failed"}
    assert "out of memory" in history(optimizer)[0]["reason"]
    house.curate = failing(AuthError("no such key"))
    with pytest.raises(JobError, match=r"no such key.*choose another as optimizer.curator"):
        compiled()


def test_another_model_may_curate(house):
    curator = House()
    compiled(curator=lm_of(curator, "curator"))
    assert not house.curating
    assert (len(curator.curating), len(curator.answering)) == (6, 0)


def test_answers_that_fail_are_recorded_and_teach_nothing(house):
    house.answer = lambda request, fields: (
        1 / 0 if "weight" in fields["question"] else House.answer(house, request, fields)
    )
    optimizer, program = compiled()
    failed = [attempt for attempt in optimizer.report.attempts if attempt.error]
    assert [attempt.example.id for attempt in failed] == ["weight-11"]
    assert not failed[0].reflected
    assert failed[0].prediction is None
    assert rule("weight") not in program.sheet
    assert any("1 of 6 answers" in note for note in optimizer.report.notes)


def test_a_program_that_never_answers_is_an_error_that_the_next_try_gets_over(house, tmp_path):
    house.answer = lambda request, fields: 1 / 0
    with pytest.raises(JobError, match="answered no training example"):
        compiled(checkpoints=tmp_path)
    del house.answer
    _, program = compiled(checkpoints=tmp_path)
    assert rule("sum") in program.sheet


def test_a_window_is_answered_at_once_with_one_sheet_and_curated_one_by_one(house):
    together = threading.Barrier(3, timeout=10)

    def answer(request, fields):
        together.wait()
        return House.answer(house, request, fields)

    house.answer = answer
    with dspy.context(num_threads=3):
        optimizer, program = compiled(window=3)
    shown = [system_of(request).count("write a ") for request in house.answering]
    assert shown == [0, 0, 0, 3, 3, 3]
    assert [attempt.example.id for attempt in optimizer.report.attempts] == [one.id for one in TRAIN]
    assert len(program.sheet.splitlines()) == 4


def test_in_retrieval_a_window_writes_each_sheet_from_the_one_before(house):
    with dspy.context(num_threads=2):
        optimizer, _ = compiled(variant="retrieval", window=2, retrieved=1)
    previous = [fields_of(request)["previous"] for request in house.curating]
    assert previous == ["", *(one["sheet"] for one in history(optimizer)[:-1])]
    assert len(previous) == 4  # the first two had nothing to be written from


def test_in_retrieval_no_example_is_shown_its_own_answer(house):
    compiled(variant="retrieval", epochs=2, retrieved=len(TRAIN))
    for request in house.curating:
        fields = fields_of(request)
        assert fields["task"] not in fields["examples"]
    assert len(house.curating) == 2 * len(TRAIN) - 1


def test_in_retrieval_feedback_is_shown_with_labels_only(house):
    compiled(variant="retrieval")
    assert "feedback: Expected 'USD 10'." in message_text(house.curating[-1].messages[-1])
    house.requests.clear()
    compiled(variant="retrieval", labels=False)
    assert not any("feedback" in message_text(request.messages[-1]) for request in house.curating)


def test_the_seed_decides_the_order(house):
    def order(**options):
        return [attempt.example.id for attempt in compiled(**options)[0].report.attempts]

    assert order() == order() == [one.id for one in TRAIN]
    assert order(seed=1) != order()
    two = order(seed=1, epochs=2)
    assert two[:6] != two[6:]
    assert sorted(two[:6]) == sorted(two[6:])


def test_the_steps_can_be_limited(house):
    optimizer, _ = compiled(VALIDATION, epochs=3, max_steps=8)
    assert len(optimizer.report.attempts) == 8
    assert [point.step for point in optimizer.report.points] == [0, 1, 2]


def test_the_report_tells_each_epoch_and_each_role(house):
    optimizer, _ = compiled(VALIDATION, epochs=2)
    before, first, second = (point.values for point in optimizer.report.points)
    assert before["optimizer.validation.score"] == 0.0
    assert before["optimizer.tokens.validate.prompt"] == 40
    assert (first["optimizer.rewrites.kept"], first["optimizer.rewrites.unchanged"]) == (4, 2)
    assert (second["optimizer.rewrites.kept"], second["optimizer.rewrites.unchanged"]) == (0, 6)
    assert first["optimizer.sheet.tokens"] == tokens(optimizer.report.snapshots[0].program.sheet)
    assert (first["optimizer.train.score"], second["optimizer.train.score"]) == (pytest.approx(1 / 3), 1.0)
    for role, prompt, completion in (("generate", 60, 30), ("curate", 120, 60), ("validate", 40, 20)):
        assert first[f"optimizer.tokens.{role}.prompt"] == prompt
        assert first[f"optimizer.tokens.{role}.completion"] == completion
        assert first[f"optimizer.seconds.{role}"] > 0
    metrics = optimizer.report.metrics
    assert metrics["optimizer.lm_calls"] == len(house.requests) == 2 * 12 + 3 * 4
    assert metrics["optimizer.metric_calls"] == 12 + 3 * 4
    attempt = optimizer.report.attempts[0]
    assert attempt.reflected
    assert attempt.reflection_latency_ms > 0
    assert (attempt.score, attempt.prediction.answer, attempt.prompt_tokens) == (0.0, "10", 10)


def test_tokens_reach_the_pipelines_count(house):
    optimizer = DynamicCheatsheet(metric, labels=True, window=2)
    with dspy.context(num_threads=2):
        whole = compile_program(optimizer, student(), train=TRAIN, validation=VALIDATION)
    assert whole.program.sheet
    metrics = optimizer.report.metrics
    spent = 10 * len(house.answering) + 20 * len(house.curating)
    assert metrics["optimizer.tokens.prompt"] == spent


def test_a_program_with_a_sheet_goes_on_from_it(house):
    start = CheatsheetProgram(student(), rule("sum"))
    _, program = compiled(program=start, train=examples("date"))
    assert program.sheet.splitlines() == [rule("sum"), rule("date")]
    assert not isinstance(program.program, CheatsheetProgram)
    assert start.sheet == rule("sum")


def test_a_sheet_to_start_from_is_cut_to_the_budget(house):
    start = CheatsheetProgram(student(), "\n".join(map(rule, ("sum", "weight"))))
    budget = tokens(rule("sum")) + 1
    _, program = compiled(program=start, train=examples("sum"), budget_tokens=budget, guarded_from=0)
    assert program.sheet == rule("sum")


def test_the_metric_is_counted_when_it_is_called(house):
    called = []

    def counted(example, prediction):
        called.append(example)
        return metric(example, prediction)

    house.answer = lambda request, fields: (
        1 / 0 if "weight" in fields["question"] else House.answer(house, request, fields)
    )
    optimizer = DynamicCheatsheet(counted, labels=True)
    optimizer.compile(student(), trainset=TRAIN, valset=VALIDATION)
    assert optimizer.report.metrics["optimizer.metric_calls"] == len(called) == 5 + 2 * 3


def test_the_student_is_not_changed(house):
    program = student()
    before = program.dump_state()
    compiled(VALIDATION, program=program)
    assert program.dump_state() == before


def test_settings_that_cannot_work_are_refused(house):
    with pytest.raises(InputError, match="needs a metric"):
        DynamicCheatsheet(labels=True)
    with pytest.raises(InputError, match="guarded_from=64 leaves out every sheet"):
        DynamicCheatsheet(budget_tokens=60)
    with pytest.raises(InputError, match="no training examples"):
        compiled(train=[])


def test_the_shipped_option_has_the_defaults_of_the_class(composed):
    node = resolve(composed("optimizer=cheatsheet", "seed=3")).optimizer
    parameters = inspect.signature(DynamicCheatsheet).parameters
    defaults = {
        name: one.default for name, one in parameters.items() if name not in ("metric", "checkpoints")
    }
    assert {name: node[name] for name in defaults} == {**defaults, "seed": 3}
    assert set(node) == {*defaults, "_target_"}
    assert instantiate(node, metric=metric).seed == 3


@pytest.mark.parametrize("wrong", ["window=0", "max_loss=2", "variant=both", "budget_tokens=0", "epochs=0"])
def test_options_out_of_bounds_are_refused(composed, wrong):
    with pytest.raises(InputError, match=wrong.partition("=")[0]):
        resolve(composed("optimizer=cheatsheet", f"optimizer.{wrong}"))


def test_a_completion_cut_off_by_the_model_is_told(house):
    house.generate = lambda request: (
        Completion(reply("answer", "10"), 1, 1)
        if "cheatsheet" not in message_text(request.messages[-1])
        else Completion("[[ ## cheatsheet ## ]]\n- one\n- and tw", 1, 1, "length")
    )
    optimizer, program = compiled(max_steps=1)
    assert program.sheet == "- one"
    assert history(optimizer)[0]["cut_off"]
    assert any("raise its max_tokens" in note for note in optimizer.report.notes)


def test_half_a_surrogate_pair_in_a_reply_ends_nothing(house, tmp_path):
    house.answer = lambda request, fields: reply("answer", "N \ud83d")
    house.curate = lambda request, fields: reply("cheatsheet", f"{rule('sum')}\n- \ud83d")
    for variant in ("cumulative", "retrieval"):
        _, program = compiled(max_steps=2, variant=variant, checkpoints=tmp_path / variant)
        program.save(tmp_path / "program.json")
        assert rule("sum") in program.sheet
