"""Chains of optimizers, and the record of any compilation."""

import inspect
import re

import dspy
import pytest
from hydra.utils import get_object

from tiltyard.config import resolve
from tiltyard.errors import InputError
from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.optimizers.bootstrapping import BootstrapFewShot, LabeledFewShot
from tiltyard.optimizers.chain import Chain
from tiltyard.optimizers.nearest import KnnFewShot, NearestDemonstrations
from tiltyard.optimizers.other_models import asking_also
from tiltyard.optimizers.recorded import compile_recorded, sets_for
from tiltyard.optimizers.recorder import Recorder
from tiltyard.optimizers.report import Candidate, OptimizationReport
from tiltyard.tasks.task import Score


class Squares(TextEngine):
    """Knows the squares of even numbers, and counts what it is asked."""

    def __init__(self):
        self.asked = 0

    def generate(self, request):
        self.asked += 1
        number = int(re.findall(r"\[\[ ## question ## \]\]\n(\d+)", message_text(request.messages[-1]))[-1])
        answer = number * number if number % 2 == 0 else 0
        return Completion(f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]", 7, 3)


def metric(example, prediction, trace=None, pred_name=None, pred_trace=None):
    return Score(float(example.answer == prediction.answer), "compare")


def numbers(*values):
    return [dspy.Example(question=str(n), answer=str(n * n)).with_inputs("question") for n in values]


TRAIN = numbers(*range(1, 9))
VALIDATION = numbers(10, 11, 12, 13)


@pytest.fixture
def engine():
    engine = Squares()
    with dspy.context(lm=engine_lm("local/squares", engine), num_threads=3, max_errors=50):
        yield engine


class Telling(dspy.teleprompt.Teleprompter):
    """Writes what it was given into the instructions, and reports a candidate."""

    def __init__(self, word, metric=None, checkpoints=None):
        self.word = word
        self.metric = metric
        self.checkpoints = checkpoints

    def compile(self, student, *, trainset, valset=None):
        self.given = student
        program = student.deepcopy()
        program.signature = program.signature.with_instructions(
            f"{program.signature.instructions} {self.word}"
        )
        self.report = OptimizationReport(
            candidates=[Candidate(self.word, 0.5, 4, metric_calls=3, chosen=True)],
            notes=[f"said {self.word}"],
        )
        program._compiled = True
        return program


def test_each_step_compiles_what_the_last_one_made():
    student = dspy.Predict("question -> answer", instructions="Say")
    student.signature = student.signature.with_instructions("Say")
    first, second = Telling("one"), Telling("two")
    program = Chain([first, second]).compile(student, trainset=TRAIN)
    assert program.signature.instructions == "Say one two"
    assert second.given.signature.instructions == "Say one"
    assert student.signature.instructions == "Say"


def test_demonstrations_stay_where_the_next_step_writes_instructions(engine):
    chain = Chain(
        {
            "shown": BootstrapFewShot(metric, max_bootstrapped_demos=2, max_labeled_demos=2),
            "told": Telling("now"),
        }
    )
    program = chain.compile(dspy.Predict("question -> answer"), trainset=TRAIN, valset=VALIDATION)
    assert len(program.demos) == 2
    assert program.signature.instructions.endswith("now")


def test_bootstrapping_takes_what_bootstrapping_made(engine):
    steps = [BootstrapFewShot(metric, max_bootstrapped_demos=n, max_labeled_demos=0) for n in (1, 3)]
    program = Chain(steps).compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    assert len(program.demos) == 3


KNN = {"k": 2, "bootstrap": False}


def answered_demonstrations(program, question):
    """The questions of the demonstrations that a call shows, in their order."""
    with dspy.context(lm=(lm := engine_lm("local/squares", Squares()))):
        program(question=question)
    messages = lm.history[-1]["messages"]
    return [
        re.findall(r"\[\[ ## question ## \]\]\n(\d+)", str(one["content"]))[-1]
        for one in messages[1:-1]
        if one["role"] == "user"
    ]


