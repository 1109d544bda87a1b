"""The lexical reader as a DSPy language model.

>>> with dspy.context(lm=lexical()):
...     dspy.Predict("context, question -> answer")(context="The limit is 80 °C.", question="The limit?")
"""

from importlib import import_module
from typing import Annotated, Any, Self

import dspy
from dspy.lm15 import Request, TextPart
from pydantic import Field

from tiltyard.models.engine import LOCAL, Completion, TextEngine, engine_lm, message_text
from tiltyard.models.lexical.reader import learn
from tiltyard.models.lexical.reply import write_reply
from tiltyard.models.lexical.request import split_reminder
from tiltyard.models.lexical.words import UNIT

_COMPUTES_WITH = ("scipy.optimize", "sklearn.feature_extraction.text")
"""Modules that the reader's other modules import where they use them."""


class LexicalEngine(TextEngine):
    """Answers requests by TF-IDF cosine and lexical overlap: no weights, no randomness, no understanding.

    Equal requests get equal answers, whatever their sampling settings. A token is a run of word characters
    or one punctuation mark; ``max_tokens`` cuts an answer off after so many.

    Args:
        neighbours: How many demonstrations vote on an answer, the nearest first; at least 1.
        trust: How far demonstrations may move the reader's default weights; above 0.
    """

    def __init__(self, neighbours: int = 8, trust: float = 1.0) -> None:
        for module in _COMPUTES_WITH:
            import_module(module)
        self._neighbours = neighbours
        self._trust = trust

    @property
    def max_concurrency(self) -> int:
        """One: it computes in Python, where a second request would mostly wait for the first."""
        return 1

    @property
    def cacheable(self) -> bool:
        """No: it answers as quickly as a cache."""
        return False

    def generate(self, request: Request) -> Completion:
        """Answer one request. See :meth:`TextEngine.generate`; no prompt is too long."""
        system = _system_text(request)
        turns = [(message.role, message_text(message)) for message in request.messages]
        asked = max(
            (index for index, (role, _) in enumerate(turns) if role == "user"), default=len(turns) - 1
        )
        body, reminder = split_reminder(turns[asked][1])
        lesson = learn(system, tuple(turns[:asked]), reminder, self._neighbours, self._trust)
        text = write_reply(lesson.setting, lesson.answer(body))
        units = [unit.end() for unit in UNIT.finditer(text)]
        limit = request.config.max_tokens
        cut = limit is not None and len(units) > limit
        return Completion(
            text=text[: units[limit - 1]] if cut else text,
            prompt_tokens=sum(
                1 for part in (system, *(text for _, text in turns)) for _ in UNIT.finditer(part)
            ),
            completion_tokens=min(len(units), limit) if limit is not None else len(units),
            finish_reason="length" if cut else "stop",
        )

    def dump_state(self) -> dict[str, Any]:
        """The engine's settings, for DSPy to save with a program."""
        return {"neighbours": self._neighbours, "trust": self._trust}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """An engine with the settings that :meth:`dump_state` returned."""
        return cls(**state)


def _system_text(request: Request) -> str:
    if request.system is None or isinstance(request.system, str):
        return request.system or ""
    return "\n".join(part.text for part in request.system if isinstance(part, TextPart))


def lexical(
    *,
    neighbours: Annotated[int, Field(ge=1)] = 8,
    trust: Annotated[float, Field(gt=0)] = 1.0,
) -> dspy.LM:
    """The lexical reader: a deterministic floor that every language model has to beat. See docs/lexical.md.

    Args:
        neighbours: How many demonstrations vote on an answer, the nearest first; at least 1.
        trust: How far demonstrations may move the reader's default weights, as the standard deviation of a
            prior around them; above 0. Near 0 the defaults stay.
    """
    return engine_lm(f"{LOCAL}lexical", LexicalEngine(neighbours, trust))
