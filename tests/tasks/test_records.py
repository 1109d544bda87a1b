import csv
import json

import pytest
from pydantic import BaseModel

from tiltyard.errors import InputError
from tiltyard.tasks.records import FilledText, Text, read_records


class Pair(BaseModel):
    question: FilledText
    answer: FilledText
    note: Text = ""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_file(name, content):
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(content)
        return name

    return write_file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[{"question": "q1", "answer": 1}, {"question": "q2", "answer": "x, y"}]'),
        (
            "a.json",
            '{"version": 2, "data": [{"question": "q1", "answer": 1}, {"question": "q2", "answer": "x, y"}]}',
        ),
        ("a.jsonl", '{"question": "q1", "answer": 1}\n\n{"question": "q2", "answer": "x, y"}\n'),
        ("a.jsonl", '\ufeff{"question": "q1", "answer": "1"}\r\n{"question": "q2", "answer": "x, y"}'),
        ("A.JSONL", '{"question": "q1", "answer": 1}\n{"question": "q2", "answer": "x, y"}'),
        ("a.csv", 'question,answer\nq1,1\n\nq2,"x, y"\n'),
        ("a.csv", '\ufeffquestion, answer ,note\r\nq1,1,\r\nq2,"x, y"\r\n'),
    ],
)
def test_the_same_records_are_read_from_every_format(write, name, content):
    pairs = [record.parse(Pair) for record in read_records(write(name, content))]
    assert [(pair.question, pair.answer, pair.note) for pair in pairs] == [
        ("q1", "1", ""),
        ("q2", "x, y", ""),
    ]


def test_a_line_separator_inside_a_json_string_ends_no_line(write):
    record = {"question": "a\u2028b\x85c", "answer": "d"}
    path = write("a.jsonl", json.dumps(record, ensure_ascii=False))
    assert read_records(path)[0].values == record


def test_a_quoted_line_break_counts_in_the_line_numbers_of_csv(write):
    records = read_records(write("a.csv", 'question,answer\n"two\nlines",1\nq2,2\n'))
    assert [record.place for record in records] == ["a.csv, record 1 (line 2)", "a.csv, record 2 (line 4)"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"question": "q", "answer": 1}\n\n{"question": "q"}',
         "a.jsonl, record 2 (line 3): field 'answer' is missing"),
        ("a.jsonl", '{"id": "x7", "question": "q"}',
         "a.jsonl, record 1 (line 1, id x7): field 'answer' is missing"),
        ("a.json", '[{"id": 7, "question": "q"}]', "a.json, record 1 (id 7): field 'answer' is missing"),
        ("a.json", '[{"question": "q", "answer": null}]', "a.json, record 1: field 'answer' is missing"),
        ("a.json", '[{"question": "q", "answer": " "}]', "a.json, record 1: field 'answer' is empty"),
        ("a.json", '[{"question": "q", "answer": true}]',
         "a.json, record 1: field 'answer' should be a valid string"),
        ("a.json", '[{"question": {"x": 1}, "answer": 2}]',
         "a.json, record 1: field 'question' should be a valid string"),
        ("a.csv", "question,answer\nq,\n", "a.csv, record 1 (line 2): field 'answer' is missing"),
    ],
)  # fmt: skip
def test_a_malformed_record_is_located(write, name, content, message):
    with pytest.raises(InputError) as error:
        [record.parse(Pair) for record in read_records(write(name, content))]
    assert error.value.what == message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "a.json: the file is empty"),
        ("a.json", " \n ", "a.json: the file is empty"),
        ("a.json", "[]", "a.json: the file holds no record"),
        ("a.csv", "question,answer\n", "a.csv: the file holds no record"),
        ("a.json", "[\n1,\n]", "a.json, line 3, column 1: not JSON"),
        ("a.json", "[1]", "a.json, record 1: is a number, not an object"),
        ("a.json", "3", "a.json: holds a number"),
        ("a.json", '{"a": 1}', "a.json: the object holds no list"),
        ("a.json", '{"a": [], "b": []}', "a.json: the object holds lists under a, b"),
        ("a.json", '[{"answer": NaN}]', "a.json: not JSON: NaN is not a JSON value"),
        ("a.json", "[" * 100_000, "a.json: not JSON"),
        ("baseline.jsonl", '{"a": 1}\n{"a": }', "baseline.jsonl, line 2, column 7: not JSON"),
        ("a.jsonl", '{"a": 1}\n[1]', "a.jsonl, record 2 (line 2): is a list, not an object"),
        ("a.csv", "q,a\n1,2\n1,2,3\n", "a.csv, line 3: has 3 cells where the header has 2"),
        ("a.csv", "q,q\n1,2\n", "a.csv, line 1: two columns are called 'q'"),
        ("a.csv", 'q,a\n1,2\n3,"4\n', "a.csv, line 3: not CSV"),
        ("a.csv", b"q,a\n1,2\n\xe9,3\n", "a.csv, line 3: not UTF-8 text"),
        ("a.parquet", b"PAR1 and no more", "a.parquet: not Parquet: "),
        ("a.txt", "q", "a.txt: the extension should be one of .json, .jsonl, .csv, .parquet"),
    ],
)
def test_an_unreadable_file_gets_one_line(write, name, content, message):
    with pytest.raises(InputError) as error:
        read_records(write(name, content))
    assert error.value.what.startswith(message)
    assert "\n" not in str(error.value)


def test_a_missing_field_shows_the_fields_that_are_there(write):
    with pytest.raises(InputError, match=r"'question' is missing; the fields here are: question;answer"):
        read_records(write("a.csv", "question;answer\nq;1\n"))[0].parse(Pair)


def test_half_a_character_is_refused(write):
    path = write("a.jsonl", '{"id": "\\ud83d", "question": "\\ud83d", "answer": 1}')
    with pytest.raises(InputError) as error:
        read_records(path)[0].parse(Pair)
    assert "field 'question' holds half a character" in error.value.what
    assert str(error.value).encode()
    path = write("b.jsonl", '{"question": "\\ud83d\\ude00", "answer": 1}')
    assert read_records(path)[0].parse(Pair).question == "😀"


def test_a_long_cell_of_csv_is_read(write):
    limit = csv.field_size_limit()
    text = "x" * 200_000
    assert read_records(write("a.csv", f"question,answer\n{text},1\n"))[0].parse(Pair).question == text
    assert csv.field_size_limit() == limit
