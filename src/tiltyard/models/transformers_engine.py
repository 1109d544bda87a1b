"""Answers requests with a transformers model in this process, many at once.

>>> lm = transformers_model(id="Qwen/Qwen2.5-0.5B-Instruct", hardware=Hardware())
>>> dspy.Predict("question -> answer")(question="What is 1 + 1?", lm=lm)
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import dspy
from dspy.lm15 import ContextLengthError, Request, ServerError, UnsupportedFeatureError
from pydantic import Field

from tiltyard.config import Settled
from tiltyard.models.caching import caching
from tiltyard.models.constraints import METADATA, Constrainer, TokenConstraint
from tiltyard.models.decoding import Decoded, Decoding, end_tokens, stop_strings
from tiltyard.models.engine import LOCAL, Completion, TextEngine, engine_lm
from tiltyard.models.hardware import Hardware, Placement, rows_at_once
from tiltyard.models.prompt import ChatTemplate, Prompt
from tiltyard.models.sources import ModelSource
from tiltyard.models.threads import use_threads
from tiltyard.models.weights import Weights, load_weights
from tiltyard.telemetry.inference import Inference

MaxTokens = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0), Settled()]
"""The seed of an engine whose ``settle`` puts it into the requests that it decides."""

_UNSUPPORTED = (
    "frequency_penalty",
    "logprobs",
    "presence_penalty",
    "probabilities",
    "reasoning",
)
"""Settings of a request that no local model honours: ignoring one would change what was asked."""


class TransformersEngine(TextEngine):
    """The engine of one transformers model, which any number of threads and engines may share.

    Requests join the batch that the model is working on. A model that cannot be batched answers them in
    turn.

    Args:
        weights: The model and its tokenizer.
        placement: Threads and memory budgets.
        max_tokens: The most tokens of an answer where a request does not say.
        seed: Decides sampled answers where a request brings no seed of its own.
        chat_template: ``auto`` or ``none``, see :class:`~tiltyard.models.prompt.Prompt`.
        constrained: Whether answers have to keep the format that their signature asks for.
    """

    def __init__(
        self,
        weights: Weights,
        placement: Placement,
        *,
        max_tokens: int,
        seed: int = 0,
        chat_template: ChatTemplate = "auto",
        constrained: bool = False,
    ) -> None:
        from tiltyard.models.batching.shared import shared_batcher

        self._weights = weights
        self._prompt = Prompt(weights.tokenizer, chat_template)
        self._max_tokens = max_tokens
        self._seed = seed
        self._threads = placement.threads
        self._ends = end_tokens(weights.model, weights.tokenizer)
        self._stop = self._prompt.stop + stop_strings(weights.model)
        self._batcher = shared_batcher(weights, placement)
        self._constrainer = Constrainer(weights.tokenizer, self._ends) if constrained else None
        self._repetitions: Counter[bytes] = Counter()
        self._counting = threading.Lock()

    @property
    def provenance(self) -> Mapping[str, str]:
        """Where the weights came from, what they run on, what makes the prompt, and whether it is batched."""
        return {
            **self._weights.provenance,
            "chat_template": self._prompt.format,
            **({"chat_template_digest": self._prompt.digest} if self._prompt.digest else {}),
            "batching": "on" if self._batcher else "off",
        }

    @property
    def max_concurrency(self) -> int:
        """How many requests it works on at once: 64 on the CPU and MPS, 256 on CUDA, else one."""
        return rows_at_once(self._weights.device.type) if self._batcher else 1

    @property
    def adapter(self) -> dspy.Adapter | None:
        """The adapter that asks for constrained answers, where the engine was built for them."""
        if self._constrainer is None:
            return None
        from tiltyard.models.constrained_adapter import ConstrainedChatAdapter

        return ConstrainedChatAdapter()

    @property
    def supports_response_schema(self) -> bool:
        """Whether DSPy's JSON adapter may send a schema."""
        return self._constrainer is not None

    @property
    def supported_params(self) -> tuple[str, ...]:
        """Further settings that DSPy may send."""
        return ("response_format",) if self._constrainer else ()

    def inference(self) -> Inference:
        """What the model has done so far, for all engines that share it."""
        return self._weights.meter.snapshot()

    def settle(self, request: Request) -> Request:
        """The request with the seed that it will be sampled with.

        A request's own seed stays. Otherwise the engine's seed, the request and its repetition decide:
        optimizers and ``n=5`` repeat a request to get other answers, so the same request draws anew each
        time; the same requests in a new run draw the same answers again.
        """
        config = request.config
        if not config.temperature or config.seed is not None:
            return request
        digest = hashlib.sha256(repr(request).encode(errors="surrogatepass")).digest()
        with self._counting:
            repetition = self._repetitions[digest]
            self._repetitions[digest] += 1
        mixed = hashlib.sha256(b"%d/%d/%s" % (self._seed, repetition, digest)).digest()
        seed = int.from_bytes(mixed[:8], "big") % 2**63
        return replace(request, config=replace(config, seed=seed))

    def generate(self, request: Request) -> Completion:
        """Answer one request.

        A token limit that reaches beyond the context window is cut to what is left of it; an answer that
        runs into either ends with ``length``.

        Raises:
            dspy.lm15.ContextLengthError: The prompt leaves no room for an answer in the context window.
            dspy.lm15.UnsupportedFeatureError: The request asks for what a local model cannot do.
            dspy.lm15.ServerError: Memory does not suffice even for this request alone.
        """
        _refuse_unsupported(request, constrained=self._constrainer is not None)
        request = self.settle(request)
        config = request.config
        weights = self._weights
        with weights.lock:
            prompt = self._prompt.encode(request)
        max_tokens = self._limit(prompt, config.max_tokens or self._max_tokens)
        constraint = self._constrainer.constraint(request, max_tokens) if self._constrainer else None
        how = Decoding(
            max_tokens=max_tokens,
            temperature=config.temperature or 0.0,
            top_p=1.0 if config.top_p is None else config.top_p,
            top_k=config.top_k,
            # A format says itself where the answer is over.
            stop=config.stop if constraint else config.stop + self._stop,
            seed=(config.seed or 0) % 2**63,
        )
        answer = self._complete(prompt, how, constraint)
        return Completion(
            text=answer.text,
            prompt_tokens=len(prompt),
            completion_tokens=answer.tokens,
            finish_reason="length" if constraint and constraint.cut else answer.finish_reason,
            cached_tokens=answer.cached_tokens,
        )

    def _complete(self, prompt: list[int], how: Decoding, constraint: TokenConstraint | None) -> Decoded:
        weights = self._weights
        try:
            if self._batcher is not None:
                return self._batcher.complete(prompt, how, constraint, share_prefix=caching())
            from tiltyard.models.sequential import decode

            with weights.lock:
                use_threads(self._threads)
                return weights.compute(
                    lambda: decode(weights.model, weights.tokenizer, prompt, how, constraint)
                )
        except MemoryError as error:
            raise ServerError(str(error)) from error

    def _limit(self, prompt: list[int], wanted: int) -> int:
        """How many tokens the answer may have: what is wanted, or what the context window has left."""
        window = self._weights.context_window
        if window is None:
            return wanted
        if len(prompt) >= window:
            raise _context_length_error(
                f"the prompt has {len(prompt)} tokens, and {self._weights.name} takes {window}, answer "
                "included; shorten the prompt, show fewer demonstrations, or use a model that takes more"
            )
        return min(wanted, window - len(prompt))


