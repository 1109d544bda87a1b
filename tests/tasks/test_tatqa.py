import copy
import json

import dspy
import pytest

from tiltyard.errors import InputError
from tiltyard.tasks.task import Task
from tiltyard.tasks.tatqa import FRACTIONS, TatQA


def question(uid, answer, answer_type="span", scale="", derivation="", text=None):
    return {
        "uid": uid,
        "order": 1,
        "question": text or f"What about {uid}?",
        "answer": answer,
        "derivation": derivation,
        "answer_type": answer_type,
        "answer_from": "table-text",
        "rel_paragraphs": ["1"],
        "req_comparison": False,
        "scale": scale,
    }


def context(number):
    uid = f"t{number}"
    return {
        "table": {
            "uid": uid,
            "table": [["(in millions)", "2019", "2018"], [f"Sales of\nfirm {number}", "$1,496.5", "(12.6)"]],
        },
        "paragraphs": [
            {"uid": f"{uid}-p2", "order": 2, "text": "Second paragraph."},
            {"uid": f"{uid}-p1", "order": 1, "text": f"First paragraph of {number}."},
        ],
        "questions": [
            question(f"{uid}-span", ["$1,496.5"], scale="million"),
            question(f"{uid}-words", ["the first; and only, paragraph"]),
            question(f"{uid}-multi", ["2019", "2018"], "multi-span"),
            question(f"{uid}-list", ["a; b", "c", ""], "multi-span"),
            question(f"{uid}-change", -12.6, "arithmetic", "million", "1,483.9-1,496.5"),
            question(f"{uid}-whole", 50.0, "arithmetic", "percent"),
            question(f"{uid}-count", "2", "count"),
        ],
    }


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make_task(contexts, **options):
        (tmp_path / "dev.json").write_text(json.dumps(contexts))
        return TatQA(path="dev.json", program=dspy.Predict, **options)

    return make_task


@pytest.fixture
def examples(make):
    splits = make([context(1)]).splits(seed=0, limit=None)
    return {example.id: example for example in splits.test}


def predicted(example):
    return dspy.Prediction(answer=example.answer, scale=example.scale)


def test_the_context_is_a_pipe_table_and_the_paragraphs_in_order(examples):
    assert examples["t1-span"].context == (
        "| (in millions) | 2019 | 2018 |\n| --- | --- | --- |\n| Sales of firm 1 | $1,496.5 | (12.6) |\n\n"
        "First paragraph of 1.\n\nSecond paragraph."
    )
    assert set(examples["t1-span"].inputs().keys()) == {"question", "context"}


def test_gold_answers_are_texts_that_score_full_marks(make):
    task: Task = make([context(number) for number in range(3)])
    splits = task.splits(seed=0, limit=None)
    examples = {example.id: example for example in splits.train + splits.validation + splits.test}
    assert {uid.removeprefix("t1-"): example.answer for uid, example in examples.items() if "t1" in uid} == {
        "span": "$1,496.5",
        "words": "the first; and only, paragraph",
        "multi": "2019; 2018",
        "list": "a; b | c",
        "change": "-12.6",
        "whole": "50",
        "count": "2",
    }
    for example in examples.values():
        assert float(task.metric(example, predicted(example))) == 1.0
        assert task.metric(example, predicted(example)).feedback == "Correct."
        assert task.extra_metrics(example, predicted(example)) == {"f1": 1.0}
        assert task.gold(example) == task.answer(predicted(example))


def test_a_row_shows_answer_and_scale(make, examples):
    task = make([context(1)])
    assert task.gold(examples["t1-change"]) == "-12.6 million"
    assert task.answer(dspy.Prediction(answer=" 7 ", scale="")) == "7"
    assert task.answer(dspy.Prediction()) == ""


@pytest.mark.parametrize(
    ("uid", "prediction", "score", "f1", "feedback"),
    [
        ("change", {"answer": "-12.60", "scale": "million"}, 1.0, 1.0, "Correct."),
        ("change", {"answer": "-12.6", "scale": ""}, 0.0, 0.0,
         "Expected '-12.6' with scale 'million', got '-12.6' without scale. "
         "The answer is right, but the scale should be 'million'. Derivation: 1,483.9-1,496.5."),
        ("change", {"answer": "", "scale": "million"}, 0.0, 0.0,
         "Expected '-12.6' with scale 'million', no answer was given. Derivation: 1,483.9-1,496.5."),
        ("change", {}, 0.0, 0.0,
         "Expected '-12.6' with scale 'million', no answer was given. Derivation: 1,483.9-1,496.5."),
        ("whole", {"answer": "0.5", "scale": ""}, 1.0, 1.0, "Correct."),
        ("count", {"answer": "about 2", "scale": ""}, 0.0, 0.0,
         "Expected '2' without scale, got 'about 2' without scale. The answer should be one number."),
        ("multi", {"answer": '["2018", "2019"]', "scale": None}, 1.0, 1.0, "Correct."),
        ("multi", {"answer": "- 2018\n- 2019"}, 1.0, 1.0, "Correct."),
        ("multi", {"answer": "2019", "scale": ""}, 0.0, 0.5,
         "Expected '2019; 2018' without scale, got '2019' without scale. Items missing: 2018."),
        ("words", {"answer": "first", "scale": ""}, 0.0, 0.4,
         "Expected 'the first; and only, paragraph' without scale, got 'first' without scale. "
         "Words missing: and only paragraph."),
    ],
)  # fmt: skip
def test_a_prediction_is_scored_with_feedback(make, examples, uid, prediction, score, f1, feedback):
    task, example = make([context(1)]), examples[f"t1-{uid}"]
    verdict = task.metric(example, dspy.Prediction(**prediction))
    assert (float(verdict), verdict.feedback) == (score, feedback)
    assert task.extra_metrics(example, dspy.Prediction(**prediction)) == {"f1": f1}


