"""Runs of 200 examples against a server that fails: what passes loses none, what lasts is reported."""

import json
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager

import dspy
import pytest
from fault_server import PERMANENT, TRANSIENT, Handler, serving

from tiltyard.evaluation.evaluate import evaluate
from tiltyard.evaluation.rows import read_rows
from tiltyard.evaluation.trial import RowLabels
from tiltyard.models.engine import engine_lm
from tiltyard.models.remote import RemoteEngine
from tiltyard.models.remote.limits import Limits
from tiltyard.models.remote.retrying import RetryPolicy
from tiltyard.models.remote.server import Server
from tiltyard.tasks.task import Score
from tiltyard.telemetry.latency import LatencyRecorder

EXAMPLES = 200


class FortyTwo:
    """Questions whose answer is 42."""

    domain = "general"
    signature = dspy.Signature("question -> answer")
    program = dspy.Predict

    def metric(self, example, prediction, trace=None, pred_name=None, pred_trace=None):
        return Score(float(prediction.answer == example.answer))

    def gold(self, example):
        return example.answer

    def answer(self, prediction):
        return prediction.answer


def run(lm, folder, threads=16):
    task = FortyTwo()
    examples = [
        dspy.Example(id=f"q{number}", question=f"Question {number}?", answer="42").with_inputs("question")
        for number in range(EXAMPLES)
    ]
    evaluation = evaluate(
        task.program(task.signature),
        examples,
        task,
        lm=lm,
        labels=RowLabels("remote", "forty-two", "baseline"),
        threads=threads,
        latencies=LatencyRecorder(),
        folder=folder,
        progress=False,
    )
    errors = folder / "errors.jsonl"
    failures = [json.loads(line) for line in errors.read_text().splitlines()] if errors.exists() else []
    return evaluation, read_rows(folder / "predictions.csv"), failures


def test_random_faults_of_every_passing_kind_lose_no_example(fake, remote, tmp_path):
    fake.share = 0.2
    evaluation, rows, failures = run(remote(max_concurrency=16), tmp_path)

    assert failures == []
    assert len(rows) == EXAMPLES
    assert evaluation.score == 1.0
    assert sum(fake.faults.values()) > EXAMPLES
    assert {fault for fault in fake.faults if fault != "ok"} == set(TRANSIENT)


def test_a_server_that_takes_four_at_once_is_found_out(fake, remote, tmp_path, monkeypatch):
    """It refuses what comes on top: fewer are sent, and no example is lost."""
    answer = Handler.do_ok

    def refuse_the_fifth(self):
        (self.do_429 if self.server.fake.running > 4 else lambda: answer(self))()

    monkeypatch.setattr(Handler, "do_ok", refuse_the_fifth)
    fake.delay = 0.01
    evaluation, _, failures = run(remote(max_concurrency=16), tmp_path)

    assert failures == []
    assert evaluation.score == 1.0
    assert len(fake.requests) < 2 * EXAMPLES


def test_a_rate_that_no_header_tells_loses_no_example(fake, tmp_path, monkeypatch):
    """As many as 30 a minute, at a 50th of the time: four times as many threads as it takes in one."""
    minute, taken, answer = 1.2, [], Handler.do_ok

    def refuse_what_is_too_much(self):
        with self.server.fake.lock:
            now = time.monotonic()
            refused = sum(at > now - minute for at in taken) >= 30
            if not refused:
                taken.append(now)
        (self.do_429 if refused else lambda: answer(self))()

    monkeypatch.setattr(Handler, "do_ok", refuse_what_is_too_much)
    server = Server("openai_compatible", fake.url, timeout=5.0)
    patience = RetryPolicy(seconds=300 / 50, first_delay=0.5 / 50, longest_delay=60 / 50)
    engine = RemoteEngine(server, "tiny", limits=Limits(max_concurrency=120), retries=patience)
    evaluation, _, failures = run(engine_lm("remote/tiny", engine), tmp_path, threads=120)

    assert failures == []
    assert evaluation.score == 1.0
    engine.close()


