"""GEPA, COPRO, SIMBA and MIPROv2: instructions that a model writes."""

import importlib.util
import re
import tempfile
from collections import Counter
from pathlib import Path

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.optimizers.copro import Copro
from tiltyard.optimizers.gepa import Gepa
from tiltyard.optimizers.gepa_journal import FILE, Journal
from tiltyard.optimizers.mipro import Mipro, ToleratingMipro
from tiltyard.optimizers.recorder import Appearance
from tiltyard.optimizers.simba import Simba
from tiltyard.tasks.task import Score

RULE = "Write the double of the number"


class Doubling(TextEngine):
    """Doubles what it was told to: even numbers by the rule for even ones, odd ones by that for odd ones.

    Asked for instructions, it writes the next of ``rules``, or where there is none, what the feedback in the
    prompt names. The n-th of these replies breaks the format where n is in ``breaks``.
    """

    def __init__(self, rules=(), breaks=()):
        self.rules = list(rules)
        self.breaks = set(breaks)
        self.written = 0
        self.answered = Counter()

    def generate(self, request):
        system = (
            request.system
            if isinstance(request.system, str)
            else "\n".join(p.text for p in request.system or ())
        )
        asked = message_text(request.messages[-1])
        if "## question ## ]]\n" not in asked or "proposed_instruction" in system:
            return self.instructions(system, asked)
        number = int(re.search(r"\[\[ ## question ## \]\]\n(\d+)", asked).group(1))
        self.answered[number] += 1
        parity = "even" if number % 2 == 0 else "odd"
        told = f"{RULE} if it is {parity}" in system or any(
            f"[[ ## answer ## ]]\n{2 * int(n)}" in message_text(reply)
            for question, reply in zip(request.messages, request.messages[1:], strict=False)
            for n in re.findall(r"\[\[ ## question ## \]\]\n(\d+)", message_text(question))
            if int(n) % 2 == number % 2
        )
        sampled = bool(request.config.temperature) and self.answered[number] % 2 == 0
        return reply(answer=str(2 * number if told or sampled else number))

    def instructions(self, system, asked):
        self.written += 1
        if self.written in self.breaks:
            return Completion("I would rather not.", 20, 5)
        found = (
            self.rules.pop(0)
            if self.rules
            else ". ".join(dict.fromkeys(re.findall(f"{RULE} if it is \\w+", asked)))
        )
        old = re.findall(r"^(?:Given the fields.*|Write the .*)$", asked, re.MULTILINE)
        text = f"{old[0] if old else ''} {found or RULE}.".strip()
        if "proposed_prefix_for_output_field" in system:
            return reply(proposed_instruction=text, proposed_prefix_for_output_field="Answer:")
        if "proposed_instruction" in system:
            return reply(proposed_instruction=text)
        return Completion(f"```\n{text}\n```", 20, 5)


def reply(**fields):
    text = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())
    return Completion(f"{text}\n\n[[ ## completed ## ]]", 20, 5)


def metric(example, prediction, trace=None, pred_name=None, pred_trace=None):
    right = example.answer == prediction.answer
    parity = "even" if int(example.question) % 2 == 0 else "odd"
    return Score(1.0 if right else 0.3, "Correct." if right else f"{RULE} if it is {parity}.")


def numbers(*values):
    return [dspy.Example(question=str(n), answer=str(2 * n)).with_inputs("question") for n in values]


TRAIN = numbers(*range(1, 13))
VALIDATION = numbers(*range(13, 21))


def compiled(optimizer, engine=None, student=None):
    engine = engine or Doubling()
    with dspy.context(lm=engine_lm("local/doubling", engine), num_threads=2, max_errors=100):
        return optimizer.compile(
            student or dspy.Predict("question -> answer"), trainset=TRAIN, valset=VALIDATION
        )


def instructions(program):
    return program.signature.instructions


