"""ACE through its one seam: what it makes of a student, with models scripted for a small house."""

import random
import re
import time
from dataclasses import replace

import dspy
import pytest
from dspy.lm15 import AuthError
from house_of_codes import (
    CODES,
    RULE,
    SUBJECTS,
    Generator,
    Oracle,
    example,
    examples,
    fields_of,
    lm,
    metric,
    reply,
    rule,
    system_of,
)

from tiltyard.errors import InputError, JobError
from tiltyard.models.engine import Completion, message_text
from tiltyard.optimizers.ace.teleprompter import ACE
from tiltyard.optimizers.playbook import refinement as refinement_module
from tiltyard.optimizers.playbook.history import History
from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.optimizers.playbook.refinement import Refinement
from tiltyard.optimizers.playbook.retention import RetentionScore
from tiltyard.optimizers.playbook.similarity import HashedSimilarity
from tiltyard.programs.qa import AnswerQuestion

RULES = {rule(subject) for subject in SUBJECTS}


class Compiled:
    """One compilation: the optimizer, its models, and the program."""

    def __init__(
        self, *, train=None, validation=None, student=None, generator=None, oracle=None, threads=1, **options
    ):
        self.generator = generator or Generator()
        self.oracle = oracle or Oracle()
        judge = options.pop("metric", metric)
        self.optimizer = ACE(judge, reflector=lm(self.oracle, "oracle"), **options)
        with dspy.context(lm=lm(self.generator), num_threads=threads):
            self.program = self.optimizer.compile(
                student or dspy.Predict(AnswerQuestion),
                trainset=examples(8) if train is None else train,
                valset=examples(4, first=50) if validation is None else validation,
            )
        self.report = self.optimizer.report

    @property
    def rules(self):
        return set(self.program.playbook.contents().values())

    def answer(self, one):
        with dspy.context(lm=lm(self.generator)):
            return self.program(**one.inputs()).answer


def playbook_of(*rules):
    playbook = Playbook()
    for one in rules:
        playbook.apply(Add("house", one), step=0)
    return playbook


def test_a_playbook_grows_until_the_program_writes_as_the_house_does():
    done = Compiled()
    assert done.rules == RULES
    assert all(done.answer(one) == one.answer for one in examples(8, first=70))
    assert len(done.oracle.reflected) == len(done.oracle.curated) == 4
    [note] = done.report.notes
    assert note.startswith(
        "The playbook of epoch 1 is returned: 1.000 on 4 validation examples, against 0.000"
    )


def test_the_roles_read_what_the_embedded_model_was_trained_on():
    done = Compiled(train=[example(12, "salt")])
    assert done.oracle.reflected == [
        {
            "task": "context: salt 12\nquestion: How much salt is there?",
            "answer": "12",
            "expected": "USD 12",
            "feedback": "Expected 'USD 12'.",
        }
    ]
    assert done.oracle.curated == [("", rule("salt"))]


def test_a_lesson_is_curated_rule_by_rule_and_a_known_rule_without_a_curator():
    class Talkative(Oracle):
        def reflect(self, asked, request):
            return reply(lesson=" ".join(sorted(RULES)))

    done = Compiled(oracle=Talkative(), train=[example(12, "salt"), example(13, "ivory")], validation=[])
    assert [lesson for _, lesson in done.oracle.curated] == sorted(RULES)
    assert done.rules == RULES
    assert done.report.metrics["optimizer.rules.known"] == 4
    assert all(set(entry.sources) == {"e12", "e13"} for entry in done.program.playbook.entries)


def test_the_student_comes_back_where_nothing_beats_it():
    class Misled(Oracle):
        def reflect(self, asked, request):
            return reply(lesson="Write XXX before salt.")

    done = Compiled(oracle=Misled(), train=[example(12, "salt")], validation=[example(50, "salt")])
    assert len(done.program.playbook) == 0
    assert done.answer(example(12, "salt")) == "12"
    assert "No playbook beat the student" in done.report.notes[0]
    assert [(one.name, one.score, one.chosen) for one in done.report.candidates] == [
        ("student", 0.0, True),
        ("epoch 1", 0.0, False),
    ]
    assert done.report.chosen_epoch == 0
    assert "Write XXX before salt." in done.report.files["playbook_history.jsonl"]
    assert done.program.playbook.next_number == 2  # k1 is that rule's for good


