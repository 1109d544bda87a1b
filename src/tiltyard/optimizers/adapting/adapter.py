"""Changes the instructions of every call of a program, without a change to the program.

    >>> with dspy.context(adapter=SignatureChangingAdapter(change)):
    ...     program(question="…")

Threads may run one program with different instructions at the same time: the signature of a call is changed
on its way to the adapter in force, and nothing that is shared.
"""

from collections.abc import Callable
from typing import Any

import dspy


class SignatureChangingAdapter:
    """Changes the signature of what another adapter is asked to send.

    Args:
        change: Gives the signature to send in the place of one.
        reads: The adapter that does the work; None for DSPy's own.
    """

    def __init__(
        self, change: Callable[[type[dspy.Signature]], type[dspy.Signature]], reads: Any = None
    ) -> None:
        self.change = change
        self.reads = dspy.ChatAdapter() if reads is None else reads

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask for the signature's outputs, by the changed signature."""
        return self.reads(lm, lm_kwargs, self.change(signature), demos, inputs)  # type: ignore[no-any-return]

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """As calling the adapter, asynchronously."""
        told = self.change(signature)
        return await self.reads.acall(lm, lm_kwargs, told, demos, inputs)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        # Programs such as ReAct ask the adapter in force how it writes an input.
        if name.startswith("__") or name == "reads":
            raise AttributeError(name)
        return getattr(self.reads, name)
