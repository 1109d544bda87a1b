r"""How a completion is to be written, and what was written: the vocabulary of local decoding.

>>> Decoding(max_tokens=32, stop=("\n\n",))
>>> Decoded(text=" 42", tokens=3, finish_reason="stop")
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Decoding:
    """How a completion is written."""

    max_tokens: int
    """The most tokens to write, at least 1. Prompt and these together fit into the context window."""
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
    cached_tokens: int = 0
    """Prompt tokens that did not have to be read, because their keys and values were there."""


def decoded(
    tokenizer: Any, written: Sequence[int], stops: Sequence[str], ends: Sequence[int], cached_tokens: int = 0
) -> Decoded:
    """What the written tokens come to: their text up to the first stop string, and why it ends there."""
    text = text_of(tokenizer, written)
    cut = first_stop(text, stops)
    ended = cut is not None or written[-1] in ends
    return Decoded(text[:cut], len(written), "stop" if ended else "length", cached_tokens)


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The checkpoint's end tokens and the tokenizer's: fine-tuned checkpoints often update only one."""
    declared = model.generation_config.eos_token_id
    ends = [declared] if isinstance(declared, int) else list(declared or [])
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        ends.append(tokenizer.eos_token_id)
    return tuple(ends)


def stop_strings(model: Any) -> tuple[str, ...]:
    """The strings at which the checkpoint's generation config ends a completion."""
    declared = getattr(model.generation_config, "stop_strings", None) or ()
    return (declared,) if isinstance(declared, str) else tuple(declared)


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of written tokens, special ones left out."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop string begins, or None."""
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return min(found, default=None)
