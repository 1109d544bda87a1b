import json
from collections import Counter

import dspy
import pytest

from tiltyard.errors import InputError
from tiltyard.programs.qa import AnswerQuestion, ChooseOption
from tiltyard.tasks.qa import QuestionAnswering
from tiltyard.tasks.task import Task

DRUGS = {"A": "Ibuprofen", "B": "Aspirin", "C": "Warfarin", "D": "Heparin"}


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make_task(records, name="qa.json", **options):
        text = records if isinstance(records, str) else json.dumps(records)
        (tmp_path / name).write_text(text)
        return QuestionAnswering(path=name, domain="general", program=dspy.Predict, **options)

    return make_task


def everything(task, seed=0):
    splits = task.splits(seed=seed, limit=None)
    return splits.train + splits.validation + splits.test


def only(task, seed=0):
    (example,) = everything(task, seed)
    return example


def answer(text):
    return dspy.Prediction(answer=text)


def test_a_file_without_contexts_and_ids_works(make):
    task: Task = make("question,answer\nWhat?,42\nWho?,Ann\n", "qa.csv")
    examples = sorted(everything(task), key=lambda example: example.id)
    assert task.signature is AnswerQuestion
    assert [(e.id, e.question, e.context, e.answer) for e in examples] == [
        ("1", "What?", "", "42"),
        ("2", "Who?", "", "Ann"),
    ]
    assert set(examples[0].inputs().keys()) == {"question", "context"} == set(task.signature.input_fields)


def test_further_fields_are_ignored(make):
    assert only(make([{"question": "q", "answer": 1, "meta_info": {"a": [1]}, "domain": "x"}])).answer == "1"


@pytest.mark.parametrize(
    ("metric", "gold", "written", "score", "extra", "feedback"),
    [
        ("exact", 1200, "$1,200", 1.0, {"f1": 1.0, "number": 1.0}, "Correct."),
        ("exact", 1200, "about 1,199", 0.0, {"f1": 0.0, "number": 1.0},
         "Expected '1200', got 'about 1,199'. The answer should be one number and nothing else."),
        ("number", 1200, "about 1,199", 1.0, {"exact": 0.0, "f1": 0.0}, "Correct."),
        ("number", 1200, "12", 0.0, {"exact": 0.0, "f1": 0.0},
         "Expected '1200', got '12'. The number is 100 times too small."),
        ("exact", "red car", "red bus", 0.0, {"f1": 0.5},
         "Expected 'red car', got 'red bus'. Words missing: car; not expected: bus."),
        ("f1", "red car", "red bus", 0.5, {"exact": 0.0},
         "Expected 'red car', got 'red bus'. Words missing: car; not expected: bus."),
        ("exact", ["New York", "NYC"], "nyc", 1.0, {"f1": 1.0}, "Correct."),
        ("exact", ["New York", "NYC"], "", 0.0, {"f1": 0.0},
         "Expected 'New York' or 'NYC'. No answer was given."),
    ],
)  # fmt: skip
def test_a_short_answer_is_scored_with_feedback(make, metric, gold, written, score, extra, feedback):
    task = make([{"question": "q", "answer": gold}], metric=metric)
    example = only(task)
    verdict = task.metric(example, answer(written))
    assert (float(verdict), verdict.feedback) == (score, feedback)
    assert task.extra_metrics(example, answer(written)) == extra
    assert float(task.metric(example, answer(task.gold(example)))) == 1.0


