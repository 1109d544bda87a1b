"""What language-model calls used: tokens, price, why they ended; read from DSPy's history.

>>> Usage.of(program.history)
Usage(calls=1, finish_reason='stop', prompt_tokens=214, completion_tokens=31, ...)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTES = "tiltyard"
"""The key in a response's ``provider_data`` for what DSPy has no field for: ``cost_usd``, the price of the
completion; ``cached``, whether it is from the response cache, and ``latency_ms``, how long it took if so."""


@dataclass(frozen=True)
class Usage:
    """The use of one LM call, or of several together.

    Tokens are those of the completions, made in this run or found in the response cache; what the cache
    spared is told apart. Money is what this run spent. DSPy's own cache does not say what a completion had
    used: its hits have no tokens.
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
    spared_prompt_tokens: int = 0
    """The part of ``prompt_tokens`` that the response cache spared this run."""
    spared_completion_tokens: int = 0
    """The part of ``completion_tokens`` that the response cache spared this run."""
    spared_cached_tokens: int = 0
    """The part of ``cached_tokens`` that belongs to completions from the response cache."""
    original_latency_ms: float = 0.0
    """How long the completions from the response cache took when they were made, together."""
    cost_usd: float | None = None
    """The calls' price in US dollars, 0 for a response cache's; None when the price of any is unknown, or
    without a call."""
    from_cache: bool = False
    """Whether every completion came from a response cache, Tiltyard's or DSPy's."""

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]]) -> "Usage":
        """The use of the calls in a DSPy history. A call that raised leaves no entry there."""
        return cls.total([_call(entry) for entry in history])

    @classmethod
    def total(cls, parts: Sequence["Usage"]) -> "Usage":
        """Several uses together."""
        parts = [part for part in parts if part.calls]
        if len(parts) == 1:
            return parts[0]
        known = [part.cost_usd for part in parts if part.cost_usd is not None]
        return cls(
            calls=sum(part.calls for part in parts),
            finish_reason=_overall([part.finish_reason for part in parts]),
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            completion_tokens=sum(part.completion_tokens for part in parts),
            cached_tokens=sum(part.cached_tokens for part in parts),
            spared_prompt_tokens=sum(part.spared_prompt_tokens for part in parts),
            spared_completion_tokens=sum(part.spared_completion_tokens for part in parts),
            spared_cached_tokens=sum(part.spared_cached_tokens for part in parts),
            original_latency_ms=sum(part.original_latency_ms for part in parts),
            cost_usd=sum(known) if known and len(known) == len(parts) else None,
            from_cache=bool(parts) and all(part.from_cache for part in parts),
        )


def _call(entry: Mapping[str, Any]) -> Usage:
    response = entry["response"]
    # Engines and native providers give a response, or several when n > 1; LiteLLM gives its own object.
    responses = list(response) if isinstance(response, tuple) else [response]
    usage = entry["usage"] or {}
    notes = [notes_of(one) for one in responses]
    kept = [(one.usage, said) for one, said in zip(responses, notes, strict=True) if said.get("cached")]
    from_dspys_cache = not usage and any(_was_cached(one) for one in responses)
    return Usage(
        calls=1,
        finish_reason=_overall([reason for one in responses for reason in _finish_reasons(one)]),
        prompt_tokens=_tokens(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=_tokens(usage, "completion_tokens", "output_tokens"),
        cached_tokens=_tokens(
            usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}, "cached_tokens"
        ),
        spared_prompt_tokens=sum(used.input_tokens or 0 for used, _ in kept),
        spared_completion_tokens=sum(used.output_tokens or 0 for used, _ in kept),
        spared_cached_tokens=sum(used.cache_read_tokens or 0 for used, _ in kept),
        original_latency_ms=sum(said["latency_ms"] for _, said in kept),
        # The entry of a call that DSPy's cache answered repeats what the first one cost.
        cost_usd=0.0 if from_dspys_cache else _cost(notes, entry["cost"]),
        from_cache=from_dspys_cache or len(kept) == len(responses) > 0,
    )


def notes_of(response: Any) -> Mapping[str, Any]:
    """What engines and the response cache say about a response; see :data:`NOTES`."""
    data = _get(response, "provider_data")
    notes = data.get(NOTES) if isinstance(data, Mapping) else None
    return notes if isinstance(notes, Mapping) else {}


def _cost(notes: Sequence[Mapping[str, Any]], estimated: float | None) -> float | None:
    """What this run paid: by the engine's word where it has one, else by DSPy's estimate."""
    costs = [0.0 if said.get("cached") else said.get("cost_usd") for said in notes]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else estimated


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
