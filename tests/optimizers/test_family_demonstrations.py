"""Labelled, bootstrapped and nearest demonstrations."""

import json
import re

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models.engine import Completion, TextEngine, engine_lm, message_text
from tiltyard.optimizers.bootstrapping import (
    BootstrapFewShot,
    BootstrapRandomSearch,
    LabeledFewShot,
    shuffled,
)
from tiltyard.optimizers.nearest import KnnFewShot, Known, Memory, NearestDemonstrations
from tiltyard.tasks.task import Score


class Doubling(TextEngine):
    """Doubles multiples of four, and any number where the prompt shows as many demonstrations as it needs."""

    def __init__(self, needs=2, always=False):
        self.needs = needs
        self.always = always
        self.asked = []

    def generate(self, request):
        number = int(
            re.search(r"\[\[ ## question ## \]\]\n(\d+)", message_text(request.messages[-1])).group(1)
        )
        demonstrations = len(request.messages) // 2
        self.asked.append((number, demonstrations))
        knows = self.always or number % 4 == 0 or demonstrations >= self.needs
        return Completion(
            f"[[ ## answer ## ]]\n{2 * number if knows else number}\n\n[[ ## completed ## ]]", 10, 2
        )


def metric(example, prediction, trace=None, pred_name=None, pred_trace=None):
    right = example.answer == prediction.answer
    return Score(1.0 if right else 0.4, "Correct." if right else "Write the double.")


def numbers(*values):
    return [dspy.Example(question=str(n), answer=str(2 * n)).with_inputs("question") for n in values]


TRAIN = numbers(*range(1, 21))
VALIDATION = numbers(*range(21, 33))


@pytest.fixture
def engine():
    engine = Doubling()
    with dspy.context(lm=engine_lm("local/doubling", engine), num_threads=2, max_errors=100):
        yield engine


def demonstrations(program):
    return [dict(demonstration) for demonstration in program.demos]


