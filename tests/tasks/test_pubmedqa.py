import json

import dspy
import pytest

from tiltyard.errors import InputError
from tiltyard.signatures import check_node
from tiltyard.tasks.pubmedqa import PubMedQA, macro_f1, read_decision
from tiltyard.tasks.task import Judged, Task


def record(number, **changes):
    return {
        "QUESTION": f"Does drug {number} help?",
        "CONTEXTS": [f"We gave drug {number} to 20 patients.", "It helped 19 of them."],
        "LABELS": ["METHODS", "RESULTS"],
        "MESHES": ["Humans"],
        "YEAR": "2011",
        "reasoning_required_pred": "yes",
        "final_decision": ("yes", "no", "maybe")[number % 3],
        "LONG_ANSWER": "Yes, it helps.",
        **changes,
    }


@pytest.fixture
def make(in_folder):
    def make_task(records, test=None):
        (in_folder / "ori.json").write_text(records if isinstance(records, str) else json.dumps(records))
        if test is not None:
            (in_folder / "truth.json").write_text(test if isinstance(test, str) else json.dumps(test))
        return PubMedQA(path="ori.json", program=dspy.Predict, test=None if test is None else "truth.json")

    return make_task


MANY = {str(1000 + number): record(number) for number in range(40)}


def test_the_ground_truth_names_the_test_split_and_the_rest_is_divided(make):
    truth = {str(1000 + number): MANY[str(1000 + number)]["final_decision"] for number in range(10)}
    task: Task = make(MANY, truth)
    splits = task.splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 10, 10)
    assert {example.id for example in splits.test} == set(truth)
    assert len(task.splits(seed=0, limit=4).train) == 4


def test_without_a_ground_truth_all_records_are_divided(make):
    splits = make(MANY).splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 8, 16)


def test_an_example_holds_the_abstract_without_its_conclusion(make):
    (example,) = make({"77": record(3), "78": record(4)}, {"77": "yes"}).splits(seed=0, limit=None).test
    assert dict(example.items()) == {
        "id": "77",
        "question": "Does drug 3 help?",
        "context": "METHODS: We gave drug 3 to 20 patients.\nRESULTS: It helped 19 of them.",
        "answer": "yes",
    }
    assert set(example.inputs().keys()) == {"question", "context"}
    (plain,) = make({"77": record(3, LABELS=[])}).splits(seed=0, limit=None).test
    assert plain.context == "We gave drug 3 to 20 patients.\nIt helped 19 of them."


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("yes", "yes"),
        ("No.", "no"),
        ("**Maybe**", "maybe"),
        (r"\boxed{yes}", "yes"),
        ("Yes, since there is no control.", "yes"),
        ("No - it did not.", "no"),
        ("The results differ.\nAnswer: maybe", "maybe"),
        ("The answer to the question is: NO", "no"),
        ("Final decision: yes (yes)", "yes"),
        ("yes or no", None),
        ("yes, or no", None),
        ("Yes, and even maybe.", None),
        ("Yes, and it lasted.", "yes"),
        ("Yes. No. Maybe.", None),
        ("There is no evidence.", None),
        ("No evidence was found", None),
        ("not", None),
        ("", None),
    ],
)
def test_a_decision_is_read_where_it_stands_by_itself(text, decision):
    assert read_decision(text) == decision


