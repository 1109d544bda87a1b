import hashlib
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from tiltyard.errors import InputError
from tiltyard.signatures import Content, check_node
from tiltyard.tasks.data_file import DataFile, existing, file_digest
from tiltyard.tasks.records import read_records


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
    ("path", "message"),
    [
        ("missing.json", "there is no such file"),
        (".", "is a folder"),
        ("a.txt", "the extension should be one of"),
        ("pkg://tiltyard.tasks.data/missing.jsonl", "there is no such file"),
        ("pkg://no_such_package/a.jsonl", "there is no package 'no_such_package'"),
        ("pkg://tiltyard.tasks.data", "is a folder"),
        ("pkg://os/x.json", "there is no package 'os'"),
        ("pkg:///x.json", "there is no package ''"),
        ("pkg://.x/x.json", "there is no package '.x'"),
        ("~no_such_user/x.json", "there is no such home folder"),
        ("x" * 300 + ".csv", "cannot be read"),
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


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_a_file_in_a_closed_folder_is_refused(write, monkeypatch):
    path = write("a.json", "[1]")
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(ValueError, match=r"cannot be read \(Permission denied\)"):
        existing(path)
    with pytest.raises(InputError, match=r"a.json: cannot be read \(Permission denied\)"):
        read_records(path)


@pytest.mark.parametrize("use", [file_digest, read_records])
def test_a_file_that_one_may_not_read_is_refused(write, monkeypatch, use):
    path = write("a.json", "[1]")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"^a.json: cannot be read \(Permission denied\)"):
        use(path)


@pytest.mark.parametrize(
    "path", ["x" * 300 + ".csv", "missing.csv", "pkg://os/x.json", "~no_such_user/x.csv"]
)
def test_the_digest_of_no_file_is_refused(write, path):
    with pytest.raises(InputError) as error:
        file_digest(path)
    assert "\n" not in str(error.value)


def test_a_packaged_file_is_read(write):
    path = "pkg://tiltyard.tasks.data/tatqa_tiny.jsonl"
    assert TypeAdapter(DataFile).validate_python(path) == path
    assert read_records(path)[0].place.startswith(f"{path}, record 1 (line 1, id ")
