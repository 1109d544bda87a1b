"""Notices a stop string in a text that grows token by token, however the tokens split it."""

from collections.abc import Sequence
from typing import Any

from tiltyard.models.decoding import first_stop, text_of

_UNFINISHED = "\ufffd"
"""What a tokenizer gives for a character of which some bytes are still to come."""


class StopStrings:
    """Watches one completion.

    Only the last few tokens are decoded again at each step, so that a long text costs no more per token
    than a short one.

    Args:
        tokenizer: The model's tokenizer.
        stops: The strings, at least one, none empty.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._longest = max(len(stop) for stop in stops)
        self._tokens: list[int] = []
        self._text = ""
        self._known = 0
        """Tokens whose text is in ``_text`` for good."""
        self._context = 0
        """Where decoding begins: tokenizers drop a leading space, so known tokens come along."""

    def complete(self, token: int) -> bool:
        """Add a token, and say whether the text now has a stop string in it."""
        self._tokens.append(token)
        before = text_of(self._tokenizer, self._tokens[self._context : self._known])
        after = text_of(self._tokenizer, self._tokens[self._context :])
        new = after[len(before) :]
        # A stop string may begin in the text before and end in the new one.
        seen = self._text[-self._longest :] + new.rstrip(_UNFINISHED)
        if not new.endswith(_UNFINISHED):
            self._text = (self._text + new)[-2 * self._longest :]
            # Tokens without text, such as special ones, are no context: the next would seem to come first.
            self._context = self._known if new else self._context
            self._known = len(self._tokens)
        return first_stop(seen, self._stops) is not None
