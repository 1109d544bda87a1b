import asyncio
import copy
import json
import os
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median

import dspy
import pytest
from dspy.lm15 import (
    BuiltinTool,
    Config,
    FunctionTool,
    ImagePart,
    Message,
    RateLimitError,
    Reasoning,
    Request,
    Response,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)
from dspy.utils.usage_tracker import track_usage
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tiltyard.models.cached_engine import CachedEngine, cached_lm, is_cacheable
from tiltyard.models.caching import without_caches
from tiltyard.models.engine import Completion, TextEngine, engine_lm, max_concurrency, provenance
from tiltyard.models.response_cache import Entry, ResponseCache
from tiltyard.telemetry.usage import notes_of


class Counting(TextEngine):
    """Numbers its answers, so that a repeated one shows. Each takes ``seconds``."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.asked = 0
        self._lock = threading.Lock()

    def generate(self, request):
        time.sleep(self.seconds)
        with self._lock:
            self.asked += 1
            return Completion(f"answer {self.asked}", 20, 4, cached_tokens=8)


class Answering:
    """A user's own engine, which is no TextEngine: gives the responses it was given, or raises them."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def complete(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Savable(Counting):
    def dump_state(self):
        return {"seconds": self.seconds}

    @classmethod
    def load_state(cls, state):
        return cls(**state)


@pytest.fixture
def store(tmp_path):
    with closing(ResponseCache(tmp_path / "responses", 100)) as cache:
        yield cache


@pytest.fixture
def cached(store):
    def wrap(engine, identity="one model"):
        return CachedEngine(engine, store, identity)

    return wrap


def ask(text="What is 1 + 1?", model="local/test", temperature=0.0, system=None, tools=(), **config):
    messages = (text,) if isinstance(text, Message) else (Message.user(text),)
    return Request(
        model=model,
        messages=messages,
        system=system,
        tools=tools,
        config=Config(temperature=temperature, **config),
    )


def respond(text="an answer", finish_reason="stop", parts=None, **fields):
    return Response(
        id="r1",
        model="m",
        message=Message(role="assistant", parts=parts or (TextPart(text),)),
        finish_reason=finish_reason,
        usage=Usage(input_tokens=7, output_tokens=3),
        **fields,
    )


def kept(response):
    return notes_of(response).get("cached", False)


def without_notes(response):
    data = {name: value for name, value in (response.provider_data or {}).items() if name != "tiltyard"}
    return replace(response, provider_data=data or None)


@pytest.mark.parametrize(
    "response",
    [
        respond(),
        respond("half a pair: \ud800, and \u2028 too"),
        respond("cut", finish_reason="length"),
        respond(finish_reason="tool_call", parts=(ToolCallPart(id="1", name="add", input={"a": [1, 2.5]}),)),
        respond(provider_data={"id": "x", "choices": [{"index": 0, "logprobs": None}]}),
        respond(provider_data={"tiltyard": "an engine's own idea of it"}),
    ],
    ids=["plain", "surrogate", "cut", "tool", "provider", "notes"],
)
def test_a_hit_is_the_same_response_and_says_so(response, cached):
    engine = Answering(response, RateLimitError("not again"))
    first = cached(engine).complete(ask())
    hit = cached(engine).complete(ask())

    assert first == response
    assert not kept(first)
    assert without_notes(hit) == without_notes(response)
    assert kept(hit)
    assert len(engine.requests) == 1


def test_a_hit_keeps_the_latency_and_the_notes_of_the_engine(cached):
    slow = Counting(seconds=0.05)
    cached(slow).complete(ask())
    start = time.perf_counter()
    hit = cached(slow).complete(ask())
    assert time.perf_counter() - start < 0.05
    assert 50 <= hit.provider_data["tiltyard"]["latency_ms"] < 1000

    priced = Answering(respond(provider_data={"tiltyard": {"cost_usd": 0.25}, "id": "x"}))
    cached(priced).complete(ask("priced"))
    data = cached(priced).complete(ask("priced")).provider_data
    assert data["id"] == "x"
    assert data["tiltyard"]["cost_usd"] == 0.25
    assert data["tiltyard"]["cached"] is True