def test_the_best_playbook_is_kept_even_if_later_ones_are_worse():
    class Forgetful(Oracle):
        """Knows the house for its first three lessons, and then forgets them."""

        def curate(self, asked, request):
            if len(self.curated) > 3:
                return reply(operations="REMOVE k1\nREMOVE k2")
            return super().curate(asked, request)

    done = Compiled(
        oracle=Forgetful(),
        train=examples(6),
        validate_every=1,
        validation=examples(8, first=50),
        seed=3,
    )
    scores = {one.name: one.score for one in done.report.candidates}
    assert max(scores.values()) > scores["epoch 1"]
    [chosen] = [one for one in done.report.candidates if one.chosen]
    assert chosen.score == max(scores.values())
    assert len(done.rules) > 1
    assert done.report.metrics["optimizer.best_score"] == chosen.score
    assert done.report.chosen_epoch is None


def test_an_earlier_playbook_goes_on_with_ids_that_no_later_one_had():
    class Adding(Oracle):
        def curate(self, asked, request):
            return reply(operations=f"ADD rules: Write XXX before salt{len(self.curated)}.")

    start = PlaybookProgram(dspy.Predict(AnswerQuestion), playbook_of(rule("iron")))
    done = Compiled(oracle=Adding(), student=start, train=[example(n, "salt") for n in range(10, 13)])
    assert list(done.program.playbook.contents()) == ["k1"]
    assert done.program.playbook.next_number == 5


def test_the_best_is_measured_though_train_is_smaller_than_the_interval():
    done = Compiled(train=[example(12, "salt")], validation=[example(50, "salt")], validate_every=200)
    assert done.rules == {rule("salt")}
    assert [one.name for one in done.report.candidates] == ["student", "epoch 1"]


def test_what_shows_the_same_is_not_measured_again():
    done = Compiled(epochs=3)
    assert [point.values["optimizer.validation.score"] for point in done.report.points] == [0, 1, 1, 1]
    # 8 answers an epoch, and 4 on validation for each of two programs.
    assert done.report.metrics["optimizer.metric_calls"] == 3 * 8 + 2 * 4


def test_without_labels_nothing_of_them_is_looked_at():
    def leak(*arguments):
        raise AssertionError("the metric was called")

    done = Compiled(labels=False, metric=leak)
    assert all(asked["expected"] == asked["feedback"] == "" for asked in done.oracle.reflected)
    assert len(done.oracle.reflected) == 8
    assert all(set(asked) == {"task", "answer", "expected", "feedback"} for asked in done.oracle.reflected)
    said = [text for asked in done.oracle.reflected for text in asked.values()]
    assert not any(code in text for text in said for code in CODES.values())
    assert len(done.program.playbook) == 4
    assert "No label was looked at" in done.report.notes[0]
    assert {attempt.score for attempt in done.report.attempts} == {None}
    assert done.report.metrics["optimizer.metric_calls"] == 0
    assert all("optimizer.validation.score" not in point.values for point in done.report.points)


def test_without_labels_a_right_answer_looks_like_a_wrong_one():
    start = playbook_of(*RULES)
    done = Compiled(
        labels=False, student=PlaybookProgram(dspy.Predict(AnswerQuestion), start), train=examples(4)
    )
    assert len(done.oracle.reflected) == 4


def test_right_answers_are_reflected_on_where_that_is_wished():
    student = PlaybookProgram(dspy.Predict(AnswerQuestion), playbook_of(*RULES))
    assert Compiled(student=student).oracle.reflected == []
    assert len(Compiled(student=student, reflect_on="all").oracle.reflected) == 8


