"""Answers requests with a transformers model in this process, one at a time.

>>> lm = transformers_model(id="Qwen/Qwen2.5-0.5B-Instruct", hardware=Hardware())
>>> dspy.Predict("question -> answer")(question="What is 1 + 1?", lm=lm)
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import dspy
from dspy.lm15 import ContextLengthError, Request, UnsupportedFeatureError
from pydantic import Field

from tiltyard.models.engine import LOCAL, Completion, TextEngine, engine_lm
from tiltyard.models.hardware import Hardware, use_threads
from tiltyard.models.prompt import ChatTemplate, Prompt
from tiltyard.models.sources import ModelSource
from tiltyard.models.weights import Weights, load_weights

MaxTokens = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0)]

_UNSUPPORTED = (
    "frequency_penalty",
    "logprobs",
    "presence_penalty",
    "probabilities",
    "reasoning",
    "response_format",
)
"""Settings of a request that no local model honours: ignoring one would change what was asked."""


class TransformersEngine(TextEngine):
    """The engine of one transformers model. Threads may share it; their requests take turns.

    Args:
        weights: The model and its tokenizer.
        max_tokens: The most tokens of an answer where a request does not say.
        seed: Decides sampled answers where a request brings no seed of its own.
        chat_template: ``auto`` or ``none``, see :class:`~tiltyard.models.prompt.Prompt`.
        threads: CPU threads of one operation; None is torch's default.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        max_tokens: int,
        seed: int = 0,
        chat_template: ChatTemplate = "auto",
        threads: int | None = None,
    ) -> None:
        self._weights = weights
        self._prompt = Prompt(weights.tokenizer, chat_template)
        self._max_tokens = max_tokens
        self._seed = seed
        self._threads = threads
        self._sampled: Counter[bytes] = Counter()

    @property
    def provenance(self) -> Mapping[str, str]:
        """Where the weights came from, what they run on, and what makes the prompt."""
        return {**self._weights.provenance, "chat_template": self._prompt.format}

    @property
    def max_concurrency(self) -> int:
        """One: a request has the weights to itself until it is answered."""
        return 1

    def generate(self, request: Request) -> Completion:
        """Answer one request.

        A token limit that reaches beyond the context window is cut to what is left of it; an answer that
        runs into either ends with ``length``.

        Raises:
            dspy.lm15.ContextLengthError: The prompt leaves no room for an answer in the context window.
            dspy.lm15.UnsupportedFeatureError: The request asks for what a local model cannot do.
        """
        from tiltyard.models.decoding import Decoding, decode

        _refuse_unsupported(request)
        config = request.config
        with self._weights.lock:
            prompt = self._prompt.encode(request)
            temperature = config.temperature or 0.0
            how = Decoding(
                max_tokens=self._limit(prompt, config.max_tokens or self._max_tokens),
                temperature=temperature,
                top_p=1.0 if config.top_p is None else config.top_p,
                top_k=config.top_k,
                stop=config.stop + self._prompt.stop,
                seed=self._seed_of(request, prompt) if temperature > 0 else 0,
            )
            use_threads(self._threads)
            weights = self._weights
            decoded = weights.compute(lambda: decode(weights.model, weights.tokenizer, prompt, how))
        return Completion(
            text=decoded.text,
            prompt_tokens=len(prompt),
            completion_tokens=decoded.tokens,
            finish_reason=decoded.finish_reason,
        )

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

    def _seed_of(self, request: Request, prompt: list[int]) -> int:
        """The request's own seed, or one that the engine's seed, the prompt and its count decide.

        Optimizers and ``n=5`` repeat a request to get other answers, so the same prompt draws anew each
        time; the same prompts in a new run draw the same answers again.
        """
        own: int | None = request.config.seed
        if own is not None:
            return own % 2**63
        digest = hashlib.sha256(str(prompt).encode()).digest()
        repetition = self._sampled[digest]
        self._sampled[digest] += 1
        mixed = hashlib.sha256(b"%d/%d/%s" % (self._seed, repetition, digest)).digest()
        return int.from_bytes(mixed[:8], "big") % 2**63


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
        trust_remote_code: Run Python code that comes with the model. It can do anything that you can.

    Raises:
        InputError: The device is not there, or the model cannot be loaded.
    """
    placement = hardware.resolve()
    weights = load_weights(id, placement=placement, revision=revision, trust_remote_code=trust_remote_code)
    return local_lm(
        weights,
        threads=placement.threads,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        chat_template=chat_template,
    )


def local_lm(
    weights: Weights,
    *,
    threads: int | None,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    chat_template: ChatTemplate = "auto",
) -> dspy.LM:
    """The DSPy language model that asks weights in this process; arguments as above."""
    engine = TransformersEngine(
        weights, max_tokens=max_tokens, seed=seed, chat_template=chat_template, threads=threads
    )
    return engine_lm(
        f"{LOCAL}{weights.name}",
        engine,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
    )


def _refuse_unsupported(request: Request) -> None:
    asked = [name for name in _UNSUPPORTED if getattr(request.config, name) is not None]
    asked += ["tools"] if request.tools else []
    asked += sorted(request.config.extensions or {})
    if asked:
        raise UnsupportedFeatureError(f"a local model does not support {', '.join(asked)}")


def _context_length_error(message: str) -> ContextLengthError:
    error = ContextLengthError(message)
    error.message = message  # the class adds a list of remedies below; an error here is one line
    error.args = (message,)
    return error
