import json

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.signatures import check_node
from tiltyard.tasks.formula import Formula
from tiltyard.tasks.task import Task


def prompt(question, formula="Mark-up = Price - Cost", terms="Price: What is paid, Cost: What it cost"):
    name = formula.partition(" =")[0]
    return (
        f"Use formula {name} to answer the question. Answer with a numerical answer with 2 decimal places "
        f"and with no explanations or other text. Formula: {formula}, Explanation: {terms}. Question: "
        f"{question}. Answer:"
    )


def rows(start, count):
    return [
        {
            "context": prompt(f'"A cap costs ${n} and sells at ${2 * n}. Find the mark-up."'),
            "target": f"{n}.0",
        }
        for n in range(start, start + count)
    ]


@pytest.fixture
def make(in_folder):
    def make_task(path="data", options=None, **files):
        for name, records in files.items():
            (in_folder / "data").mkdir(exist_ok=True)
            text = "".join(json.dumps(record) + "\n" for record in records)
            (in_folder / "data" / f"{name}.jsonl").write_text(text)
        return Formula(path=path, program=dspy.Predict, **(options or {}))

    return make_task


@pytest.fixture
def published(make):
    def make_published(**options):
        return make(
            formula_train_subset_5=rows(1, 5),
            formula_val_subset_3=rows(11, 3),
            formula_test=rows(21, 2),
            options=options,
        )

    return make_published


def test_splits_are_those_of_the_files(published):
    task: Task = published()
    splits = task.splits(seed=0, limit=None)
    answers = [
        sorted(float(e.answer) for e in part) for part in (splits.train, splits.validation, splits.test)
    ]
    assert answers == [[1, 2, 3, 4, 5], [11, 12, 13], [21, 22]]
    assert {e.id for e in splits.test} == {"test-1", "test-2"}
    limited = task.splits(seed=0, limit=2)
    assert limited.train == splits.train[:2]
    assert (len(limited.validation), len(limited.test)) == (2, 2)
    assert [e.id for e in task.splits(seed=1, limit=None).train] != [e.id for e in splits.train]


def test_an_example_holds_the_question_and_the_formula_and_nothing_that_tells_the_answer(published):
    (example,) = [e for e in published().splits(seed=0, limit=None).test if e.id == "test-1"]
    assert dict(example.items()) == {
        "id": "test-1",
        "question": "A cap costs $21 and sells at $42. Find the mark-up.",
        "context": "Mark-up = Price - Cost\nPrice: What is paid, Cost: What it cost",
        "answer": "21.0",
    }
    assert set(example.inputs().keys()) == {"question", "context"}


def test_the_formula_can_be_left_to_be_learnt(published):
    splits = published(show_formula=False).splits(seed=0, limit=None)
    assert {e.context for e in splits.train + splits.validation + splits.test} == {""}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"What is it?"', "What is it?"),
        (' "Find it.”', "Find it."),
        ("**Fair Trade**: Find it.", "**Fair Trade**: Find it."),
        ('The so-called "gain" is what?', 'The so-called "gain" is what?'),
    ],
)
def test_a_question_is_read_without_the_prompt_around_it(make, written, read):
    task = make(formula_test=[{"context": prompt(written), "target": "1.0"}])
    assert task.splits(seed=0, limit=None).test[0].question == read


def test_one_file_is_divided_or_declares_its_splits(make):
    splits = make("data/own.jsonl", own=rows(0, 10)).splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 2, 4)
    declared = [
        {**row, "split": split} for row, split in zip(rows(0, 3), ("train", "dev", "test"), strict=True)
    ]
    splits = make("data/own.jsonl", own=declared).splits(seed=0, limit=None)
    assert [e.answer for e in splits.train + splits.validation + splits.test] == ["0.0", "1.0", "2.0"]


FORM = "The value is right, its form is not: write the plain number alone, rounded to two decimals."
WRONG = "The number is wrong."
NO_NUMBER = "The answer should be one plain number and nothing else."


