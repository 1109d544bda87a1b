"""TAT-QA: questions about tables and text of financial reports, read from the official raw format.

>>> task = TatQA(path="tatqa_dataset_dev.json", program=dspy.Predict)
>>> task.splits(seed=0, limit=300).test[0].scale
'million'

A gold answer with several spans is one text, as :func:`write_spans` writes it; a predicted answer is read
by :func:`read_spans`, and also as one span, and counts as whichever fits better.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

import dspy
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from tiltyard.errors import InputError
from tiltyard.programs.qa import AnswerFromTable
from tiltyard.signatures import Content
from tiltyard.tasks.metrics import written
from tiltyard.tasks.records import AS_LIST, FilledText, Record, Text, parse
from tiltyard.tasks.split_files import divide, existing_files, files_digest, read_splits
from tiltyard.tasks.splits import Entry, Fractions, SplitName, content_key
from tiltyard.tasks.task import ProgramFactory, Score, Splits
from tiltyard.tasks.tatqa_metric import (
    Agreement,
    difference,
    evaluate,
    read_number,
    read_scale,
    read_spans,
    write_spans,
)

NAMES = ("tatqa_dataset", "tatqa")
"""What the names of the files begin with."""

TatQAFiles = Annotated[str, AfterValidator(existing_files(*NAMES)), Content(files_digest(*NAMES))]
"""The official files: their folder, one of them, or a data set of the Hub."""

COMPUTED = ("arithmetic", "count")
"""The answer types whose answer is worked out, and whose F1 is the exact match."""

FRACTIONS: Fractions = MappingProxyType({"train": 0.25, "validation": 0.15, "test": 0.6})
"""The shares of the development file's 1,668 questions: about 417, 250 and 1,001."""


class Table(BaseModel):
    """The table of a context."""

    uid: FilledText
    table: list[list[Text]] = Field(min_length=1)


class Paragraph(BaseModel):
    """A paragraph of a context."""

    order: int
    text: Text


class Context(BaseModel):
    """A table with its paragraphs and the questions about them."""

    table: Table
    paragraphs: list[Paragraph]
    questions: list[dict[str, Any]] = Field(min_length=1)

    def render(self) -> str:
        """Write the table as a pipe table and the paragraphs below it, in their order."""
        header, *rows = [" | ".join(" ".join(cell.split()) for cell in row) for row in self.table.table]
        ruler = " | ".join("---" for _ in self.table.table[0])
        table = "\n".join(f"| {row} |" for row in (header, ruler, *rows))
        paragraphs = [paragraph.text.strip() for paragraph in sorted(self.paragraphs, key=lambda p: p.order)]
        return "\n\n".join([table, *paragraphs])