def test_gepa_puts_the_feedback_into_the_instructions():
    optimizer = Gepa(metric, max_metric_calls=80)
    program = compiled(optimizer)
    assert "if it is even" in instructions(program)
    assert "if it is odd" in instructions(program)
    candidates = optimizer.report.candidates
    assert candidates[0].score == pytest.approx(0.3)
    (chosen,) = [one for one in candidates if one.chosen]
    assert chosen.score == optimizer.report.metrics["optimizer.best_score"] == 1.0
    steps = [point.step for point in optimizer.report.points]
    assert steps == sorted(set(steps))
    assert steps[0] == len(VALIDATION)


@pytest.mark.parametrize("budget", [20, 45])
def test_gepa_keeps_to_its_budget_but_for_the_last_round(budget):
    optimizer = Gepa(metric, max_metric_calls=budget)
    engine = Doubling()
    compiled(optimizer, engine)
    answers = sum(engine.answered.values())
    assert answers == optimizer.report.metrics["optimizer.budget_used"]
    assert budget <= answers < budget + 2 * 3 + len(VALIDATION)


def test_gepas_seed_takes_effect():
    asked = []
    for seed in (0, 0, 1):
        engine = Doubling(rules=[f"Rule {n}" for n in range(20)])
        compiled(Gepa(metric, max_metric_calls=40, seed=seed), engine)
        asked.append(engine.answered)
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


def test_gepa_goes_on_where_a_reflection_gives_nothing():
    optimizer = Gepa(metric, max_metric_calls=60)

    class Silent(Doubling):
        silent = 2

        def instructions(self, system, asked):
            self.silent -= 1
            return Completion("", 1, 0) if self.silent >= 0 else super().instructions(system, asked)

    program = compiled(optimizer, Silent())
    assert "if it is" in instructions(program)
    assert optimizer.report.metrics["optimizer.failed_reflections"] == 2
    assert "the model wrote no instructions" in optimizer.report.notes[0]
    assert optimizer.report.warnings == []


def test_gepa_without_one_reflection_that_worked_warns():
    optimizer = Gepa(metric, max_metric_calls=40)

    class Silent(Doubling):
        def instructions(self, system, asked):
            return Completion("", 1, 0)

    compiled(optimizer, Silent())
    [warning] = optimizer.report.warnings
    failed = optimizer.report.metrics["optimizer.failed_reflections"]
    assert failed > 0
    assert warning.startswith(f"Not one of {failed:.0f} reflections gave instructions")
    assert "the model wrote no instructions" in warning


class Killed(BaseException):
    pass


def in_one_thread(optimizer, engine, sets=None):
    sets = sets or {"trainset": TRAIN, "valset": VALIDATION}
    with dspy.context(lm=engine_lm("local/doubling", engine), num_threads=1, max_errors=100):
        return optimizer.compile(dspy.Predict("question -> answer"), **sets)


def killed_at_reflection(number, folder):
    """Runs GEPA until its n-th rewriting, and says what it had answered by then."""

    class DyingReflection(Doubling):
        def instructions(self, system, asked):
            if self.written + 1 == number:
                raise Killed
            return super().instructions(system, asked)

    engine = DyingReflection()
    with pytest.raises(Killed):
        in_one_thread(Gepa(metric, max_metric_calls=60, seed=3, checkpoints=folder), engine)
    return engine


@pytest.mark.parametrize("reflection", [1, 2])
def test_gepa_goes_on_after_a_kill_without_answering_anything_again(tmp_path, reflection):
    whole = Doubling()
    uninterrupted = Gepa(metric, max_metric_calls=60, seed=3)
    expected = in_one_thread(uninterrupted, whole)
    before = killed_at_reflection(reflection, tmp_path)
    after = Doubling()
    resumed = Gepa(metric, max_metric_calls=60, seed=3, checkpoints=tmp_path)
    program = in_one_thread(resumed, after)
    assert Appearance.of(program) == Appearance.of(expected)
    assert before.answered + after.answered == whole.answered
    assert before.written + after.written == whole.written
    assert resumed.report.metrics["optimizer.resumed_evaluations"] == sum(before.answered.values())
    assert resumed.report.metrics["optimizer.budget_used"] == sum(whole.answered.values())
    assert [one.score for one in resumed.report.candidates] == [
        one.score for one in uninterrupted.report.candidates
    ]


