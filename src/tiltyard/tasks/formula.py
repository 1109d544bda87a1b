"""Formula: financial calculations with a named formula, as the paper on ACE poses them.

>>> task = Formula(path="data", program=dspy.Predict)  # a folder with the three published files
>>> task.splits(seed=0, limit=None).test[0].answer
'2600000.0'

A record has the fields ``context`` (the published prompt: "Use formula NAME to answer the question. …
Formula: FORMULA, Explanation: TERMS. Question: QUESTION. Answer:") and ``target`` (a number). In a single
file, records may declare their ``split``.

The score is the accuracy of the code released with the paper (Zhang et al., *Agentic Context Engineering*,
ICLR 2026, arXiv 2510.04618; data of FinLoRA, arXiv 2505.19819): commas are removed from answer and target,
each is read as Python's ``float`` reads text, and the two have to be equal. There is no tolerance:
``8.3333`` is not 8.33, and ``$5`` and ``5%`` are no numbers.

Both extractions are reported as further metrics: ``strict`` is the score, and ``flexible`` forgives the form.
It takes the number that the answer is, or else the last number in it, whatever currency, unit, percent sign
or words stand beside it; ``(5)`` is -5, ``5 million`` is 5000000, a percentage counts as 15 or as 0.15, and a
number that rounds to the target counts (they differ by 0.005 at most).
"""

import math
import re
from decimal import Decimal
from typing import Annotated

import dspy
from pydantic import AfterValidator, BaseModel, Field

from tiltyard.programs.finance import CalculateWithFormula
from tiltyard.signatures import Content
from tiltyard.tasks.metrics import number_difference, written
from tiltyard.tasks.numbers_in_text import last_quantity
from tiltyard.tasks.records import FilledText, Record
from tiltyard.tasks.split_files import divide, existing_files, files_digest, read_splits
from tiltyard.tasks.splits import FRACTIONS, DeclaredSplit, Entry, Fractions, SplitName, content_key
from tiltyard.tasks.task import ProgramFactory, Score, Splits

NAME = "formula"
"""What the names of the published files begin with."""

FormulaFiles = Annotated[str, AfterValidator(existing_files(NAME)), Content(files_digest(NAME))]
"""The published files: their folder, or one file of such records."""

_PROMPT = re.compile(
    r"Use formula (?P<name>.+?) to answer the question\..*?Formula: (?P<formula>.+?), "
    r"Explanation: (?P<terms>.+?)\.?\s+Question:\s*(?P<question>.+?)\.?\s+Answer:\s*",
    re.DOTALL,
)
_QUOTES = '"“”'
_ROUNDING = Decimal("0.005")
"""How far a number may be from what it is rounded to."""


def _as_number(text: str) -> str:
    value = read_float(text)
    if value is None or not math.isfinite(value):
        raise ValueError("is not a number")
    return text


class FormulaRecord(BaseModel):
    """A record of the published files. A description is what an error recommends."""

    context: FilledText = Field(description="it should be text")
    target: Annotated[FilledText, AfterValidator(_as_number)] = Field(
        description="it should be one number in digits"
    )
    split: DeclaredSplit | None = Field(None, description="use train, validation or test")


class Formula:
    """Formula of the ACE paper, with its official accuracy.

    Args:
        path: The folder with the published files (``formula_train_subset_500.jsonl``,
            ``formula_val_subset_300.jsonl``, ``formula_test.jsonl``), or one file of such records.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        domain: The field that the questions are from; a label in rows and reports.
        show_formula: Whether the model is shown the record's formula as ``context``. The code released with
            the ACE paper drops it, which ``false`` does too: the formulas are then to be learnt.
        fractions: The share of records in train, validation and test, which add up to 1. Unused where
            the files or the records say it.
    """

    signature: type[dspy.Signature] = CalculateWithFormula
    primary = "accuracy, strict extraction"

    def __init__(
        self,
        *,
        path: FormulaFiles,
        program: ProgramFactory,
        domain: str = "finance",
        show_formula: bool = True,
        fractions: Fractions = FRACTIONS,
    ) -> None:
        self.path = path
        self.program = program
        self.domain = domain
        self.show_formula = show_formula
        self.fractions = fractions

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the records into the splits of their files; see :func:`tiltyard.tasks.split_files.divide`."""
        entries = [self._entry(split, record) for split, record in read_splits(self.path, NAME)]
        return divide(entries, fractions=self.fractions, seed=seed, limit=limit, source=self.path)

    def _entry(self, split: SplitName | None, record: Record) -> Entry:
        values = record.parse(FormulaRecord)
        prompt = _PROMPT.fullmatch(values.context)
        if prompt is None:
            raise record.error(
                "field 'context' is not a prompt of Formula",
                "it should read 'Use formula … to answer the question. … Formula: …, Explanation: …. "
                "Question: …. Answer:'",
            )
        question = prompt["question"].strip().strip(_QUOTES).strip()
        formula = f"{prompt['formula']}\n{prompt['terms']}"
        content = content_key(question, formula)
        return Entry(
            example=dspy.Example(
                id=f"{split}-{record.number}" if split else str(record.number),
                question=question,
                context=formula if self.show_formula else "",
                answer=values.target,
            ).with_inputs("question", "context"),
            place=record.place,
            content=content,
            group=content,
            split=split or values.split,
        )

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: object = None,
    ) -> Score:
        """Score by the official equality of numbers; the feedback tells a wrong number from a wrong form."""
        answer, target = written(prediction, "answer"), str(example.answer)
        if read_float(answer) == read_float(target):
            return Score(1.0, "Correct.")
        if not answer:
            return Score(0.0, f"Expected {target}, no answer was given.")
        return Score(0.0, f"Expected {target}, got '{answer}'. {_problem(answer, target)}")

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score by both extractions: ``strict`` is the score, ``flexible`` takes the number in any form."""
        answer, target = written(prediction, "answer"), str(example.answer)
        strict = read_float(answer) == read_float(target)
        return {"strict": float(strict), "flexible": float(strict or _right_value(answer, target))}

    def gold(self, example: dspy.Example) -> str:
        """Show the target as the record writes it."""
        return str(example.answer)

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the answer as the model wrote it."""
        return written(prediction, "answer")


def read_float(text: str) -> float | None:
    """Read a text as the official accuracy does: without its commas, as ``float`` reads it; else None."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _readings(answer: str) -> list[Decimal]:
    """The values that an answer may stand for: none, one, or two where it is a percentage."""
    quantity = last_quantity(answer)
    if quantity is None:
        return []
    return [quantity.value, quantity.value.scaleb(-2)] if quantity.unit == "%" else [quantity.value]


def _right_value(answer: str, target: str) -> bool:
    expected = _decimal(target)
    return any(abs(value - expected) <= _ROUNDING for value in _readings(answer))


def _decimal(target: str) -> Decimal:
    return Decimal(str(read_float(target)))


def _problem(answer: str, target: str) -> str:
    readings, expected = _readings(answer), _decimal(target)
    if not readings:
        return "The answer should be one plain number and nothing else."
    if _right_value(answer, target):
        return "The value is right, its form is not: write the plain number alone, rounded to two decimals."
    differences = [number_difference(value, expected) for value in readings]
    known = next((difference for difference in differences if difference != "The number is wrong."), None)
    if known is not None:
        return known
    if any(abs(value - expected) <= abs(expected) / 100 for value in readings):
        return "The number is off by less than 1 %: round at the end only."
    return "The number is wrong."
