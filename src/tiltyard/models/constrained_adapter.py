"""A chat adapter that tells the engine the exact form of the reply, so that what comes back parses.

    >>> with dspy.context(adapter=ConstrainedChatAdapter()):
    ...     dspy.Predict("question -> answer: int")(question="What is 1 + 1?").answer
    2

The prompt is that of ``dspy.ChatAdapter``. It is for engines that keep to a
:class:`~tiltyard.models.constraints.ReplyFormat`.
"""

from typing import Any

import dspy

from tiltyard.models.constraints import METADATA, ReplyFormat
from tiltyard.models.reply_grammar import reply_format


class ConstrainedChatAdapter(dspy.ChatAdapter):  # type: ignore[misc]
    """``dspy.ChatAdapter`` with the reply's form as a grammar, made from the signature's output fields.

    A signature with an output that has no written form of its own (tool calls, code, images) or with a type
    that cannot be enforced goes out as ``dspy.ChatAdapter`` sends it. There is no second call in JSON when a
    constrained reply does not parse.
    """

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)
        self._unconstrained = dspy.ChatAdapter()

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask for the signature's outputs, and read them from the reply."""
        form = reply_format(signature)
        if form is None:
            return self._unconstrained(lm, lm_kwargs, signature, demos, inputs)  # type: ignore[no-any-return]
        constrained = _with_format(lm, lm_kwargs, form)
        return super().__call__(lm, constrained, signature, demos, inputs)  # type: ignore[no-any-return]

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """As calling the adapter, asynchronously."""
        form = reply_format(signature)
        if form is None:
            answer = await self._unconstrained.acall(lm, lm_kwargs, signature, demos, inputs)
        else:
            constrained = _with_format(lm, lm_kwargs, form)
            answer = await super().acall(lm, constrained, signature, demos, inputs)
        return answer  # type: ignore[no-any-return]


def _with_format(lm: dspy.BaseLM, lm_kwargs: dict[str, Any], form: ReplyFormat) -> dict[str, Any]:
    theirs = lm_kwargs.get(METADATA) or lm.kwargs.get(METADATA) or {}
    return {**lm_kwargs, METADATA: {**theirs, **form.metadata}}