def test_questions_about_one_table_stay_together_and_shares_are_kept(make):
    splits = make([context(number) for number in range(40)]).splits(seed=0, limit=None)
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [round(40 * share) * 7 for share in FRACTIONS.values()]
    tables = [{example.context for example in part} for part in parts]
    assert sum(map(len, tables)) == len(set.union(*tables)) == 40


def test_the_same_table_under_another_uid_stays_together(make):
    twin = copy.deepcopy(context(1))
    for position, item in enumerate(twin["questions"]):
        item["uid"] = f"twin-{position}"
    splits = make([context(1), twin]).splits(seed=0, limit=None)
    assert (splits.train, splits.validation, len(splits.test)) == ([], [], 14)


def spoil(path, value):
    def apply(contexts):
        *parents, last = path
        node = contexts
        for key in parents:
            node = node[key]
        if value is DELETE:
            del node[last]
        else:
            node[last] = value

    return apply


DELETE = object()
TABLE = "dev.json, record 2 (table t2): "
QUESTION = "dev.json, record 2 (table t2), question 5 (t2-change): "


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ([1, "table"], DELETE, "dev.json, record 2: field 'table' is missing"),
        ([1, "table", "uid"], DELETE, "dev.json, record 2: field 'table.uid' is missing"),
        ([1, "table", "table"], [], TABLE + "field 'table.table' should have at least 1 item"),
        ([1, "table", "table", 1, 2], None, TABLE + "field 'table.table[1][2]' should be a valid string"),
        ([1, "paragraphs", 0, "text"], DELETE, TABLE + "field 'paragraphs[0].text' is missing"),
        ([1, "questions"], DELETE, TABLE + "field 'questions' is missing"),
        ([1, "questions", 4, "uid"], DELETE,
         "dev.json, record 2 (table t2), question 5: field 'uid' is missing"),
        ([1, "questions", 4, "answer"], DELETE, QUESTION + "field 'answer' is missing"),
        ([1, "questions", 4, "answer"], [], QUESTION + "field 'answer' is empty"),
        ([1, "questions", 4, "answer"], "many", QUESTION + "field 'answer' is not one number"),
        ([1, "questions", 4, "answer"], ["1", "2"], QUESTION + "field 'answer' is not one number"),
        ([1, "questions", 4, "answer_type"], "sum",
         QUESTION + "field 'answer_type' should be 'span', 'multi-span', 'arithmetic' or 'count'"),
        ([1, "questions", 4, "scale"], "dozen",
         QUESTION + "field 'scale' should be '', 'thousand', 'million', 'billion' or 'percent'"),
        ([1, "questions", 4, "question"], " ", QUESTION + "field 'question' is empty"),
        ([1, "questions", 4, "uid"], "t1-span",
         "dev.json, record 2 (table t2), question 5 (t1-span): the id 't1-span' is taken by "
         "dev.json, record 1 (table t1), question 1 (t1-span)"),
    ],
)  # fmt: skip
def test_a_malformed_record_is_located(make, path, value, message):
    contexts = [context(1), context(2)]
    spoil(path, value)(contexts)
    with pytest.raises(InputError) as error:
        make(contexts).splits(seed=0, limit=None)
    assert error.value.what.startswith(message)


def test_the_official_files_of_a_folder_are_the_splits_and_the_gold_one_counts(in_folder):
    folder = in_folder / "TAT-QA"
    folder.mkdir()
    blind = [context(9)]
    for asked in blind[0]["questions"]:
        del asked["answer"]
    for name, contexts in {
        "train": [context(1), context(2)],
        "dev": [context(3)],
        "test": blind,
        "test_gold": [context(9)],
    }.items():
        (folder / f"tatqa_dataset_{name}.json").write_text(json.dumps(contexts))
    splits = TatQA(path=str(folder), program=dspy.Predict).splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (14, 7, 7)
    assert {example.id.partition("-")[0] for example in splits.test} == {"t9"}
