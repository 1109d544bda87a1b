r"""An episode: one call of a program with everything that it reads, and what it should write.

Episodes are what the embedded model is trained and evaluated on. They are laid out by DSPy's own
``ChatAdapter``, so that training sees what a program's call looks like.

>>> episode.messages()[-1]
Message(role='assistant', content='[[ ## answer ## ]]\n412\n\n[[ ## completed ## ]]\n', learn=True)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy

_ADAPTER = dspy.ChatAdapter()


@dataclass(frozen=True)
class Message:
    """One message of an episode."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str
    learn: bool
    """Whether the model learns to write it."""


@dataclass(frozen=True)
class Turn:
    """One example of a signature."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    learn: bool = True
    """Whether its outputs follow from what stands before them."""


@dataclass(frozen=True)
class Episode:
    """A signature with its instructions, and turns of which the last is asked and the others demonstrate."""

    ability: str
    """What it tries, such as ``amount/playbook``: a row of the model card."""
    signature: type[dspy.Signature]
    turns: tuple[Turn, ...]

    @property
    def demos(self) -> list[dspy.Example]:
        """The turns before the last, as demonstrations of a DSPy program."""
        return [
            dspy.Example(**turn.inputs, **turn.outputs).with_inputs(*turn.inputs) for turn in self.turns[:-1]
        ]

    @property
    def asked(self) -> Turn:
        """The turn that is asked, with the outputs that are right."""
        return self.turns[-1]

    def messages(self) -> list[Message]:
        """The call as DSPy lays it out, and the answer."""
        laid_out = _ADAPTER.format(self.signature, self.demos, dict(self.asked.inputs))
        learnt = iter(turn.learn for turn in self.turns)
        found = [
            Message(one["role"], one["content"], one["role"] == "assistant" and next(learnt))
            for one in laid_out
        ]
        return [*found, Message("assistant", answer_text(self.signature, self.asked.outputs), next(learnt))]


@dataclass(frozen=True)
class PromptEpisode:
    """A prompt that comes as it is, without a signature, such as that of GEPA."""

    ability: str
    prompt: str
    reply: str

    def messages(self) -> list[Message]:
        """The prompt and the reply."""
        return [Message("user", self.prompt, False), Message("assistant", self.reply, True)]


@dataclass(frozen=True)
class Conversation:
    """Prompts and replies in turn, as they are, each reply with all that stands before it."""

    ability: str
    exchanges: tuple[tuple[str, str], ...]
    """Prompt and reply of each turn."""

    def messages(self) -> list[Message]:
        """The prompts and the replies."""
        return [
            message
            for prompt, reply in self.exchanges
            for message in (Message("user", prompt, False), Message("assistant", reply, True))
        ]


def answer_text(signature: type[dspy.Signature], outputs: Mapping[str, Any]) -> str:
    """What a model writes for a signature's outputs."""
    text: str = _ADAPTER.format_assistant_message_content(signature, dict(outputs))
    return text