def test_a_line_that_a_kill_cut_off_is_done_again(tmp_path):
    expected = in_one_thread(Gepa(metric, max_metric_calls=60, seed=3, checkpoints=tmp_path), Doubling())
    path = tmp_path / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    again = Doubling()
    program = in_one_thread(Gepa(metric, max_metric_calls=60, seed=3, checkpoints=tmp_path), again)
    assert Appearance.of(program) == Appearance.of(expected)
    assert path.read_bytes().splitlines(keepends=True) == lines


def test_checkpoints_of_another_compilation_are_not_used(tmp_path, caplog):
    in_one_thread(Gepa(metric, max_metric_calls=30, seed=3, checkpoints=tmp_path), Doubling())
    other = Gepa(metric, max_metric_calls=30, seed=4, checkpoints=tmp_path)
    in_one_thread(other, Doubling())
    assert other.report.metrics["optimizer.resumed_evaluations"] == 0
    assert "another compilation" in caplog.text


def test_gepa_refuses_a_metric_that_takes_no_predictor():
    with pytest.raises(InputError, match="pred_name"):
        Gepa(lambda example, prediction, trace=None: 1.0)


QUESTIONS = st.lists(st.sampled_from("abc"), max_size=6)


@settings(max_examples=30, deadline=None)
@given(asked=QUESTIONS, again=QUESTIONS)
def test_a_journal_answers_what_was_asked_in_that_order_and_keeps_the_rest(asked, again):
    with tempfile.TemporaryDirectory() as name:
        first = Journal.opened(Path(name), "same")
        for number, word in enumerate(asked):
            assert first.answer_to({"ask": word}) is None
            first.keep({"ask": word}, {"n": number})
        second = Journal.opened(Path(name), "same")
        pairs = list(zip(asked, again, strict=False))
        known = next((at for at, (old, new) in enumerate(pairs) if old != new), len(pairs))
        for number, word in enumerate(again):
            expected = {"n": number} if number < known else None
            assert second.answer_to({"ask": word}) == expected
            if expected is None:
                second.keep({"ask": word}, {"n": -number})
        third = Journal.opened(Path(name), "same")
        for number, word in enumerate(again):
            assert third.answer_to({"ask": word}) == {"n": number if number < known else -number}


def test_another_model_reflects():
    reflecting, answering = Doubling(), Doubling()
    optimizer = Gepa(metric, reflection_lm=engine_lm("local/other", reflecting), max_metric_calls=40)
    compiled(optimizer, answering)
    assert reflecting.written > 0
    assert not reflecting.answered
    assert answering.written == 0


def test_copro_keeps_the_best_instructions():
    optimizer = Copro(metric, breadth=3, depth=2)
    engine = Doubling(
        rules=["Try", f"{RULE} if it is even", "Try", f"{RULE} if it is even. {RULE} if it is odd", "Try"]
    )
    program = compiled(optimizer, engine)
    assert "if it is odd" in instructions(program)
    assert optimizer.report.metrics["optimizer.best_score"] == 1.0
    assert optimizer.report.metrics["optimizer.candidates"] == 6
    assert set(engine.answered) == {int(one.question) for one in VALIDATION}


def test_copro_leaves_out_proposals_that_break_the_format():
    optimizer = Copro(metric, breadth=3, depth=1)
    # ChatAdapter asks a second time, in JSON, before it gives up a proposal.
    engine = Doubling(rules=[f"{RULE} if it is even. {RULE} if it is odd"], breaks={1, 2})
    program = compiled(optimizer, engine)
    assert "if it is odd" in instructions(program)
    assert optimizer.report.metrics["optimizer.failed_proposals"] == 1
    assert optimizer.report.notes == []


def test_copro_keeps_the_best_so_far_where_no_proposal_can_be_read():
    optimizer = Copro(metric, breadth=2, depth=2)
    engine = Doubling(rules=[f"{RULE} if it is even. {RULE} if it is odd"], breaks=set(range(2, 50)))
    program = compiled(optimizer, engine)
    assert "if it is odd" in instructions(program)
    assert optimizer.report.notes
    silent = Copro(metric, breadth=2, depth=2)
    unchanged = compiled(silent, Doubling(breaks=set(range(1, 50))))
    assert instructions(unchanged) == instructions(dspy.Predict("question -> answer"))
    assert silent.report.notes


