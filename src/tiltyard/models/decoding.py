"""Writes a completion token by token: greedy or sampled, until it ends, stops or reaches its limit.

    >>> decode(model, tokenizer, [1, 4, 17], Decoding(max_tokens=32))
    Decoded(text=' 42', tokens=3, finish_reason='stop')

Imports torch and transformers: import it where a model is in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Decoding:
    """How a completion is written."""

    max_tokens: int
    """The most tokens to write."""
    temperature: float = 0.0
    """0 is greedy: always the likeliest token."""
    top_p: float = 1.0
    """Sample among the likeliest tokens that together have this probability."""
    top_k: int | None = None
    """Sample among so many of the likeliest tokens; None means all."""
    stop: tuple[str, ...] = ()
    """The completion ends before the first of these strings."""
    seed: int = 0
    """Decides the sampled tokens."""


@dataclass(frozen=True)
class Decoded:
    """A completion."""

    text: str
    tokens: int
    """Tokens written, the last one included whether it ended the text or was cut off with a stop string."""
    finish_reason: Literal["stop", "length"]


def decode(model: Any, tokenizer: Any, prompt: Sequence[int], how: Decoding) -> Decoded:
    """Complete one prompt.

    Greedy decoding is transformers' own, with the logit rules of the checkpoint's generation config (such
    as a repetition penalty) in force and its sampling defaults not.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer.
        prompt: Token ids, at least one.
        how: The settings. Prompt and ``max_tokens`` together must fit into the context window.
    """
    ends = _end_tokens(model, tokenizer)
    ids = torch.tensor([list(prompt)], device=model.device)
    stops = _StopStrings(tokenizer, len(prompt), how.stop)
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=_greedy(how.max_tokens, ends, tokenizer.pad_token_id),
            logits_processor=LogitsProcessorList([_Sampler(how)] if how.temperature > 0 else []),
            stopping_criteria=StoppingCriteriaList([stops] if how.stop else []),
        )
    written = output[0, len(prompt) :].tolist()
    text = _text(tokenizer, written)
    cut = _first_stop(text, how.stop)
    ended = cut is not None or written[-1] in ends
    return Decoded(text[:cut], len(written), "stop" if ended else "length")


def _greedy(max_tokens: int, ends: list[int], pad: int | None) -> GenerationConfig:
    # Every sampling field is given: generate() fills absent ones from the checkpoint, then warns of them.
    return GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        eos_token_id=ends or None,
        pad_token_id=pad if pad is not None else (ends or [0])[0],
    )


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The checkpoint's end tokens and the tokenizer's: fine-tuned checkpoints often update only one."""
    declared = model.generation_config.eos_token_id
    ends = [declared] if isinstance(declared, int) else list(declared or [])
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        ends.append(tokenizer.eos_token_id)
    return ends


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop string begins, or None."""
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return min(found, default=None)


class _StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends generation when the text has a stop string in it, however the tokens split it."""

    def __init__(self, tokenizer: Any, prompt_length: int, stops: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._prompt_length = prompt_length
        self._stops = stops

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        text = _text(self._tokenizer, input_ids[0, self._prompt_length :].tolist())
        done = _first_stop(text, self._stops) is not None
        return torch.full((1,), done, dtype=torch.bool, device=input_ids.device)


class _Sampler(LogitsProcessor):  # type: ignore[misc]
    """Draws each token with a generator of its own and leaves it as the only choice.

    transformers samples from torch's global generator, which concurrent requests and the caller share.
    """

    def __init__(self, how: Decoding) -> None:
        self._generator = torch.Generator().manual_seed(how.seed)
        self._warpers = LogitsProcessorList([TemperatureLogitsWarper(float(how.temperature))])
        if how.top_k is not None:
            self._warpers.append(TopKLogitsWarper(how.top_k))
        if how.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(how.top_p))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # On the CPU in float32 on every device, so that one seed draws alike everywhere.
        probabilities = self._warpers(input_ids, scores).float().softmax(dim=-1).cpu()
        drawn = torch.multinomial(probabilities, num_samples=1, generator=self._generator)
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn.to(scores.device), 0.0)
