import json

import pytest

from tiltyard.errors import JobError
from tiltyard.optimizers.cheatsheet.journal import Journal

KEYS = ["answers/0", "rewrite/0", "answers/1"]


class Work:
    def __init__(self):
        self.done = []

    def __call__(self, journal, keys=KEYS):
        return [journal.once(key, lambda key=key: self.result(key)) for key in keys]

    def result(self, key):
        self.done.append(key)
        return {"text": f"{key}: größer \ud83d\n", "tuple": (1, 2), "none": None}


def test_nothing_is_done_twice(tmp_path):
    path = tmp_path / "checkpoints" / "journal.jsonl"
    first, second = Work(), Work()
    found = first(Journal(path, "mine"), KEYS[:2])
    assert second(Journal(path, "mine"))[:2] == found
    assert (first.done, second.done) == (KEYS[:2], KEYS[2:])


def test_a_result_is_the_same_kept_or_not(tmp_path):
    assert Work()(Journal(None, "mine")) == Work()(Journal(tmp_path / "journal.jsonl", "mine"))


def test_a_file_cut_off_anywhere_gives_what_is_whole_in_it(tmp_path):
    path = tmp_path / "journal.jsonl"
    whole = Work()(Journal(path, "mine"))
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        work = Work()
        assert work(Journal(path, "mine")) == whole
        assert len(work.done) == min(3, max(0, 4 - content[:size].count(b"\n")))
        assert path.read_bytes() == content


def test_a_file_of_other_settings_is_begun_anew(tmp_path, caplog):
    path = tmp_path / "journal.jsonl"
    Work()(Journal(path, "mine"))
    work = Work()
    work(Journal(path, "yours"))
    assert work.done == KEYS
    assert "other settings" in caplog.text


def test_work_that_fails_leaves_nothing(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", "mine")
    with pytest.raises(ZeroDivisionError):
        journal.once("answers/0", lambda: {"share": 1 / 0})
    assert len(Journal(tmp_path / "journal.jsonl", "mine")) == 0


def test_no_secret_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOUSE_API_KEY", "open-sesame-42")
    path = tmp_path / "journal.jsonl"
    kept = Journal(path, "mine").once("answers/0", lambda: {"text": "it is open-sesame-42"})
    assert "sesame" not in path.read_text()
    assert json.loads(path.read_text().splitlines()[1])["result"] == kept == {"text": "it is ***"}


def test_a_file_that_cannot_be_written_ends_the_job(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", "mine")
    journal.path.unlink()
    journal.path.mkdir()
    with pytest.raises(JobError, match="cannot be written"):
        Work()(journal)


def test_masking_a_secret_breaks_no_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    kept = Journal(path, "mine").once("answers/0", lambda: {"text": 'see ?key=open-sesame-42" there'})
    assert kept == {"text": 'see ?key=***" there'}
    assert Journal(path, "mine").once("answers/0", lambda: {}) == kept