@pytest.mark.parametrize(
    ("answer", "score", "feedback"),
    [
        ("Yes.", 1, "Correct."),
        ("no", 0, "Expected 'yes', got 'no'."),
        ("it helps", 0, "Expected 'yes', got 'it helps'. The answer should be one word: yes, no or maybe."),
        ("", 0, "Expected 'yes', no answer was given."),
        (None, 0, "Expected 'yes', no answer was given."),
    ],
)
def test_an_answer_is_scored_with_feedback(make, answer, score, feedback):
    task = make({"77": record(3)})
    (example,) = task.splits(seed=0, limit=None).test
    verdict = task.metric(example, dspy.Prediction(answer=answer))
    assert (float(verdict), verdict.feedback) == (score, feedback)
    assert task.gold(example) == "yes"
    assert task.answer(dspy.Prediction(answer=answer)) == (answer or "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"QUESTION": None}, "field 'QUESTION' is missing"),
        ({"CONTEXTS": []}, "field 'CONTEXTS' should have at least 1 item"),
        ({"CONTEXTS": "text"}, "field 'CONTEXTS' should be a valid list"),
        ({"LABELS": ["RESULTS"]}, "field 'LABELS' has 1 item(s), and 'CONTEXTS' 2"),
        ({"final_decision": "perhaps"}, "field 'final_decision' should be 'yes', 'no' or 'maybe'"),
    ],
)
def test_a_malformed_record_is_located(make, changes, message):
    with pytest.raises(InputError) as error:
        make({"77": record(1), "78": record(2, **changes)}).splits(seed=0, limit=None)
    assert error.value.what.startswith(f"ori.json, record 2 (PMID 78): {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("records", "test", "message"),
    [
        ("[1]", None, "ori.json: holds no object with PMIDs"),
        ("{}", None, "ori.json: holds no object with PMIDs"),
        ('{"77": 1}', None, "ori.json, record 1 (PMID 77): is not an object"),
        ('{\n"77": oops}', None, "ori.json, line 2, column 7: not JSON"),
        ({"77": record(1)}, "[]", "truth.json: holds no object with PMIDs"),
        ({"77": record(1)}, {"78": "yes"}, "truth.json: names PMID 78, which ori.json lacks"),
        ({"77": record(1), "78": record(1)}, {"78": "no"},
         "ori.json, record 2 (PMID 78): the record is in test, and ori.json, record 1 (PMID 77) holds the"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(make, records, test, message):
    with pytest.raises(InputError) as error:
        make(records, test).splits(seed=0, limit=None)
    assert error.value.what.startswith(message)


def test_the_ground_truth_counts_by_its_content(make, in_folder):
    make(MANY, {"1000": "yes"})
    node = {"_target_": "tiltyard.tasks.pubmedqa.PubMedQA", "path": "ori.json", "test": "truth.json"}
    program = {"_target_": "dspy.Predict", "_partial_": True}
    leaves = {leaf.path: leaf for leaf in check_node({**node, "program": program}, "task")}
    content = leaves["task.test"].content
    assert content is not None
    before = content.digest("truth.json")
    (in_folder / "truth.json").write_text('{"1001": "no"}')
    assert content.digest("truth.json") != before
    with pytest.raises(InputError, match="there is no such file"):
        check_node({**node, "program": program, "test": "missing.json"}, "task")


@pytest.mark.parametrize(
    ("answer", "strict", "flexible"),
    [("Yes.", 1, 1), ("**yes**", 1, 1), ("Yes, since it helped.", 0, 1), ("no", 0, 0), ("", 0, 0)],
)
def test_the_bare_word_is_told_from_a_decision_in_a_sentence(make, answer, strict, flexible):
    task = make({"77": record(3)})
    (example,) = task.splits(seed=0, limit=None).test
    found = task.extra_metrics(example, dspy.Prediction(answer=answer))
    assert found == {"strict": strict, "flexible": flexible}


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        # yes: 1 of 1 predicted, 1 of 2 found: 2/3. no: 0 of 1 predicted, 0 of 1 found: 0.
        (["yes", "yes", "no"], ["yes", "no", None], (2 / 3 + 0) / 2),
        # All three: yes 2/3 (2 of 3, 2 of 3), no 1/2 (1 of 2, 1 of 2), maybe 0.
        (
            ["yes", "yes", "yes", "no", "no", "maybe"],
            ["yes", "yes", "no", "no", "maybe", "yes"],
            (2 / 3 + 1 / 2 + 0) / 3,
        ),
        # A constant: yes has F1 2 * 2 / (3 + 2) = 4/5, no has 0.
        (["yes", "yes", "no"], ["yes", "yes", "yes"], (4 / 5 + 0) / 2),
        (["yes", "no"], ["yes", "no"], 1.0),
        (["yes", "no"], [None, None], 0.0),
        # A decision that nobody expected counts as a class with F1 0.
        (["yes", "yes"], ["yes", "maybe"], (2 / 3 + 0) / 2),
    ],
)
def test_macro_f1_by_hand(gold, predicted, expected):
    assert macro_f1(gold, predicted) == pytest.approx(expected)


def test_the_run_has_the_macro_f1_of_what_was_answered(make):
    task = make({str(number): record(number) for number in range(4)})
    examples = [dspy.Example(answer=answer) for answer in ("yes", "yes", "no")]
    answers = ("The answer is yes.", "No.", "")
    judged = [Judged(example, answer, 0.0) for example, answer in zip(examples, answers, strict=True)]
    assert task.summary(judged) == {"macro_f1": pytest.approx(1 / 3)}


def hub_row(number, **changes):
    return {
        "pubid": 1000 + number,
        "question": f"Does drug {number} help?",
        "context": {
            "contexts": [f"We gave drug {number} to 20 patients.", "It helped 19 of them."],
            "labels": ["METHODS", "RESULTS"],
            "meshes": ["Humans"],
            "reasoning_required_pred": list("yes"),
        },
        "long_answer": "Yes, it helps.",
        "final_decision": ("yes", "no", "maybe")[number % 3],
        **changes,
    }


def test_the_form_of_the_hub_gives_the_same_examples(make, in_folder):
    rows = [hub_row(number) for number in range(40)]
    (in_folder / "hub.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), in_folder / "hub.parquet")
    expected = make(MANY).splits(seed=0, limit=None)
    for name in ("hub.jsonl", "hub.parquet"):
        assert PubMedQA(path=name, program=dspy.Predict).splits(seed=0, limit=None) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([hub_row(1), hub_row(1)], "record 2 (line 2) (PMID 1001): the PMID is taken by another record"),
        ([hub_row(1, context={})], "(PMID 1001): field 'CONTEXTS' is missing"),
        ([hub_row(1, final_decision="perhaps")], "field 'final_decision' should be"),
        ([{"question": "Why?"}], "field 'pubid' is missing"),
    ],
)
def test_a_malformed_record_of_the_hub_is_located(in_folder, rows, message):
    (in_folder / "hub.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError) as error:
        PubMedQA(path="hub.jsonl", program=dspy.Predict).splits(seed=0, limit=None)
    assert message in str(error.value)