def test_demonstrations_for_each_question_and_chosen_ones_are_shown_together(engine):
    chain = Chain(
        [
            KnnFewShot(metric, **KNN),
            BootstrapFewShot(metric, max_bootstrapped_demos=3, max_labeled_demos=0),
        ]
    )
    program = chain.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    chosen = [demo.question for demo in program.predictors()[0].demos]
    assert len(chosen) == 3  # the program's predictors are found in its traces
    nearest = [known.inputs["question"] for known in program.shown_for({"question": "99"})]
    shown = answered_demonstrations(program, "99")
    assert shown == [*(one for one in chosen if one not in nearest), *nearest]
    assert set(chosen) <= set(shown)
    # A chosen demonstration that asks the very same would give the answer away.
    assert chosen[0] not in answered_demonstrations(program, chosen[0])


def test_no_demonstration_is_shown_twice(engine):
    chain = Chain([KnnFewShot(metric, **KNN), LabeledFewShot(k=3), KnnFewShot(metric, k=1, bootstrap=False)])
    program = chain.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    assert len(answered_demonstrations(program, "99")) == len(set(answered_demonstrations(program, "99")))


def test_such_a_chain_is_saved_and_loaded(engine, tmp_path):
    chain = Chain([KnnFewShot(metric, **KNN), LabeledFewShot(k=3)])
    program = chain.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    program.save(tmp_path / "program.json")
    loaded = NearestDemonstrations(dspy.Predict("question -> answer"))
    loaded.load(tmp_path / "program.json")
    shown = answered_demonstrations(program, "99")
    assert len(shown) >= 3
    assert answered_demonstrations(loaded, "99") == shown


def test_the_report_is_that_of_all_steps(engine):
    chain = Chain(
        {"shown": BootstrapFewShot(metric, max_labeled_demos=0), "a": Telling("one"), "b": Telling("two")}
    )
    chain.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    report = chain.report
    assert report.metrics["optimizer.lm_calls"] == engine.asked > 0
    assert report.metrics["optimizer.tokens.completion"] == 3 * engine.asked
    assert [(one.name, one.chosen) for one in report.candidates] == [("a: one", False), ("b: two", True)]
    assert report.candidates[0].metric_calls == engine.asked + 3
    assert report.notes == ["a: said one", "b: said two"]


def test_a_broken_off_step_leaves_what_it_had_found(engine):
    def failing(*asked):
        raise KeyboardInterrupt

    chain = Chain({"a": Telling("one"), "shown": BootstrapFewShot(failing, max_labeled_demos=0)})
    with pytest.raises(KeyboardInterrupt):
        chain.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    assert [one.name for one in chain.report.candidates] == ["a: one"]
    assert chain.report.metrics["optimizer.metric_calls"] == 1
    assert chain.report.metrics["optimizer.lm_calls"] == engine.asked == 1


def test_the_last_steps_program_is_what_counts(engine):
    chain = Chain([Telling("one"), LabeledFewShot(k=2)])
    chain.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    assert [one.chosen for one in chain.report.candidates] == [False]
    assert "optimizer.best_score" not in chain.report.metrics


def test_nodes_get_the_metric_and_folders_of_their_own(tmp_path):
    node = {"_target_": f"{Telling.__module__}.Telling"}
    chain = Chain(
        {"one": {**node, "word": "x"}, "none": None, "two": {**node, "word": "y"}}, metric, tmp_path
    )
    assert list(chain.steps) == ["one", "two"]
    assert [step.metric for step in chain.steps.values()] == [metric, metric]
    assert [step.checkpoints for step in chain.steps.values()] == [tmp_path / "one", tmp_path / "two"]


@pytest.mark.parametrize("steps", [[], {"first": None}, [{"_target_": "builtins.dict"}], [print]])
def test_a_chain_of_no_optimizers_is_refused(steps):
    with pytest.raises(InputError, match="chain"):
        Chain(steps)


def test_the_shipped_chain_composes_and_takes_options_of_its_steps(composed):
    cfg = composed(
        "optimizer=chain", "optimizer@optimizer.steps.second=copro", "optimizer.steps.second.depth=1"
    )
    steps = cfg.optimizer.steps
    assert list(steps) == ["first", "second"]
    assert steps.second.depth == 1
    assert steps.first._target_.endswith("BootstrapFewShot")


