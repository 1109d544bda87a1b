"""Read the demonstrations of a request once, then answer its questions field by field.

>>> lesson = learn(system, turns, reminder, neighbours=8, trust=1.0)
>>> lesson.answer(question)
{'answer': '$1,496.5', 'scale': 'million'}
"""

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tiltyard.models.lexical.answering import solver
from tiltyard.models.lexical.candidates import asked_field, find_candidates
from tiltyard.models.lexical.evidence import Evidence, Examples, Solver
from tiltyard.models.lexical.request import OutputField, Setting, read_inputs, read_setting
from tiltyard.models.lexical.similarity import SimilarityIndex
from tiltyard.models.lexical.words import shape, sort_of

if TYPE_CHECKING:
    import numpy as np

_REASONING = frozenset({"reasoning", "rationale", "explanation", "thought", "thoughts", "thinking"})
"""Output fields that explain the others: they quote the evidence of the first answer."""
_LESSONS = 16
_LOCK = threading.Lock()


class Lesson:
    """What one program's instructions and demonstrations teach.

    Args:
        setting: The request without its question.
        neighbours: How many demonstrations vote on an answer.
        trust: How far demonstrations may move the default weights.
    """

    def __init__(self, setting: Setting, neighbours: int, trust: float) -> None:
        self.setting = setting
        self._neighbours, self._trust = neighbours, trust
        self._inputs = [demonstration.inputs for demonstration in setting.demonstrations]
        self._asked = asked_field(setting.inputs, self._inputs) if self._inputs else None
        self._index = SimilarityIndex(self._inputs, setting.inputs)
        self._forms = {
            field.name: [
                _form(demonstration.outputs.get(field.name)) for demonstration in setting.demonstrations
            ]
            for field in self._answered
        }
        self._solvers = self._learn(self._asked) if self._asked is not None else None

    def _learn(self, asked: str) -> dict[str, Solver]:
        examples = Examples(
            names=self.setting.inputs,
            asked=asked,
            instructions=self.setting.instructions,
            inputs=self._inputs,
            candidates=[find_candidates(example, asked) for example in self._inputs],
            similar=self._index.among(),
            earlier=[()] * len(self._inputs),
            neighbours=self._neighbours,
            trust=self._trust,
        )
        solvers: dict[str, Solver] = {}
        for field in self._answered:
            values = [demonstration.outputs.get(field.name) for demonstration in self.setting.demonstrations]
            solvers[field.name] = solver(field, values, examples)
            forms = self._forms[field.name]
            examples.similar[field.name] = _same(forms, forms, apart=True)
            supplied = [field.name in demonstration.outputs for demonstration in self.setting.demonstrations]
            examples.earlier[:] = [
                (*earlier, sort_of(form) if known else "")
                for earlier, form, known in zip(examples.earlier, forms, supplied, strict=True)
            ]
        return solvers

    @property
    def _answered(self) -> list[OutputField]:
        explained = [field for field in self.setting.outputs if field.name not in _REASONING]
        return explained or list(self.setting.outputs)

    def answer(self, body: str) -> dict[str, Any]:
        """A value for every output field.

        Args:
            body: The question's turn without its reminder.
        """
        inputs = read_inputs(self.setting, body)
        asked = self._asked if self._asked is not None else asked_field(self.setting.inputs, [inputs])
        solvers = self._solvers or self._learn(asked)
        evidence = Evidence(inputs, asked, find_candidates(inputs, asked), self._index.to(inputs), [])
        answers: dict[str, Any] = {}
        quotes: list[str] = []
        for name, solve in solvers.items():
            answers[name], quote = solve(evidence)
            quotes.append(quote)
            form = _form(answers[name])
            evidence.similar[name] = _same([form], self._forms[name])
            evidence.earlier.append(sort_of(form))
        quote = next((quote for quote in quotes if quote), "")
        for field in self.setting.outputs:
            if field.name not in answers:
                answers[field.name] = (
                    f"The closest text is: {quote}" if quote else "The demonstrations decide."
                )
        return answers


def _form(value: Any) -> str:
    """The outward form of an answer: what later answers of the same example may depend on."""
    return shape(str(value)) if value is not None else ""


def _same(left: list[str], right: list[str], apart: bool = False) -> "np.ndarray[Any, Any]":
    """1 where two forms are the same, else 0; ``apart`` clears the diagonal."""
    import numpy as np

    same = np.array([[float(first == second) for second in right] for first in left]).reshape(
        len(left), len(right)
    )
    if apart:
        np.fill_diagonal(same, 0.0)
    return same


@lru_cache(maxsize=_LESSONS)
def _learn(
    system: str, turns: tuple[tuple[str, str], ...], reminder: str, neighbours: int, trust: float
) -> Lesson:
    return Lesson(read_setting(system, turns, reminder), neighbours, trust)


def learn(
    system: str, turns: tuple[tuple[str, str], ...], reminder: str, neighbours: int, trust: float
) -> Lesson:
    """What a request teaches; the last few lessons are kept: an evaluation repeats one for every example.

    Args:
        system: The system prompt.
        turns: The turns before the question, as pairs of role and text.
        reminder: What closes the question; see :func:`tiltyard.models.lexical.request.split_reminder`.
        neighbours: How many demonstrations vote on an answer, the nearest first.
        trust: How far demonstrations may move the default weights.
    """
    with _LOCK:  # threads that start together wait for one lesson instead of each making it
        return _learn(system, turns, reminder, neighbours, trust)