FIELDS = {
    "identity": st.sampled_from(["one model", "another"]),
    "provenance": st.sampled_from([{}, {"revision": "a"}, {"revision": "b"}, {"dtype": "a"}]),
    "model": st.sampled_from(["local/test", "local/other"]),
    "text": st.sampled_from(["What?", "What? ", "What?\n", "Wh\u00e4t?"]),
    "role": st.sampled_from(["user", "assistant"]),
    "system": st.sampled_from([None, "Be brief.", "Be long."]),
    "tools": st.sampled_from([(), ("add",), ("subtract",), ("add", "subtract"), ("subtract", "add")]),
    "temperature": st.sampled_from([0.0, 0.7, 1.0]),
    "top_p": st.sampled_from([None, 0.9, 1.0]),
    "top_k": st.sampled_from([None, 5, 50]),
    "max_tokens": st.sampled_from([None, 16, 32]),
    "stop": st.sampled_from([(), ("\n",), ("\n", "#"), ("#", "\n")]),
    "seed": st.sampled_from([0, 1, 2**40]),
    "frequency_penalty": st.sampled_from([None, 0.0, 0.5]),
    "presence_penalty": st.sampled_from([None, 0.0, 0.5]),
    "response_format": st.sampled_from(
        [
            None,
            {"type": "json_object"},
            {"type": "json_schema", "name": "x", "schema": {"a": 1, "b": 2}},
            {"type": "json_schema", "name": "x", "schema": {"b": 2, "a": 1}},
        ]
    ),
    "reasoning": st.sampled_from([None, "low", "high"]),
    "extensions": st.sampled_from([None, {"min_p": 0.1}, {"min_p": 0.2}, {"guided_regex": "0.1"}]),
}


class Described(Counting):
    def __init__(self, facts):
        super().__init__()
        self.provenance_facts = facts

    @property
    def provenance(self):
        return self.provenance_facts


def of_parts(store, parts):
    """A wrapped engine, and the request to put to it."""
    settings_of = dict(parts)
    engine = CachedEngine(Described(settings_of.pop("provenance")), store, settings_of.pop("identity"))
    text, role = settings_of.pop("text"), settings_of.pop("role")
    effort = settings_of.pop("reasoning")
    tools = tuple(FunctionTool(name=name, parameters={"type": "object"}) for name in settings_of.pop("tools"))
    request = ask(
        Message(role=role, parts=(TextPart(text),)),
        tools=tools,
        reasoning=Reasoning(effort=effort) if effort else None,
        **settings_of,
    )
    return engine, request


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_of_anything_is_a_miss_and_no_change_is_a_hit(data):
    before = {name: data.draw(values, label=name) for name, values in FIELDS.items()}
    changed = data.draw(st.sampled_from(sorted(FIELDS)), label="changed")
    after = {**before, changed: data.draw(FIELDS[changed], label="to")}
    assume(json.dumps(after) != json.dumps(before))
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(ResponseCache(Path(folder), 100)) as store,
    ):
        for parts, hit in [(before, False), (after, False), (before, True), (after, True)]:
            engine, request = of_parts(store, parts)
            assert kept(engine.complete(request)) is hit
            assert engine.asked == (0 if hit else 1)


def test_the_order_of_a_schemas_fields_counts(cached):
    """A chat template may write them down as they come."""
    engine = Counting()
    for schema in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        tool = FunctionTool(name="add", parameters=schema)
        cached(engine).complete(ask(response_format={"type": "json_schema", "schema": schema}))
        cached(engine).complete(ask(tools=(tool,)))
    assert engine.asked == 4


def test_a_conversation_is_more_than_its_texts(cached):
    engine = Counting()
    turns = [
        (Message.user("a b"),),
        (Message.user("a"), Message.user("b")),
        (Message.user("a"), Message.assistant("b")),
        (Message.user((TextPart("a"), TextPart("b"))),),
    ]
    for messages in turns:
        cached(engine).complete(Request(model="m", messages=messages, config=Config(temperature=0.0)))
    assert engine.asked == 4


@pytest.mark.parametrize("temperature", [0.7, None])
def test_a_repeated_sampled_request_gets_other_answers_and_a_repeated_run_the_same(temperature, cached):
    engine = Counting()

    def run(times):
        lm = cached(engine)
        return [lm.complete(ask(temperature=temperature)).text for _ in range(times)]

    assert run(3) == ["answer 1", "answer 2", "answer 3"]
    assert run(4) == ["answer 1", "answer 2", "answer 3", "answer 4"]
    assert run(2) == ["answer 1", "answer 2"]


