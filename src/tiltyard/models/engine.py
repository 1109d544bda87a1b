"""The seam between DSPy and local inference: an engine turns one request into one completion.

A local model is ``dspy.LM("local/NAME", engine=engine, cache=False)``. Subclass :class:`TextEngine` and
implement :meth:`TextEngine.generate`; DSPy keeps retries, history, callbacks and usage.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage, response_to_events

LOCAL = "local/"
"""The provider prefix of models that run in this process."""


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


class TextEngine(ABC):
    """An engine that answers text with text. Calls may come from several threads at once."""

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

    @abstractmethod
    def generate(self, request: Request) -> Completion:
        """Answer one request.

        Raises:
            dspy.lm15.ContextLengthError: The prompt leaves no room for an answer in the context window; the
                message names both lengths, in one line.
        """

    def complete(self, request: Request) -> Response:
        """DSPy's entry point: the completion in DSPy's response type."""
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

    def stream(self, request: Request) -> Iterator[Any]:
        """DSPy's streaming entry point: the whole completion as one chunk."""
        yield from response_to_events(self.complete(request))

    def close(self) -> None:  # noqa: B027 - most engines have nothing to release
        """Release what the engine holds. Engines hold nothing by default."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # DSPy's optimizers copy programs, and the LM in them, many times: the copies share the engine.
        return self


def message_text(message: Message) -> str:
    """The text of a message's text parts, joined by newlines."""
    return "\n".join(part.text for part in message.parts if isinstance(part, TextPart))


def model_id(lm: dspy.LM) -> str:
    """The model's identifier as rows and reports show it: the name without the local prefix."""
    return str(lm.model).removeprefix(LOCAL)


def provenance(lm: dspy.LM) -> Mapping[str, str]:
    """The tags that the LM's engine wants on the run; empty for remote models."""
    engine = lm.engine
    return engine.provenance if isinstance(engine, TextEngine) else {}


def max_concurrency(lm: dspy.LM) -> int | None:
    """How many requests the LM's engine works on at once; None, as many as come, for remote models."""
    engine = lm.engine
    return engine.max_concurrency if isinstance(engine, TextEngine) else None
