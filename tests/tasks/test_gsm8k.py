import json
from decimal import Decimal

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.tasks.gsm8k import GSM8K, strict_number
from tiltyard.tasks.task import Task


def row(number, **changes):
    double = 2 * number
    return {
        "question": f"Ann has {number} apples and buys as many. How many are there?",
        "answer": f"There are {number}+{number}=<<{number}+{number}={double}>>{double}.\n#### {double:,}",
        **changes,
    }


@pytest.fixture
def make(in_folder):
    def make_task(path="data", **files):
        for name, records in files.items():
            (in_folder / "data").mkdir(exist_ok=True)
            text = "".join(json.dumps(record) + "\n" for record in records)
            (in_folder / "data" / f"{name}.jsonl").write_text(text)
        return GSM8K(path=path, program=dspy.Predict)

    return make_task


@pytest.mark.parametrize("prefix", ["", "gsm8k_"])
def test_train_is_divided_and_test_is_kept(make, prefix):
    files = {
        f"{prefix}train": [row(n) for n in range(1, 31)],
        f"{prefix}test": [row(n) for n in range(40, 45)],
    }
    task: Task = make(**files)
    splits = task.splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 10, 5)
    assert {e.id for e in splits.test} == {f"test-{n}" for n in range(1, 6)}
    assert len(task.splits(seed=0, limit=3).validation) == 3


def test_an_example_holds_the_steps_without_the_calculators_notes(make):
    (example,) = make(test=[row(600)]).splits(seed=0, limit=None).test
    assert dict(example.items()) == {
        "id": "test-1",
        "question": "Ann has 600 apples and buys as many. How many are there?",
        "answer": "There are 600+600=1200.\n#### 1,200",
    }
    assert set(example.inputs().keys()) == {"question"}


SOLUTION = "Solution: There are 600+600=1200.\n#### 1,200"


@pytest.mark.parametrize(
    ("answer", "score", "flexible", "feedback"),
    [
        ("There are 600+600=1200.\n#### 1,200", 1, 1, "Correct."),
        ("#### 1200", 1, 1, "Correct."),
        ("#### 1200.00", 1, 1, "Correct."),
        ("#### 1200. That is all, 2 times 600.", 1, 1, "Correct."),
        ("#### 1200\n#### 7", 1, 1, "Correct."),
        ("#### 7\n#### 1200", 0, 1,
         f"Expected #### 1200. The answer says 7. The number is wrong. {SOLUTION}"),
        ("#### -1200", 0, 0, f"Expected #### 1200. The answer says -1200. The sign is wrong. {SOLUTION}"),
        ("#### 12", 0, 0,
         f"Expected #### 1200. The answer says 12. The number is 100 times too small. {SOLUTION}"),
        ("The answer is $1,200.", 0, 1,
         f"Expected #### 1200. The answer should end with a line of '#### ' and the number. {SOLUTION}"),
        ("####1200", 0, 1,
         f"Expected #### 1200. The answer should end with a line of '#### ' and the number. {SOLUTION}"),
        ("#### $1200", 0, 1,
         f"Expected #### 1200. The answer should end with a line of '#### ' and the number. {SOLUTION}"),
        ("1200 minus 3", 0, 0,
         "Expected #### 1200. The answer ends on 3. The number is wrong. "
         f"The answer should end with a line of '#### ' and the number. {SOLUTION}"),
        ("#### ...", 0, 0, f"Expected #### 1200. The answer has no number. {SOLUTION}"),
        ("many", 0, 0, f"Expected #### 1200. The answer has no number. {SOLUTION}"),
        ("", 0, 0, f"Expected #### 1200, no answer was given. {SOLUTION}"),
        (None, 0, 0, f"Expected #### 1200, no answer was given. {SOLUTION}"),
    ],
)  # fmt: skip
def test_an_answer_is_scored_strictly_and_flexibly(make, answer, score, flexible, feedback):
    task = make(test=[row(600)])
    (example,) = task.splits(seed=0, limit=None).test
    prediction = dspy.Prediction(answer=answer)
    verdict = task.metric(example, prediction)
    assert (float(verdict), verdict.feedback) == (score, feedback)
    assert task.extra_metrics(example, prediction) == {"strict": score, "flexible": flexible}
    assert task.gold(example) == "1200"
    assert task.answer(prediction) == (answer or "")


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "{:,}", "{}.", "{:.2f}"]), st.text("ab1 .\n"))
def test_the_number_behind_the_mark_is_read_whatever_the_steps(number, form, steps):
    assert strict_number(f"{steps}\n#### {form.format(number)}") == Decimal(number)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": None}, "field 'question' is missing"),
        ({"answer": None}, "field 'answer' is missing"),
        ({"answer": "18"}, "field 'answer' does not end with a line of '#### ' and a number"),
        ({"answer": "#### 18\nand more"}, "field 'answer' does not end with"),
        ({"answer": "#### many"}, "field 'answer' does not end with"),
        ({"answer": "#### 1.2.3"}, "field 'answer' does not end with"),
    ],
)
def test_a_malformed_record_is_located(make, changes, message):
    task = make(test=[row(1), row(2, **changes)])
    with pytest.raises(InputError) as error:
        task.splits(seed=0, limit=None)
    assert error.value.what.startswith(f"data/test.jsonl, record 2 (line 2): {message}")
    assert "\n" not in str(error.value)


def test_a_question_in_train_and_test_is_refused(make):
    with pytest.raises(InputError, match=r"data/test.jsonl, record 1 \(line 1\): the record is in test"):
        make(train=[row(1), row(2)], test=[row(2)]).splits(seed=0, limit=None)