class Doubting(Oracle):
    """Finds the rule at the second look at an answer only."""

    def reflect(self, asked, request):
        subject = re.search(r"context: (\w+)", asked["task"])[1]
        if asked["answer"].isdigit():
            return reply(lesson=f"Write YYY before {subject}.")
        return super().reflect(asked, request)

    def curate(self, asked, request):
        return reply(operations=f"ADD {RULE.fullmatch(asked['lesson'])[2]}: {asked['lesson']}")


def test_in_a_round_the_program_tries_again_with_its_lessons():
    def attempts(rounds):
        return Compiled(oracle=Doubting(), train=[example(12, "salt")], validation=[], rounds=rounds)

    assert [asked["answer"] for asked in attempts(1).oracle.reflected] == ["12"]
    done = attempts(4)
    # The first lesson is followed, wrong as it is; the generator goes by the first rule that it finds.
    assert [asked["answer"] for asked in done.oracle.reflected] == ["12", "YYY 12", "YYY 12"]
    assert [lesson for _, lesson in done.oracle.curated] == ["Write YYY before salt.", rule("salt")]
    assert done.report.metrics["optimizer.retries"] == 2
    assert done.report.metrics["optimizer.metric_calls"] == 3


def test_rounds_end_when_the_answer_is_right():
    done = Compiled(train=[example(12, "salt")], validation=[], rounds=5)
    assert len(done.oracle.reflected) == 1
    assert done.report.metrics["optimizer.retries.right"] == 1
    assert done.report.attempts[0].score == 0.0


class Slow(Generator):
    """Takes its time, so that threads end in another order than they began."""

    def generate(self, request):
        time.sleep(random.uniform(0, 0.004))
        return super().generate(request)


def test_what_comes_of_windows_does_not_depend_on_threads():
    def playbook(threads):
        return Compiled(generator=Slow(), threads=threads, window=4, train=examples(12), epochs=2)

    one, many = playbook(1), playbook(4)
    assert many.report.files == one.report.files
    assert many.rules == one.rules


def test_a_window_is_answered_before_anything_is_learnt_from_it():
    def scores(window):
        train = [example(number, "salt") for number in range(10, 16)]
        return [one.score for one in Compiled(train=train, window=window).report.attempts]

    assert scores(1) == [0, 1, 1, 1, 1, 1]
    assert scores(3) == [0, 0, 0, 1, 1, 1]
    assert scores(6) == [0] * 6


def test_lessons_wait_for_the_curator_until_the_epoch_ends():
    def curated(every):
        done = Compiled(curate_every=every, train=examples(6), epochs=1)
        history = History.loads(done.report.files["playbook_history.jsonl"])
        return [
            event.step for event in list(history)[1:] if isinstance(getattr(event, "operation", None), Add)
        ]

    assert set(curated(4)) == {3, 5}
    assert set(curated(100)) == {5}


def test_seeds_take_effect():
    def order(seed):
        return [one.example.id for one in Compiled(seed=seed, epochs=2).report.attempts]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[:8] != order(1)[8:]


def test_online_each_example_is_predicted_before_it_is_learnt_from():
    done = Compiled(mode="online", train=examples(8))
    assert [one.example.id for one in done.report.attempts] == [f"e{number}" for number in range(10, 18)]
    assert [one.score for one in done.report.attempts] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert done.report.metrics["optimizer.prequential_score"] == 0.5
    curve = [
        (point.step, point.values["optimizer.prequential_score"])
        for point in done.report.points
        if "optimizer.prequential_score" in point.values
    ]
    assert curve[3:5] == [(4, 0.0), (5, 0.2)]
    assert done.report.metrics["optimizer.metric_calls"] == 8
    assert done.rules == RULES


def test_evaluating_learns_nothing(tmp_path):
    path = tmp_path / "playbook.jsonl"
    path.write_text(playbook_of(rule("salt"), rule("iron")).dumps())
    done = Compiled(mode="evaluate", playbook=str(path))
    assert not done.oracle.reflected
    assert not done.report.attempts
    assert done.rules == {rule("salt"), rule("iron")}
    assert [(one.name, one.score, one.chosen) for one in done.report.candidates] == [
        ("student", 0.0, False),
        ("start", 0.5, True),
    ]


