"""Turns a request into the tokens that a model reads: its chat template, or a plain layout.

    >>> Prompt(tokenizer, chat_template="auto").encode(request)
    [1, 4, 17, …]

The plain layout, for models whose tokenizer has no chat template::

    System: Answer the question.

    User: What is 1 + 1?

    Assistant: 2

    User: What is 2 + 2?

    Assistant:
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from dspy.lm15 import InvalidRequestError, Message, Request, TextPart, UnsupportedFeatureError

ChatTemplate = Literal["auto", "none"]

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}
_ROLES = {"developer": "system", "tool": "user"}
"""Roles of requests that chat templates do not know, and the ones that stand in for them."""

_DATE = "26 Jul 2024"
"""Templates that print today's date (Llama 3.2) get this one, their own default: a prompt must not change
from one day to the next."""

Turn = dict[str, str]


class Prompt:
    """The prompt format of one model.

    Args:
        tokenizer: A transformers tokenizer.
        chat_template: ``auto`` uses the tokenizer's chat template where it has one; ``none`` never does.
    """

    def __init__(self, tokenizer: Any, chat_template: ChatTemplate = "auto") -> None:
        self._tokenizer = tokenizer
        self._templated = chat_template == "auto" and bool(tokenizer.chat_template)
        self._takes_system = self._templated and self._keeps_system_turn()

    @property
    def format(self) -> Literal["tokenizer", "none"]:
        """``tokenizer`` when its chat template makes the prompt, ``none`` for the plain layout."""
        return "tokenizer" if self._templated else "none"

    @property
    def digest(self) -> str:
        """The first 12 digits of the chat template's SHA-256; empty for the plain layout.

        Checkpoints of one name come with different templates, which move scores.
        """
        if not self._templated:
            return ""
        template = json.dumps(self._tokenizer.chat_template, sort_keys=True)  # some have several by name
        return hashlib.sha256(template.encode()).hexdigest()[:12]

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings at which an answer is over.

        In the plain layout, where no token says so, it is where the model speaks for the user.
        """
        return () if self._templated else ("\n\nUser:",)

    def encode(self, request: Request) -> list[int]:
        """The token ids of a request's system text and turns, ready for the model to answer.

        Raises:
            UnsupportedFeatureError: A part is not text.
            InvalidRequestError: The chat template refuses the turns, for example two of one role in a row.
        """
        turns = _turns(request)
        if not self._templated:
            ids: list[int] = self._tokenizer(_plain(turns))["input_ids"]
            return ids
        return self._apply_template(turns if self._takes_system else _without_system(turns))

    def _apply_template(self, turns: Sequence[Turn]) -> list[int]:
        from jinja2 import TemplateError

        try:
            ids: list[int] = self._tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=True, date_string=_DATE
            )["input_ids"]
        except TemplateError as error:
            raise InvalidRequestError(
                f"the model's chat template refuses this conversation: {error}"
            ) from error
        return ids

    def _keeps_system_turn(self) -> bool:
        """Whether system text reaches the model: some templates refuse the role, others drop it."""
        from jinja2 import TemplateError

        mark = "system-text-probe"
        probe = [{"role": "system", "content": mark}, {"role": "user", "content": "Hello"}]
        try:
            return mark in self._tokenizer.apply_chat_template(probe, tokenize=False)
        except TemplateError:
            return False


def _turns(request: Request) -> list[Turn]:
    system = (TextPart(request.system),) if isinstance(request.system, str) else request.system
    opening = [{"role": "system", "content": _text(system)}] if system else []
    return opening + [_turn(message) for message in request.messages]


def _turn(message: Message) -> Turn:
    return {"role": _ROLES.get(message.role, message.role), "content": _text(message.parts)}


def _text(parts: Sequence[Any]) -> str:
    for part in parts:
        if not isinstance(part, TextPart):
            raise UnsupportedFeatureError(f"a local model reads text only, not a part of type '{part.type}'")
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with every system text put before the user turn that follows it."""
    merged: list[Turn] = []
    waiting: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            waiting.append(turn["content"])
        elif turn["role"] == "user":
            merged.append({"role": "user", "content": "\n\n".join([*waiting, turn["content"]])})
            waiting = []
        else:
            merged.append(turn)
    return merged + [{"role": "user", "content": text} for text in waiting]


def _plain(turns: Sequence[Turn]) -> str:
    spoken = [f"{_SPEAKERS[turn['role']]}: {turn['content']}" for turn in turns]
    return "\n\n".join([*spoken, "Assistant:"])