@pytest.mark.parametrize("gold", ["B", "b", "Aspirin", "aspirin"])
def test_a_choice_is_scored_by_its_letter(make, gold):
    task = make([{"question": "q", "options": DRUGS, "answer": gold}])
    example = only(task)
    assert task.signature is ChooseOption
    assert set(example.inputs().keys()) == {"question", "context", "options"}
    assert example.choices[example.answer] == "Aspirin"
    assert example.options.split("\n") == [f"{letter}. {text}" for letter, text in example.choices.items()]
    assert sorted(example.choices) == list("ABCD")
    assert float(task.metric(example, answer(f"({example.answer.lower()})"))) == 1.0
    assert task.metric(example, answer("Aspirin")).feedback == "Correct."
    wrong = next(letter for letter in "ABCD" if letter != example.answer)
    assert task.metric(example, answer(wrong)).feedback == (
        f"Expected {example.answer} (Aspirin), got '{wrong}'. "
        f"{wrong} ({example.choices[wrong]}) is not right."
    )
    assert set(task.extra_metrics(example, answer("A"))) == {"strict", "flexible"}
    assert task.gold(example) == example.answer
    assert task.answer(answer(" B ")) == "B"


@pytest.mark.parametrize(
    "options",
    [
        DRUGS,
        list(DRUGS.values()),
        "Ibuprofen | Aspirin|Warfarin|Heparin",
        json.dumps(DRUGS),
        {str(number): text for number, text in enumerate(DRUGS.values())},
    ],
)
def test_options_come_in_several_forms(make, options):
    example = only(make([{"question": "q", "options": options, "answer": "Warfarin"}]))
    assert sorted(example.choices.values()) == sorted(DRUGS.values())
    assert example.choices[example.answer] == "Warfarin"


def test_options_of_a_csv_file(make):
    task = make('question,options,answer\nq,"{""A"": ""x, y"", ""B"": ""z""}",B\n', "qa.csv")
    assert only(task).choices[only(task).answer] == "z"


def test_the_official_medqa_format_is_read(make):
    record = {"question": "q", "answer": "Aspirin", "options": DRUGS, "meta_info": "step1", "answer_idx": "B"}
    example = only(make(json.dumps(record), "medqa.jsonl"))
    assert example.choices[example.answer] == "Aspirin"


def test_the_seed_spreads_the_right_option_over_the_letters(make):
    task = make([{"question": f"q{number}", "options": DRUGS, "answer": "A"} for number in range(400)])
    letters = Counter(example.answer for example in everything(task))
    assert all(70 <= letters[letter] <= 130 for letter in "ABCD")
    assert {e.id: e.answer for e in everything(task)} == {e.id: e.answer for e in everything(task)}
    assert {e.id: e.answer for e in everything(task)} != {e.id: e.answer for e in everything(task, seed=1)}


def test_a_question_keeps_its_shuffle_when_others_come_and_go(make):
    records = [{"id": f"q{n}", "question": f"q{n}", "options": DRUGS, "answer": "A"} for n in range(9)]
    all_nine = {example.id: example.options for example in everything(make(records))}
    assert all(example.options == all_nine[example.id] for example in everything(make(records[4:])))


def test_questions_about_one_context_stay_together(make):
    records = [
        {"question": f"q{n}", "context": f"Context  {n % 10}" if n % 2 else f"context {n % 10}", "answer": n}
        for n in range(60)
    ]
    splits = make(records).splits(seed=0, limit=None)
    contexts = [{example.context.lower() for example in part} for part in (splits.train, splits.test)]
    assert contexts[0]
    assert not contexts[0] & contexts[1]


def test_declared_splits_and_limit(make):
    records = [
        {"question": f"q{n}", "answer": n, "split": ["train", "dev", "test"][n % 3]} for n in range(30)
    ]
    task = make(records)
    splits = task.splits(seed=0, limit=None)
    assert {int(example.id) % 3 for example in splits.validation} == {2}
    assert [e.id for e in task.splits(seed=0, limit=4).test] == [e.id for e in splits.test[:4]]
    assert [e.id for e in task.splits(seed=1, limit=4).test] != [e.id for e in splits.test[:4]]