def test_a_playbook_is_carried_on_and_no_id_is_used_twice(tmp_path):
    first = Compiled(train=[example(12, "salt"), example(13, "iron")])
    grown = first.program.playbook
    grown.prune("k2", "for the test", step=99)
    path = tmp_path / "playbook.jsonl"
    path.write_text(grown.dumps())
    second = Compiled(train=[example(14, "wool")], playbook=str(path))
    kept = grown.entries[0]
    carried = second.program.playbook[kept.id]
    assert (carried.content, carried.sources) == (kept.content, kept.sources)
    [new] = [entry for entry in second.program.playbook.entries if entry.id != kept.id]
    assert (new.id, new.content) == ("k3", rule("wool"))
    assert new.created > carried.created
    assert [one.name for one in second.report.candidates] == ["student", "start", "epoch 1"]


def test_a_student_with_a_playbook_goes_on_with_it():
    first = Compiled(train=[example(12, "salt")], validation=[])
    second = Compiled(train=[example(13, "iron")], validation=[], student=first.program)
    assert second.rules == {rule("salt"), rule("iron")}
    assert not isinstance(second.program.program, PlaybookProgram)
    assert first.rules == {rule("salt")}


def test_a_playbook_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        ACE(metric, playbook=str(tmp_path / "none.jsonl"))
    (tmp_path / "broken.jsonl").write_text("no playbook\n")
    with pytest.raises(InputError):
        ACE(metric, playbook=str(tmp_path / "broken.jsonl"))


def test_only_what_an_answer_cites_is_credited():
    student = dspy.ChainOfThought(AnswerQuestion)
    done = Compiled(generator=Generator(cites=True), student=student, train=examples(8), validation=[])
    counts = {
        entry.content: (entry.helpful, entry.harmful, entry.uses) for entry in done.program.playbook.entries
    }
    assert counts == dict.fromkeys(counts, (1, 0, 1))
    uncredited = Compiled(
        generator=Generator(cites=True), student=student, train=examples(8), validation=[], credit="none"
    )
    assert all(entry.helpful == 0 for entry in uncredited.program.playbook.entries)


def test_an_entry_that_misleads_is_found_harmful():
    start = PlaybookProgram(
        dspy.ChainOfThought(AnswerQuestion), playbook_of("Write XXX before salt.", rule("iron"))
    )

    class Silent(Oracle):
        def curate(self, asked, request):
            return reply(operations="NONE")

    done = Compiled(
        generator=Generator(cites=True),
        oracle=Silent(),
        student=start,
        train=[example(12, "salt"), example(13, "salt"), example(14, "iron")],
        validation=[],
    )
    playbook = done.program.playbook
    assert (playbook["k1"].harmful, playbook["k1"].helpful) == (2, 0)
    assert (playbook["k2"].harmful, playbook["k2"].helpful) == (0, 1)


def test_a_metric_that_fails_harms_no_entry():
    def broken(one, prediction):
        if "salt" in one.context:
            raise ValueError("no such unit")
        return metric(one, prediction)

    done = Compiled(
        metric=broken,
        generator=Generator(cites=True),
        student=PlaybookProgram(dspy.ChainOfThought(AnswerQuestion), playbook_of(rule("salt"))),
        train=[example(12, "salt"), example(13, "iron")],
        validation=[],
    )
    entry = done.program.playbook["k1"]
    assert (entry.harmful, entry.neutral) == (0, 1)
    assert "no such unit" in next(one.error for one in done.report.attempts if one.error)


class OutOfOrder(Generator):
    """Answers about some things alone, by default none."""

    def __init__(self, knows=""):
        super().__init__()
        self.knows = knows

    def generate(self, request):
        if fields_of(request)["context"].split()[0] == self.knows:
            return super().generate(request)
        raise RuntimeError("out of order")


