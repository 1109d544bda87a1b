"""The prompts of the inference benchmark: text of Python's manual, cut to length in tokens.

>>> prompts = shared_prompts(tokenizer, count=64, shared=540, own=20, max_tokens=32, seed=0)
>>> prompts[0].text, prompts[0].max_tokens
('…', 32)

Each seed gives prompts that share nothing with another seed's, so no cache carries over from one timing to
the next.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

from dspy.lm15 import Config, Message, Request

OPENING, CLOSING = "User: ", "\n\nAssistant:"
"""What Tiltyard's plain layout writes around the text of a single turn."""


@dataclass(frozen=True)
class Prompt:
    """A prompt and how many tokens are to be written."""

    text: str
    max_tokens: int

    @property
    def rendered(self) -> str:
        """The text that a model reads; systems without Tiltyard's layout get this."""
        return f"{OPENING}{self.text}{CLOSING}"

    @property
    def request(self) -> Request:
        """The request that comes to :attr:`rendered` in Tiltyard."""
        config = Config(max_tokens=self.max_tokens, temperature=0.0)
        return Request(model="local/benchmark", messages=(Message.user(self.text),), config=config)


class Source:
    """Text of a given number of tokens from random places.

    Args:
        tokenizer: Counts the tokens.
        seed: Decides the places.
    """

    def __init__(self, tokenizer: Any, seed: int) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = tokenizer("\n".join(topics.values()))["input_ids"]
        self._random = random.Random(seed)

    def text(self, tokens: int) -> str:
        """About so many tokens of text."""
        start = self._random.randrange(len(self._ids) - tokens)
        text: str = self._tokenizer.decode(self._ids[start : start + tokens])
        return text

    def between(self, low: int, high: int) -> int:
        """A random number, both ends included."""
        return self._random.randint(low, high)


def shared_prompts(
    tokenizer: Any, *, count: int, shared: int, own: int, max_tokens: int, seed: int
) -> list[Prompt]:
    """Prompts that begin alike: ``shared`` tokens in common, then ``own`` of each."""
    source = Source(tokenizer, seed)
    frame = len(tokenizer(OPENING)["input_ids"]), len(tokenizer(CLOSING)["input_ids"])
    opening = source.text(shared - frame[0])
    own -= frame[1]
    return [Prompt(f"{opening}\n{source.text(own)}", max_tokens) for _ in range(count)]


def different_prompts(
    tokenizer: Any, *, count: int, tokens: tuple[int, int], max_tokens: tuple[int, int], seed: int
) -> list[Prompt]:
    """Prompts that share nothing, of lengths between two numbers of tokens, and as many limits."""
    source = Source(tokenizer, seed)
    frame = len(tokenizer(OPENING + CLOSING)["input_ids"])
    return [
        Prompt(source.text(source.between(*tokens) - frame), source.between(*max_tokens))
        for _ in range(count)
    ]


def described(tokenizer: Any, rendered: Sequence[str]) -> str:
    """The prompts' number, mean length, common beginning and the mean rest of each, in tokens."""
    ids = [tokenizer(text)["input_ids"] for text in rendered]
    length = sum(map(len, ids)) / len(ids)
    return (
        f"{len(ids)} prompts of {length:.0f} tokens on average, {common_prefix(ids)} in common, "
        f"{own_tokens(tokenizer, rendered):.0f} of their own"
    )


def own_tokens(tokenizer: Any, rendered: Sequence[str]) -> float:
    """How many tokens a prompt has behind what all begin with, on average."""
    ids = [tokenizer(text)["input_ids"] for text in rendered]
    return sum(map(len, ids)) / len(ids) - common_prefix(ids)


def common_prefix(ids: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with alike."""
    first, last = min(ids), max(ids)
    alike = (a == b for a, b in zip(first, last, strict=False))
    return next((place for place, same in enumerate(alike) if not same), min(len(first), len(last)))