OPTIMIZERS = {
    "labeled_few_shot": lambda seed: LabeledFewShot(k=3, seed=seed),
    "bootstrap": lambda seed: BootstrapFewShot(
        metric, max_bootstrapped_demos=2, max_labeled_demos=3, seed=seed
    ),
    "bootstrap_random_search": lambda seed: BootstrapRandomSearch(
        metric, max_bootstrapped_demos=2, max_labeled_demos=2, num_candidate_programs=2, seed=seed
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_seed_decides_the_demonstrations(engine, name):
    student = dspy.Predict("question -> answer")
    compiled = [
        demonstrations(OPTIMIZERS[name](seed).compile(student, trainset=TRAIN, valset=VALIDATION))
        for seed in (0, 0, 1)
    ]
    assert compiled[0] == compiled[1]
    assert compiled[0] != compiled[2]
    assert compiled[0]
    assert student.demos == []


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_shuffling_keeps_every_example(seed, count):
    examples = numbers(*range(count))
    assert sorted(int(one.question) for one in shuffled(examples, seed)) == list(range(count))
    assert shuffled(examples, seed) == shuffled(examples, seed)


@pytest.mark.parametrize("make", [BootstrapFewShot, BootstrapRandomSearch])
def test_wrong_demonstrations_stay_out_although_the_metric_gives_part_marks(engine, make):
    engine.needs = 99  # only multiples of four are right, however many demonstrations are shown
    options = {"num_candidate_programs": 2} if make is BootstrapRandomSearch else {}
    optimizer = make(metric, max_bootstrapped_demos=4, max_labeled_demos=0, **options)
    program = optimizer.compile(dspy.Predict("question -> answer"), trainset=TRAIN, valset=numbers(4, 8))
    assert all(int(one["question"]) % 4 == 0 for one in demonstrations(program))
    if make is BootstrapFewShot:
        assert len(program.demos) == 4


def test_another_model_makes_the_demonstrations(engine):
    teacher = Doubling(always=True)
    optimizer = BootstrapFewShot(
        metric, teacher=engine_lm("local/teacher", teacher), max_bootstrapped_demos=3, max_labeled_demos=0
    )
    program = optimizer.compile(dspy.Predict("question -> answer"), trainset=TRAIN)
    assert len(program.demos) == 3
    assert len(teacher.asked) == 3
    assert engine.asked == []


def test_random_search_reports_its_candidates_and_chooses_the_best(engine):
    optimizer = BootstrapRandomSearch(
        metric, max_bootstrapped_demos=2, max_labeled_demos=2, num_candidate_programs=3
    )
    program = optimizer.compile(dspy.Predict("question -> answer"), trainset=TRAIN, valset=VALIDATION)
    report = optimizer.report
    assert len(report.candidates) == 6
    assert report.candidates[0].score == pytest.approx(0.25 + 0.75 * 0.4)
    chosen = [candidate for candidate in report.candidates if candidate.chosen]
    assert [candidate.score for candidate in chosen] == [1.0]
    assert len(program.demos) == 2
    assert report.metrics["optimizer.best_score"] == 1.0
    assert report.metrics["optimizer.candidates"] == 6
    assert report.metrics["optimizer.lm_calls"] == len(engine.asked)
    assert report.metrics["optimizer.tokens.prompt"] == 10 * len(engine.asked)
    assert report.metrics["optimizer.metric_calls"] == len(engine.asked)
    steps = [point.step for point in report.points]
    assert steps == sorted(steps)
    assert steps[-1] == report.metrics["optimizer.metric_calls"]


def test_random_search_stops_at_a_score(engine):
    optimizer = BootstrapRandomSearch(
        metric, max_bootstrapped_demos=2, max_labeled_demos=2, num_candidate_programs=9, stop_at_score=1.0
    )
    optimizer.compile(dspy.Predict("question -> answer"), trainset=TRAIN, valset=VALIDATION)
    assert optimizer.report.candidates[-1].score == 1.0
    assert len(optimizer.report.candidates) < 12


QUESTIONS = [
    ("what does the blue pump cost", "12"),
    ("what does the red pump cost", "15"),
    ("who owns the harbour", "the town"),
    ("who owns the airport", "the state"),
]


def asked(pairs):
    return [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in pairs]


class Echo(TextEngine):
    """Answers with the last demonstration's answer, and "12" without any."""

    def generate(self, request):
        shown = [message_text(one) for one in request.messages if one.role == "assistant"]
        found = re.findall(r"\[\[ ## answer ## \]\]\n(.*?)\n", "\n".join(shown))
        answer = found[-1] if found else "12"
        return Completion(f"[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]", 5, 2)


@pytest.fixture
def nearest():
    with dspy.context(lm=engine_lm("local/echo", Echo()), num_threads=2):
        optimizer = KnnFewShot(metric, k=1)
        yield (
            optimizer.compile(dspy.Predict("question -> answer"), trainset=asked(QUESTIONS)),
            optimizer.report,
        )


def test_the_nearest_example_is_shown(nearest):
    program, report = nearest
    assert program(question="who owns the old harbour").answer == "the town"
    assert program(question="what does the big red pump cost").answer == "15"
    assert report.metrics["optimizer.right_answers"] == 1
    assert report.candidates == []


def test_an_example_is_not_its_own_demonstration(nearest):
    program, _ = nearest
    for question, answer in QUESTIONS:
        assert program(question=question).answer != answer


def test_the_order_of_the_inputs_does_not_matter():
    asked = [{"question": f"where is pump {n}", "context": f"hall {n % 7} of 9"} for n in range(30)]
    program = NearestDemonstrations(dspy.Predict("context, question -> answer"), [Known(a, a) for a in asked])
    for inputs in asked:
        turned = dict(reversed(inputs.items()))
        assert program.shown_for(turned) == program.shown_for(inputs)
        assert inputs not in [known.inputs for known in program.shown_for(turned)]


def test_the_program_is_not_the_one_that_dspy_traced(nearest):
    program, _ = nearest
    assert "forward" not in vars(program.program)


def test_own_words_are_shown_where_they_were_right(nearest):
    program, _ = nearest
    (right,) = program.shown_for({"question": "does the blue pump cost much"})
    assert right.shown_to("self").get("augmented")
    (wrong,) = program.shown_for({"question": "does the red pump cost much"})
    assert not wrong.shown_to("self").get("augmented")


def test_a_saved_program_shows_the_same_after_loading(nearest, tmp_path):
    program, _ = nearest
    program.save(tmp_path / "program.json")
    again = NearestDemonstrations(dspy.Predict("question -> answer"))
    again.load(tmp_path / "program.json")
    assert again.memory.k == 1
    for question in ("who owns the old harbour", "does the blue pump cost much"):
        assert again.shown_for({"question": question}) == program.shown_for({"question": question})
        assert again(question=question).answer == program(question=question).answer
    assert json.loads((tmp_path / "program.json").read_text())["nearest"]["known"][0]["inputs"] == {
        "question": QUESTIONS[0][0]
    }


def test_labels_only_ask_no_model():
    optimizer = KnnFewShot(metric, k=2, bootstrap=False)
    program = optimizer.compile(dspy.ChainOfThought("question -> answer"), trainset=asked(QUESTIONS))
    assert optimizer.report.metrics["optimizer.lm_calls"] == 0
    assert len(program.shown_for({"question": "who owns the town hall"})) == 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text("abc ", min_size=1, max_size=6), min_size=1, max_size=8),
    st.integers(1, 5),
    st.text("abc ", min_size=1, max_size=6),
)
def test_as_many_as_there_are_others_are_shown(questions, k, question):
    known = [Known({"question": one}, {"question": one, "answer": "x"}) for one in questions]
    shown = Memory(known, k, "hashed").nearest({"question": question})
    assert len(shown) == min(k, sum(one != question for one in questions))
    assert all(one.inputs["question"] != question for one in shown)