def test_a_model_that_fails_speaks_against_no_entry():
    student = PlaybookProgram(dspy.Predict(AnswerQuestion), playbook_of(*sorted(RULES)))
    done = Compiled(
        generator=OutOfOrder(knows="corn"),
        student=student,
        validation=[],
        selection="relevant",
        k=1,
        credit="shown",
    )
    told = {
        RULE.fullmatch(entry.content)[2]: (entry.helpful, entry.harmful, entry.neutral)
        for entry in done.program.playbook.entries
    }
    assert told == {"salt": (0, 0, 2), "iron": (0, 0, 2), "wool": (0, 0, 2), "corn": (2, 0, 0)}


def broken_metric(one, prediction):
    raise ValueError("no such unit")


@pytest.mark.parametrize("mode", ["offline", "online"])
@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"generator": OutOfOrder()}, "out of order"),
        ({"metric": broken_metric}, "the metric failed: ValueError: no such unit"),
    ],
)
def test_where_no_answer_can_be_learnt_from_the_compilation_fails(mode, options, cause, tmp_path):
    epochs = {"epochs": 3} if mode == "offline" else {}
    with pytest.raises(JobError, match="all 8 answers to training examples failed, each with") as failed:
        Compiled(mode=mode, checkpoints=tmp_path, validation=[], **epochs, **options)
    assert cause in str(failed.value)
    # Another try asks again, and finds what works by then.
    assert Compiled(mode=mode, checkpoints=tmp_path, validation=[]).rules == RULES


def test_one_answer_is_enough_to_go_on():
    done = Compiled(generator=OutOfOrder(knows="corn"), train=examples(4), validation=[])
    assert done.rules == {rule("corn")}
    assert done.report.metrics["optimizer.answers.failed"] == 3
    assert done.report.warnings == []


def test_answers_in_a_broken_form_are_no_reason_to_fail():
    class Rambling(Generator):
        def generate(self, request):
            return Completion("I would say five.", 9, 3)

    assert Compiled(generator=Rambling(), validation=[]).rules == RULES


@pytest.mark.parametrize("role", ["reflect", "curate"])
def test_a_role_that_never_works_is_a_warning(role):
    class Refusing(Oracle):
        def reflect(self, asked, request):
            return Completion("", 1, 0) if role == "reflect" else super().reflect(asked, request)

        def curate(self, asked, request):
            return reply(operations="I do not know")

    done = Compiled(oracle=Refusing())
    [warning] = done.report.warnings
    assert warning.startswith(f"All 8 {'reflections' if role == 'reflect' else 'curations'} failed")


class CitingInTheField(Generator):
    """Cites the rule that it follows where it is asked to, and one that there is not."""

    def generate(self, request):
        answer = super().generate(request)
        if "followed_rules" not in message_text(request.messages[-1]):
            return answer
        subject = fields_of(request)["context"].split()[0]
        ids = re.findall(rf"^\s*\[(k\d+)\] Write \w+ before {subject}\.$", system_of(request), re.MULTILINE)
        return replace(
            answer, text=f"[[ ## followed_rules ## ]]\n{', '.join([*ids, 'k99'])}\n\n{answer.text}"
        )


class Idle(Oracle):
    def curate(self, asked, request):
        return reply(operations="NONE")


def survivors(budget_for, *, asks=True, **terms):
    """The subjects whose rules are left of three: one that helps, one never needed, one that misleads."""
    start = playbook_of(rule("salt"), rule("wool"), "Write XXX before iron.")
    sizes = [entry.tokens for entry in start.entries]
    done = Compiled(
        generator=CitingInTheField(),
        oracle=Idle(),
        student=PlaybookProgram(dspy.Predict(AnswerQuestion), start),
        train=[example(12, "salt"), example(13, "iron"), example(14, "salt"), example(15, "iron")],
        validation=[],
        curate_every=4,
        ask_for_citations=asks,
        refinement=Refinement(
            budget=sum(sizes) - min(sizes) if budget_for == 2 else max(sizes),
            score=RetentionScore(recency=False, vagueness=False, **terms),
        ),
    )
    left = {RULE.fullmatch(entry.content)[2] for entry in done.program.playbook.entries}
    return left, done.report.metrics