PATIENCE = 3.0
"""The 300 seconds of the shipped options, at a 100th of the time."""


@contextmanager
def server_with_an_outage(seconds, how):
    """The address of a server that does not work for its first seconds."""
    with ExitStack() as stack:
        if how == "refused":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            timer = threading.Timer(seconds, lambda: stack.enter_context(serving(port)))
            url = f"http://127.0.0.1:{port}/v1"
        else:
            fake = stack.enter_context(serving())
            fake.share, fake.among, url = 1.0, [how], fake.url
            timer = threading.Timer(seconds, lambda: setattr(fake, "share", 0.0))
        timer.start()
        try:
            yield url
        finally:
            timer.cancel()
            timer.join()


def run_through_an_outage(seconds, how, folder):
    with server_with_an_outage(seconds, how) as url:
        patience = RetryPolicy(seconds=PATIENCE, first_delay=0.5 / 100, longest_delay=60 / 100)
        server = Server("openai_compatible", url, timeout=5.0)
        engine = RemoteEngine(server, "tiny", limits=Limits(max_concurrency=64), retries=patience)
        found = run(engine_lm("remote/tiny", engine), folder, threads=64)
        engine.close()
    return found


@pytest.mark.parametrize("how", ["refused", "500", "503", "cut"])
def test_an_outage_shorter_than_the_patience_loses_no_example(how, tmp_path):
    evaluation, rows, failures = run_through_an_outage(0.8 * PATIENCE, how, tmp_path)
    assert failures == []
    assert len(rows) == EXAMPLES
    assert evaluation.score == 1.0


@pytest.mark.parametrize("how", ["refused", "500"])
def test_an_outage_longer_than_the_patience_is_reported_for_every_example(how, tmp_path):
    started = time.monotonic()
    _, rows, failures = run_through_an_outage(60.0, how, tmp_path)
    assert time.monotonic() - started < 5 * PATIENCE
    assert len(rows) == len(failures) == EXAMPLES
    assert all("given up after" in failure["message"] for failure in failures)


@pytest.mark.parametrize(("fault", "kind"), PERMANENT.items())
def test_a_fault_that_lasts_fails_every_example_at_once_and_says_why(fault, kind, fake, remote, tmp_path):
    fake.share, fake.among = 1.0, [fault]
    evaluation, rows, failures = run(remote(max_concurrency=16), tmp_path)

    # No second try of an answered request; one whose connection was reset meanwhile is sent anew.
    assert EXAMPLES <= len(fake.requests) <= EXAMPLES + 5
    assert len(rows) == EXAMPLES
    assert evaluation.score == 0.0
    assert Counter(failure["kind"] for failure in failures) == {kind: EXAMPLES}


def test_a_server_that_stays_broken_ends_the_run_in_bounded_time(fake, remote, tmp_path):
    fake.share, fake.among = 1.0, ["500"]
    lm = remote(max_concurrency=16, retries=20, retry_seconds=2.0)
    _, rows, failures = run(lm, tmp_path)

    assert len(rows) == EXAMPLES
    assert {failure["kind"] for failure in failures} == {"model"}
    assert "given up after" in failures[0]["message"]
    assert rows["latency_ms"].max() < 10_000
    assert len(fake.requests) < 3 * EXAMPLES  # once it is known to be down, each example costs one try


def test_some_faults_that_last_cost_their_own_examples_only(fake, remote, tmp_path):
    fake.share, fake.among = 0.1, ["400_context_length"]
    evaluation, rows, failures = run(remote(max_concurrency=16), tmp_path)

    assert len(rows) == EXAMPLES
    assert len(failures) == fake.faults["400_context_length"] > 0
    assert evaluation.score == 1 - len(failures) / EXAMPLES
