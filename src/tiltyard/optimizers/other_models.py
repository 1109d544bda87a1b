"""Lets one compilation ask several models, each through the adapter that it was built for.

>>> with asking_also(reflector):                 # None: the program's own model, and nothing changes
...     dspy.MIPROv2(metric=metric, prompt_model=reflector).compile(student, trainset=train)
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dspy

from tiltyard.models.engine import adapter


def settings_of(lm: dspy.LM | None) -> dict[str, Any]:
    """DSPy's settings under which a model runs instead of the program's; none for None."""
    return {} if lm is None else {"lm": lm, "adapter": adapter(lm)}


def asking_also(lm: dspy.LM | None) -> AbstractContextManager[None]:
    """A block in which an optimizer may switch to another model without switching the adapter."""
    if lm is None:
        return nullcontext()
    context: AbstractContextManager[None] = dspy.context(adapter=AdapterOfEachModel())
    return context


class AdapterOfEachModel(dspy.Adapter):  # type: ignore[misc]
    """Asks each model through its own adapter, DSPy's default where it has none."""

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask the model."""
        answer: list[dict[str, Any]] = _of(lm)(lm, lm_kwargs, signature, demos, inputs)
        return answer

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask the model, asynchronously."""
        answer: list[dict[str, Any]] = await _of(lm).acall(lm, lm_kwargs, signature, demos, inputs)
        return answer


def _of(lm: dspy.BaseLM) -> dspy.Adapter:
    wanted = adapter(lm) if isinstance(lm, dspy.LM) else None
    return wanted or dspy.ChatAdapter()
