"""What language-model calls used: tokens, price, why they ended; read from DSPy's history.

>>> Usage.of(program.history)
Usage(calls=1, finish_reason='stop', prompt_tokens=214, completion_tokens=31, ...)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usage:
    """The use of one LM call, or of several together.

    Tokens and money are those that this run spent: a call answered by DSPy's response cache has none.
    """

    calls: int = 0
    """Calls that a completion answered."""
    finish_reason: str = ""
    """Why the model stopped: ``length`` if a token limit cut any completion off, else the last one's
    reason (``stop``, ``tool_call``, …); empty without a completion."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that the model's prompt cache spared; a part of ``prompt_tokens``."""
    cost_usd: float | None = None
    """The calls' price in US dollars; None when the price of any is unknown, or without a call."""
    from_cache: bool = False
    """Whether every completion came from DSPy's response cache."""

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]]) -> "Usage":
        """The use of the calls in a DSPy history. A call that raised leaves no entry there."""
        return cls.total([_call(entry) for entry in history])

    @classmethod
    def total(cls, parts: Sequence["Usage"]) -> "Usage":
        """Several uses together."""
        parts = [part for part in parts if part.calls]
        known = [part.cost_usd for part in parts if part.cost_usd is not None]
        return cls(
            calls=sum(part.calls for part in parts),
            finish_reason=_overall([part.finish_reason for part in parts]),
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
            cached_tokens=sum(part.cached_tokens for part in parts),
            cost_usd=sum(known) if known and len(known) == len(parts) else None,
            from_cache=bool(parts) and all(part.from_cache for part in parts),
        )


def _call(entry: Mapping[str, Any]) -> Usage:
    response = entry["response"]
    # Engines and native providers give a response, or several when n > 1; LiteLLM gives its own object.
    responses = list(response) if isinstance(response, tuple) else [response]
    usage = entry["usage"] or {}
    from_cache = not usage and any(_was_cached(one) for one in responses)
    return Usage(
        calls=1,
        finish_reason=_overall([reason for one in responses for reason in _finish_reasons(one)]),
        prompt_tokens=_tokens(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=_tokens(usage, "completion_tokens", "output_tokens"),
        cached_tokens=_tokens(
            usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}, "cached_tokens"
        ),
        # The entry of a cached call repeats what the first one cost.
        cost_usd=0.0 if from_cache else entry["cost"],
        from_cache=from_cache,
    )


def _tokens(usage: Mapping[str, Any], *names: str) -> int:
    return next((int(usage[name]) for name in names if usage.get(name) is not None), 0)


def _was_cached(response: Any) -> bool:
    """DSPy marks a cached LiteLLM response; a cached native one shows its usage where the entry has none."""
    usage = _get(response, "usage")
    return bool(_get(response, "cache_hit") or _get(usage, "total_tokens") or _get(usage, "input_tokens"))


def _overall(reasons: Sequence[str]) -> str:
    return "length" if "length" in reasons else "".join(reasons[-1:])


def _finish_reasons(response: Any) -> list[str]:
    if choices := _get(response, "choices"):
        reasons = [_get(choice, "finish_reason") for choice in choices]
    elif status := _get(response, "status"):  # OpenAI's Responses API
        reasons = [{"completed": "stop", "incomplete": "length"}.get(status, status)]
    else:
        reasons = [_get(response, "finish_reason")]
    return [str(reason) for reason in reasons if reason]


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