@pytest.mark.parametrize("request_with", [{"temperature": 0.0}, {"temperature": 0.9, "seed": 3}])
def test_a_request_with_one_answer_has_one_entry(request_with, cached):
    engine = Counting()
    wrapped = cached(engine)
    assert {wrapped.complete(ask(**request_with)).text for _ in range(3)} == {"answer 1"}


class Seeding(Counting):
    """Chooses seeds as a local engine does: anew for each repetition, alike in each run."""

    def __init__(self):
        super().__init__()
        self.repetitions = Counter()
        self.seeds = []

    def settle(self, request):
        if request.config.seed is not None or request.config.temperature == 0:
            return request
        text = request.messages[-1].text
        self.repetitions[text] += 1
        return replace(request, config=replace(request.config, seed=self.repetitions[text]))

    def generate(self, request):
        self.seeds.append(request.config.seed)
        return Completion(f"sampled with {request.config.seed}", 1, 1)


def test_an_engine_that_settles_a_seed_is_asked_with_it(cached):
    first, second = Seeding(), Seeding()
    runs = [
        [cached_run.complete(ask(temperature=1.0)).text for _ in range(2)]
        for cached_run in (cached(first), cached(second))
    ]
    assert runs[0] == runs[1] == ["sampled with 1", "sampled with 2"]
    assert (first.seeds, second.seeds) == ([1, 2], [])
    assert cached(Seeding()).complete(ask(temperature=1.0, seed=2)).text == "sampled with 2"


@pytest.mark.parametrize(
    "failure",
    [
        RateLimitError("slow down"),
        RuntimeError("broken"),
        respond("the server fell o", finish_reason="error"),
        respond("I cannot", finish_reason="content_filter"),
        respond(""),
        respond("", finish_reason="length"),
        respond(" \n"),
        respond(parts=(ThinkingPart("I wonder"), TextPart(""))),
    ],
    ids=["limit", "bug", "error", "filter", "empty", "empty at the limit", "blank", "thoughts"],
)
def test_what_is_no_answer_is_never_kept(failure, cached, store):
    engine = Answering(failure, respond("fine"))
    wrapped = cached(engine)
    if isinstance(failure, Exception):
        with pytest.raises(type(failure)):
            wrapped.complete(ask())
    else:
        assert wrapped.complete(ask()) == failure
    assert store.contents().entries == 0
    assert wrapped.complete(ask()).text == "fine"
    assert kept(wrapped.complete(ask()))


def in_threads(count, action):
    """The results of an action in threads that start together; exceptions are results too."""
    barrier, results = threading.Barrier(count), []

    def work():
        barrier.wait()
        try:
            results.append(action())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(results) == count
    return results


def test_threads_that_miss_together_ask_once(cached):
    engine = Counting(seconds=0.2)
    wrapped = cached(engine)
    responses = in_threads(8, lambda: wrapped.complete(ask()))
    assert engine.asked == 1
    assert {response.text for response in responses} == {"answer 1"}
    assert sorted(map(kept, responses)) == [False] + 7 * [True]
    assert all(
        response.provider_data["tiltyard"]["latency_ms"] >= 200 for response in responses if kept(response)
    )


def test_an_answer_that_was_kept_after_the_look_is_found(tmp_path):
    class Overtaken(ResponseCache):
        """Between a first look and what follows it, another caller asks and keeps the answer."""

        overtaken = False

        def get(self, key):
            found = super().get(key)
            if not self.overtaken:
                self.overtaken = True
                wrapped.complete(ask())
            return found

    engine = Counting()
    with closing(Overtaken(tmp_path, 100)) as store:
        wrapped = CachedEngine(engine, store, "one model")
        assert kept(wrapped.complete(ask()))
    assert engine.asked == 1


def test_other_requests_do_not_wait(cached):
    engine = Counting(seconds=0.3)
    wrapped = cached(engine)
    numbers = iter(range(8))
    start = time.perf_counter()
    in_threads(8, lambda: wrapped.complete(ask(f"question {next(numbers)}")))
    assert engine.asked == 8
    assert time.perf_counter() - start < 8 * 0.3 / 2


