"""PubMedQA: research questions that an abstract answers with yes, no or maybe, from the published files.

>>> task = PubMedQA(path="ori_pqal.json", test="test_ground_truth.json", program=dspy.Predict)
>>> len(task.splits(seed=0, limit=None).test)
500

The file is an object from PMID to record: ``QUESTION``, ``CONTEXTS`` (the abstract's sections), ``LABELS``
(their names) and ``final_decision``. The published ground truth, an object from PMID to decision, says
which records are the test split; the others are divided into train and validation. The conclusion,
``LONG_ANSWER``, is left out: this is the setting that the paper calls reasoning-required (Jin et al., EMNLP
2019, arXiv 1909.06146).

The score is the paper's accuracy. A decision is read where it stands by itself: ``yes``, ``**No**``, ``Yes,
since …``, ``The answer is maybe.``; an answer with two decisions, or with none by itself ("there is no
evidence"), has none. The paper's macro-F1 belongs to a whole split, so no example has it; rows hold what it
is computed from.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import dspy
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from tiltyard.errors import InputError
from tiltyard.programs.abstracts import DecideFromAbstract
from tiltyard.signatures import Content
from tiltyard.tasks.data_file import DataFile, existing, file_digest, read_bytes
from tiltyard.tasks.metrics import normalise, written
from tiltyard.tasks.records import FilledText, Record
from tiltyard.tasks.split_files import divide
from tiltyard.tasks.splits import FRACTIONS, Entry, Fractions, SplitName, content_key
from tiltyard.tasks.task import ProgramFactory, Score, Splits

DECISIONS = ("yes", "no", "maybe")
"""What a question is answered with."""

_CLAUSE = re.compile(r"[.,;:!?(){}\[\]\n]|\s[-–—]+\s")
_ANNOUNCEMENT = re.compile(r"^.*\b(?:answer|decision|conclusion|verdict)\b(?:\s+is)?\s+(?=\S)")


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _existing_or_none(path: str | None) -> str | None:
    return None if path is None else existing(path)


Decision = Annotated[Literal["yes", "no", "maybe"], BeforeValidator(_lowered)]
GroundTruth = Annotated[str | None, AfterValidator(_existing_or_none), Content(file_digest)]
"""The file that names the test split, or None."""


class AbstractRecord(BaseModel):
    """A record of the published file. A description is what an error recommends."""

    QUESTION: FilledText = Field(description="it should be text")
    CONTEXTS: list[FilledText] = Field(min_length=1, description="it should be a list of texts")
    LABELS: list[FilledText] = Field([], description="it should be a list of texts, one for each context")
    final_decision: Decision = Field(description="it should be yes, no or maybe")


class PubMedQA:
    """PubMedQA's expert-labelled questions, scored by accuracy.

    Args:
        path: The published ``ori_pqal.json``.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        test: The published ``test_ground_truth.json``, whose PMIDs are the test split; None to divide all
            records by ``fractions``.
        domain: The field that the questions are from; a label in rows and reports.
        fractions: The share of records in train, validation and test, which add up to 1. With ``test``,
            the other records are divided in the proportion of train and validation.
    """

    signature: type[dspy.Signature] = DecideFromAbstract

    def __init__(
        self,
        *,
        path: DataFile,
        program: ProgramFactory,
        test: GroundTruth = None,
        domain: str = "medical",
        fractions: Fractions = FRACTIONS,
    ) -> None:
        self.path = path
        self.program = program
        self.test = test
        self.domain = domain
        self.fractions = fractions

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the records; see :func:`tiltyard.tasks.split_files.divide`."""
        records = list(_records(self.path))
        in_test = self._test_split({pmid for pmid, _ in records})
        entries = []
        for pmid, record in records:
            split: SplitName | None = None
            if in_test is not None:
                split = "test" if pmid in in_test else "train"
            entries.append(_entry(pmid, record, split))
        return divide(entries, fractions=self.fractions, seed=seed, limit=limit, source=self.path)

    def _test_split(self, known: set[str]) -> set[str] | None:
        if self.test is None:
            return None
        named = _object(self.test)
        unknown = next((pmid for pmid in named if pmid not in known), None)
        if unknown is not None:
            raise InputError(
                f"{self.test}: names PMID {unknown}, which {self.path} lacks", "use matching files"
            )
        return set(named)

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: object = None,
    ) -> Score:
        """Score the decision, with feedback that tells a wrong one from none."""
        answer = written(prediction, "answer")
        decision = read_decision(answer)
        if decision == example.answer:
            return Score(1.0, "Correct.")
        if not answer:
            return Score(0.0, f"Expected '{example.answer}', no answer was given.")
        problem = "" if decision else " The answer should be one word: yes, no or maybe."
        return Score(0.0, f"Expected '{example.answer}', got '{decision or answer}'.{problem}")

    def gold(self, example: dspy.Example) -> str:
        """Show the decision."""
        return str(example.answer)

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the answer as the model wrote it."""
        return written(prediction, "answer")


def read_decision(text: str) -> str | None:
    """Read the one decision that stands by itself in a text; None where there is none, or several.

    >>> read_decision("**Yes**, although there is no control group.")
    'yes'
    """
    clauses = [normalise(clause) for clause in _CLAUSE.split(text)]
    stated = {bare for clause in clauses if (bare := _ANNOUNCEMENT.sub("", clause)) in DECISIONS}
    return stated.pop() if len(stated) == 1 else None


def _records(path: str) -> Iterator[tuple[str, Record]]:
    for number, (pmid, values) in enumerate(_object(path).items(), 1):
        place = f"{path}, record {number} (PMID {pmid})"
        if not isinstance(values, dict):
            raise InputError(f"{place}: is not an object", "a record is an object with named fields")
        yield pmid, Record(number, place, {key: value for key, value in values.items() if value is not None})


def _object(path: str) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path).decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise InputError(f"{where}: not JSON: {error.msg}", "correct the line") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not JSON in UTF-8", "use the published file") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds no object with PMIDs", 'it should read {"PMID": …, …}')
    return content


def _entry(pmid: str, record: Record, split: SplitName | None) -> Entry:
    values = record.parse(AbstractRecord)
    labels = values.LABELS or [""] * len(values.CONTEXTS)
    if len(labels) != len(values.CONTEXTS):
        raise record.error(
            f"field 'LABELS' has {len(labels)} item(s), and 'CONTEXTS' {len(values.CONTEXTS)}",
            "give each context one label",
        )
    sections = zip(labels, values.CONTEXTS, strict=True)
    context = "\n".join(f"{label}: {text}" if label else text for label, text in sections)
    return Entry(
        example=dspy.Example(
            id=pmid, question=values.QUESTION, context=context, answer=values.final_decision
        ).with_inputs("question", "context"),
        place=record.place,
        content=content_key(values.QUESTION, context),
        group=content_key(context),
        split=split,
    )