def test_the_terms_of_success_and_failure_decide_what_stays_once_answers_cite():
    assert survivors(2)[0] == {"salt", "wool"}
    assert survivors(2, failure=False)[0] == {"salt", "iron"}
    assert survivors(1)[0] == {"salt"}
    assert survivors(1, success=False)[0] == {"wool"}


def test_without_citations_these_terms_tell_nothing():
    left, metrics = survivors(2, asks=False)
    assert left == {"wool", "iron"}  # the oldest went
    assert "optimizer.citations" not in metrics


def test_ids_that_were_not_shown_are_counted_and_credited_to_none():
    _, metrics = survivors(2)
    assert metrics["optimizer.citations"] == 4
    assert metrics["optimizer.citations.not_shown"] == 4


def test_the_metric_is_counted_when_it_is_called():
    called = []

    def counted(one, prediction):
        called.append(one)
        return metric(one, prediction)

    class Failing(Generator):
        def generate(self, request):
            if "iron" in str(request.messages[-1]):
                raise RuntimeError("out of order")
            return super().generate(request)

    done = Compiled(generator=Failing(), metric=counted, rounds=2)
    assert done.report.metrics["optimizer.metric_calls"] == len(called) > 0
    assert done.report.candidates[-1].metric_calls == len(called)


def test_a_reflector_without_a_valid_key_ends_the_job():
    class Locked(Oracle):
        def reflect(self, asked, request):
            raise AuthError("no such key")

    with pytest.raises(JobError, match=r"no such key.*optimizer\.reflector"):
        Compiled(oracle=Locked())


def test_a_secret_in_a_lesson_comes_into_no_playbook(tmp_path):
    class Careless(Oracle):
        def reflect(self, asked, request):
            return reply(lesson='Write "https://host/?key=open-sesame-42" before salt.')

        def curate(self, asked, request):
            return reply(operations=f"ADD house: {asked['lesson']}")

    def compiled():
        options = {"train": [example(12, "salt")], "validation": [], "checkpoints": tmp_path}
        return Compiled(oracle=Careless(), **options)

    first, resumed = compiled(), compiled()
    assert list(first.program.playbook.contents().values()) == ['Write "https://host/?key=***" before salt.']
    assert not resumed.oracle.reflected
    assert resumed.report.files == first.report.files