def test_those_who_wait_for_a_failure_ask_for_themselves(cached):
    class FailingOnce(Counting):
        def generate(self, request):
            completion = super().generate(request)
            if completion.text == "answer 1":
                raise RuntimeError("the first one fails")
            return completion

    engine = FailingOnce(seconds=0.1)
    wrapped = cached(engine)
    results = in_threads(4, lambda: wrapped.complete(ask()))
    assert sum(isinstance(result, RuntimeError) for result in results) == 1
    assert all(result.text.startswith("answer") for result in results if isinstance(result, Response))
    assert kept(wrapped.complete(ask()))


def test_without_caches_nothing_is_read_or_kept(cached, store):
    engine = Counting()
    wrapped = cached(engine)
    with without_caches():
        assert wrapped.complete(ask()).text == "answer 1"
        assert store.contents().entries == 0
    assert wrapped.complete(ask()).text == "answer 2"
    with without_caches():
        assert not kept(wrapped.complete(ask()))
    assert wrapped.complete(ask()).text == "answer 2"


def test_without_caches_reaches_the_threads_that_a_program_starts(cached):
    engine = Counting()
    lm = engine_lm("local/test", cached(engine), temperature=0.0)
    predict = dspy.Predict("question -> answer")

    def parallel():
        runs = [(predict, dspy.Example(question="What?").with_inputs("question")) for _ in range(3)]
        # The answers are no answers of an adapter's: only who was asked matters here.
        dspy.Parallel(num_threads=3, disable_progress_bar=True, max_errors=99)(runs)

    with dspy.context(lm=lm):
        parallel()
        asked = engine.asked
        parallel()
        assert engine.asked == asked
        with without_caches():
            parallel()
        assert engine.asked > asked + 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"not JSON",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"model": "m", "finish_reason": "stop", "message": {"role": "user", "parts": []}}',
        b'{"model": "m", "finish_reason": "guessed", "message": {"role": "assistant", "parts": ["x"]}}',
        b'{"model": 3, "finish_reason": "stop", "message": 4}',
        b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    ],
)
def test_a_damaged_entry_is_a_miss_and_is_replaced(body, cached, store):
    engine = Counting()
    cached(engine).complete(ask())
    with closing(sqlite3.connect(store.path)) as other, other:
        other.execute("UPDATE responses SET body = ?", (body,))
    assert cached(engine).complete(ask()).text == "answer 2"
    assert cached(engine).complete(ask()).text == "answer 2"
    assert engine.asked == 2


def test_entries_of_another_key_are_not_mixed_up(cached, store):
    engine = Counting()
    for text in ("one", "two"):
        cached(engine).complete(ask(text))
    assert [cached(engine).complete(ask(text)).text for text in ("one", "two")] == ["answer 1", "answer 2"]


def test_a_response_with_a_secret_in_it_is_not_kept(cached, store, monkeypatch):
    monkeypatch.setenv("PLANTED_API_KEY", "a-planted-secret")
    engine = Answering(respond("it is a-planted-secret"), respond("sk-abcdefghijklmnop1234"), respond("fine"))
    wrapped = cached(engine)
    for _ in range(3):
        wrapped.complete(ask())
    assert len(engine.requests) == 3
    assert store.contents().entries == 1
    assert not [path for path in store.path.parent.iterdir() if b"a-planted-secret" in path.read_bytes()]


@pytest.mark.parametrize(
    "outside",
    [
        {"text": Message.user((ImagePart(media_type="image/png", path="chart.png"),))},
        {"text": Message.user((ImagePart(media_type="image/png", url="https://example.org/chart.png"),))},
        {"tools": (BuiltinTool(name="web_search"),)},
    ],
    ids=["path", "address", "tool"],
)
def test_what_depends_on_more_than_the_request_is_not_kept(outside, cached, store):
    engine = Counting()
    wrapped = cached(engine)
    assert [wrapped.complete(ask(**outside)).text for _ in range(2)] == ["answer 1", "answer 2"]
    assert store.contents().entries == 0


