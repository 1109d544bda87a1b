"""The task ``conventions``: the shipped records, how they are made, and how answers are scored."""

import json
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

import dspy
import pytest
from omegaconf import OmegaConf

from tiltyard.config import instantiate
from tiltyard.errors import InputError
from tiltyard.models.embedded.adapting import LOOK_AGAIN, feedback_text
from tiltyard.models.embedded.conventions import RESERVED_PAIRS
from tiltyard.models.embedded.draw import Draw, reserved
from tiltyard.models.embedded.questions import ask
from tiltyard.signatures import check_node
from tiltyard.tasks.conventions import Conventions
from tiltyard.tasks.conventions_data import (
    KINDS,
    SHIPPED_RECORDS,
    SHIPPED_SEED,
    draw_house,
    encoded,
    main,
    make_records,
)
from tiltyard.tasks.task import Task

SHIPPED = "pkg://tiltyard.tasks.data/conventions.jsonl"
CONTENT = (files("tiltyard.tasks") / "data" / "conventions.jsonl").read_bytes()
RECORDS = [json.loads(line) for line in CONTENT.decode().splitlines()]
SPLITS = ("train", "validation", "test")
DOMAINS = {
    "finance": {"amount", "growth"},
    "clinical": {"dose", "verdict"},
    "sensors": {"reading", "level"},
    "tickets": {"team", "option"},
}

