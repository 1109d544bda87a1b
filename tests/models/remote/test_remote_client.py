import time

import dspy
import pytest
from dspy.lm15 import Config, Message, Request, UnsupportedFeatureError
from dspy.utils.exceptions import LMError
from fault_server import PERMANENT, TRANSIENT, completion

from tiltyard.evaluation.failures import kind_of
from tiltyard.models.remote.client import Client

KINDS = {
    "429_retry_after": "rate_limit",
    "429": "rate_limit",
    "hang": "timeout",
    "trickle": "timeout",
    **dict.fromkeys(("500", "503", "cut", "cut_in_body", "malformed", "wrong_shape"), "model"),
    **dict.fromkeys(("html", "empty_choices", "error_in_200"), "model"),
}


def tiltyard_data(lm):
    return lm.history[-1]["response"].provider_data["tiltyard"]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_passing_fault_costs_a_try_and_no_answer(fault, fake, remote):
    lm = remote()
    fake.script = [fault]

    assert "42" in lm("hello")[0]
    assert tiltyard_data(lm)["tries"] == 2
    assert tiltyard_data(lm)["waited_ms"] > 0


@pytest.mark.parametrize(("fault", "kind"), [*KINDS.items(), *PERMANENT.items()])
def test_what_finally_fails_is_one_line_with_the_host_and_of_the_right_kind(fault, kind, fake, remote):
    lm = remote(retries=0)
    fake.script = [fault]

    with pytest.raises(LMError) as caught:
        lm("hello")

    assert kind_of(caught.value) == kind
    assert fake.url.split("/")[2] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ("given up after 1 try" in str(caught.value)) == (fault in TRANSIENT)


def test_a_reply_that_never_ends_is_broken_off_and_gives_its_connection_back(fake, remote):
    lm = remote(timeout=0.3, max_concurrency=1)
    fake.script = ["trickle", "trickle"]
    start = time.monotonic()

    assert "42" in lm("hello")[0]

    assert tiltyard_data(lm)["tries"] == 3
    assert 0.6 <= time.monotonic() - start < 5
    fake.script = ["trickle"]
    with pytest.raises(LMError, match=r"had not finished its reply after 0\.3 s"):
        remote(timeout=0.3, retries=0)("hello")


@pytest.mark.parametrize("fault", PERMANENT)
def test_a_lasting_fault_is_not_tried_again(fault, fake, remote):
    lm = remote()
    fake.script = [fault]
    with pytest.raises(LMError):
        lm("hello")
    assert len(fake.requests) == 1


def test_a_date_in_retry_after_is_kept(fake, remote):
    lm = remote()
    fake.retry_after = 2.0
    fake.script = ["429_retry_after_date"]
    lm("hello")
    first, second = fake.arrivals
    assert 0.9 < second - first < 10  # the header has whole seconds


def test_all_threads_keep_what_one_was_told(fake, remote):
    lm = remote(max_concurrency=1)
    fake.retry_after, fake.script = 1, ["429_retry_after"]
    start = time.monotonic()
    dspy.Parallel(num_threads=4, disable_progress_bar=True)([(lambda: lm("a"), {}) for _ in range(4)])
    assert len(fake.arrivals) == 5
    assert all(later - start >= 1 for later in fake.arrivals[1:])


def test_usage_and_the_reason_to_stop_come_through(fake, remote):
    lm = remote()
    fake.answer = completion("cut off")
    fake.answer["choices"][0]["finish_reason"] = "length"
    lm("hello")

    entry = lm.history[-1]
    assert entry["response"].finish_reason == "length"
    assert (entry["usage"]["prompt_tokens"], entry["usage"]["completion_tokens"]) == (30, 12)
    assert entry["usage"]["prompt_tokens_details"]["cached_tokens"] == 8


def test_no_usage_is_no_usage(fake, remote):
    lm = remote()
    fake.answer.pop("usage")
    lm("hello")
    assert lm.history[-1]["usage"].get("prompt_tokens") is None


def test_a_key_is_sent_and_never_shown(fake, remote, monkeypatch):
    monkeypatch.setenv("MY_PASS", "very-private-value")
    monkeypatch.setenv("MY_HEADER", "another-private-value")
    lm = remote(api_key_env="MY_PASS", headers={"X-Title": "t"}, headers_env=("X-Extra:MY_HEADER",))
    fake.script = ["401"]
    with pytest.raises(LMError) as caught:
        lm("hello")

    _, headers, _ = fake.requests[0]
    assert headers["Authorization"] == "Bearer very-private-value"
    assert (headers["X-Title"], headers["X-Extra"]) == ("t", "another-private-value")
    assert "private" not in str(caught.value)
    assert "private" not in str(lm.dump_state())
    assert "private" not in repr(vars(lm.engine))


def test_what_the_api_has_no_field_for_is_refused_and_not_dropped(fake):
    from dspy.lm15 import OpenAIChatCompat

    client = Client(
        provider="openai_compatible",
        root=fake.url,
        key=None,
        headers={},
        compat=OpenAIChatCompat.preset("sglang"),
        connect_timeout=1.0,
        timeout=1.0,
    )
    with pytest.raises(UnsupportedFeatureError, match="top_k"):
        client.complete(Request(model="tiny", messages=(Message.user("a"),), config=Config(top_k=5)))
    assert fake.requests == []
    client.close()


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "the request exceeds the available context size, try increasing it",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
    ],
)
def test_a_prompt_that_is_too_long_is_told_from_a_bad_request(message, fake, remote, monkeypatch):
    from fault_server import Handler, error_body

    monkeypatch.setattr(Handler, "do_500", lambda self: self.reply(400, error_body(message)))
    lm = remote()
    fake.script = ["500"]
    with pytest.raises(LMError) as caught:
        lm("hello")
    assert kind_of(caught.value) == "context"
    assert message in str(caught.value)
