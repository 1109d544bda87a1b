import hashlib
import json

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from tiltyard.errors import InputError
from tiltyard.signatures import Content, check_node
from tiltyard.tasks.records import DataFile, FilledText, Text, file_digest, read_records


class Pair(BaseModel):
    question: FilledText
    answer: FilledText
    note: Text = ""


def takes_file(*, path: DataFile) -> None: ...


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
        ("a.txt", "q", "a.txt: the extension should be one of .json, .jsonl, .csv"),
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


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.json", "there is no such file"),
        (".", "is a folder"),
        ("a.txt", "the extension should be one of"),
        ("pkg://tiltyard.tasks.data/missing.jsonl", "there is no such file"),
        ("pkg://no_such_package/a.jsonl", "there is no package 'no_such_package'"),
        ("pkg://tiltyard.tasks.data", "is a folder"),
    ],
)
def test_a_data_file_is_refused_by_the_config_check(write, path, message):
    write("a.txt", "x")
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(DataFile).validate_python(path)
    with pytest.raises(InputError, match=message):
        check_node({"path": path}, "task", target=takes_file)


def test_a_data_file_is_known_by_its_content(write):
    path = write("a.json", "[1]")
    (leaf,) = check_node({"path": path}, "task", target=takes_file)
    assert isinstance(leaf.content, Content)
    assert leaf.content.digest(path) == file_digest(path) == hashlib.sha256(b"[1]").hexdigest()
    assert file_digest(write("b.json", "[1]")) == file_digest(path)
    assert file_digest(write("b.json", "[2]")) != file_digest(path)


def test_a_packaged_file_is_read(write):
    path = "pkg://tiltyard.tasks.data/tatqa_tiny.jsonl"
    assert TypeAdapter(DataFile).validate_python(path) == path
    assert read_records(path)[0].place.startswith(f"{path}, record 1 (line 1, id ")