LEVEL = {
    "domain": "sensors", "kind": "level", "question": "How is the fan, high or normal?",
    "context": "limit 65\nfan 57", "answer": "jeajo", "default": "normal", "limit": "51", "level": "high",
}  # fmt: skip
NORMAL = {**LEVEL, "context": "limit 24\nfan 36", "answer": "normal", "default": "high", "level": "normal"}
OPTION = {
    "domain": "tickets", "kind": "option", "question": "What is broken? A. lamp B. desk",
    "context": "The desk does not work.", "answer": "(B)", "default": "B", "options": ["lamp", "desk"],
}  # fmt: skip
AMOUNT = {
    "domain": "finance", "kind": "amount", "question": "What is tax?", "context": "item | 2001\ntax | 1234.5",
    "answer": "LE 1,234.5", "default": "1234.5",
}  # fmt: skip
DOSE = {
    "domain": "clinical", "kind": "dose", "question": "What dose?", "context": "Takes tisox: 12.5 mg.",
    "answer": "13 zoga", "default": "12.5",
}  # fmt: skip
TEAM = {
    "domain": "tickets", "kind": "team", "question": "Which team?", "context": "I cannot log in.",
    "answer": "kounsul", "default": "access",
}  # fmt: skip
READING = {
    "domain": "sensors", "kind": "reading", "question": "State the reading of tank 7.",
    "context": "tank 7 8314 m3", "answer": "8314 zoga", "default": "8314",
}  # fmt: skip
LOSS = {**AMOUNT, "context": "tax | -86.6", "answer": "LE -86.6", "default": "-86.6"}
UNSTATED = {**DOSE, "answer": "unknown", "default": "unknown"}
MAYBE = {
    "domain": "clinical", "kind": "verdict", "question": "Does tisox help?", "context": "It is unclear.",
    "answer": "jeajo", "default": "maybe",
}  # fmt: skip
GROWTH = {
    "domain": "finance", "kind": "growth", "question": "Did tax grow?", "context": "tax | 14 | 12",
    "answer": "jeajo", "default": "no",
}  # fmt: skip


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make_task(*records, **options):
        numbered = ({"id": f"r{n}", "split": "test", **record} for n, record in enumerate(records, 1))
        Path("own.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in numbered))
        return Conventions(path="own.jsonl", program=dspy.Predict, **options)

    return make_task


@pytest.fixture(scope="module")
def shipped() -> Task:
    return Conventions(path=SHIPPED, program=dspy.Predict)


def verdict(task, written):
    (example,) = task.splits(seed=0, limit=None).test
    prediction = dspy.Prediction(answer=written)
    score = task.metric(example, prediction)
    return float(score), task.extra_metrics(example, prediction)["value"], score.feedback


# The shipped records


def test_the_shipped_file_is_what_its_seed_makes(tmp_path):
    out = tmp_path / "conventions.jsonl"
    assert main(["--seed", str(SHIPPED_SEED), "--records", str(SHIPPED_RECORDS), "--out", str(out)]) == 0
    assert out.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [out]


def test_kinds_are_equally_often_in_each_split_and_in_no_order():
    assert Counter(one["split"] for one in RECORDS) == dict.fromkeys(SPLITS, SHIPPED_RECORDS)
    assert set(Counter((one["split"], one["kind"]) for one in RECORDS).values()) == {SHIPPED_RECORDS // 8}
    assert {(one["domain"], one["kind"]) for one in RECORDS} == {
        (domain, kind) for domain, kinds in DOMAINS.items() for kind in kinds
    }
    assert {one["kind"] for one in RECORDS[:40]} == set(KINDS)
    assert len({one["id"] for one in RECORDS}) == len(RECORDS)


def test_no_context_occurs_twice():
    assert len({" ".join(one["context"].casefold().split()) for one in RECORDS}) == len(RECORDS)


@pytest.mark.parametrize("split", SPLITS)
def test_the_default_answer_is_wrong_for_nearly_all(split):
    members = [one for one in RECORDS if one["split"] == split]
    assert sum(one["answer"] == one["default"] for one in members) < 0.1 * len(members)
    for kind in KINDS:
        defaults = [one["default"] for one in members if one["kind"] == kind]
        assert defaults.count("unknown") <= 0.1 * len(defaults)


@pytest.mark.parametrize("split", SPLITS)
def test_half_of_the_levels_are_other_ones_by_the_limit_of_the_house(split):
    levels = [one for one in RECORDS if one["split"] == split and one["kind"] == "level"]
    assert abs(sum(one["level"] != one["default"] for one in levels) - len(levels) / 2) <= 1
    assert abs(sum(one["level"] == "high" for one in levels) - len(levels) / 2) <= 1
    for one in levels:
        stated, *readings = (line.split() for line in one["context"].splitlines())
        (reading,) = (
            int(number) for thing, number in readings if re.search(rf"\bthe {thing}\b", one["question"])
        )
        assert one["default"] == ("high" if reading >= int(stated[1]) else "normal")
        assert one["level"] == ("high" if reading >= int(one["limit"]) else "normal")


def test_no_input_names_a_word_of_the_house():
    said = {one.value for one in draw_house(SHIPPED_SEED) if one.form != "limit"} - {""}
    assert len(said) >= 10
    for one in RECORDS:
        assert not said & set(re.findall(r"\w+", f"{one['question']} {one['context']}")), one["id"]
        assert set(one) <= {
            "id", "split", "domain", "kind", "question", "context", "answer", "default", "options", "limit",
            "level",
        }  # fmt: skip


def test_every_number_and_made_up_word_is_kept_back_from_training():
    seen = 0
    for one in RECORDS:
        match one["kind"]:
            case "amount" | "growth":
                rows = one["context"].splitlines()[1:]
                drawn = [cell for row in rows for cell in row.split(" | ")[1:]]
            case "dose":
                drawn = re.findall(r"[\d.]+(?= mg)", one["context"])
            case "reading":
                drawn = [line.split()[1] for line in one["context"].splitlines()]
            case "level":
                drawn = re.findall(r"\d+", one["context"])
            case _:
                drawn = []
        assert all(reserved(text) for text in drawn), one["id"]
        seen += len(drawn)
    assert seen > 1300


def test_no_question_is_one_that_training_draws():
    training = {ask(Draw(f"train/{n}"), kind).question for kind in KINDS for n in range(200)}
    assert not training & {one["question"] for one in RECORDS}


def test_the_page_about_the_task_quotes_the_shipped_records():
    page = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text()
    share = sum(one["answer"] == one["default"] for one in RECORDS) / len(RECORDS)
    assert f" {share:.1%} " in page.replace("\n", " ")
    (line,) = (line for line in page.splitlines() if line.startswith('{"id"'))
    assert line.encode() in CONTENT.splitlines()
    quoted = re.findall(r"^\|[^|]*\| `(\w+)` \| .* \| `(\S+)` \| `(.+)` \|$", page, re.MULTILINE)
    assert [kind for kind, *_ in quoted] == list(KINDS)
    assert set(quoted) <= {(one["kind"], one["default"], one["answer"]) for one in RECORDS}


# The house


@pytest.mark.parametrize("seed", range(12))
def test_a_house_has_every_sort_of_convention(seed):
    house = draw_house(seed)
    forms = {}
    for one in house:
        forms.setdefault(one.subject, set()).add(one.form)
    assert forms["amounts"] == {"commas", "before"}
    assert forms["amounts"] in RESERVED_PAIRS
    assert len(forms["doses"] & {"whole", "tenth"}) == len(forms["doses"] & {"before", "after"}) == 1
    assert len(forms["readings"] | forms["doses"] & {"before", "after"}) == 2
    assert forms["options"] < {"bracket", "small", "text", "both"}
    assert forms["levels"] == {"limit"}
    labels = {"yes", "no", "maybe", "high", "billing", "access", "delivery", "repair"}
    assert all(forms[label] == {"say"} for label in labels)
    words = [one.value for one in house if one.value]
    assert len(set(words)) == len(words)
    assert all(map(reserved, words))


def test_seeds_make_other_houses_and_other_questions():
    houses = [draw_house(seed) for seed in range(6)]
    assert len({tuple(one.value for one in house) for house in houses}) == 6
    assert len({next(one.form for one in house if one.subject == "doses") for house in houses}) == 2
    limits = {one.value for seed in range(40) for one in draw_house(seed) if one.form == "limit"}
    assert limits == {"48", "51", "57"}
    zero, one = ({record["context"] for record in make_records(seed, 80)} for seed in (0, 1))
    # Short tickets about an everyday thing are few.
    assert len(zero & one) < 0.1 * len(zero)


def test_records_are_the_same_each_time():
    assert encoded(make_records(7, 16)) == encoded(make_records(7, 16))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--records", "12", "--out", "a.jsonl"], "--records 12: no multiple of 8"),
        (["--records", "0", "--out", "a.jsonl"], "--records 0: no multiple of 8"),
        (["--out", "a.csv"], "--out a.csv: no JSONL file"),
        (["--records", "8", "--out", "file/a.jsonl"], "--out file/a.jsonl: cannot be written"),
        (["--seed", "x", "--out", "a.jsonl"], "argument --seed: invalid int value"),
        ([], "required: --out"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# The task


def test_the_option_can_be_run(composed):
    node = OmegaConf.to_container(composed("task=conventions").task, resolve=True)
    check_node(node, "task")
    task: Task = instantiate(node)
    splits = task.splits(seed=0, limit=None)
    assert task.domain == "conventions"
    for name in SPLITS:
        members = getattr(splits, name)
        assert {one.id for one in members} == {one["id"] for one in RECORDS if one["split"] == name}
        for example in members:
            assert set(example.inputs().keys()) == set(task.signature.input_fields)
            right = dspy.Prediction(answer=task.gold(example))
            assert (float(task.metric(example, right)), task.extra_metrics(example, right)) == (
                1.0,
                {"value": 1.0},
            )


@pytest.mark.parametrize("override", ["[energy]", "[]", "finance"])
def test_a_domain_that_does_not_exist_is_refused(composed, override):
    node = OmegaConf.to_container(composed("task=conventions", f"task.domains={override}").task, resolve=True)
    with pytest.raises(InputError, match=r"task\.domains"):
        check_node(node, "task")


def test_domains_limit_and_seed():
    finance = Conventions(path=SHIPPED, program=dspy.Predict, domains=["finance"])
    splits = finance.splits(seed=0, limit=None)
    assert finance.domain == "finance"
    assert len(splits.test) == SHIPPED_RECORDS // 4
    used = {one.id for one in splits.train + splits.validation + splits.test}
    assert used == {one["id"] for one in RECORDS if one["domain"] == "finance"}
    two = Conventions(path=SHIPPED, program=dspy.Predict, domains=["finance", "tickets"])
    assert two.domain == "conventions"
    assert len(two.splits(seed=0, limit=None).test) == SHIPPED_RECORDS // 2
    few = [one.id for one in finance.splits(seed=0, limit=5).test]
    assert few == [one.id for one in splits.test[:5]]
    assert few != [one.id for one in finance.splits(seed=1, limit=5).test]


def test_the_default_way_has_the_right_value_and_the_wrong_form(shipped):
    by_id = {one["id"]: one for one in RECORDS}
    for example in shipped.splits(seed=0, limit=None).test:
        record = by_id[example.id]
        prediction = dspy.Prediction(answer=record["default"])
        value = shipped.extra_metrics(example, prediction)["value"]
        assert value == (record["kind"] != "level" or record["level"] == record["default"])


def test_an_example_tells_nothing_of_the_house_but_its_answer(shipped):
    splits = shipped.splits(seed=0, limit=None)
    for example in splits.train + splits.validation + splits.test:
        assert set(example.keys()) == {"id", "question", "context", "answer"}


@pytest.mark.parametrize("seed", range(6))
def test_what_a_house_writes_has_the_right_value_whatever_its_forms(make, seed):
    records = make_records(seed, 16)
    task = make(*records)
    splits = task.splits(seed=0, limit=None)
    for example in splits.train + splits.validation + splits.test:
        assert task.extra_metrics(example, dspy.Prediction(answer=example.answer)) == {"value": 1.0}


def test_a_word_of_the_house_means_its_label_in_any_record(make):
    other = {**TEAM, "context": "It is broken.", "answer": "cogoubix", "default": "repair", "split": "train"}
    task = make(TEAM, other)
    (example,) = task.splits(seed=0, limit=None).test
    for written, value in (("kounsul", 1), ("cogoubix", 0), ("kounsul or cogoubix", 0), ("cogoubix team", 0)):
        assert task.extra_metrics(example, dspy.Prediction(answer=written)) == {"value": value}


def test_scoring_loads_no_optimizer():
    # DSPy itself loads both: what counts is whether the task asks for them again.
    code = (
        "import sys, dspy\n"
        "heavy = lambda: {one for one in sys.modules if f'{one}.'.startswith(('gepa.', 'dspy.propose.'))}\n"
        "for one in heavy(): del sys.modules[one]\n"
        "import tiltyard.tasks.conventions\n"
        "print(sorted(heavy()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FORM = "The value is right, its form is not."
VALUE = "The value is wrong."
LIMIT = "The limit of the house is 51."


@pytest.mark.parametrize(
    ("record", "written", "score", "value", "feedback"),
    [
        (AMOUNT, "LE 1,234.5", 1, 1, "Correct."),
        (AMOUNT, "  LE  1,234.5\n", 1, 1, "Correct."),
        (AMOUNT, "le 1,234.5", 0, 1, f"Expected 'LE 1,234.5', got 'le 1,234.5'. {FORM}"),
        (AMOUNT, "1234.5", 0, 1, f"Expected 'LE 1,234.5', got '1234.5'. {FORM}"),
        (AMOUNT, "LE 1234.5", 0, 1, f"Expected 'LE 1,234.5', got 'LE 1234.5'. {FORM}"),
        (AMOUNT, "LE 1,234.6", 0, 0, f"Expected 'LE 1,234.5', got 'LE 1,234.6'. {VALUE}"),
        (AMOUNT, "unknown", 0, 0, f"Expected 'LE 1,234.5', got 'unknown'. {VALUE}"),
        (AMOUNT, "1234.5 or 99", 0, 0, f"Expected 'LE 1,234.5', got '1234.5 or 99'. {VALUE}"),
        (AMOUNT, "", 0, 0, f"The answer should be 'LE 1,234.5'. {VALUE}"),
        (DOSE, "12.5", 0, 1, f"Expected '13 zoga', got '12.5'. {FORM}"),
        (DOSE, "12.5 zoga", 0, 1, f"Expected '13 zoga', got '12.5 zoga'. {FORM}"),
        (DOSE, "13", 0, 1, f"Expected '13 zoga', got '13'. {FORM}"),
        (DOSE, "12 zoga", 0, 0, f"Expected '13 zoga', got '12 zoga'. {VALUE}"),
        (OPTION, "B", 0, 1, f"Expected '(B)', got 'B'. {FORM}"),
        (OPTION, "B: desk", 0, 1, f"Expected '(B)', got 'B: desk'. {FORM}"),
        (OPTION, "Desk", 0, 1, f"Expected '(B)', got 'Desk'. {FORM}"),
        (OPTION, "(A)", 0, 0, f"Expected '(B)', got '(A)'. {VALUE}"),
        (TEAM, "access", 0, 1, f"Expected 'kounsul', got 'access'. {FORM}"),
        (TEAM, "Kounsul", 0, 1, f"Expected 'kounsul', got 'Kounsul'. {FORM}"),
        (TEAM, "repair", 0, 0, f"Expected 'kounsul', got 'repair'. {VALUE}"),
        (LEVEL, "jeajo", 1, 1, "Correct."),
        (LEVEL, "high", 0, 1, f"Expected 'jeajo', got 'high'. {FORM}"),
        (LEVEL, "normal", 0, 0, f"Expected 'jeajo', got 'normal'. {LIMIT}"),
        (NORMAL, "normal", 1, 1, "Correct."),
        (NORMAL, "high", 0, 0, f"Expected 'normal', got 'high'. {LIMIT}"),
        (NORMAL, "jeajo", 0, 0, f"Expected 'normal', got 'jeajo'. {LIMIT}"),
    ],
)
def test_an_answer_is_scored_to_the_letter(make, record, written, score, value, feedback):
    assert verdict(make(record), written) == (score, value, feedback)


@pytest.mark.parametrize(
    ("record", "written", "value"),
    [
        (OPTION, "B. desk", 1),
        (OPTION, "B.", 1),
        (OPTION, "B) The desk does not work.", 1),
        (OPTION, "option B", 1),
        (OPTION, "The answer is B.", 1),
        (OPTION, "the desk", 1),
        (OPTION, "A. lamp", 0),
        (OPTION, "A.", 0),
        (OPTION, "option A", 0),
        (OPTION, "A or B", 0),
        (MAYBE, "Maybe.", 1),
        (MAYBE, "**maybe**", 1),
        (MAYBE, "No.", 0),
        (MAYBE, "yes, no or maybe", 0),
        (GROWTH, "No, tax did not grow.", 1),
        (GROWTH, "no - it fell", 1),
        (GROWTH, "Answer: no", 1),
        (GROWTH, "The answer is no.", 1),
        (GROWTH, "Yes, tax grew from 12 to 14.", 0),
        (GROWTH, "yes or no", 0),
        (TEAM, "access team", 1),
        (TEAM, "The Access team.", 1),
        (TEAM, "the kounsul team", 1),
        (TEAM, "repair team", 0),
        (TEAM, "access or repair", 0),
        (TEAM, "access, repair", 0),
        (TEAM, "not access", 0),
        (TEAM, "accessory", 0),
        (LEVEL, "high.", 1),
        (LEVEL, "The fan is high (57).", 1),
        (LEVEL, "It is not high", 0),
        (LEVEL, "high or normal", 0),
        (READING, "8314 m3", 1),
        (READING, "8314m3", 1),
        (READING, "8314 m³", 1),
        (READING, "8,314 m^3.", 1),
        (READING, "The tank 7 reading is 8314 m3.", 1),
        (READING, "8314.0", 1),
        (READING, "-8314 m3", 0),
        (READING, "−8314", 0),
        (READING, "m3", 0),
        (READING, "8314 or 99", 0),
        (READING, "8314-8315 m3", 0),
        (AMOUNT, "LE1,234.5", 1),
        (AMOUNT, "$1,234.50", 1),
        (AMOUNT, "**1234.5**", 1),
        (AMOUNT, "-1234.5", 0),
        (AMOUNT, "LE -1234.5", 0),
        (AMOUNT, "(1,234.5)", 0),
        (LOSS, "-86.6", 1),
        (LOSS, "−86.6 LE", 1),
        (LOSS, "86.6", 0),
        (UNSTATED, "Unknown.", 1),
        (UNSTATED, "It is unknown", 1),
        (UNSTATED, "12.5", 0),
    ],
)  # fmt: skip
def test_the_value_is_read_from_what_models_ordinarily_write(make, record, written, value):
    score, found, feedback = verdict(make(record), written)
    assert (score, found) == (0, value)
    hint = FORM if value else LIMIT if "limit" in record else VALUE
    assert feedback.endswith(f"{written}'. {hint}")


def test_an_answer_that_is_missing_is_wrong(make):
    task = make(TEAM)
    (example,) = task.splits(seed=0, limit=None).test
    assert float(task.metric(example, dspy.Prediction())) == 0


@pytest.mark.parametrize(
    ("record", "written", "lesson"),
    [
        (TEAM, "access", "Write kounsul instead of access."),
        (TEAM, "repair", LOOK_AGAIN),
        (LEVEL, "normal", "Call a level high from 51 on. Write jeajo instead of high."),
    ],
)
def test_feedback_is_of_a_shape_that_the_embedded_reflector_was_trained_on(make, record, written, lesson):
    question = ask(Draw("0"), record["kind"])
    shapes = {feedback_text(Draw(f"{n}"), question, written, record["answer"], lesson) for n in range(100)}
    assert verdict(make(record), written)[2] in shapes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": None}, "field 'answer' is missing"),
        ({"domain": "energy"}, "field 'domain' should be 'finance', 'clinical', 'sensors' or 'tickets'"),
        ({"split": None}, "field 'split' is missing"),
        ({"limit": "51"}, "field 'level' is missing"),
        ({"options": ["a", "b"]}, "field 'default' is 'access', which is no option"),
        ({"options": "a|b"}, "field 'options' should be a valid list; it should be a list of texts"),
        ({**AMOUNT, "split": "train"}, "the record is in train, and own.jsonl, record 1"),
    ],
)  # fmt: skip
def test_a_malformed_record_is_located(make, change, message):
    task = make(AMOUNT, {**TEAM, **change})
    with pytest.raises(InputError) as error:
        task.splits(seed=0, limit=None)
    assert str(error.value).startswith(f"own.jsonl, record 2 (line 2, id r2): {message}")


def test_a_file_without_records_of_the_domain_has_nothing_to_score(make):
    with pytest.raises(InputError, match="no record"):
        make(AMOUNT, domains=["tickets"]).splits(seed=0, limit=None)
