import json

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.tasks.finer import Finer, read_tags
from tiltyard.tasks.task import Task

TAGS = ["Goodwill", "Revenues", "DebtInstrumentTerm", "SharePrice", "InterestExpense"]


def prompt(sentences, tags=TAGS):
    questions = "\n".join(
        f'{number}. What is best tag for entity "{number}" in sentence: "{sentence}"'
        for number, sentence in enumerate(sentences, 1)
    )
    return (
        f"You are XBRL expert.  Here is a list of US GAAP tags options: ,{','.join(tags)}. Answer the "
        f"following {len(sentences)} independent questions by providing only  {len(sentences)} US GAAP tags "
        "answers in the order of the questions. Each answer must be saperated by a comma (,).  Provide "
        "nothing else. \n"
        f"{questions}\nOutput US GAAP tags:"
    )


def row(number, **changes):
    sentences = [f"Goodwill of firm {number} was $ {part} . .?" for part in range(4)]
    return {"context": prompt(sentences), "target": ",".join(TAGS[:4]), **changes}


@pytest.fixture
def make(in_folder):
    def make_task(path="data", **files):
        for name, records in files.items():
            (in_folder / "data").mkdir(exist_ok=True)
            text = "".join(json.dumps(record) + "\n" for record in records)
            (in_folder / "data" / f"{name}.jsonl").write_text(text)
        return Finer(path=path, program=dspy.Predict)

    return make_task


def test_splits_are_those_of_the_files(make):
    task: Task = make(
        finer_train_batched_3_samples=[row(n) for n in range(3)],
        finer_val_batched_2_samples=[row(n) for n in range(3, 5)],
        finer_test_subset=[row(5)],
    )
    splits = task.splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (3, 2, 1)
    (example,) = splits.test
    assert dict(example.items()) == {
        "id": "test-1",
        "question": "\n".join(
            f'{n}. What is best tag for entity "{n}" in sentence: "Goodwill of firm 5 was $ {n - 1} . .?"'
            for n in range(1, 5)
        ),
        "answer": "Goodwill,Revenues,DebtInstrumentTerm,SharePrice",
    }
    assert set(example.inputs().keys()) == {"question"}
    assert len(task.splits(seed=0, limit=1).train) == 1


def test_the_signature_names_the_tags_once_before_all_questions(make):
    task = make(finer_test=[row(0)])
    (example,) = task.splits(seed=0, limit=None).test
    prompts = dspy.ChatAdapter().format(task.signature, demos=[example], inputs=dict(example.inputs()))
    assert ", ".join(TAGS) in prompts[0]["content"]
    assert not any("Goodwill, Revenues" in message["content"] for message in prompts[1:])
    changed = task.signature.with_instructions("Something else.")
    assert (
        ", ".join(TAGS)
        in dspy.ChatAdapter().format(changed, demos=[], inputs={"question": "x"})[0]["content"]
    )


FORM = "Some tags are right, the form is not: write bare tags with commas between."


@pytest.mark.parametrize(
    ("answer", "score", "exact", "flexible", "feedback"),
    [
        ("Goodwill,Revenues,DebtInstrumentTerm,SharePrice", 1, 1, 1, "Correct."),
        (" goodwill , REVENUES,DebtInstrumentTerm,\tSharePrice\n", 1, 1, 1, "Correct."),
        # more tags than questions: the further ones are dropped
        ("Goodwill,Revenues,DebtInstrumentTerm,SharePrice,Goodwill", 1, 1, 1,
         "Give 4 tags with commas between, not 5."),
        # fewer: the missing ones are wrong
        ("Goodwill,Revenues", 0.5, 0, 0.5,
         "Question 3: expected DebtInstrumentTerm, nothing was given. Question 4: expected SharePrice, "
         "nothing was given. Give 4 tags with commas between, not 2."),
        # one too many in front moves all
        ("Tags,Goodwill,Revenues,DebtInstrumentTerm,SharePrice", 0, 0, 0,
         "Question 1: expected Goodwill, got 'Tags'. Question 2: expected Revenues, got 'Goodwill'. "
         "Question 3: expected DebtInstrumentTerm, got 'Revenues'. Question 4: expected SharePrice, got "
         "'DebtInstrumentTerm'. Give 4 tags with commas between, not 5."),
        ("Goodwill,Revenues,SharePrice,DebtInstrumentTerm", 0.5, 0, 0.5,
         "Question 3: expected DebtInstrumentTerm, got 'SharePrice'. Question 4: expected SharePrice, got "
         "'DebtInstrumentTerm'. The tags are right, their order is not."),
        ("Goodwill,,DebtInstrumentTerm,SharePrice", 0.75, 0, 0.75,
         "Question 2: expected Revenues, nothing was given."),
        ("Goodwill,Revenue,DebtInstrumentTerm,SharePrice", 0.75, 0, 0.75,
         "Question 2: expected Revenues, got 'Revenue'."),
        # other forms of a list
        ("Goodwill; Revenues; DebtInstrumentTerm; SharePrice", 0, 0, 1,
         "Question 1: expected Goodwill, got 'Goodwill; Revenues; DebtInstrumentTerm; SharePrice'. "
         "Question 2: expected Revenues, nothing was given. Question 3: expected DebtInstrumentTerm, nothing "
         "was given. Question 4: expected SharePrice, nothing was given. "
         "Give 4 tags with commas between, not 1. " + FORM),
        ("us-gaap:Goodwill,Revenues,DebtInstrumentTerm,SharePrice", 0.75, 0, 1,
         "Question 1: expected Goodwill, got 'us-gaap:Goodwill'. " + FORM),
        ("__import__('os').getpid(),Revenues,DebtInstrumentTerm,SharePrice", 0.75, 0, 0.75,
         "Question 1: expected Goodwill, got '__import__('os').getpid()'."),
    ],
)  # fmt: skip
def test_tags_are_scored_by_position_with_feedback(make, answer, score, exact, flexible, feedback):
    task = make(finer_test=[row(0)])
    (example,) = task.splits(seed=0, limit=None).test
    prediction = dspy.Prediction(answer=answer)
    verdict = task.metric(example, prediction)
    assert (float(verdict), verdict.feedback) == (score, feedback)
    assert task.extra_metrics(example, prediction) == {
        "exact": exact,
        "strict": score,
        "flexible": flexible,
    }
    assert task.gold(example) == "Goodwill,Revenues,DebtInstrumentTerm,SharePrice"
    assert task.answer(prediction) == answer.strip()


