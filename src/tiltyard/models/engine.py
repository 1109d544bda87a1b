"""The seam between DSPy and local inference: an engine turns one request into one completion.

A model is ``engine_lm("local/NAME", engine)``. Subclass :class:`TextEngine` and implement
:meth:`TextEngine.generate`; DSPy keeps history, callbacks and usage.
"""

import asyncio
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal, Self

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage, response_to_events

from tiltyard.telemetry.inference import Inference

LOCAL = "local/"
"""The provider prefix of models that run in this process."""

_ASYNC_CALLS = 64
"""Asynchronous calls that wait at once for an engine that names no limit."""


@dataclass(frozen=True)
class Completion:
    """What a model wrote in answer to one request."""

    text: str
    """The text, without the prompt and without a stop string."""
    prompt_tokens: int
    """Tokens read, counted without padding."""
    completion_tokens: int
    """Tokens written, the end-of-sequence token included."""
    finish_reason: Literal["stop", "length"] = "stop"
    """``length`` when the token limit cut the text off."""
    cached_tokens: int = 0
    """Prompt tokens whose computation was reused."""


class Engine(ABC):
    """What answers the requests of a DSPy language model. Calls may come from several threads at once."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """Facts about the model that a run's tags should carry, such as ``{"weights": "random"}``."""
        return {}

    @property
    def max_concurrency(self) -> int | None:
        """How many requests it works on at once; None: as many as come.

        The evaluation starts no more examples at once than that, so that latencies are the model's and not
        a queue's.
        """
        return None

    @property
    def adapter(self) -> dspy.Adapter | None:
        """The adapter that programs should use with this engine; None is DSPy's default."""
        return None

    @property
    def cacheable(self) -> bool:
        """Whether a response cache is worth its while. False where answering is as quick as looking up."""
        return True

    def settle(self, request: Request) -> Request:
        """The request with everything in it that decides the answer, for a response cache's key.

        An engine that chooses a seed for a sampled request puts it in here; a settled request is answered
        alike each time.
        """
        return request

    @abstractmethod
    def complete(self, request: Request) -> Response:
        """Answer one request: DSPy's entry point."""

    def stream(self, request: Request) -> Iterator[Any]:
        """DSPy's streaming entry point: the whole completion as one chunk."""
        yield from response_to_events(self.complete(request))

    def close(self) -> None:  # noqa: B027 - most engines have nothing to release
        """Release what the engine holds. Engines hold nothing by default."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # DSPy's optimizers copy programs, and the LM in them, many times: the copies share the engine.
        return self


class TextEngine(Engine):
    """An engine that answers text with text."""

    @abstractmethod
    def generate(self, request: Request) -> Completion:
        """Answer one request.

        Raises:
            dspy.lm15.ContextLengthError: The prompt leaves no room for an answer in the context window; the
                message names both lengths, in one line.
        """

    def complete(self, request: Request) -> Response:
        """The completion in DSPy's response type."""
        completion = self.generate(request)
        return Response(
            id=None,
            model=request.model,
            message=Message(role="assistant", parts=(TextPart(completion.text),)),
            finish_reason=completion.finish_reason,
            usage=Usage(
                input_tokens=completion.prompt_tokens,
                output_tokens=completion.completion_tokens,
                cache_read_tokens=completion.cached_tokens,
            ),
        )


class AsyncEngine:
    """Lets ``await lm.acall(…)`` ask an engine: its calls run in threads, so many wait at once.

    Args:
        engine: An engine with ``complete`` that threads may share.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._threads = ThreadPoolExecutor(
            max_workers=getattr(engine, "max_concurrency", None) or _ASYNC_CALLS, thread_name_prefix="engine"
        )

    async def complete(self, request: Request) -> Response:
        """DSPy's asynchronous entry point."""
        context = copy_context()
        answer: Response = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: context.run(self.engine.complete, request)
        )
        return answer

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The whole completion as one chunk."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Release the engine."""
        self.engine.close()

    def dump_state(self) -> dict[str, Any]:
        """The engine, for DSPy to save with a program.

        Raises:
            TypeError: The engine cannot be saved.
        """
        kind = type(self.engine)
        if not hasattr(kind, "dump_state"):
            raise TypeError(f"{kind.__name__} has no dump_state()")
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "state": self.engine.dump_state()}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """What :meth:`dump_state` returned. DSPy asks for this only when told to trust the file."""
        kind: Any = pkgutil.resolve_name(state["class"])
        return cls(kind.load_state(state["state"]))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def engine_lm(model: str, engine: Any, **settings: Any) -> dspy.LM:
    """The DSPy language model that an engine answers, called directly or with ``await``.

    DSPy's response cache is off: its key knows neither weights nor endpoints. So are its retries: an
    engine of a remote model has its own, and a local failure does not pass by waiting.

    Args:
        model: The name, with the provider's prefix (:data:`LOCAL` for models in this process).
        engine: What answers: an object with ``complete(Request) -> Response``, ``stream`` and ``close``.
        **settings: Generation settings that DSPy puts into each request, such as ``temperature``.
    """
    return dspy.LM(
        model, engine=engine, async_engine=AsyncEngine(engine), cache=False, num_retries=0, **settings
    )


def message_text(message: Message) -> str:
    """The text of a message's text parts, joined by newlines."""
    return "\n".join(part.text for part in message.parts if isinstance(part, TextPart))


def model_id(lm: dspy.LM) -> str:
    """The model's identifier as rows and reports show it: the name without the local prefix."""
    return str(lm.model).removeprefix(LOCAL)


def provenance(lm: dspy.LM) -> Mapping[str, str]:
    """The tags that the LM's engine wants on the run."""
    provenance: Mapping[str, str] = getattr(lm.engine, "provenance", {})
    return provenance


def adapter(lm: dspy.LM) -> dspy.Adapter | None:
    """The adapter that programs should use with the LM; None is DSPy's default."""
    wanted: dspy.Adapter | None = getattr(lm.engine, "adapter", None)
    return wanted


def inference(lm: dspy.LM) -> Inference:
    """What the LM's engine has computed so far, where it counts that; sums of nothing elsewhere."""
    counted = getattr(lm.engine, "inference", None)
    found: Inference = counted() if callable(counted) else Inference()
    return found


def max_concurrency(lm: dspy.LM) -> int | None:
    """How many requests the LM's engine works on at once; None: as many as come."""
    limit: int | None = getattr(lm.engine, "max_concurrency", None)
    return limit
