"""Keeps a reply to its format: which tokens a request's schema or grammar allows next.

    >>> constrainer = Constrainer(tokenizer, end_tokens=[2])
    >>> constraint = constrainer.constraint(request)
    >>> logits = constraint.restrict(logits)  # forbidden tokens are at -inf
    >>> constraint.accept(int(logits.argmax()))

The format comes from a request's ``response_format``, or from a grammar that an adapter put into its
metadata, see :class:`ReplyFormat`.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from dspy.lm15 import InvalidRequestError, Request, UnsupportedFeatureError

from tiltyard.errors import InputError

if TYPE_CHECKING:
    import torch

Allowed = np.ndarray[tuple[int], np.dtype[np.bool_]]
"""One truth value per token: whether it may come next."""

METADATA = "metadata"
"""The setting of a request that DSPy hands to an engine as it is. It refuses names that it does not know,
so a grammar travels in here."""

_CACHED_FORMATS = 256
"""Compiled formats that are kept; a program needs one per signature."""

_SLACK = 4
"""Tokens kept free at the end, for a character of several tokens that has begun."""
_SHARE = 64
"""The tokens that an early field leaves to each later one, where the limit has as many."""
_CLOSERS = (b'"', b"}", b"]")
"""What ends a JSON value, in this order: within a string the brackets would be text."""

_JSON_RESERVE = 128
"""Tokens in which a reply in JSON is brought to its end, where the limit has twice as many."""
_JSON = {"item_separator": ",", "key_separator": ":", "whitespace_pattern": r"[\x20\x0A]{1,16}"}
"""How replies in JSON are spaced. The bound keeps a model from writing spaces until its tokens are spent."""


class TokenConstraint(Protocol):
    """The format of one reply while it is written. One thread uses it."""

    @property
    def cut(self) -> bool:
        """Whether the reply was brought to its end because the token limit was near."""

    def restrict(self, logits: "torch.Tensor") -> "torch.Tensor":
        """The logits of one row (one dimension) with every token that may not come next at -inf.

        Raises:
            dspy.lm15.InvalidRequestError: No token may come next, or the format is too large to follow.
        """

    def accept(self, token: int) -> None:
        """Go on behind the token that was chosen.

        Raises:
            ValueError: The format does not allow it here.
        """


@dataclass(frozen=True)
class Closing:
    """How a reply can be ended from within a field of open length."""

    text: str
    """What ends the field and opens the next; empty where the value's own syntax ends it."""
    rest: str = ""
    """What is to write after ``text`` in any case. Its tokens are kept free."""
    least: int = 0
    """The characters that are to write besides: as many tokens are kept free, at most half of the limit."""
    fields: int = 0
    """How many fields of open length follow."""


@dataclass(frozen=True)
class ReplyFormat:
    """A format that an adapter asks for."""

    grammar: str
    """The grammar, in llguidance's dialect of Lark."""
    closings: tuple[Closing, ...] = ()
    """One for each field of open length."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The format as JSON, for the ``metadata`` of a call: ``lm(…, metadata=format.metadata)``."""
        return {"grammar": self.grammar, "closings": [asdict(closing) for closing in self.closings]}

    @classmethod
    def of(cls, request: Request) -> "ReplyFormat | None":
        """The format that a request carries in ``extensions["metadata"]``, or None."""
        metadata = (request.config.extensions or {}).get(METADATA)
        if not isinstance(metadata, Mapping) or "grammar" not in metadata:
            return None
        closings = tuple(Closing(**closing) for closing in metadata.get("closings", ()))
        return cls(metadata["grammar"], closings)


class Constrainer:
    """Turns requests into constraints on the tokens of one tokenizer. Threads may share it.

    Args:
        tokenizer: The model's transformers tokenizer, a fast one.
        end_tokens: Every token that ends the model's replies. A reply ends where its format may end.

    Raises:
        InputError: llguidance is not installed, it cannot read the tokenizer, or no token ends a reply.
    """

    def __init__(self, tokenizer: Any, end_tokens: Sequence[int]) -> None:
        self._ends = tuple(end for end in end_tokens if 0 <= end < len(tokenizer))
        if not self._ends:
            raise InputError(
                "the model has no end token, so a constrained reply could not end", "set constrained=false"
            )
        try:
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise InputError(
                "constrained output needs llguidance", "pip install 'tiltyard[constrained]'"
            ) from error
        try:
            self._tokenizer = from_tokenizer(tokenizer, eos_token=list(self._ends))
        except ValueError as error:
            raise InputError(
                f"constrained output does not work with this tokenizer ({_line(error)})",
                "set constrained=false",
            ) from error
        self._compiled: OrderedDict[ReplyFormat, Any] = OrderedDict()
        self._lock = Lock()

    def constraint(self, request: Request, max_tokens: int | None = None) -> TokenConstraint | None:
        """The constraint for one reply, or None where the request asks for no format.

        Args:
            request: The request. A ``response_format`` goes before a grammar.
            max_tokens: How long the reply may be; the request's own limit where it is not given. Close to it
                the reply is brought to its end.

        Raises:
            dspy.lm15.UnsupportedFeatureError: The schema asks for what cannot be enforced.
            dspy.lm15.InvalidRequestError: The grammar is not one.
        """
        response_format = request.config.response_format
        form = ReplyFormat.of(request) if response_format is None else _json_format(response_format)
        if form is None:
            return None
        matcher = self._matcher(form, UnsupportedFeatureError if response_format else InvalidRequestError)
        limit = max_tokens if max_tokens is not None else request.config.max_tokens
        return _GrammarConstraint(matcher, self._tokenizer, self._ends, form.closings, limit)

    def _matcher(self, form: ReplyFormat, refusal: type[Exception]) -> Any:
        from llguidance import LLMatcher

        with self._lock:
            compiled = self._compiled.pop(form, None)
            if compiled is None:
                compiled = LLMatcher(self._tokenizer, form.grammar, log_level=0)
                if compiled.is_error():
                    raise refusal(f"the reply's format cannot be enforced: {_line(compiled.get_error())}")
            self._compiled[form] = compiled
            if len(self._compiled) > _CACHED_FORMATS:
                self._compiled.popitem(last=False)
            return compiled.deep_copy()