def test_one_question_in_two_splits_is_refused_whatever_the_order_of_its_options(make):
    records = [
        {"question": "Which?", "options": ["Aspirin", "Heparin"], "answer": "A", "split": "train"},
        {"question": "which? ", "options": ["heparin", "aspirin"], "answer": "B", "split": "test"},
    ]
    with pytest.raises(InputError, match=r"qa.json, record 2: .* qa.json, record 1 holds the same one"):
        everything(make(records))
    records[1]["options"] = ["heparin", "warfarin"]
    assert len(everything(make(records))) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": None}, "field 'answer' is missing"),
        ({"answer": []}, "field 'answer' should have at least 1 item"),
        ({"answer": {"a": 1}}, "field 'answer[0]' should be a valid string; it should be text, a number"),
        ({"answer": "E"}, "field 'answer' is 'E', which is neither an option's letter nor its text"),
        ({"answer": ["A", "B"]}, "field 'answer' lists several answers"),
        ({"options": None}, "field 'options' is missing; give every record options, or none"),
        ({"options": ["x"]}, "field 'options' holds 1 option(s); 2 to 26 make a choice"),
        ({"options": ["x"] * 30}, "field 'options' holds 30 option(s)"),
        ({"options": ["x", "y", "X "]}, "field 'options' holds 'x' twice"),
        ({"options": ["x", " "]}, "field 'options.B' is empty"),
        ({"options": 3}, "field 'options' should be a valid dictionary"),
        ({"options": '{"A": '}, "field 'options' "),
        ({"options": {"A": "B", "B": "A"}},
         "field 'answer' is 'A', the letter of one option and the text of another"),
        ({"answer_idx": "Z"}, "field 'answer_idx' is 'Z', which is no option; the options are A, B, C, D"),
        ({"answer_idx": "B"}, "fields 'answer' and 'answer_idx' name different options"),
        ({"split": "holdout"}, "field 'split' should be 'train', 'validation' or 'test'"),
        ({"context": ["p"]}, "field 'context' should be a valid string; it should be text"),
    ],
)  # fmt: skip
def test_a_malformed_record_is_located(make, change, message):
    good = {"id": "x1", "question": "q1", "options": DRUGS, "answer": "A"}
    with pytest.raises(InputError) as error:
        everything(make([good, {**good, "id": "x2", "question": "q2", **change}]))
    assert str(error.value).startswith(f"qa.json, record 2 (id x2): {message}")
    assert "\n" not in str(error.value)


def test_options_after_records_without_are_refused(make):
    records = [{"question": "q", "answer": "A"}, {"question": "r", "answer": "A", "options": DRUGS}]
    with pytest.raises(InputError, match="record 2: field 'options' is not in the records before"):
        _ = make(records).signature


def test_likeness_is_a_further_metric_or_the_score(make):
    records = [{"question": "q", "answer": ["a blocked pump", "clogging"]}]
    beside = make(records, similarity="hashed")
    example = only(beside)
    found = beside.extra_metrics(example, answer("The pump is blocked"))
    assert found["f1"] == pytest.approx(2 * 2 / (3 + 2))
    assert 0.5 < found["similarity"] < 1.0
    scored = make(records, metric="similarity", similarity="hashed")
    verdict = scored.metric(example, answer("The pump is blocked"))
    assert float(verdict) == found["similarity"]
    assert "The likeness is 0." in verdict.feedback
    assert [float(scored.metric(example, answer(text))) for text in ("Clogging.", "")] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("options", "records", "message"),
    [
        ({"metric": "similarity"}, [{"question": "q", "answer": "a"}], "add task.similarity=hashed"),
        ({"metric": "number"}, [{"question": "q", "answer": "ten"}], "'ten', which is no number"),
    ],
)
def test_a_metric_that_does_not_apply_is_refused(make, options, records, message):
    with pytest.raises(InputError, match=message):
        everything(make(records, **options))


def test_a_task_names_its_score(make):
    short = [{"question": "q", "answer": "1"}]
    choice = [{"question": "q", "answer": "a", "options": ["a", "b"]}]
    assert make(short).primary == "normalised exact match"
    assert make(short, metric="number").primary == "numeric match with tolerance"
    assert make(choice).primary == "option accuracy, flexible extraction"
