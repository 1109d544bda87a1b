import json

import dspy
import pytest

from tiltyard.errors import InputError
from tiltyard.programs.qa import ChooseOption
from tiltyard.tasks.medqa import MedQA
from tiltyard.tasks.task import Task


def row(number, **changes):
    return {
        "question": f"A patient has had sign {number} for two days. What is the best treatment?",
        "answer": f"Drug {number}",
        "options": {"A": "Aspirin", "B": f"Drug {number}", "C": "Water", "D": "Rest", "E": "Surgery"},
        "meta_info": "step1",
        "answer_idx": "B",
        **changes,
    }


@pytest.fixture
def make(in_folder):
    def make_task(path="data", **files):
        for name, records in files.items():
            (in_folder / "data").mkdir(exist_ok=True)
            text = "".join(json.dumps(record) + "\n" for record in records)
            (in_folder / "data" / f"{name}.jsonl").write_text(text)
        return MedQA(path=path, program=dspy.Predict)

    return make_task


@pytest.mark.parametrize("prefix", ["", "phrases_no_exclude_", "medqa_"])
def test_splits_are_those_of_the_files(make, prefix):
    task: Task = make(
        **{
            f"{prefix}train": [row(n) for n in range(4)],
            f"{prefix}dev": [row(n) for n in range(4, 7)],
            f"{prefix}test": [row(n) for n in range(7, 9)],
            "US_qbank": [row(n) for n in range(9)],
        }
    )
    splits = task.splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 3, 2)
    assert {e.id for e in splits.validation} == {"validation-1", "validation-2", "validation-3"}
    assert task.signature is ChooseOption
    assert task.domain == "medical"


def test_options_are_shuffled_by_the_seed_and_the_answer_moves_along(make):
    task = make(test=[row(n) for n in range(60)])
    examples = task.splits(seed=0, limit=None).test
    assert all(example.choices[example.answer].startswith("Drug") for example in examples)
    assert {example.answer for example in examples} == set("ABCDE")
    assert examples == task.splits(seed=0, limit=None).test
    by_id = {example.id: example.answer for example in task.splits(seed=1, limit=None).test}
    assert any(by_id[example.id] != example.answer for example in examples)


@pytest.mark.parametrize(
    "form",
    [
        "{letter}",
        "({letter})",
        "**{letter}.** {text}",
        "{letter}) {text}",
        "The answer is ({letter}).",
        "Answer: {letter}",
        "{text}",
        "option {letter}",
        r"$\boxed{{{letter}}}$",
    ],
)
def test_an_option_is_read_in_the_forms_in_which_models_write_it(make, form):
    task = make(test=[row(1)])
    (example,) = task.splits(seed=0, limit=None).test
    for letter, text in example.choices.items():
        verdict = task.metric(example, dspy.Prediction(answer=form.format(letter=letter, text=text)))
        assert float(verdict) == (letter == example.answer), (form, letter)
        if letter != example.answer:
            assert verdict.feedback.startswith(f"Expected {example.answer} (Drug 1), got '")
            assert verdict.feedback.endswith(f"{letter} ({text}) is not right.")


def test_the_bare_letter_is_told_from_a_letter_in_any_form(make):
    task = make(test=[row(1)])
    (example,) = task.splits(seed=0, limit=None).test
    gold = example.answer
    for written, strict, flexible in (
        (gold, 1, 1),
        (f"({gold.lower()}).", 1, 1),
        (f"**{gold}**", 1, 1),
        (f"The answer is {gold}.", 0, 1),
        (f"{gold}. Drug 1", 0, 1),
        ("Drug 1", 0, 1),
        ("A or B", 0, 0),
        ("", 0, 0),
    ):
        found = task.extra_metrics(example, dspy.Prediction(answer=written))
        assert found == {"strict": strict, "flexible": flexible}, written
        assert float(task.metric(example, dspy.Prediction(answer=written))) == flexible


def test_without_a_file_for_validation_a_part_of_train_becomes_it(make):
    task = make(phrases_no_exclude_train=[row(n) for n in range(30)], phrases_no_exclude_test=[row(40)])
    splits = task.splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 10, 1)
    assert task.primary == "option accuracy, flexible extraction"


def test_one_file_is_divided(make):
    splits = make("data/own.jsonl", own=[row(n) for n in range(10)]).splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 2, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": None}, "field 'options' is missing"),
        ({"options": {"A": "only"}}, "field 'options' holds 1 option(s)"),
        ({"options": {"A": "x", "B": "X "}}, "field 'options' holds 'x' twice"),
        ({"answer_idx": None}, "field 'answer_idx' is missing"),
        ({"answer_idx": "F"}, "field 'answer_idx' is 'F', which is no option"),
        ({"answer": "Water"}, "fields 'answer' and 'answer_idx' name different options"),
        ({"question": " "}, "field 'question' is empty"),
    ],
)
def test_a_malformed_record_is_located(make, changes, message):
    with pytest.raises(InputError) as error:
        make(test=[row(1), row(2, **changes)]).splits(seed=0, limit=None)
    assert error.value.what.startswith(f"data/test.jsonl, record 2 (line 2): {message}")
    assert "\n" not in str(error.value)


def test_a_question_in_train_and_test_is_refused(make):
    with pytest.raises(InputError, match=r"data/test.jsonl, record 1 \(line 1\): the record is in test"):
        make(train=[row(1), row(2)], test=[row(2)]).splits(seed=0, limit=None)
