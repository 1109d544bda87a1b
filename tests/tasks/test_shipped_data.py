"""The three small data sets that ship with the package, read as the plain JSON Lines they are."""

import json
import re
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from itertools import combinations
from typing import Any

import pytest

Record = dict[str, Any]
Lookup = Callable[[str, str], float]

DATA = files("tiltyard.tasks") / "data"
DOMAINS = {"tatqa_tiny": "finance", "medqa_tiny": "medical", "iot_tiny": "iot"}
COUNTS = {
    "tatqa_tiny": {"train": 16, "validation": 8, "test": 3},
    "medqa_tiny": {"train": 16, "validation": 8, "test": 3},
    "iot_tiny": {"train": 16, "validation": 8, "test": 5},
}
CONDITIONS = {
    "normal",
    "overheating",
    "bearing wear",
    "sensor fault",
    "pressure leak",
    "low battery",
    "power loss",
}
LONGEST_CONTEXT = 900

CELLS = {
    "train-1": ("Net revenue", "2019"),
    "train-2": ("Finished goods", "2020"),
    "train-6": ("Clinical trials", "Fiscal 2021"),
    "train-7": ("Net income (loss)", "2020"),
    "train-9": ("Effective tax rate", "2018"),
    "train-12": ("Frozen Meals", "Operating income"),
    "train-14": ("Earnings per share, basic", "2019"),
    "train-16": ("Accounts receivable, net", "June 30, 2020"),
    "validation-1": ("Net sales", "2019"),
    "validation-2": ("Machinery and equipment", "2016"),
    "validation-5": ("Diluted earnings per share", "2021"),
    "validation-6": ("Journals", "Operating profit"),
    "test-1": ("Cost of revenue", "2018"),
}
"""The row and column that hold the answer."""

EXTREMES: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "train-10": ("Cash and cash equivalents", max),
    "validation-8": ("Total capital expenditure", min),
}
"""The row over which the answer is the heading of the largest or smallest cell."""

WORKINGS: dict[str, Callable[[Lookup], float]] = {
    "train-4": lambda at: at("Fuel", "2018") - at("Fuel", "2017"),
    "train-5": lambda at: 100 * (at("Total sales", "2020") / at("Total sales", "2019") - 1),
    "train-11": lambda at: sum(at(due, "Operating leases") for due in ("Less than 1 year", "1 to 3 years")),
    "train-15": lambda at: 100 * at("Europe", "2019") / at("Total revenue", "2019"),
    "validation-4": lambda at: at("Advertising", "2019") - at("Advertising", "2018"),
    "test-3": lambda at: at("Selling and distribution", "2020") - at("Selling and distribution", "2019"),
}
"""How the answer is calculated from the table."""

PHRASES = {"train-3", "train-8", "train-13", "validation-3", "validation-7", "test-2"}
"""The answer is a span of the paragraph."""


def records(name: str) -> list[Record]:
    lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def by_split(name: str) -> dict[str, list[Record]]:
    splits: dict[str, list[Record]] = {}
    for record in records(name):
        splits.setdefault(record["split"], []).append(record)
    return splits


def table(record: Record) -> dict[str, dict[str, str]]:
    """The pipe table of a context: row label -> column heading -> cell."""
    lines = [line for line in record["context"].splitlines() if line.startswith("|")]
    header, separator, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(re.fullmatch(r"-{3,}", cell) for cell in separator)
    assert all(len(row) == len(header) for row in [separator, *body])
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in body}


def reader(cells: dict[str, dict[str, str]]) -> Lookup:
    return lambda row, column: number(cells[row][column])


def paragraph(record: Record) -> str:
    """What follows the table."""
    _, _, rest = str(record["context"]).rpartition("|\n")
    return rest.strip()


def number(cell: str) -> float:
    sign = -1 if cell.startswith("(") else 1
    return sign * float(re.sub(r"[^\d.]", "", cell))


def sentences(text: str) -> set[str]:
    """Sentences and lines, without punctuation and case; fragments of up to three words are left out."""
    parts = re.split(r"(?<=[.?!])\s+|\n+", text)
    plain = {" ".join(re.findall(r"\w+", part.casefold())) for part in parts}
    return {part for part in plain if len(part.split()) > 3}


@pytest.mark.parametrize("name", DOMAINS)
def test_counts_fields_and_ids(name: str) -> None:
    shipped = records(name)
    fields = {"id", "split", "question", "context", "answer", "domain"}
    fields |= {"options"} if name == "medqa_tiny" else set()

    assert Counter(record["split"] for record in shipped) == COUNTS[name]
    assert all(set(record) == fields for record in shipped)
    assert {record["domain"] for record in shipped} == {DOMAINS[name]}
    expected = {f"{name.replace('_', '-')}-{s}-{i}" for s, n in COUNTS[name].items() for i in range(1, n + 1)}
    assert {record["id"] for record in shipped} == expected
    assert all(record["id"].rsplit("-", 2)[1] == record["split"] for record in shipped)


@pytest.mark.parametrize("name", DOMAINS)
def test_text_is_present_and_trimmed(name: str) -> None:
    for record in records(name):
        for field in ("question", "context", "answer"):
            assert record[field] == record[field].strip(), record["id"]
            assert record[field] or (name == "medqa_tiny" and field == "context"), record["id"]
        assert record["question"].endswith(("?", ".")), record["id"]
        assert len(record["context"]) <= LONGEST_CONTEXT, record["id"]