SHIPPED = (
    "labeled_few_shot",
    "bootstrap",
    "bootstrap_random_search",
    "knn_few_shot",
    "copro",
    "simba",
    "gepa",
    "mipro",
)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_options_defaults_are_those_of_its_signature(composed, name):
    node = dict(resolve(composed(f"optimizer={name}", "seed=0")).optimizer)
    parameters = inspect.signature(get_object(node.pop("_target_"))).parameters
    defaults = {key: one.default for key, one in parameters.items() if key not in ("metric", "checkpoints")}
    assert node == defaults


def test_dspys_own_optimizers_are_recorded(engine):
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=metric,
        metric_threshold=1.0,
        max_bootstrapped_demos=2,
        max_labeled_demos=0,
        num_candidate_programs=2,
    )
    program, report = compile_recorded(
        optimizer, dspy.Predict("question -> answer"), **sets_for(optimizer, TRAIN, VALIDATION)
    )
    assert [one.examples for one in report.candidates] == [4] * 5
    assert [one.score for one in report.candidates] == [0.5] * 5
    assert [one.chosen for one in report.candidates] == [True, False, False, False, False]
    assert program.demos == []
    assert report.metrics["optimizer.lm_calls"] == report.metrics["optimizer.metric_calls"] == engine.asked
    assert report.metrics["optimizer.tokens.prompt"] == 7 * engine.asked  # worker threads included
    assert report.metrics["optimizer.best_score"] == 0.5
    assert optimizer.metric is metric


def test_a_report_of_its_own_is_completed(engine):
    optimizer = Telling("one", metric)
    _, report = compile_recorded(optimizer, dspy.Predict("question -> answer"), trainset=TRAIN)
    assert report is optimizer.report
    assert [one.name for one in report.candidates] == ["one"]
    assert report.metrics["optimizer.lm_calls"] == 0
    assert report.metrics["optimizer.seconds"] > 0


def test_what_takes_no_validation_does_not_get_it():
    assert set(sets_for(dspy.SIMBA(metric=metric, bsize=1), TRAIN, VALIDATION)) == {"trainset"}
    assert set(sets_for(LabeledFewShot(), TRAIN, VALIDATION)) == {"trainset", "valset"}
    assert set(sets_for(LabeledFewShot(), TRAIN, None)) == {"trainset"}


def test_a_compilation_that_fails_leaves_what_was_seen_until_then(engine):
    calls = []

    def failing(example, prediction, trace=None, pred_name=None, pred_trace=None):
        calls.append(example)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Score(0.0)

    optimizer = BootstrapFewShot(failing, max_labeled_demos=0)
    with pytest.raises(KeyboardInterrupt):
        optimizer.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    assert optimizer.report.metrics["optimizer.metric_calls"] == 3
    assert optimizer.report.metrics["optimizer.lm_calls"] == 3


def test_several_answers_of_one_call_count_each(engine):
    recorder = Recorder()
    with recorder.recording():
        dspy.Predict("question -> answer", n=3, temperature=1.0)(question="4")
    assert recorder.lm_calls == engine.asked == 3
    assert recorder.completion_tokens == 9


class Adapted(Squares):
    """Is asked through an adapter of its own."""

    def __init__(self):
        super().__init__()
        self.own = Counting()

    @property
    def adapter(self):
        return self.own


class Counting(dspy.ChatAdapter):
    calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return super().__call__(*args, **kwargs)


def test_each_model_is_asked_through_its_own_adapter(engine):
    other, plain = Adapted(), Counting()
    lm = engine_lm("local/other", other)
    program = dspy.Predict("question -> answer")
    with dspy.context(adapter=plain), asking_also(lm):
        program(question="2")
        with dspy.context(lm=lm):
            program(question="4")
    assert (plain.calls, other.own.calls, other.asked, engine.asked) == (0, 1, 1, 1)
    with dspy.context(adapter=plain), asking_also(None):
        program(question="2")
    assert plain.calls == 1
