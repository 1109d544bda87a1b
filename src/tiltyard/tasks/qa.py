"""Question answering from any local file: short answers or multiple choice, with or without context.

>>> task = QuestionAnswering(path="qa.csv", domain="energy", program=dspy.Predict)
>>> task.splits(seed=0, limit=None).test[0].question
'What is the rated power?'

A record has these fields; others are ignored:

* ``question`` and ``answer`` (text or a number; in JSON also a list of answers that all count as right),
* ``context``: text to answer from,
* ``options``: an object from letter to text or a list; in CSV a JSON value or texts with ``|`` between. The
  answer is then a letter or an option's full text, and ``answer_idx``, where given, is the letter,
* ``split``: ``train``, ``validation`` or ``test``, in every record or in none,
* ``id``: unique; the record's number where it is absent.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

import dspy
from pydantic import Field

from tiltyard.errors import InputError
from tiltyard.programs.qa import AnswerQuestion, ChooseOption
from tiltyard.tasks.data_file import DataFile
from tiltyard.tasks.metrics import (
    Verdict,
    choice_match,
    exact_match,
    is_bare_letter,
    read_quantity,
    token_f1,
    written,
)
from tiltyard.tasks.number_match import number_match
from tiltyard.tasks.positions import position_figures
from tiltyard.tasks.question_record import QuestionRecord, entry
from tiltyard.tasks.records import Record, read_records
from tiltyard.tasks.similarity import similarity_named
from tiltyard.tasks.splits import FRACTIONS, Entry, Fractions, split_entries
from tiltyard.tasks.task import Judged, ProgramFactory, Score, Splits

Metric = Literal["exact", "f1", "number", "similarity"]
Tolerance = Annotated[float, Field(ge=0)]

_PRIMARY: dict[Metric, str] = {
    "exact": "normalised exact match",
    "f1": "token F1",
    "number": "numeric match with tolerance",
    "similarity": "semantic similarity",
}


class QuestionAnswering:
    """A task made from one file of questions; multiple choice where the records have options.

    Multiple choice is scored by the chosen letter, read in any form (*flexible*); the extra metric ``strict``
    takes the bare letter alone. The options' order is drawn by the seed, for each question on its own, so
    that no position is better than another; ``summary`` tells whether the model prefers one.

    Args:
        path: The records: a JSON, JSONL, CSV or Parquet file, ``pkg://PACKAGE/FILE`` for a shipped one, or
            ``hf://datasets/OWNER/NAME/FILE`` for one of the Hub.
        domain: The field that the questions are from, such as ``finance``; a label in rows and reports.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        metric: How short answers are scored: ``exact`` for normalised exact match, ``f1`` for token F1,
            ``number`` for numbers within a tolerance, ``similarity`` for likeness in meaning. The others are
            further metrics, where they apply. Unused for multiple choice.
        tolerance: The largest difference of numbers that counts as none, relative to the gold number.
        similarity: What likeness is measured by: ``hashed``, which needs no model, or the name of a
            sentence-transformers model (extra ``embeddings``); null for not at all.
        fractions: The share of records in train, validation and test, which add up to 1. Unused where
            the records declare their split. Records that share a context stay together.
    """

    def __init__(
        self,
        *,
        path: DataFile,
        domain: str,
        program: ProgramFactory,
        metric: Metric = "exact",
        tolerance: Tolerance = 0.01,
        similarity: str | None = None,
        fractions: Fractions = FRACTIONS,
    ) -> None:
        if metric == "similarity" and similarity is None:
            raise InputError(
                "task.metric=similarity needs a measure", "add task.similarity=hashed or a model's name"
            )
        self.path = path
        self.domain = domain
        self.program = program
        self.fractions = fractions
        self.tolerance = tolerance
        self._metric = metric
        self._similar = None if similarity is None else similarity_named(similarity)

    @property
    def primary(self) -> str:
        """What the score is."""
        return "option accuracy, flexible extraction" if self._has_options else _PRIMARY[self._metric]

    @cached_property
    def signature(self) -> type[dspy.Signature]:
        """:class:`ChooseOption` where the records have options, else :class:`AnswerQuestion`."""
        return ChooseOption if self._has_options else AnswerQuestion

    @property
    def _has_options(self) -> bool:
        return self._records[0][1].options is not None

    @cached_property
    def _records(self) -> list[tuple[Record, QuestionRecord]]:
        records = [(record, record.parse(QuestionRecord)) for record in read_records(self.path)]
        has_options = records[0][1].options is not None
        for record, question in records:
            if (question.options is not None) != has_options:
                problem = "is missing" if has_options else "is not in the records before"
                raise record.error(f"field 'options' {problem}", "give every record options, or none")
            if self._metric == "number" and not has_options and not _numbers(question.answer):
                raise record.error(
                    f"field 'answer' is '{question.answer[0]}', which is no number",
                    "choose another task.metric",
                )
        return records

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the file and divide its records; see :func:`tiltyard.tasks.splits.split_entries`."""
        entries = self._entries(seed)
        return split_entries(entries, fractions=self.fractions, seed=seed, limit=limit, source=self.path)

    def _entries(self, seed: int) -> list[Entry]:
        return [entry(record, question, seed) for record, question in self._records]

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: object = None,
    ) -> Score:
        """Score the answer by the chosen option, or by the task's metric over all acceptable answers."""
        answer = written(prediction, "answer")
        if "choices" in example:
            verdict = choice_match(answer, example.answer, example.choices)
            expected = f"{example.answer} ({example.choices[example.answer]})"
        else:
            verdict = self._judge(self._metric, answer, example.answers)
            expected = " or ".join(f"'{gold}'" for gold in example.answers)
        if verdict.score == 1.0:
            return Score(1.0, "Correct.")
        got = f", got '{answer}'" if answer else ""
        return Score(verdict.score, f"Expected {expected}{got}. {verdict.problem}")

    def _judge(self, metric: Metric, answer: str, golds: Sequence[str]) -> Verdict:
        if metric == "exact":
            return exact_match(answer, golds)
        if metric == "f1":
            return token_f1(answer, golds)
        if metric == "number":
            return number_match(answer, golds, self.tolerance)
        assert self._similar is not None
        if not answer:
            return Verdict(0.0, "No answer was given.")
        score = max(self._similar(answer, gold) for gold in golds)
        return Verdict(score, "" if score == 1.0 else f"The likeness is {score:.2f}.")

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score short answers by the other metrics too, where they apply; a choice by its bare letter."""
        answer = written(prediction, "answer")
        if "choices" in example:
            flexible = choice_match(answer, example.answer, example.choices).score
            return {"strict": float(is_bare_letter(answer, example.answer)), "flexible": flexible}
        others: list[Metric] = ["exact", "f1"]
        if _numbers(example.answers):
            others.append("number")
        if self._similar is not None:
            others.append("similarity")
        return {
            name: self._judge(name, answer, example.answers).score for name in others if name != self._metric
        }

    def summary(self, judged: Sequence[Judged]) -> dict[str, float]:
        """Multiple choice by positions; see :func:`tiltyard.tasks.positions.position_figures`."""
        return position_figures(judged) if self._has_options else {}

    def gold(self, example: dspy.Example) -> str:
        """Show the gold answer: a letter, or the first acceptable answer."""
        return str(example.answer)

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the answer as the model wrote it."""
        return written(prediction, "answer")


def _numbers(golds: Sequence[str]) -> bool:
    return all(read_quantity(gold) is not None for gold in golds)
