import json
import logging
import threading
from dataclasses import fields
from datetime import UTC, datetime

import dspy
import pytest
from dspy.utils import exceptions

from tiltyard.evaluation.failures import HINTS, ErrorLog, Failure, kind_of, one_line


def unparsed(answer="nonsense"):
    signature = dspy.Signature("question -> verdict")
    return exceptions.AdapterParseError("ChatAdapter", signature, answer)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (unparsed(), "parse"),
        (exceptions.ContextWindowExceededError(message="2100 tokens, 2048 fit"), "context"),
        (exceptions.LMTimeoutError("too slow"), "timeout"),
        (TimeoutError(), "timeout"),
        (exceptions.LMRateLimitError("slow down"), "rate_limit"),
        (exceptions.LMAuthError("no"), "auth"),
        (exceptions.LMBillingError("no credit"), "auth"),
        (exceptions.LMNotConfiguredError("no key"), "auth"),
        (exceptions.LMServerError("oops"), "model"),
        (exceptions.LMUnexpectedError("engine bug"), "model"),
        (exceptions.LMTransportError("connection reset"), "model"),
        (KeyError("answer"), "error"),
    ],
)
def test_kinds(error, kind):
    assert kind_of(error) == kind


def test_the_cause_of_a_wrapped_failure_decides_its_kind():
    error = RuntimeError("step 3 failed")
    error.__cause__ = exceptions.LMAuthError("wrong key")

    assert kind_of(error) == "auth"


def test_a_failure_says_when_where_what_and_what_to_do():
    failure = Failure.of(unparsed(), phase="generate", sample="17")

    assert abs(datetime.now(UTC) - datetime.fromisoformat(failure.time)).total_seconds() < 10
    assert failure.time.endswith("+00:00")
    assert (failure.phase, failure.sample, failure.kind) == ("generate", "17", "parse")
    assert "nonsense" in failure.message
    assert failure.hint == HINTS["parse"]


def test_the_place_can_decide_the_kind():
    assert Failure.of(KeyError("gold"), phase="score", sample="1", kind="metric").kind == "metric"


def test_every_hint_is_one_line():
    assert all(hint and "\n" not in hint for hint in HINTS.values())


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n\nlines\tof  text"), "ValueError: two lines of text"),
        (KeyError("answer"), "KeyError: 'answer'"),
        (AssertionError(), "AssertionError"),
        (exceptions.LMServerError("oops", model="local/x"), "[local/x] oops"),
        (exceptions.LMServerError(), "LMServerError"),
    ],
)
def test_messages_are_one_line(error, line):
    assert one_line(error) == line


def test_a_long_message_keeps_its_start_and_its_end():
    message = one_line(unparsed("very " * 1000 + "long"))

    assert len(message) == 500
    assert message.startswith("Adapter ChatAdapter failed to parse the LM response. LM Response: very very")
    assert " … " in message
    assert message.endswith("Expected to find output fields in the LM response: [verdict]")


def test_secrets_stay_out(monkeypatch, caplog):
    monkeypatch.setenv("SOME_API_KEY", "plain-looking-secret")
    error = exceptions.LMAuthError("key sk-abcdefghijklmnopqrstuvwx refused, plain-looking-secret too")
    with caplog.at_level(logging.DEBUG, logger="tiltyard"):
        failure = Failure.of(error, phase="generate", sample="1")

    for text in (failure.message, caplog.text):
        assert "refused" in text
        assert "sk-abc" not in text
        assert "plain-looking-secret" not in text


def test_the_traceback_is_in_the_debug_log(caplog):
    with caplog.at_level(logging.DEBUG, logger="tiltyard"):
        try:
            {}["missing"]
        except KeyError as error:
            Failure.of(error, phase="generate", sample="7")

    assert "example 7: Traceback" in caplog.text
    assert '{}["missing"]' in caplog.text


def test_failures_are_on_disk_as_they_happen(tmp_path):
    path = tmp_path / "new" / "errors.jsonl"
    with ErrorLog(path) as errors:
        assert not path.exists()
        errors.add(Failure.of(ValueError("größer\n"), phase="generate", sample="1"))
        record = json.loads(path.read_text(encoding="utf-8"))

    assert list(record) == ["time", "phase", "sample", "kind", "message", "hint"]
    assert list(record) == [field.name for field in fields(Failure)]
    assert record["message"] == "ValueError: größer"


def test_no_failure_no_file(tmp_path):
    path = tmp_path / "errors.jsonl"
    path.write_text("from an earlier run\n")
    with ErrorLog(path):
        pass

    assert not path.exists()


def test_threads_share_a_log(tmp_path):
    path = tmp_path / "errors.jsonl"
    with ErrorLog(path) as errors:

        def work(start):
            for number in range(start, 200, 4):
                errors.add(Failure.of(ValueError("x" * 300), phase="generate", sample=str(number)))

        threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    samples = [json.loads(line)["sample"] for line in path.read_text().splitlines()]
    assert sorted(samples, key=int) == [str(number) for number in range(200)]


def test_half_a_surrogate_pair_can_be_read_back(tmp_path):
    path = tmp_path / "errors.jsonl"
    with ErrorLog(path) as errors:
        errors.add(Failure.of(ValueError("broken \ud83d emoji"), phase="generate", sample="1"))

    assert json.loads(path.read_text(encoding="utf-8"))["message"] == "ValueError: broken \ud83d emoji"