def test_media_in_the_request_itself_is_part_of_the_key(cached):
    engine = Counting()
    wrapped = cached(engine)
    for data in ("aGVsbG8=", "d29ybGQ=", "aGVsbG8="):
        wrapped.complete(ask(Message.user((ImagePart(media_type="image/png", data=data),))))
    assert engine.asked == 2


def test_a_broken_cache_stops_nobody(tmp_path, caplog):
    (tmp_path / "file").touch()
    engine = Counting()
    wrapped = CachedEngine(engine, ResponseCache(tmp_path / "file" / "responses", 100), "one model")
    assert [wrapped.complete(ask()).text for _ in range(3)] == ["answer 1", "answer 2", "answer 3"]
    assert len(caplog.messages) == 1


def test_it_offers_what_its_engine_offers(cached):
    class Full(Counting):
        max_concurrency = 3
        provenance = {"weights": "random"}  # noqa: RUF012

        def close(self):
            self.closed = True

    lm = cached_lm(engine_lm("local/test", Full()), None, "one model")
    assert (max_concurrency(lm), provenance(lm)) == (3, {"weights": "random"})
    lm.engine.close()
    assert lm.engine.closed
    assert copy.deepcopy(lm.engine) is lm.engine

    bare = cached_lm(dspy.LM("user/own", engine=Answering(respond())), None, "one model")
    assert (max_concurrency(bare), provenance(bare)) == (None, {})
    assert not hasattr(bare.engine, "adapter")


def test_dspy_asks_it_directly_and_asynchronously(store):
    engine = Counting()
    lm = cached_lm(engine_lm("local/test", engine, temperature=0.0), store, "one model")
    assert lm("What?") == asyncio.run(lm.acall("What?")) == ["answer 1"]
    [first, second] = lm.history
    assert first["usage"] == second["usage"]


def test_dspys_usage_tracker_counts_what_was_used(store):
    lm = cached_lm(engine_lm("local/test", Counting(), temperature=0.0), store, "one model")
    with track_usage() as usage:
        lm("What?")
        once = usage.get_total_tokens()
        lm("What?")
        asyncio.run(lm.acall("What?"))
        assert usage.get_total_tokens() == once
    assert once["local/test"]["prompt_tokens"] == 20


def test_it_is_saved_as_its_engine(store):
    lm = cached_lm(engine_lm("local/test", Savable(0.5)), store, "one model")
    state = json.loads(json.dumps(lm.dump_state()))
    loaded = dspy.LM.load_state(
        {name: value for name, value in state.items() if not name.startswith("_")}, allow_custom_lm_class=True
    )
    assert type(loaded.engine) is Savable
    assert loaded.engine.seconds == 0.5
    with pytest.raises(TypeError, match="Counting"):
        cached_lm(engine_lm("local/test", Counting()), store, "one model").dump_state()


def test_streams_pass_through(cached):
    engine = Counting()
    wrapped = cached(engine)
    for _ in range(2):
        assert [event.type for event in wrapped.stream(ask())][-1] == "end"
    assert engine.asked == 2


def test_which_models_are_worth_a_cache():
    class Quick(Counting):
        cacheable = False

    assert is_cacheable(engine_lm("local/test", Counting()))
    assert is_cacheable(dspy.LM("user/own", engine=Answering(respond())))
    assert not is_cacheable(engine_lm("local/test", Quick()))
    assert not is_cacheable(dspy.LM("openai/gpt-4o-mini"))


def test_a_hit_takes_far_less_than_a_millisecond(cached):
    wrapped = cached(Counting())
    requests = [ask(f"{number} " + "A passage of some length. " * 100) for number in range(200)]
    for request in requests:
        wrapped.complete(request)
    times = []
    for request in requests:
        start = time.perf_counter()
        assert kept(wrapped.complete(request))
        times.append(time.perf_counter() - start)
    assert median(times) < 0.001


def test_an_entry_too_large_to_keep_is_still_an_answer(tmp_path):
    with closing(ResponseCache(tmp_path, 1)) as small:
        wrapped = CachedEngine(Answering(respond("x" * 2_000_000)), small, "one model")
        assert len(wrapped.complete(ask()).text) == 2_000_000
        assert small.contents().entries == 0
        small.put(os.urandom(32), Entry(b"{}", 1.0))
        assert small.contents().entries == 1
