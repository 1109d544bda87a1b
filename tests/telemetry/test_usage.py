import dspy
import pytest
from dspy.clients.cache import Cache
from dspy.lm15 import Message, Response
from dspy.lm15 import Usage as ResponseUsage

from tiltyard.models.engine import Completion, TextEngine
from tiltyard.telemetry.usage import NOTES, Usage


class Engine(TextEngine):
    def __init__(self, finish_reasons=("stop",)):
        self.finish_reasons = list(finish_reasons)

    def generate(self, request):
        reason = self.finish_reasons.pop(0) if len(self.finish_reasons) > 1 else self.finish_reasons[0]
        return Completion("an answer", 20, 4, finish_reason=reason, cached_tokens=8)


@pytest.fixture
def response_cache(monkeypatch, tmp_path):
    cache = Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=str(tmp_path))
    monkeypatch.setattr(dspy, "cache", cache)


def test_calls_of_an_engine_add_up():
    lm = dspy.LM("local/test", engine=Engine(), cache=False)
    lm("one")
    lm("two")

    assert Usage.of(lm.history) == Usage(
        calls=2, finish_reason="stop", prompt_tokens=40, completion_tokens=8, cached_tokens=16, cost_usd=None
    )


def test_one_truncated_completion_shows():
    lm = dspy.LM("local/test", engine=Engine(["stop", "length", "stop"]), cache=False)
    for prompt in ("one", "two", "three"):
        lm(prompt)

    assert Usage.of(lm.history).finish_reason == "length"


def test_several_candidates_of_one_call():
    lm = dspy.LM("local/test", engine=Engine(["stop", "length", "stop"]), cache=False, temperature=1.0)
    lm("one", n=3)

    usage = Usage.of(lm.history)
    assert (usage.calls, usage.prompt_tokens, usage.finish_reason) == (1, 60, "length")


@pytest.mark.usefixtures("response_cache")
def test_a_cached_call_uses_nothing_and_costs_nothing():
    lm = dspy.LM("local/test", engine=Engine(), cache=True)
    lm("one")
    assert not Usage.of(lm.history).from_cache

    again = lm.copy()
    again("one")
    assert Usage.of(again.history) == Usage(calls=1, finish_reason="stop", cost_usd=0.0, from_cache=True)

    again("two")
    both = Usage.of(again.history)
    assert (both.calls, both.prompt_tokens, both.from_cache, both.cost_usd) == (2, 20, False, None)


class Priced:
    """Answers with the notes that it was given, one set for each request."""

    def __init__(self, *notes):
        self.notes = list(notes)

    def complete(self, request):
        return Response(
            id=None,
            model="m",
            message=Message.assistant("an answer"),
            finish_reason="stop",
            usage=ResponseUsage(input_tokens=20, output_tokens=4, cache_read_tokens=8),
            provider_data={NOTES: self.notes.pop(0)},
        )


KEPT = {"cached": True, "latency_ms": 250.0, "cost_usd": 0.5}


def used(*notes, **options):
    lm = dspy.LM("local/test", engine=Priced(*notes), cache=False, temperature=1.0)
    for prompt in range(len(notes) // options.get("n", 1)):
        lm(str(prompt), **options)
    return Usage.of(lm.history)


def test_the_price_is_the_engines_word():
    assert used({"cost_usd": 0.5}, {"cost_usd": 0.25}).cost_usd == 0.75
    assert used({"cost_usd": 0.5}, {}).cost_usd is None
    assert used({}).cost_usd is None


def test_a_kept_completion_shows_what_it_used_and_costs_nothing():
    assert used(KEPT) == Usage(
        calls=1,
        finish_reason="stop",
        prompt_tokens=20,
        completion_tokens=4,
        cached_tokens=8,
        spared_prompt_tokens=20,
        spared_completion_tokens=4,
        spared_cached_tokens=8,
        original_latency_ms=250.0,
        cost_usd=0.0,
        from_cache=True,
    )


@pytest.mark.parametrize("n", [1, 2])
def test_one_new_completion_makes_an_example_no_cached_one(n):
    usage = used(KEPT, {"cost_usd": 0.25}, n=n)
    assert (usage.prompt_tokens, usage.spared_prompt_tokens, usage.completion_tokens) == (40, 20, 8)
    assert (usage.from_cache, usage.cost_usd, usage.original_latency_ms) == (False, 0.25, 250.0)
    assert used(KEPT, KEPT, n=n).from_cache


def test_no_call_is_no_use():
    assert Usage.of([]) == Usage()
    assert Usage().cost_usd is None
    assert not Usage().from_cache


def test_the_price_is_known_only_if_that_of_every_call_is():
    priced = [{"response": {}, "usage": {"prompt_tokens": 1}, "cost": cost} for cost in (0.25, 0.5)]
    unpriced = {"response": {}, "usage": {"prompt_tokens": 1}, "cost": None}

    assert Usage.of(priced).cost_usd == 0.75
    assert Usage.of([*priced, unpriced]).cost_usd is None


def test_an_example_without_a_call_leaves_the_price_of_the_others_known():
    assert Usage.total([Usage(calls=1, cost_usd=0.5), Usage()]).cost_usd == 0.5


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}, "length"),
        ({"choices": [{"finish_reason": "content_filter"}]}, "content_filter"),
        ({"status": "completed", "output": []}, "stop"),
        ({"status": "incomplete", "output": []}, "length"),
        ({}, ""),
    ],
)
def test_finish_reasons_of_compatibility_responses(response, reason):
    entry = {"response": response, "usage": {"input_tokens": 7, "output_tokens": 2}, "cost": None}
    usage = Usage.of([entry])

    assert usage.finish_reason == reason
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 2)