def transformers_model(
    *,
    id: ModelSource,
    hardware: Hardware,
    revision: str | None = None,
    max_tokens: MaxTokens = 1024,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    chat_template: ChatTemplate = "auto",
    constrained: bool = False,
    trust_remote_code: bool = False,
) -> dspy.LM:
    """A transformers model from a local folder, the Hub's cache or the Hub, as a DSPy language model.

    Args:
        id: A folder with a saved model, or a Hub id.
        hardware: The device, number format and threads; given by ``hardware=``.
        revision: A branch, tag or commit of a Hub model; null is its default branch.
        max_tokens: The most tokens of an answer, at least 1. An answer that is cut off there, or at the end
            of the context window, is reported with ``finish_reason`` ``length``.
        temperature: 0 (greedy) to 2. Above 0, tokens are sampled.
        top_p: Sample among the likeliest tokens that together have this probability, in (0, 1].
        seed: Decides sampled answers. A request that is repeated draws anew.
        chat_template: ``auto`` uses the tokenizer's chat template where it has one; ``none`` writes every
            conversation as plain text.
        constrained: Let the model write only what keeps the format that its signature asks for: field
            headers, the options of a ``Literal``, numbers, JSON by schema. Needs the extra ``constrained``.
        trust_remote_code: Run Python code that comes with the model. It can do anything that you can.

    Raises:
        InputError: The device is not there, or the model cannot be loaded.
    """
    placement = hardware.resolve()
    weights = load_weights(id, placement=placement, revision=revision, trust_remote_code=trust_remote_code)
    return local_lm(
        weights,
        placement,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        chat_template=chat_template,
        constrained=constrained,
    )


def local_lm(
    weights: Weights,
    placement: Placement,
    *,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    chat_template: ChatTemplate = "auto",
    constrained: bool = False,
) -> dspy.LM:
    """The DSPy language model that asks weights in this process; arguments as above."""
    engine = TransformersEngine(
        weights,
        placement,
        max_tokens=max_tokens,
        seed=seed,
        chat_template=chat_template,
        constrained=constrained,
    )
    return engine_lm(
        f"{LOCAL}{weights.name}",
        engine,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
    )


def _refuse_unsupported(request: Request, *, constrained: bool) -> None:
    config = request.config
    asked = [name for name in _UNSUPPORTED if getattr(config, name) is not None]
    asked += ["tools"] if request.tools else []
    asked += ["response_format"] if config.response_format is not None and not constrained else []
    asked += sorted(set(config.extensions or {}) - ({METADATA} if constrained else set()))
    if asked:
        raise UnsupportedFeatureError(f"a local model does not support {', '.join(asked)}")


def _context_length_error(message: str) -> ContextLengthError:
    error = ContextLengthError(message)
    error.message = message  # the class adds a list of remedies below; an error here is one line
    error.args = (message,)
    return error