@pytest.mark.parametrize("name", DOMAINS)
def test_no_question_or_context_twice(name: str) -> None:
    shipped = records(name)
    assert len({record["question"] for record in shipped}) == len(shipped)
    contexts = [record["context"] for record in shipped if record["context"]]
    assert len(set(contexts)) == len(contexts)


@pytest.mark.parametrize("name", DOMAINS)
def test_splits_share_no_sentence(name: str) -> None:
    content = {
        split: set().union(*(sentences(f"{r['question']}\n{r['context']}") for r in members))
        for split, members in by_split(name).items()
    }
    for one, other in combinations(content, 2):
        assert not content[one] & content[other], (one, other)


def test_finance_tables_have_a_unit_three_to_six_rows_and_a_paragraph() -> None:
    for record in records("tatqa_tiny"):
        assert 3 <= len(table(record)) <= 6, record["id"]
        assert len(paragraph(record).split()) >= 15, record["id"]


def test_every_finance_answer_follows_from_its_context() -> None:
    checked = set()
    for record in records("tatqa_tiny"):
        key, answer, cells = record["id"].removeprefix("tatqa-tiny-"), record["answer"], table(record)
        if key in CELLS:
            row, column = CELLS[key]
            assert cells[row][column] == answer, key
            everywhere = [cell for row_cells in cells.values() for cell in row_cells.values()]
            assert everywhere.count(answer) == 1, key
        elif key in EXTREMES:
            row, extreme = EXTREMES[key]
            values = {year: number(cell) for year, cell in cells[row].items()}
            best = extreme(list(values.values()))
            assert [year for year, value in values.items() if value == best] == [answer], key
        elif key in WORKINGS:
            value = WORKINGS[key](reader(cells))
            assert re.fullmatch(r"\d+(\.\d+)?%?", answer), key
            assert float(answer.rstrip("%")) == pytest.approx(value, abs=1e-9), key
            assert answer not in record["context"], key
        else:
            assert key in PHRASES, key
            assert paragraph(record).count(answer) == 1, key
        checked.add(key)
    assert checked == CELLS.keys() | EXTREMES.keys() | WORKINGS.keys() | PHRASES


def test_finance_totals_add_up() -> None:
    """Every row called a total, in every column, is the sum of the rows above it."""
    totals = 0
    for record in records("tatqa_tiny"):
        rows = table(record)
        labels = list(rows)
        for place, label in enumerate(labels):
            if not label.startswith("Total"):
                continue
            for column in rows[label]:
                above = sum(number(rows[part][column]) for part in labels[:place])
                assert number(rows[label][column]) == pytest.approx(above), (record["id"], label, column)
                totals += 1
    assert totals > 20


def test_train_covers_every_kind_of_finance_question_in_test() -> None:
    kinds = {"cell": CELLS.keys(), "calculation": WORKINGS.keys(), "phrase": PHRASES}
    for keys in kinds.values():
        assert any(key.startswith("train-") for key in keys)
        assert any(key.startswith("validation-") for key in keys)
        assert sum(key.startswith("test-") for key in keys) == 1


def test_medical_options_are_four_different_texts_and_the_answer_is_a_letter() -> None:
    for record in records("medqa_tiny"):
        assert list(record["options"]) == ["A", "B", "C", "D"], record["id"]
        texts = [text.casefold() for text in record["options"].values()]
        assert len(set(texts)) == 4, record["id"]
        assert all(text == text.strip() and text for text in texts), record["id"]
        assert record["answer"] in record["options"], record["id"]
        gold = record["options"][record["answer"]]
        assert gold.casefold() not in record["question"].casefold(), record["id"]


def test_medical_answers_are_spread_over_the_letters() -> None:
    for split, members in by_split("medqa_tiny").items():
        counts = Counter(record["answer"] for record in members)
        per_letter = [counts[letter] for letter in "ABCD"]
        assert max(per_letter) - min(per_letter) <= 1, split


def test_a_condition_taught_in_train_stands_at_another_letter_elsewhere() -> None:
    """A letter learned by position must not carry over."""
    splits = by_split("medqa_tiny")
    taught = {record["options"][record["answer"]]: record["answer"] for record in splits["train"]}
    returning = 0
    for record in splits["validation"] + splits["test"]:
        gold = record["options"][record["answer"]]
        if gold in taught:
            returning += 1
            assert record["answer"] != taught[gold], record["id"]
    assert returning >= 6


def test_iot_answers_are_the_seven_conditions_and_train_shows_each_twice() -> None:
    splits = by_split("iot_tiny")
    counts = {split: Counter(r["answer"] for r in members) for split, members in splits.items()}
    assert set(counts["train"]) == CONDITIONS
    assert set(counts["validation"]) == CONDITIONS
    assert set(counts["test"]) <= CONDITIONS
    assert min(counts["train"].values()) >= 2
    assert len(counts["test"]) == 5


def test_iot_logs_name_device_and_ranges_but_no_condition() -> None:
    devices = set()
    for record in records("iot_tiny"):
        first, second, *log = record["context"].splitlines()
        assert first.startswith("Device: "), record["id"]
        assert second.startswith("Nominal ranges: "), record["id"]
        assert len(log) >= 4, record["id"]
        text = f"{record['question']}\n{record['context']}".casefold()
        assert not [condition for condition in CONDITIONS if condition in text], record["id"]
        [device] = set(re.findall(r"\b[A-Z]{1,3}-?\d+\b", first)) & set(
            re.findall(r"\b[A-Z]{1,3}-?\d+\b", record["question"])
        )
        devices.add(device)
    assert len(devices) == len(records("iot_tiny"))
