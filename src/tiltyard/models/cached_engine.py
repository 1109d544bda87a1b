"""Answers requests from the response cache, and asks the engine behind it for what is not there.

>>> lm = cached_lm(lm, cache, model_identity(cfg))
>>> lm("What is 1 + 1?")  # asks the engine
>>> lm("What is 1 + 1?")  # does not
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Self

import dspy
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.clients.call_result import usage_dict
from dspy.lm15 import BuiltinTool, Request, Response, TextPart

from tiltyard.models.caching import caching
from tiltyard.models.engine import AsyncEngine
from tiltyard.models.response_cache import Entry, ResponseCache
from tiltyard.redaction import redact
from tiltyard.telemetry.usage import NOTES, notes_of

_FORMAT = 1
"""Raised when the same request would be written down, or an entry be read, in another way."""
_ANSWERS = ("stop", "length", "tool_call")
"""How a response ends that is an answer: neither an error nor a provider's filter cut it off."""
_SAYS_NOTHING = ("text", "thinking")
"""Parts that are no answer where they hold no text, or only what the model thought."""


class CachedEngine:
    """An engine whose answers are kept on disk. Whatever else the engine offers, it offers too.

    The key holds the model's identity and provenance and the whole request, as the engine settles it. A
    sampled request without a seed has its repetition in the key as well: optimizers repeat a request to get
    another answer, and get it; a repeated run finds the same answers in the same order. Threads that miss one
    key together ask the engine once.

    Only answers are kept: no failure, nothing that an error cut off, nothing without text or tool call (asked
    again, a model may do better), and nothing with a secret in it. Not
    looked for at all are requests whose answer depends on what the key cannot hold: media by path or address,
    and tools that the provider runs.

    Args:
        engine: What answers: an object with ``complete(Request) -> Response``.
        cache: Where responses are kept.
        identity: A digest of everything about the model that can change an answer; see
            :func:`tiltyard.config.model_identity`.
    """

    def __init__(self, engine: Any, cache: ResponseCache, identity: str) -> None:
        self.engine = engine
        self._cache = cache
        self._identity = identity
        self._lock = threading.Lock()
        self._asking: dict[bytes, Future[tuple[Response, float] | None]] = {}
        self._repetitions: Counter[bytes] = Counter()

    def complete(self, request: Request) -> Response:
        """The kept response, with its original usage, marked as such; else the engine's.

        A kept response says so in ``provider_data["tiltyard"]``: ``cached`` is true, and ``latency_ms`` is
        what the engine took.
        """
        if not caching() or _depends_on_more(request):
            response: Response = self.engine.complete(request)
            return response
        settle = getattr(self.engine, "settle", None)
        settled: Request = settle(request) if settle else request
        key = self._key(settled)
        response = self._kept(key) or self._ask_once(key, settled)
        if notes_of(response).get("cached"):
            _uncount(response, request.model)
        return response

    def stream(self, request: Request) -> Iterator[Any]:
        """The engine's stream. Streams are not kept."""
        yield from self.engine.stream(request)

    def dump_state(self) -> dict[str, Any]:
        """The engine without its cache, for DSPy to save with a program.

        Raises:
            TypeError: The engine cannot be saved.
        """
        return AsyncEngine(self.engine).dump_state()

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Any:
        """The engine that :meth:`dump_state` described, without a cache."""
        return AsyncEngine.load_state(state).engine

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "engine":  # what copying and pickling look for
            raise AttributeError(name)
        return getattr(self.engine, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _key(self, settled: Request) -> bytes:
        described = json.dumps(
            {
                "format": _FORMAT,
                "identity": self._identity,
                "provenance": dict(getattr(self.engine, "provenance", {})),
                # As it stands, not sorted: a template may write a schema's fields in their order.
                "request": request_to_dict(settled),
            },
            default=str,
        )
        key = hashlib.sha256(described.encode()).digest()
        if settled.config.seed is not None or settled.config.temperature == 0:
            return key
        with self._lock:
            repetition = self._repetitions[key]
            self._repetitions[key] += 1
        return hashlib.sha256(b"%s/%d" % (key, repetition)).digest()

    def _kept(self, key: bytes) -> Response | None:
        entry = self._cache.get(key)
        return _read(entry) if entry else None

    def _ask_once(self, key: bytes, settled: Request) -> Response:
        with self._lock:
            asked = self._asking.get(key)
            if asked is None:
                mine = self._asking[key] = Future()
        if asked is not None:
            answer = asked.result()
            return _marked(*answer) if answer else self._ask(key, settled)[0]
        try:
            # Another thread may have kept the answer after this one looked.
            if kept := self._kept(key):
                mine.set_result((kept, notes_of(kept)["latency_ms"]))
                return kept
            response, milliseconds = self._ask(key, settled)
            mine.set_result((response, milliseconds) if _is_answer(response) else None)
            return response
        finally:
            with self._lock:
                del self._asking[key]
            if not mine.done():  # it failed; whoever waits asks for itself
                mine.set_result(None)

    def _ask(self, key: bytes, settled: Request) -> tuple[Response, float]:
        start = time.perf_counter()
        response: Response = self.engine.complete(settled)
        milliseconds = 1000 * (time.perf_counter() - start)
        if entry := _written(response, milliseconds):
            self._cache.put(key, entry)
        return response, milliseconds


def cached_lm(lm: dspy.LM, cache: ResponseCache, identity: str) -> dspy.LM:
    """A copy of a language model whose engine's answers are kept. Asynchronous calls are answered alike."""
    engine = CachedEngine(lm.engine, cache, identity)
    copy: dspy.LM = lm.copy(engine=engine, async_engine=AsyncEngine(engine))
    return copy


def is_cacheable(lm: dspy.LM) -> bool:
    """Whether the model has an engine of its own, and one that is slower than the cache."""
    engine = getattr(lm, "engine", None)
    return not isinstance(engine, str | None) and bool(getattr(engine, "cacheable", True))


def _depends_on_more(request: Request) -> bool:
    """Whether something outside the request decides the answer too."""
    parts = [part for message in request.messages for part in message.parts]
    if isinstance(request.system, tuple):
        parts += request.system
    return any(isinstance(tool, BuiltinTool) for tool in request.tools) or any(map(_lies_elsewhere, parts))


def _lies_elsewhere(part: Any) -> bool:
    if isinstance(part, TextPart):
        return False
    if part.type == "tool_result":
        return any(map(_lies_elsewhere, part.content))
    return getattr(part, "path", None) is not None or getattr(part, "url", None) is not None


def _is_answer(response: Response) -> bool:
    """Whether it was not cut off by an error or a filter, and says anything."""
    says = (response.text or "").strip() or any(
        part.type not in _SAYS_NOTHING for part in response.message.parts
    )
    return response.finish_reason in _ANSWERS and bool(says)


def _written(response: Response, milliseconds: float) -> Entry | None:
    """The entry of a response, or None if it is not one to keep."""
    if not _is_answer(response):
        return None
    try:
        text = json.dumps(response_to_dict(response, include_provider_data=True), allow_nan=False)
        faithful = response_from_dict(json.loads(text)) == response
    except (TypeError, ValueError):
        return None
    return Entry(text.encode(), milliseconds) if faithful and redact(text) == text else None


def _read(entry: Entry) -> Response | None:
    """The response of an entry, or None if it is damaged or not a response at all."""
    try:
        return _marked(response_from_dict(json.loads(entry.body)), entry.latency_ms)
    except Exception:  # whatever lm15 makes of values that no response has
        return None


def _marked(response: Response, milliseconds: float) -> Response:
    notes = {**notes_of(response), "cached": True, "latency_ms": milliseconds}
    return replace(response, provider_data={**(response.provider_data or {}), NOTES: notes})


def _uncount(kept: Response, model: str) -> None:
    """Take from DSPy's usage tracker what it is about to add: a kept response uses nothing."""
    if tracker := dspy.settings.usage_tracker:
        tracker.add_usage(model, _negative(usage_dict(kept)))


def _negative(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _negative(value) if isinstance(value, Mapping) else -value
        for name, value in usage.items()
        if value is not None
    }