class _GrammarConstraint:
    """A :class:`TokenConstraint` that follows a compiled grammar.

    Where ``max_tokens`` is known, it ends fields of open length in time for the rest of the reply.
    """

    def __init__(
        self,
        matcher: Any,
        tokenizer: Any,
        ends: tuple[int, ...],
        closings: Sequence[Closing],
        max_tokens: int | None,
    ) -> None:
        self._matcher = matcher
        self._ends = list(ends)
        self._left = max_tokens
        self._forced: list[int] = []
        self._closed: list[tuple[list[int], int]] = []
        self._json_reserve = 0
        self._cut = False
        if max_tokens is not None:
            fields = 1 + max((closing.fields for closing in closings), default=0)
            share = min(_SHARE, max_tokens // (2 * fields))
            for closing in closings:
                tokens = tokenizer.tokenize_str(closing.text)
                rest = len(tokenizer.tokenize_str(closing.rest))
                wished = min(closing.least + closing.fields * share, max_tokens // 2)
                reserve = len(tokens) + rest + wished + 1 + _SLACK
                if closing.text:
                    self._closed.append((tokens, reserve))
                else:
                    self._json_reserve = max(self._json_reserve, reserve)
            self._closers = [
                (tokens[0], closer)
                for closer in _CLOSERS
                if len(tokens := tokenizer.tokenize_bytes(closer)) == 1
            ]
        self._watched = max([self._json_reserve, *(reserve for _, reserve in self._closed)])

    @property
    def cut(self) -> bool:
        return self._cut

    def restrict(self, logits: "torch.Tensor") -> "torch.Tensor":
        allowed = np.zeros(logits.shape[-1], dtype=np.bool_)
        chosen = self._forced[:1]
        if not chosen:
            chosen = self._next(allowed)
            self._cut = self._cut or bool(chosen and int(_masked(logits, allowed).argmax()) not in chosen)
        if chosen:
            allowed[:] = False
            allowed[chosen] = True
        if not allowed.any():
            raise InvalidRequestError("the reply's format allows none of the model's tokens here")
        return _masked(logits, allowed)

    def accept(self, token: int) -> None:
        if self._left is not None:
            self._left -= 1
        if self._forced and self._forced.pop(0) != token:
            self._forced = []
        if not self._matcher.consume_token(token):
            raise ValueError(f"token {token} is not allowed here: {_line(self._matcher.get_error())}")

    def _next(self, allowed: Allowed) -> list[int]:
        """Mark what may come next; returns the tokens that are to come where the reply must end soon."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise InvalidRequestError(f"the format cannot be followed: {_line(self._matcher.get_error())}")
        width = min(len(allowed), 8 * len(bits))
        allowed[:width] = np.unpackbits(bits, count=width, bitorder="little")
        over = self._matcher.is_accepting()
        # llguidance takes an end token that the tokenizer does not mark as special for text, too.
        allowed[self._ends] = over
        if self._left is None or self._left > self._watched:
            return []
        if over:
            return self._ends
        return self._close(allowed, self._left)

    def _close(self, allowed: Allowed, left: int) -> list[int]:
        for tokens, reserve in self._closed:
            if self._matcher.validate_tokens(tokens) == len(tokens):
                # The text that goes with this closing is being written: the others do not fit here.
                if left > reserve:
                    return []
                self._forced = tokens[:]
                return tokens[:1]
        return self._close_json(allowed) if left <= self._json_reserve else []

    def _close_json(self, allowed: Allowed) -> list[int]:
        forced = self._matcher.compute_ff_bytes()
        if forced and (tokens := self._matcher.compute_ff_tokens()):
            return list(tokens[:1])
        for token, closer in self._closers:
            # A token may begin with what is forced and go on with what is not, as '", "' does.
            if allowed[token] and forced.startswith(closer if forced else b""):
                return [token]
        return []


def _masked(logits: "torch.Tensor", allowed: Allowed) -> "torch.Tensor":
    import torch

    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        # torch would spread one row over all threads, and wait for them on a busy machine.
        kept = np.where(allowed, logits.detach().numpy(), np.float32(-np.inf))
        return torch.from_numpy(kept)
    return logits.masked_fill(torch.from_numpy(~allowed).to(logits.device), -torch.inf)


def _json_format(response_format: Mapping[str, Any]) -> ReplyFormat:
    schema = response_format.get("schema", {"type": "object"})
    rules = {**schema, "x-guidance": {**_JSON, **schema.get("x-guidance", {})}}
    text = json.dumps(rules)
    return ReplyFormat(f"start: reply\nreply: %json {text}\n", (Closing("", least=_JSON_RESERVE),))


def _line(error: Exception | str) -> str:
    """The first line of an error; the others show the grammar."""
    return str(error).strip().partition("\n")[0]
