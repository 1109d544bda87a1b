"""One request's way through the running batch: its tokens, what it still has to read, when it is done."""

import time
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessorList

from tiltyard.models.batching.key_values import Lane
from tiltyard.models.batching.stop_strings import StopStrings
from tiltyard.models.decoding import Decoding
from tiltyard.models.sampling import Sampler

if TYPE_CHECKING:
    from tiltyard.models.constraints import TokenConstraint


@dataclass(eq=False)
class Row:
    """Tokens that are being read and, unless it is only a beginning that others share, continued."""

    tokens: list[int]
    """The prompt, and after it what was written."""
    lane: Lane | None = None
    """Where its keys and values are, once it is in the batch."""
    slot: int = 0
    """Its place in the lane."""
    stored: int = 0
    """Tokens of its tail whose keys and values are there."""
    request: "BatchedRequest | None" = None
    """What it answers; None for a beginning that is read because several requests share it."""
    reads_for: "BatchedRequest | None" = None
    """On whose account a beginning is read."""
    known: int = 0
    """Tokens that did not have to be read when it joined."""

    reading: bool = True
    """Whether it still reads: a row that has read everything writes a token at each step."""

    @property
    def shared(self) -> bool:
        """Whether others may use what it reads."""
        return self.request is None or self.request.share_prefix

    @property
    def context(self) -> int:
        """Tokens that the model has seen."""
        return (self.lane.shared_length if self.lane else 0) + self.stored

    @property
    def pending(self) -> int:
        """Tokens that the model has not seen yet: one while writing, mostly more while reading."""
        return len(self.tokens) - self.context

    def account_for_reading(self) -> None:
        """Charge what was read of a beginning to the request on whose account it was."""
        if self.reads_for is not None:
            self.reads_for.read_ahead += len(self.tokens) - self.known


@dataclass(frozen=True)
class Written:
    """What a request came to."""

    tokens: tuple[int, ...]
    """The completion, its end token included."""
    cached_tokens: int
    """Tokens of the prompt that did not have to be read."""


@dataclass(eq=False)
class BatchedRequest:
    """A prompt to be completed, with everything that decides how."""

    prompt: tuple[int, ...]
    how: Decoding
    share_prefix: bool = True
    """Whether it may use, and leave behind, keys and values of prompts."""
    rules: LogitsProcessorList | None = None
    """The checkpoint's rules about tokens."""
    constraint: "TokenConstraint | None" = None
    """What the completion has to look like."""
    future: "Future[Written]" = field(default_factory=Future)
    """Where the completion goes."""
    written: list[int] = field(default_factory=list)
    stops: StopStrings | None = None
    cached_tokens: int | None = None
    """Prompt tokens that were there when it came in; None before that."""
    shared_readings: int = 0
    """How often it has waited for a beginning that it shares to be read."""
    submitted: float = field(default_factory=time.perf_counter)
    first_token: float | None = None
    """When its first token was written."""
    read_ahead: int = 0
    """Tokens of its prompt that were read on its account before it joined, in a beginning that it shares."""
    abandoned: bool = False
    """Whether nobody waits for it any more."""

    def __post_init__(self) -> None:
        self._sampler = Sampler(self.how) if self.how.temperature > 0 else None

    @property
    def tokens(self) -> tuple[int, ...]:
        """What the model has to read before it can go on."""
        return (*self.prompt, *self.written) if self.written else self.prompt

    @property
    def plain(self) -> bool:
        """Whether its next token is simply the likeliest."""
        return self._sampler is None and self.constraint is None and not self.rules

    def choose(self, scores: torch.Tensor) -> int:
        """Its next token.

        Args:
            scores: The logits: (vocabulary,).
        """
        scores = scores[None]
        if self.rules:
            scores = self.rules(torch.tensor([self.tokens], device=scores.device), scores.float())
        if self.constraint is not None:
            scores = self.constraint.restrict(scores[0])[None]
        token = self._sampler.draw(scores) if self._sampler else int(scores.argmax())
        if self.constraint is not None:
            self.constraint.accept(token)
        return token

    def fail(self, error: BaseException) -> None:
        """Answer it with an error, unless it has an answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def write(self, token: int, ends: Collection[int]) -> bool:
        """Add a token, and say whether the completion is over."""
        if self.first_token is None:
            self.first_token = time.perf_counter()
        self.written.append(token)
        if token in ends or len(self.written) >= self.how.max_tokens:
            return True
        return self.stops is not None and self.stops.complete(token)
