"""GSM8K: word problems of grade school, solved in steps that end with ``#### NUMBER``.

>>> task = GSM8K(path="data", program=dspy.Predict)  # a folder with the two published files
>>> task.gold(task.splits(seed=0, limit=None).test[0])
'18'

A record has the fields ``question`` and ``answer``, whose last line is ``#### NUMBER``. The published
answers hold a calculator's notes (``<<48/2=24>>``), which examples leave out. In a single file, records may
declare their ``split``.

The score is the *strict* accuracy of the data set's own code (Cobbe et al., *Training Verifiers to Solve
Math Word Problems*, arXiv 2110.14168): the number behind the first ``#### `` of an answer, without its
commas, is that of the record. Where there is none, the answer is wrong. The released code compares digits,
here numbers are compared, so ``18.00`` and ``18.`` are 18.

Both extractions are reported as further metrics: ``strict`` is the score, and ``flexible`` also takes the
last number of the answer, wherever it stands, without regard to currency and percent signs.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

import dspy
from pydantic import AfterValidator, BaseModel, Field

from tiltyard.programs.arithmetic import SolveWordProblem
from tiltyard.signatures import Content
from tiltyard.tasks.metrics import number_difference, written
from tiltyard.tasks.numbers_in_text import last_quantity
from tiltyard.tasks.records import FilledText, Record
from tiltyard.tasks.split_files import divide, existing_files, files_digest, read_splits
from tiltyard.tasks.splits import FRACTIONS, DeclaredSplit, Entry, Fractions, SplitName, content_key
from tiltyard.tasks.task import ProgramFactory, Score, Splits

NAME = "gsm8k"
"""What the names of the files begin with."""

ON_HUB = "main"
"""The folder of the Hub's ``openai/gsm8k`` that has the published files."""

GSM8KFiles = Annotated[str, AfterValidator(existing_files(NAME)), Content(files_digest(NAME, hub=ON_HUB))]
"""The published files: their folder, one file of such records, or a data set of the Hub."""

_STATED = re.compile(r"#### (-?[0-9.,]+)")
_NOTE = re.compile(r"<<[^<>]*>>")


def strict_number(answer: str) -> Decimal | None:
    r"""Read the number behind the first ``#### ``, as the data set's own code finds it; None without one.

    >>> strict_number("48 / 2 = 24\n#### 1,024")
    Decimal('1024')
    """
    stated = _STATED.search(answer)
    if stated is None:
        return None
    try:
        return Decimal(stated[1].replace(",", ""))
    except InvalidOperation:
        return None


def _ends_with_number(answer: str) -> str:
    if strict_number(answer) is None or not _STATED.fullmatch(answer.splitlines()[-1].strip()):
        raise ValueError("does not end with a line of '#### ' and a number")
    return answer


class GSM8KRecord(BaseModel):
    """A record of the published files. A description is what an error recommends."""

    question: FilledText = Field(description="it should be text")
    answer: Annotated[FilledText, AfterValidator(_ends_with_number)] = Field(
        description="it should be the steps, and a last line such as '#### 18'"
    )
    split: DeclaredSplit | None = Field(None, description="use train, validation or test")


class GSM8K:
    """GSM8K, with the strict accuracy of the data set's own code.

    Args:
        path: The folder with the published files (``train.jsonl`` and ``test.jsonl``, or
            ``gsm8k_train.jsonl`` and ``gsm8k_test.jsonl``), one file of such records, or
            ``hf://datasets/openai/gsm8k``.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, …. The
            answer holds the steps already.
        domain: The field that the questions are from; a label in rows and reports.
        fractions: The share of records in train, validation and test, which add up to 1. The published files
            have no validation split: train is divided in the proportion of its share and validation's.
    """

    signature: type[dspy.Signature] = SolveWordProblem
    primary = "accuracy, strict extraction"

    def __init__(
        self,
        *,
        path: GSM8KFiles,
        program: ProgramFactory,
        domain: str = "math",
        fractions: Fractions = FRACTIONS,
    ) -> None:
        self.path = path
        self.program = program
        self.domain = domain
        self.fractions = fractions

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the records into the splits of their files; see :func:`tiltyard.tasks.split_files.divide`."""
        entries = [_entry(split, record) for split, record in read_splits(self.path, NAME, hub=ON_HUB)]
        return divide(entries, fractions=self.fractions, seed=seed, limit=limit, source=self.path)

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: object = None,
    ) -> Score:
        """Score the number behind ``####``; the feedback tells a wrong number from a wrong form."""
        answer, expected = written(prediction, "answer"), strict_number(example.answer)
        assert expected is not None
        if strict_number(answer) == expected:
            return Score(1.0, "Correct.")
        right = f"Expected #### {self.gold(example)}"
        solution = f"Solution: {example.answer}"
        if not answer:
            return Score(0.0, f"{right}, no answer was given. {solution}")
        return Score(0.0, f"{right}. {_problem(answer, expected)} {solution}")

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score by both extractions: ``strict`` is the score, ``flexible`` takes the last number as well."""
        answer, expected = written(prediction, "answer"), strict_number(example.answer)
        strict = strict_number(answer) == expected
        return {"strict": float(strict), "flexible": float(strict or _last(answer) == expected)}

    def gold(self, example: dspy.Example) -> str:
        """Show the number that the steps come to."""
        return f"{strict_number(example.answer)}"

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the answer as the model wrote it, with its steps."""
        return written(prediction, "answer")


def _last(answer: str) -> Decimal | None:
    quantity = last_quantity(answer)
    return None if quantity is None else quantity.value


def _problem(answer: str, expected: Decimal) -> str:
    stated, last = strict_number(answer), _last(answer)
    if stated is not None:
        return f"The answer says {stated}. {number_difference(stated, expected)}"
    if last is None:
        return "The answer has no number."
    form = "The answer should end with a line of '#### ' and the number."
    return (
        form if last == expected else f"The answer ends on {last}. {number_difference(last, expected)} {form}"
    )


def _entry(split: SplitName | None, record: Record) -> Entry:
    values = record.parse(GSM8KRecord)
    content = content_key(values.question)
    return Entry(
        example=dspy.Example(
            id=f"{split}-{record.number}" if split else str(record.number),
            question=values.question,
            answer=_NOTE.sub("", values.answer),
        ).with_inputs("question"),
        place=record.place,
        content=content,
        group=content,
        split=split or values.split,
    )
