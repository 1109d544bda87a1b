"""Data sets of the Hub: from its cache, and over HTTP from a server that speaks enough of its API."""

import hashlib
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dspy
import pytest
from huggingface_hub import constants

from tiltyard.errors import InputError
from tiltyard.models.sources import HubError
from tiltyard.signatures import check_node
from tiltyard.tasks.gsm8k import GSM8K
from tiltyard.tasks.hub import HubPath, fetch, hub_digest, on_hub, parse_hub
from tiltyard.tasks.medqa import MedQA
from tiltyard.tasks.pubmedqa import PubMedQA
from tiltyard.tasks.qa import QuestionAnswering
from tiltyard.tasks.tatqa import TatQA

COMMIT = "c0ffee" * 6 + "c0ff"


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Puts files into an empty cache of the Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put_files(name, files, commit=COMMIT):
        entry = tmp_path / "hub" / f"datasets--{name.replace('/', '--')}"
        (entry / "refs").mkdir(parents=True, exist_ok=True)
        (entry / "refs" / "main").write_text(commit)
        for inside, content in files.items():
            file = entry / "snapshots" / commit / inside
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    return put_files


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows):
    import pyarrow
    from pyarrow.parquet import write_table

    content = io.BytesIO()
    write_table(pyarrow.Table.from_pylist(rows), content)
    return content.getvalue()


def sums(first, count):
    return [
        {"question": f"{n} + {n}?", "answer": f"{n} + {n}\n#### {2 * n}"} for n in range(first, first + count)
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hf://datasets/openai/gsm8k", HubPath("openai/gsm8k", None, "")),
        ("hf://datasets/openai/gsm8k/", HubPath("openai/gsm8k", None, "")),
        ("hf://datasets/openai/gsm8k@v1.0/main", HubPath("openai/gsm8k", "v1.0", "main")),
        ("hf://datasets/a.b/c-d/x/y.json", HubPath("a.b/c-d", None, "x/y.json")),
    ],
)
def test_a_path_is_read(path, expected):
    assert parse_hub(path) == expected


@pytest.mark.parametrize(
    "path", ["hf://datasets/gsm8k", "hf://openai/gsm8k", "hf://datasets/a/b/../c.json", "hf://datasets/a b/c"]
)
def test_a_malformed_path_is_refused_before_anything_runs(path):
    node = {"_target_": "tiltyard.tasks.gsm8k.GSM8K", "path": path, "program": {"_target_": "dspy.Predict"}}
    with pytest.raises(InputError, match=re.escape("is written hf://datasets/OWNER/NAME[@REVISION][/PATH]")):
        check_node({**node, "program": {**node["program"], "_partial_": True}}, "task")
    with pytest.raises(InputError, match="such as hf://datasets/openai/gsm8k"):
        fetch(path)


def test_a_task_says_where_its_files_are_where_the_path_does_not():
    assert on_hub("hf://datasets/a/b@x", "main") == "hf://datasets/a/b@x/main"
    assert on_hub("hf://datasets/a/b/other", "main") == "hf://datasets/a/b/other"
    assert on_hub("data", "main") == "data"
    assert on_hub("hf://datasets/a/b", "") == "hf://datasets/a/b"


def test_gsm8k_comes_from_the_cache_of_the_hub(put):
    files = {
        "main/train-00000-of-00001.parquet": parquet(sums(1, 30)),
        "main/test-00000-of-00001.parquet": parquet(sums(100, 5)),
        "socratic/test-00000-of-00001.parquet": parquet(sums(200, 7)),
    }
    put("openai/gsm8k", files)
    task = GSM8K(path="hf://datasets/openai/gsm8k", program=dspy.Predict)
    splits = task.splits(seed=0, limit=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 10, 5)
    assert {task.gold(example) for example in splits.test} == {"200", "202", "204", "206", "208"}
    other = GSM8K(path="hf://datasets/openai/gsm8k/socratic", program=dspy.Predict)
    assert len(other.splits(seed=0, limit=None).test) == 7