def test_another_similarity_of_the_refinement_starts_anew(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(refinement_module, "similarity_named", lambda name: HashedSimilarity())
    for name in ("hashed", "hashed", "another"):
        assert "starting anew" not in caplog.text
        Compiled(checkpoints=tmp_path, refinement=Refinement(similarity=name))
    assert "starting anew" in caplog.text


def test_showing_as_much_as_the_playbook_may_hold_is_refused():
    def optimizer(shown_tokens):
        return ACE(metric, selection="relevant", shown_tokens=shown_tokens, refinement=Refinement(budget=400))

    assert optimizer(399).settings.shown_tokens == 399
    with pytest.raises(InputError, match="nothing would be chosen"):
        optimizer(400)


def test_a_student_may_bring_its_own_model(tmp_path):
    student = dspy.Predict(AnswerQuestion)
    student.lm = lm(Generator(), "own")
    done = Compiled(student=student, checkpoints=tmp_path, train=examples(2))
    assert done.rules == {rule("salt"), rule("iron")}
    assert not done.generator.requests


def test_what_was_shown_is_credited_unless_it_is_everything():
    def counts(k):
        student = PlaybookProgram(dspy.Predict(AnswerQuestion), playbook_of(*sorted(RULES)))
        done = Compiled(
            student=student, train=examples(8), validation=[], selection="relevant", k=k, credit="shown"
        )
        return [entry.helpful for entry in done.program.playbook.entries]

    assert counts(1) == [2, 2, 2, 2]
    assert counts(4) == [0, 0, 0, 0]


def test_relevant_entries_alone_stand_in_the_prompt():
    student = PlaybookProgram(dspy.Predict(AnswerQuestion), playbook_of(*sorted(RULES)))
    done = Compiled(
        student=student, train=examples(4), validation=[], selection="relevant", k=1, credit="shown"
    )
    assert {attempt.score for attempt in done.report.attempts} == {1.0}
    assert done.program.selection == "relevant"
    assert len(done.program.shown_for(example(12, "salt").inputs())) == 1


def test_the_budget_holds_from_the_first_window_on():
    refinement = Refinement(budget=20)
    many = playbook_of(*(f"Write code{number} before thing{number}." for number in range(30)))
    done = Compiled(
        student=PlaybookProgram(dspy.Predict(AnswerQuestion), many),
        refinement=refinement,
        train=[example(12, "salt")],
        validation=[],
    )
    assert 0 < done.program.playbook.tokens <= 20
    assert done.report.metrics["optimizer.operations.pruned"] >= 28


class TwoSteps(dspy.Module):
    """A program of several predictors, one of which is called twice."""

    def __init__(self):
        super().__init__()
        self.look = dspy.ChainOfThought("question, context -> context_again")
        self.answer = dspy.Predict(AnswerQuestion)

    def forward(self, question, context):
        for _ in range(2):
            self.look(question=question, context=context)
        return self.answer(question=question, context=context)


class Looking(Generator):
    def generate(self, request):
        if "context_again" in str(request.messages[-1]):
            self.requests.append(request)
            return reply(reasoning="Look.", context_again="the same")
        return super().generate(request)


def test_every_call_of_a_program_reads_the_playbook():
    done = Compiled(
        generator=Looking(), student=TwoSteps(), train=examples(4), validation=examples(4, first=50)
    )
    assert done.rules == RULES
    before = len(done.generator.requests)
    assert done.answer(example(99, "salt")) == "USD 99"
    asked = done.generator.requests[before:]
    assert len(asked) == 3
    assert all(rule("salt") in str(request.system) for request in asked)
    assert not any(rule("salt") in str(request.messages[-1]) for request in asked)


class Acting(Generator):
    """Uses no tool, and then answers."""

    def generate(self, request):
        if "next_tool_name" in str(request.messages[-1]):
            self.requests.append(request)
            return reply(next_thought="I know.", next_tool_name="finish", next_tool_args="{}")
        answer = super().generate(request).text
        return Completion(f"[[ ## reasoning ## ]]\nI know.\n\n{answer}", 50, 5)


def test_an_agent_learns_too(tmp_path):
    def weigh(what: str) -> str:
        """Weigh something."""
        return what

    def agent():
        return dspy.ReAct(AnswerQuestion, tools=[weigh])

    done = Compiled(generator=Acting(), student=agent(), train=examples(4), checkpoints=tmp_path)
    assert done.rules == RULES
    assert done.answer(example(99, "salt")) == "USD 99"
    assert "reasoning: I know.\nanswer: " in done.oracle.reflected[0]["answer"]
    assert done.oracle.reflected[0]["expected"].split()[0] in CODES.values()
    again = Compiled(generator=Acting(), student=agent(), train=examples(4), checkpoints=tmp_path)
    assert again.rules == done.rules
    assert not again.generator.requests


def test_the_program_answers_again_from_its_state_alone(tmp_path):
    done = Compiled()
    done.program.save(tmp_path / "program.json")
    loaded = PlaybookProgram(dspy.Predict(AnswerQuestion))
    loaded.load(tmp_path / "program.json")
    with dspy.context(lm=lm(Generator())):
        assert loaded(**example(99, "wool").inputs()).answer == "CHF 99"


def test_the_student_is_left_as_it_was():
    student = dspy.Predict(AnswerQuestion)
    before = student.dump_state()
    Compiled(student=student)
    assert student.dump_state() == before


class Broken(Oracle):
    """Breaks the form of every lesson on salt, fails on iron, and curates wool in prose."""

    def reflect(self, asked, request):
        if "salt" in asked["task"]:
            return Completion("I would rather not say.", 3, 3)
        if "iron" in asked["task"]:
            raise RuntimeError("out of order")
        return super().reflect(asked, request)

    def curate(self, asked, request):
        return reply(operations="Well.") if "wool" in asked["lesson"] else super().curate(asked, request)


def test_roles_that_fail_are_recorded_and_do_not_end_the_adaptation():
    done = Compiled(oracle=Broken(), train=examples(4), validation=[], window=4, threads=2)
    assert done.rules == {rule("corn")}
    metrics = done.report.metrics
    assert metrics["optimizer.reflections"] == 4
    assert metrics["optimizer.reflections.failed"] == 2
    assert metrics["optimizer.curations.failed"] == 1
    assert metrics["optimizer.curations.repeated"] == 1
    assert "2 of 4 reflections failed." in done.report.notes
    assert "1 of 2 curations failed." in done.report.notes
    history = done.report.files["playbook_history.jsonl"]
    assert "the reflection failed" in history
    assert "out of order" in history
    assert "the curation failed" in history


def test_a_program_that_fails_is_counted_and_the_rest_is_learnt():
    class Failing(Generator):
        def generate(self, request):
            if "iron" in str(request.messages[-1]):
                raise RuntimeError("out of order")
            return super().generate(request)

    done = Compiled(generator=Failing(), train=examples(4), validation=examples(4, first=50))
    assert done.rules == {rule(subject) for subject in ("salt", "wool", "corn")}
    assert done.report.candidates[-1].score == 0.75
    [failed] = [one for one in done.report.attempts if one.error]
    assert "out of order" in failed.error
    assert failed.prediction is None
    assert not failed.reflected


def test_the_report_tells_each_epoch_and_each_role():
    done = Compiled(epochs=2)
    before, first, second = (point.values for point in done.report.points)
    assert [point.step for point in done.report.points] == [0, 1, 2]
    assert before["optimizer.playbook.entries"] == 0
    assert first["optimizer.playbook.entries"] == second["optimizer.playbook.entries"] == 4
    assert first["optimizer.operations.add.applied"] == 4
    assert "optimizer.operations.add.applied" not in second
    assert (first["optimizer.train.score"], second["optimizer.train.score"]) == (0.5, 1.0)
    assert first["optimizer.tokens.generate.prompt"] == 8 * 50
    assert first["optimizer.tokens.reflect.prompt"] == first["optimizer.tokens.curate.prompt"] == 4 * 50
    assert first["optimizer.tokens.validate.completion"] == 4 * 5
    assert first["optimizer.seconds.reflect"] > 0
    assert done.report.metrics["optimizer.lm_calls"] == 16 + 4 + 4 + 2 * 4
    reflected = [one for one in done.report.attempts if one.reflected]
    assert len(reflected) == 4
    assert all(one.reflection_latency_ms > 0 for one in reflected)
    assert done.report.attempts[-1].reflection_latency_ms is None
    assert {(one.prompt_tokens, one.completion_tokens) for one in done.report.attempts} == {(50, 5)}
    assert [snapshot.epoch for snapshot in done.report.snapshots] == [1, 2]
    assert done.report.snapshots[0].program.playbook == done.program.playbook
    assert Playbook.loads(done.report.files["playbook.jsonl"]) == done.program.playbook
    assert rule("salt") in done.report.files["playbook.md"]


def test_the_history_gives_the_playbook_of_any_step():
    done = Compiled(train=examples(4), validation=[])
    history = History.loads(done.report.files["playbook_history.jsonl"])
    assert [len(history.rebuild(step)) for step in range(-1, 4)] == [0, 1, 2, 3, 4]
    assert history.rebuild() == done.program.playbook


def test_examples_are_limited_to_the_first_ones():
    done = Compiled(train_examples=2, validation_examples=1, epochs=2)
    assert {one.example.id for one in done.report.attempts} == {"e10", "e11"}
    assert {one.examples for one in done.report.candidates} == {1}
