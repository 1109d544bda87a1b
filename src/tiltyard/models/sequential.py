"""Completes one prompt at a time with transformers' own ``generate``: for models that cannot be batched.

    >>> decode(model, tokenizer, [1, 4, 17], Decoding(max_tokens=32))
    Decoded(text=' 42', tokens=3, finish_reason='stop', cached_tokens=0)

Imports torch and transformers: import it where a model is in use.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from tiltyard.models.decoding import Decoded, Decoding, decoded, end_tokens, first_stop, text_of
from tiltyard.models.sampling import Sampler

if TYPE_CHECKING:
    from tiltyard.models.constraints import TokenConstraint


def decode(
    model: Any,
    tokenizer: Any,
    prompt: Sequence[int],
    how: Decoding,
    constraint: "TokenConstraint | None" = None,
) -> Decoded:
    """Complete one prompt.

    The logit rules of the checkpoint's generation config (such as a repetition penalty) are in force, its
    sampling defaults are not.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer.
        prompt: Token ids, at least one.
        how: The settings. Prompt and ``max_tokens`` together must fit into the context window.
        constraint: What the completion has to look like.
    """
    ends = end_tokens(model, tokenizer)
    ids = torch.tensor([list(prompt)], device=model.device)
    stops = _StopStrings(tokenizer, len(prompt), how.stop)
    choosing = [_Choice(how, constraint)] if how.temperature > 0 or constraint is not None else []
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids,
            tokenizer=tokenizer,  # for stop strings of the checkpoint's own
            attention_mask=torch.ones_like(ids),
            generation_config=_greedy(how.max_tokens, ends, tokenizer.pad_token_id),
            logits_processor=LogitsProcessorList(choosing),
            stopping_criteria=StoppingCriteriaList([stops] if how.stop else []),
        )
    return decoded(tokenizer, output[0, len(prompt) :].tolist(), how.stop, ends)


def _greedy(max_tokens: int, ends: Sequence[int], pad: int | None) -> GenerationConfig:
    # Every sampling field is given: generate() fills absent ones from the checkpoint, then warns of them.
    return GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        eos_token_id=list(ends) or None,
        pad_token_id=pad if pad is not None else (*ends, 0)[0],
    )


class _StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends generation when the text has a stop string in it, however the tokens split it."""

    def __init__(self, tokenizer: Any, prompt_length: int, stops: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._prompt_length = prompt_length
        self._stops = stops

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        text = text_of(self._tokenizer, input_ids[0, self._prompt_length :].tolist())
        done = first_stop(text, self._stops) is not None
        return torch.full((1,), done, dtype=torch.bool, device=input_ids.device)


class _Choice(LogitsProcessor):  # type: ignore[misc]
    """Chooses the token under the request's constraint and leaves it as the only one."""

    def __init__(self, how: Decoding, constraint: "TokenConstraint | None") -> None:
        self._sampler = Sampler(how) if how.temperature > 0 else None
        self._constraint = constraint

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._constraint is not None:
            scores = self._constraint.restrict(scores[0])[None]
        token = self._sampler.draw(scores) if self._sampler else int(scores.argmax())
        if self._constraint is not None:
            self._constraint.accept(token)
        return torch.full_like(scores, -torch.inf).index_fill_(
            -1, torch.tensor([token], device=scores.device), 0.0
        )