def test_medqa_pubmedqa_and_tatqa_come_from_the_cache_of_the_hub(put):
    choice = {
        "options": {"A": "iron", "B": "zinc"},
        "answer": "zinc",
        "answer_idx": "B",
        "meta_info": "step1",
    }
    rows = [{"question": f"Sign {n}?", **choice} for n in range(12)]
    files = {
        "phrases_no_exclude_train.jsonl": lines(rows[:9]),
        "phrases_no_exclude_test.jsonl": lines(rows[9:]),
    }
    put("GBaker/MedQA-USMLE-4-options", {**files, "README.md": b"#"})
    task = MedQA(path="hf://datasets/GBaker/MedQA-USMLE-4-options", program=dspy.Predict)
    assert len(task.splits(seed=0, limit=None).test) == 3

    abstract = {"context": {"contexts": ["It did."], "labels": ["RESULTS"]}, "final_decision": "yes"}
    labelled = parquet([{"pubid": n, "question": f"Did {n}?", **abstract} for n in range(5)])
    put("qiaojin/PubMedQA", {"pqa_labeled/train-00000-of-00001.parquet": labelled})
    named = PubMedQA(path="hf://datasets/qiaojin/PubMedQA", program=dspy.Predict)
    assert named.splits(seed=0, limit=None).test[0].context == "RESULTS: It did."

    asked = {"uid": "q", "question": "What?", "answer": ["5"], "answer_type": "span", "scale": ""}
    table = {"uid": "t", "table": [["a", "b"]]}
    content = json.dumps([{"table": table, "paragraphs": [], "questions": [asked]}]).encode()
    put("next-tat/TAT-QA", {"tatqa_dataset_test_gold.json": content, "tatqa_dataset_test.json": b"[]"})
    official = TatQA(path="hf://datasets/next-tat/TAT-QA", program=dspy.Predict)
    assert official.splits(seed=0, limit=None).test[0].answer == "5"


def test_a_file_of_the_hub_counts_by_its_commit(put):
    path = "hf://datasets/own/er/qa.jsonl"
    assert hub_digest(path) == f"{path}@unresolved"
    put("own/er", {"qa.jsonl": lines([{"question": "Why?", "answer": "so"}])})
    assert hub_digest(path) == f"{path}@{COMMIT}"
    node = {"_target_": "tiltyard.tasks.qa.QuestionAnswering", "path": path, "domain": "x"}
    program = {"_target_": "dspy.Predict", "_partial_": True}
    leaves = {leaf.path: leaf for leaf in check_node({**node, "program": program}, "task")}
    assert leaves["task.path"].content.digest(path) == hub_digest(path)
    task = QuestionAnswering(path=path, domain="x", program=dspy.Predict)
    assert task.splits(seed=0, limit=None).test[0].answer == "so"


def test_offline_and_not_cached_is_one_line(put, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    put("own/other", {"qa.jsonl": b"{}"})
    with pytest.raises(HubError, match="data set 'own/er' cannot be loaded from the Hub") as error:
        fetch("hf://datasets/own/er")
    assert "unset HF_HUB_OFFLINE, or give the path of its files" in str(error.value)


class Hub(BaseHTTPRequestHandler):
    """What a client asks of the Hub for one public data set."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.asked.append(self.path)
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in self.files.items()
        ]
        path = self.path.partition("?")[0]
        file = path.removeprefix(f"/datasets/own/er/resolve/{COMMIT}/")
        if path.startswith(f"/api/datasets/own/er/tree/{COMMIT}"):
            self.send(json.dumps(entries).encode(), body, kind="application/json")
        elif path in ("/api/datasets/own/er", "/api/datasets/own/er/revision/main"):
            info = {"id": "own/er", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            self.send(json.dumps(info).encode(), body, kind="application/json")
        elif file in self.files:
            self.send(self.files[file], body)
        else:
            self.send(b"", body, status=404, **{"X-Error-Code": "RepoNotFound"})

    def send(self, content, body, kind="application/octet-stream", status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    Hub.files = {
        "main/train.jsonl": lines(sums(1, 3)),
        "main/test.jsonl": lines(sums(9, 2)),
        "main/weights.bin": b"\0" * 100,
        "README.md": b"#",
    }
    Hub.asked = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{httpd.server_port}")
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        f"http://127.0.0.1:{httpd.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    yield Hub
    httpd.shutdown()
    httpd.server_close()


def test_only_records_are_downloaded_and_only_once(server):
    task = GSM8K(path="hf://datasets/own/er", program=dspy.Predict)
    assert len(task.splits(seed=0, limit=None).test) == 2
    folder = Path(fetch("hf://datasets/own/er/main"))
    assert sorted(file.name for file in folder.iterdir()) == ["test.jsonl", "train.jsonl"]
    assert not (folder.parent / "README.md").exists()
    known = len(server.asked)
    assert len(task.splits(seed=0, limit=None).test) == 2
    assert len(server.asked) == known
    assert hub_digest("hf://datasets/own/er/main").endswith(f"@{COMMIT}")


def test_what_the_hub_has_not_is_one_line(server):
    with pytest.raises(HubError, match="no data set of this name, or a private one"):
        fetch("hf://datasets/own/missing")
    with pytest.raises(InputError, match="the data set has no file of records there"):
        fetch("hf://datasets/own/er/nowhere")