@pytest.mark.parametrize(
    ("target", "answer", "score", "flexible", "hint"),
    [
        # what float() reads once the commas are gone
        ("15.0", "15.0", 1, 1, None),
        ("15.0", "15", 1, 1, None),
        ("15.0", " +15.00 ", 1, 1, None),
        ("27432.79", "27,432.79", 1, 1, None),
        ("1000000.0", "1e6", 1, 1, None),
        ("-5000000.0", "-5,000,000", 1, 1, None),
        ("0.0", "-0.00", 1, 1, None),
        ("1,200.5", "1200.5", 1, 1, None),
        # the right value in a form that is no number
        ("15.0", "$15", 0, 1, FORM),
        ("15.0", "15%", 0, 1, FORM),
        ("0.15", "15 %", 0, 1, FORM),
        ("-5.0", "(5.00)", 0, 1, FORM),
        ("-0.02", "−0.02", 0, 1, FORM),
        ("5000000.0", "5 million", 0, 1, FORM),
        ("3.0", "3 years", 0, 1, FORM),
        ("8.33", "EV/EBITDA = 500 / 60 = 8.33.", 0, 1, FORM),
        ("8.33", "8.3333", 0, 1, FORM),
        ("8.33", "8.335", 0, 1, FORM),
        # wrong values
        ("8.33", "8.34", 0, 0, "The number is off by less than 1 %: round at the end only."),
        ("27432.79", "27431", 0, 0, "The number is off by less than 1 %: round at the end only."),
        ("0.15", "15", 0, 0, "The number is 100 times too large."),
        ("5000000.0", "5", 0, 0, "The number is 1,000,000 times too small."),
        ("-5.0", "5.0", 0, 0, "The sign is wrong."),
        ("12.0", "15%", 0, 0, WRONG),
        ("0.0", "3", 0, 0, WRONG),
        ("15.0", "14 or 15 or 16", 0, 0, WRONG),
        ("15.0", "nan", 0, 0, NO_NUMBER),
        ("15.0", "fifteen", 0, 0, NO_NUMBER),
        ("15.0", "__import__('os').getpid()", 0, 0, NO_NUMBER),
    ],
)  # fmt: skip
def test_an_answer_is_scored_as_the_released_code_does_with_feedback(
    make, target, answer, score, flexible, hint
):
    task = make(formula_test=[{"context": prompt("What?"), "target": target}])
    (example,) = task.splits(seed=0, limit=None).test
    prediction = dspy.Prediction(answer=answer)
    verdict = task.metric(example, prediction)
    expected = f"Expected {target}, got '{answer.strip()}'. {hint}" if hint else "Correct."
    assert (float(verdict), verdict.feedback) == (score, expected)
    assert task.extra_metrics(example, prediction) == {"strict": score, "flexible": flexible}
    assert task.gold(example) == target
    assert task.answer(prediction) == answer.strip()


@pytest.mark.parametrize("prediction", [{}, {"answer": ""}, {"answer": None}])
def test_no_answer_is_wrong(make, prediction):
    task = make(formula_test=[{"context": prompt("What?"), "target": "2.5"}])
    (example,) = task.splits(seed=0, limit=None).test
    verdict = task.metric(example, dspy.Prediction(**prediction))
    assert (float(verdict), verdict.feedback) == (0.0, "Expected 2.5, no answer was given.")
    assert task.extra_metrics(example, dspy.Prediction(**prediction)) == {"strict": 0.0, "flexible": 0.0}


@given(
    st.floats(min_value=-1e9, max_value=1e9).map(lambda x: round(x, 2)),
    st.sampled_from(["{:.2f}", "{:,.2f}", " {}"]),
)
def test_a_number_is_right_in_every_plain_form_and_wrong_a_cent_off(value, form):
    task = Formula(path="unused", program=dspy.Predict)
    example = dspy.Example(answer=str(value))
    assert task.metric(example, dspy.Prediction(answer=form.format(value)))
    assert not task.metric(example, dspy.Prediction(answer=form.format(value + 0.01)))


def test_a_number_in_json_is_a_target(make):
    task = make(formula_test=[{"context": prompt("What?"), "target": 2.5}])
    assert task.splits(seed=0, limit=None).test[0].answer == "2.5"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"context": prompt("What?")}, "field 'target' is missing"),
        ({"context": prompt("What?"), "target": "two"}, "field 'target' is not a number"),
        ({"context": prompt("What?"), "target": "nan"}, "field 'target' is not a number"),
        ({"context": prompt("What?"), "target": "$5"}, "field 'target' is not a number"),
        ({"context": prompt("What?"), "target": ["1"]}, "field 'target' should be a valid string"),
        ({"target": "1.0"}, "field 'context' is missing"),
        ({"context": "What is the mark-up?", "target": "1.0"}, "field 'context' is not a prompt of Formula"),
        ({"context": prompt("What?"), "target": "1", "split": "exam"}, "field 'split' should be"),
    ],
)
def test_a_malformed_record_is_located(make, record, message):
    task = make(formula_test=[*rows(0, 2), record])
    with pytest.raises(InputError) as error:
        task.splits(seed=0, limit=None)
    assert error.value.what.startswith(f"data/formula_test.jsonl, record 3 (line 3): {message}")
    assert "\n" not in str(error.value)


def test_a_folder_is_checked_with_the_options_and_known_by_its_content(published, in_folder):
    published()
    node = {
        "_target_": "tiltyard.tasks.formula.Formula",
        "path": "data",
        "program": {"_target_": "dspy.Predict", "_partial_": True},
    }
    content = {leaf.path: leaf.content for leaf in check_node(node, "task")}["task.path"]
    assert content is not None
    before = content.digest("data")
    (in_folder / "data/formula_val_subset_3.jsonl").write_text(json.dumps(rows(90, 1)[0]))
    assert content.digest("data") != before
    for wrong in ({"path": "elsewhere"}, {"path": "."}, {"show_formula": "no"}, {"tolerance": 0.1}):
        with pytest.raises(InputError):
            check_node({**node, **wrong}, "task")


def test_a_question_in_train_and_test_is_refused(make):
    task = make(formula_train=rows(0, 3), formula_test=rows(2, 2))
    with pytest.raises(InputError, match=r"formula_test.jsonl, record 1 \(line 1\): the record is in test"):
        task.splits(seed=0, limit=None)