def _plain_numbers(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _filled(spans: list[str]) -> list[str]:
    filled = [span.strip() for span in spans if span.strip()]
    if not filled:
        raise ValueError("is empty")
    return filled


class Question(BaseModel):
    """A question with its gold answer. A description is what an error recommends."""

    uid: FilledText
    question: FilledText
    answer: Annotated[
        list[Annotated[Text, BeforeValidator(_plain_numbers)]],
        AS_LIST,
        AfterValidator(_filled),
    ]
    answer_type: Literal["span", "multi-span", "arithmetic", "count"]
    scale: Literal["", "thousand", "million", "billion", "percent"] = Field(
        description="a number without a scale has the empty scale"
    )
    derivation: Text = ""


class TatQA:
    """TAT-QA in its official raw format, with its official metrics.

    The score is the exact match of answer and scale; the numeracy-focused F1 is an extra metric. See
    :mod:`tiltyard.tasks.tatqa_metric`.

    Args:
        path: An official file with gold answers, such as ``tatqa_dataset_dev.json``; the folder with
            ``tatqa_dataset_train.json``, ``tatqa_dataset_dev.json`` and ``tatqa_dataset_test_gold.json``,
            whose files are then the splits; or ``hf://datasets/next-tat/TAT-QA``.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        domain: The field that the questions are from; a label in rows and reports.
        fractions: The share of questions in train, validation and test, which add up to 1. Unused where the
            files say it. The questions about one table stay together.
    """

    signature: type[dspy.Signature] = AnswerFromTable
    primary = "exact match with scale"

    def __init__(
        self,
        *,
        path: TatQAFiles,
        program: ProgramFactory,
        domain: str = "finance",
        fractions: Fractions = FRACTIONS,
    ) -> None:
        self.path = path
        self.program = program
        self.domain = domain
        self.fractions = fractions

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the questions into the files' splits; see :func:`tiltyard.tasks.split_files.divide`."""
        found = read_splits(self.path, *NAMES)
        entries = [entry for split, record in found for entry in _entries(split, record)]
        return divide(entries, fractions=self.fractions, seed=seed, limit=limit, source=self.path)

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: object = None,
    ) -> Score:
        """Score by exact match, with feedback that tells a wrong value from a wrong scale."""
        spans, agreement = _best_reading(example, prediction)
        if agreement.exact:
            return Score(1.0, "Correct.")
        scale = read_scale(written(prediction, "scale"))
        expected = f"Expected {_shown(example.spans, example.scale)}"
        if not spans:
            parts = [f"{expected}, no answer was given."]
        else:
            parts = [
                f"{expected}, got {_shown(spans, scale)}.",
                difference(spans, scale, example.spans, example.scale),
            ]
        if example.derivation:
            parts.append(f"Derivation: {example.derivation}.")
        return Score(0.0, " ".join(part for part in parts if part))

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score by the numeracy-focused F1, as ``f1``."""
        return {"f1": _best_reading(example, prediction)[1].f1}

    def gold(self, example: dspy.Example) -> str:
        """Show the gold answer with its scale, such as ``12.6 million``."""
        return f"{example.answer} {example.scale}".strip()

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the predicted answer with its scale."""
        return f"{written(prediction, 'answer')} {written(prediction, 'scale')}".strip()


def _entries(split: SplitName | None, record: Record) -> Iterator[Entry]:
    table = record.values.get("table")
    uid = table.get("uid") if isinstance(table, Mapping) else None
    place = f"{record.place} (table {uid})" if uid else record.place
    context = parse(record.values, Context, place)
    rendered = context.render()
    for position, values in enumerate(context.questions, 1):
        uid = values.get("uid")
        where = f"{place}, question {position}" + (f" ({uid})" if uid else "")
        question = parse(values, Question, where)
        if question.answer_type in COMPUTED and (
            len(question.answer) != 1 or read_number(question.answer[0]) is None
        ):
            raise InputError(
                f"{where}: field 'answer' is not one number", f"the answer_type is {question.answer_type}"
            )
        yield Entry(
            example=dspy.Example(
                id=question.uid,
                question=question.question,
                context=rendered,
                answer=write_spans(question.answer),
                scale=question.scale,
                spans=question.answer,
                answer_type=question.answer_type,
                derivation=question.derivation,
            ).with_inputs("question", "context"),
            place=where,
            content=content_key(question.question, rendered),
            group=content_key(rendered),
            split=split,
        )


def _best_reading(example: dspy.Example, prediction: dspy.Prediction) -> tuple[list[str], Agreement]:
    text, scale = written(prediction, "answer"), read_scale(written(prediction, "scale"))
    readings = [read_spans(text), [text] if text else []]
    agreements = [
        evaluate(spans, scale, example.spans, example.scale, computed=example.answer_type in COMPUTED)
        for spans in readings
    ]
    return max(zip(readings, agreements, strict=True), key=lambda pair: (pair[1].exact, pair[1].f1))


def _shown(spans: Sequence[str], scale: str) -> str:
    return f"'{write_spans(spans)}' " + (f"with scale '{scale}'" if scale else "without scale")