@pytest.mark.parametrize("prediction", [{}, {"answer": ""}, {"answer": None}])
def test_no_answer_is_wrong(make, prediction):
    task = make(finer_test=[row(0, context=prompt(["One .?"]), target="Goodwill")])
    (example,) = task.splits(seed=0, limit=None).test
    verdict = task.metric(example, dspy.Prediction(**prediction))
    assert (float(verdict), verdict.feedback) == (0.0, "Expected 'Goodwill', no answer was given.")
    none = {"exact": 0.0, "strict": 0.0, "flexible": 0.0}
    assert task.extra_metrics(example, dspy.Prediction(**prediction)) == none


@pytest.mark.parametrize(
    "text",
    [
        "Goodwill, Revenues",
        "1. Goodwill\n2. Revenues",
        "(1) Goodwill\n(2) Revenues.",
        "- Goodwill\n- Revenues\n",
        '["Goodwill", "Revenues"]',
        "`us-gaap:Goodwill`, `US_GAAP:Revenues`",
        "**Goodwill**; **Revenues**",
        ",Goodwill,,Revenues,",
    ],
)
def test_tags_are_read_in_every_form_of_a_list(text):
    assert read_tags(text) == ["goodwill", "revenues"]


@given(st.lists(st.sampled_from(TAGS), min_size=4, max_size=4), st.lists(st.sampled_from(TAGS), max_size=6))
def test_the_score_is_the_share_of_positions_that_agree(expected, got):
    task = Finer(path="unused", program=dspy.Predict)
    score = task.metric(dspy.Example(answer=",".join(expected)), dspy.Prediction(answer=", ".join(got)))
    assert float(score) == sum(a == b for a, b in zip(expected, got, strict=False)) / 4
    assert bool(score) == (got[:4] == expected)


def test_records_that_share_a_sentence_stay_together(make):
    def linked(number):  # each second record repeats the last sentence of the one before
        return prompt([f"Sentence {number} .?", f"Sentence {number + 1 - number % 2} .?"])

    records = [{"context": linked(n), "target": "Goodwill,Revenues"} for n in range(40)]
    splits = make("data/own.jsonl", own=records).splits(seed=0, limit=None)
    sides = [{(int(e.id) - 1) // 2 for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert [len(side) for side in sides] == [8, 4, 8]
    assert len(set.union(*sides)) == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": None}, "field 'target' is missing"),
        ({"target": "A,B,C"}, "field 'target' has 3 tag(s), and the context 4 question(s)"),
        ({"target": "A,B,,D"}, "field 'target' has an empty tag"),
        ({"context": " "}, "field 'context' is empty"),
        ({"context": "1. What is best tag?"}, "field 'context' is not a prompt of FiNER"),
        ({"context": prompt(list("abcd"), tags=[*TAGS, "Other"])},
         "field 'context' names other tags than data/finer_test.jsonl, record 1 (line 1)"),
        ({"context": prompt(list("abcd"), tags=TAGS[1:])},
         "field 'context' names other tags than data/finer_test.jsonl, record 1 (line 1)"),
    ],
)  # fmt: skip
def test_a_malformed_record_is_located(make, changes, message):
    task = make(finer_test=[row(0), row(1), row(2, **changes)])
    with pytest.raises(InputError) as error:
        task.splits(seed=0, limit=None)
    assert error.value.what.startswith(f"data/finer_test.jsonl, record 3 (line 3): {message}")
    assert "\n" not in str(error.value)


def test_a_record_in_train_and_test_is_refused(make):
    task = make(finer_train=[row(0)], finer_test=[row(1), row(0)])
    with pytest.raises(InputError, match=r"finer_test.jsonl, record 2 \(line 2\): the record is in test"):
        task.splits(seed=0, limit=None)
