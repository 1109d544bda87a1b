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
evidence"), has none. This is the *flexible* extraction; the further metric ``strict`` takes an answer that is
the bare word. ``macro_f1``, of the whole run, is the paper's other metric.

The file may also have the form of the Hub's ``qiaojin/PubMedQA``: records with ``pubid``, ``question``,
``context`` (``contexts`` and ``labels``) and ``final_decision``.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import dspy
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from tiltyard.errors import InputError
from tiltyard.programs.abstracts import DecideFromAbstract
from tiltyard.signatures import Content
from tiltyard.tasks.data_file import existing, file_digest, read_bytes
from tiltyard.tasks.hub import on_hub
from tiltyard.tasks.metrics import normalise, written
from tiltyard.tasks.records import FilledText, Record, Text, read_records
from tiltyard.tasks.split_files import divide
from tiltyard.tasks.splits import FRACTIONS, Entry, Fractions, SplitName, content_key
from tiltyard.tasks.task import Judged, ProgramFactory, Score, Splits

DECISIONS = ("yes", "no", "maybe")
"""What a question is answered with."""

_CLAUSE = re.compile(r"[.,;:!?(){}\[\]\n]|\s[-–—]+\s")
_CONJUNCTION = re.compile(r"^(?:(?:or|and|but|rather|also|even)\s+)+(?=\S)")
_ANNOUNCEMENT = re.compile(r"^.*\b(?:answer|decision|conclusion|verdict)\b(?:\s+is)?\s+(?=\S)")


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _existing_or_none(path: str | None) -> str | None:
    return None if path is None else existing(path)


Decision = Annotated[Literal["yes", "no", "maybe"], BeforeValidator(_lowered)]
ON_HUB = "pqa_labeled/train-00000-of-00001.parquet"
"""The file of the Hub's ``qiaojin/PubMedQA`` that has the expert-labelled questions."""


def _existing_labelled(path: str) -> str:
    existing(on_hub(path, ON_HUB))
    return path


def _labelled_digest(path: str) -> str:
    return file_digest(on_hub(path, ON_HUB))


Labelled = Annotated[str, AfterValidator(_existing_labelled), Content(_labelled_digest)]
"""The file of the expert-labelled questions, or a data set of the Hub."""
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
        path: The published ``ori_pqal.json``, or ``hf://datasets/qiaojin/PubMedQA``.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        test: The published ``test_ground_truth.json``, whose PMIDs are the test split; None to divide all
            records by ``fractions``.
        domain: The field that the questions are from; a label in rows and reports.
        fractions: The share of records in train, validation and test, which add up to 1. With ``test``,
            the other records are divided in the proportion of train and validation.
    """

    signature: type[dspy.Signature] = DecideFromAbstract
    primary = "accuracy, flexible extraction"

    def __init__(
        self,
        *,
        path: Labelled,
        program: ProgramFactory,
        test: GroundTruth = None,
        domain: str = "medical",
        fractions: Fractions = FRACTIONS,
    ) -> None:
        self.path = on_hub(path, ON_HUB)
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

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score by both extractions: ``flexible`` is the score, ``strict`` takes the bare word alone."""
        answer = written(prediction, "answer")
        return {
            "strict": float(normalise(answer) == example.answer),
            "flexible": float(read_decision(answer) == example.answer),
        }

    def summary(self, judged: Sequence[Judged]) -> dict[str, float]:
        """The run's ``macro_f1``; see :func:`macro_f1`."""
        return {
            "macro_f1": macro_f1(
                [str(one.example.answer) for one in judged], [read_decision(one.answer) for one in judged]
            )
        }

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
    # "yes, or no" states two, as "yes or no" states none.
    clauses = [_CONJUNCTION.sub("", normalise(clause)) for clause in _CLAUSE.split(text)]
    stated = {bare for clause in clauses if (bare := _ANNOUNCEMENT.sub("", clause)) in DECISIONS}
    return stated.pop() if len(stated) == 1 else None


def macro_f1(gold: Sequence[str], predicted: Sequence[str | None]) -> float:
    """The mean F1 of the decisions, each counted alike, in [0, 1].

    As in the paper's own code, decisions that are neither expected nor predicted do not count. An answer
    without a decision is a miss of the right one, and no class of its own.

    >>> macro_f1(["yes", "yes", "no"], ["yes", "no", None])
    0.333...
    """
    from sklearn.metrics import f1_score

    found = ["" if decision is None else decision for decision in predicted]
    counted = [decision for decision in DECISIONS if decision in gold or decision in found]
    return float(f1_score(gold, found, labels=counted, average="macro", zero_division=0.0))


class HubRecord(BaseModel):
    """A record in the form of the Hub. A description is what an error recommends."""

    pubid: FilledText = Field(description="it should be the PMID")
    question: Text = ""
    context: dict[str, Any] = Field({}, description="it should have contexts and labels")
    final_decision: Text = ""


def _records(path: str) -> Iterator[tuple[str, Record]]:
    if not path.lower().endswith(".json"):
        yield from _rows(path)
        return
    for number, (pmid, values) in enumerate(_object(path).items(), 1):
        place = f"{path}, record {number} (PMID {pmid})"
        if not isinstance(values, dict):
            raise InputError(f"{place}: is not an object", "a record is an object with named fields")
        yield pmid, Record(number, place, {key: value for key, value in values.items() if value is not None})


def _rows(path: str) -> Iterator[tuple[str, Record]]:
    """Records in the form of the Hub, as the published file would have them."""
    seen: set[str] = set()
    for record in read_records(path):
        row = record.parse(HubRecord)
        place = f"{record.place} (PMID {row.pubid})"
        if row.pubid in seen:
            raise InputError(f"{place}: the PMID is taken by another record", "keep one of them")
        seen.add(row.pubid)
        values = {
            "QUESTION": row.question,
            "CONTEXTS": row.context.get("contexts"),
            "LABELS": row.context.get("labels"),
            "final_decision": row.final_decision,
        }
        yield row.pubid, Record(record.number, place, {k: v for k, v in values.items() if v is not None})


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
