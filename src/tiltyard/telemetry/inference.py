"""What local inference did: tokens read and written, the time of each, and how soon first tokens came.

>>> before = meter.snapshot()
>>> run_something()
>>> meter.snapshot().since(before).metrics()
{'inference.prefill_tokens_per_second': 4210.0, 'inference.decode_tokens_per_second': 611.0, ...}
"""

import threading
from dataclasses import dataclass, field, fields, replace

import numpy as np


@dataclass(frozen=True)
class Inference:
    """Sums over the work of a model."""

    prompt_tokens: int = 0
    """Tokens of prompts, those included that did not have to be read."""
    cached_tokens: int = 0
    """Tokens of prompts whose keys and values were there already."""
    prefill_tokens: int = 0
    """Tokens of prompts that were read."""
    prefill_seconds: float = 0.0
    """Time of the passes that read prompts."""
    decode_tokens: int = 0
    """Tokens that were written, less each completion's first, which its prompt's last pass writes."""
    decode_seconds: float = 0.0
    """Time of the passes that wrote."""
    decode_passes: int = 0
    first_token_ms: tuple[float, ...] = field(default=())
    """Of each completion, the time from its request to its first token."""

    def since(self, earlier: "Inference") -> "Inference":
        """What was done after an earlier look at the same meter."""
        sums = {
            item.name: getattr(self, item.name) - getattr(earlier, item.name)
            for item in fields(self)
            if item.name != "first_token_ms"
        }
        return Inference(**sums, first_token_ms=self.first_token_ms[len(earlier.first_token_ms) :])

    def metrics(self) -> dict[str, float]:
        """The sums as flat metrics of a run; nothing where nothing was done."""
        if not self.prompt_tokens:
            return {}
        found = {
            "inference.prefill_seconds": self.prefill_seconds,
            "inference.decode_seconds": self.decode_seconds,
            "inference.prefix_hit_rate": self.cached_tokens / self.prompt_tokens,
        }
        if self.prefill_seconds:
            found["inference.prefill_tokens_per_second"] = self.prefill_tokens / self.prefill_seconds
        if self.decode_seconds:
            found["inference.decode_tokens_per_second"] = self.decode_tokens / self.decode_seconds
            found["inference.mean_batch"] = self.decode_tokens / self.decode_passes
        for rank in (50, 95) if self.first_token_ms else ():
            found[f"latency.first_token.p{rank}_ms"] = float(np.percentile(self.first_token_ms, rank))
        return found


class InferenceMeter:
    """Adds up the work of one model; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums = Inference()
        self._first_token_ms: list[float] = []

    def snapshot(self) -> Inference:
        """The sums so far."""
        with self._lock:
            return replace(self._sums, first_token_ms=tuple(self._first_token_ms))

    def count_prompt(self, tokens: int, cached: int) -> None:
        """Add a request's prompt."""
        self._add(prompt_tokens=tokens, cached_tokens=cached)

    def count_prefill(self, tokens: int, seconds: float) -> None:
        """Add a pass that read prompts."""
        self._add(prefill_tokens=tokens, prefill_seconds=seconds)

    def count_decode(self, tokens: int, seconds: float) -> None:
        """Add a pass that wrote a token for each of several completions."""
        self._add(decode_tokens=tokens, decode_seconds=seconds, decode_passes=1)

    def count_first_token(self, milliseconds: float) -> None:
        """Add the time from a request to the first token of its completion."""
        with self._lock:
            self._first_token_ms.append(milliseconds)

    def _add(self, **more: float) -> None:
        with self._lock:
            sums = {name: getattr(self._sums, name) + number for name, number in more.items()}
            self._sums = replace(self._sums, **sums)
