"""A real ``transformers serve`` on loopback: it answers experiments as the model answers in process."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tiltyard.models.hardware import Hardware, Placement
from tiltyard.models.remote import remote_model
from tiltyard.models.tiny_gpt2 import build_random
from tiltyard.models.transformers_engine import transformers_model

pytestmark = pytest.mark.integration

CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
START_SECONDS = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a random model that has a chat template."""
    folder = tmp_path_factory.mktemp("served") / "tiny-chat"
    weights = build_random(Placement(device="cpu", dtype="float32", threads=1))
    weights.tokenizer.chat_template = CHAT_TEMPLATE
    weights.model.generation_config.do_sample = True  # the server samples only if the checkpoint says so
    weights.model.save_pretrained(folder)
    weights.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(model, tmp_path_factory):
    """The address of the server's API."""
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        pytest.skip(
            "transformers serve needs fastapi, uvicorn and openai: pip install 'transformers[serving]'"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    log = home / "serve.log"
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_healthy(address, process, log):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(log.read_text())


def served(url, model, **changes):
    return remote_model(
        provider="openai_compatible", id=str(model), api_base=url, **{"max_tokens": 24, **changes}
    )


def test_an_experiment_asks_the_server(url, model, tmp_path):
    arguments = [
        "model=openai_compatible", f"model.id={model}", f"model.api_base={url}", "model.max_tokens=24",
        "task=iot_tiny", "limit=3", "tracking=off",
    ]  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", "tiltyard", *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr

    [table] = tmp_path.glob("outputs/*/*/predictions.csv")
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert len(rows) == 3
    assert all(int(row["prompt_tokens"]) > 100 for row in rows)
    assert {row["finish_reason"] for row in rows} == {"length"}
    # A random model keeps to no format: each example was answered, and the answer could not be read.
    assert all(row["error"].startswith("parse:") for row in rows)
    metrics = json.loads((table.parent / "result.json").read_text())["metrics"]
    assert "cost.usd" not in metrics


def test_the_server_says_what_the_model_says_in_process(url, model):
    here = transformers_model(
        id=str(model), hardware=Hardware(device="cpu", dtype="float32", threads=1), max_tokens=24
    )
    there = served(url, model)
    for prompt in ("The pump is warm.", "What is 2 + 2?", "Revenue rose."):
        assert there(prompt) == here(prompt)
        mine, its = here.history[-1]["usage"], there.history[-1]["usage"]
        assert mine["prompt_tokens"] == its["prompt_tokens"]
        assert mine["completion_tokens"] == its["completion_tokens"] == 24


def test_seeds_decide_sampled_answers(url, model):
    def sample(seed):
        return served(url, model, temperature=1.0, seed=seed, max_concurrency=1)("Go on:")[0]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_a_request_that_it_does_not_take_fails_in_one_line(url, model):
    with pytest.raises(Exception, match="answered HTTP 4") as caught:
        served(url, model, extra_body={"no_such_field": 1})("hello")
    assert "no_such_field" in str(caught.value)
    assert "\n" not in str(caught.value)