class Forgetful(Doubling):
    """Has no room for a prompt that holds earlier attempts."""

    def generate(self, request):
        if "## attempted_instructions ## ]]\n" in message_text(request.messages[-1]):
            raise dspy.lm15.ContextLengthError("too long")
        return super().generate(request)


def test_copro_keeps_the_best_so_far_where_a_round_is_too_long_for_the_model():
    optimizer = Copro(metric, breadth=2, depth=2)
    program = compiled(optimizer, Forgetful(rules=[f"{RULE} if it is even. {RULE} if it is odd"]))
    assert "if it is odd" in instructions(program)
    assert "too long" in optimizer.report.notes[0]


def simba(seed, **options):
    return Simba(metric, bsize=5, num_candidates=2, max_steps=2, seed=seed, **options)


def in_order(optimizer):
    """In one thread: the engine's second answer to a question is another one."""
    return in_one_thread(optimizer, Doubling(), sets={"trainset": TRAIN})


def test_simba_shows_only_right_answers_and_its_seed_takes_effect():
    programs = [in_order(simba(seed)) for seed in (0, 0, 1)]
    looks = [Appearance.of(program) for program in programs]
    assert looks[0] == looks[1]
    assert looks[0] != looks[2]
    shown = [demonstration for program in programs for demonstration in program.demos]
    assert shown
    assert all(int(one["answer"]) == 2 * int(one["question"]) for one in shown)


def test_simba_shows_nothing_where_nothing_is_right():
    def never_right(example, prediction, trace=None, pred_name=None, pred_trace=None):
        return Score(0.2 + 0.6 * (example.answer == prediction.answer), "Never quite.")

    optimizer = Simba(never_right, bsize=50, num_candidates=2, max_steps=1)
    program = in_order(optimizer)
    candidates = [one["program"] for one in program.candidate_programs]
    assert all(one.demos == [] for one in candidates)
    assert optimizer.report.candidates[0].chosen
    assert optimizer.report.metrics["optimizer.best_score"] == optimizer.report.candidates[0].score


MIPRO = {"num_candidates": 3, "num_trials": 4, "data_aware_proposer": False, "program_aware_proposer": False}
needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")


def test_mipro_goes_on_where_a_proposal_breaks_the_format():
    engine = Doubling(rules=[RULE] * 9, breaks={3, 4})
    with dspy.context(lm=engine_lm("local/doubling", engine), max_errors=100):
        optimizer = ToleratingMipro(metric=metric, auto=None, num_candidates=3, seed=1)
        optimizer._set_random_seeds(1)
        program = dspy.Predict("question -> answer")
        proposed = optimizer._propose_instructions(
            program, TRAIN, None, 10, False, False, True, False, num_instruct_candidates=3
        )
    own = instructions(program)
    assert proposed[0][0] == own
    assert optimizer.failures == 1
    assert len([one for one in proposed[0] if one != own]) == 1


def test_mipro_wants_candidates_with_trials(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(InputError, match="num_candidates"):
        Mipro(metric, num_trials=4)


def test_mipro_names_the_extra_that_it_needs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"tiltyard\[mipro\]"):
        Mipro(metric)


@needs_optuna
def test_mipro_finds_the_instructions_and_its_seed_takes_effect():
    both = f"{RULE} if it is even. {RULE} if it is odd"
    drawn = []
    for seed in (0, 0, 1):
        optimizer = Mipro(metric, max_bootstrapped_demos=0, max_labeled_demos=0, seed=seed, **MIPRO)
        program = compiled(optimizer, Doubling(rules=["Try", both, both]))
        assert "if it is odd" in instructions(program)
        assert optimizer.report.metrics["optimizer.best_score"] == 1.0
        drawn.append([(one.score, one.detail) for one in optimizer.report.candidates])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@needs_optuna
def test_mipro_keeps_wrong_demonstrations_out():
    optimizer = Mipro(metric, max_bootstrapped_demos=2, max_labeled_demos=0, **MIPRO)
    program = compiled(optimizer, Doubling(rules=["Try"] * 9))
    assert program.demos == []  # the program alone gets nothing right
