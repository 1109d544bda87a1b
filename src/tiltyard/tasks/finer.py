"""FiNER: which US GAAP tag fits a figure in a sentence of a financial report, four figures a record.

>>> task = Finer(path="finer_val_batched_500_samples.jsonl", program=dspy.Predict)
>>> task.metric(task.splits(seed=0, limit=None).test[0], dspy.Prediction(answer="Goodwill,,,")).feedback
"Question 1: expected AmortizationOfFinancingCosts, got 'Goodwill'. Question 2: …"

A record has the fields ``context`` (the published prompt: "… tags options: TAG,TAG,…. Answer the following
4 independent questions …", the numbered questions, "Output US GAAP tags:") and ``target`` (a tag for each
question, with commas between). In a single file, records may declare their ``split``. All records name the
same tags; the program's signature names them once, see :func:`tiltyard.programs.finance.tag_figures`.

The score is the accuracy of the code released with the paper on ACE (Zhang et al., *Agentic Context
Engineering*, ICLR 2026, arXiv 2510.04618; tags of FiNER-139, Loukas et al., ACL 2022): answer and target
are split at commas, stripped and lower-cased, and compared by position. Tags beyond the target's are
dropped, missing ones are wrong. A record scores the share of its tags that are right; the mean over records
is the released code's share over all tags where each record has as many, as the published ones do. The
released code moreover runs each tag as Python, so that numbers in two forms would be equal; here a tag is
only text.

Further metrics: ``exact`` is 1 where all tags are right, which the released code counts as a right sample;
``strict`` is the score, and ``flexible`` is the share of right tags when the answer may also be a list in
another form: a line each, numbered, in brackets or quotation marks, with semicolons, or with a prefix such as
``us-gaap:``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import dspy
from pydantic import AfterValidator, BaseModel, Field

from tiltyard.programs.finance import tag_figures
from tiltyard.signatures import Content
from tiltyard.tasks.metrics import written
from tiltyard.tasks.records import FilledText, Record
from tiltyard.tasks.split_files import divide, existing_files, files_digest, read_splits
from tiltyard.tasks.splits import FRACTIONS, DeclaredSplit, Entry, Fractions, SplitName, content_key
from tiltyard.tasks.task import ProgramFactory, Score, Splits

NAME = "finer"
"""What the names of the published files begin with."""

FinerFiles = Annotated[str, AfterValidator(existing_files(NAME)), Content(files_digest(NAME))]
"""The published files: their folder, or one file of such records."""

_PROMPT = re.compile(
    r".*?tags options:\s*(?P<tags>.+?)\.\s+Answer the following\b.*?Provide nothing else\.\s*"
    r"(?P<questions>.+?)\s*Output US GAAP tags:\s*",
    re.DOTALL,
)
_QUESTION = re.compile(r"^\d+\.\s+.*?\bin sentence:\s*(?P<sentence>.+?)\s*$", re.MULTILINE)
_SEPARATOR = re.compile(r"[,;\n]")
_MARKER = re.compile(r"^(?:[-*•]\s+|\(?\d{1,2}[.):]\s*)")
_PREFIX = re.compile(r"^us[-_ ]gaap[:_]\s*")


class FinerRecord(BaseModel):
    """A record of the published files. A description is what an error recommends."""

    context: FilledText = Field(description="it should be text")
    target: FilledText = Field(description="it should be tags with commas between")
    split: DeclaredSplit | None = Field(None, description="use train, validation or test")


@dataclass(frozen=True)
class _Batch:
    """What one record asks."""

    record: Record
    split: SplitName | None
    tags: tuple[str, ...]
    questions: str
    sentences: tuple[str, ...]
    target: str


class Finer:
    """FiNER of the ACE paper, with its official accuracy.

    Args:
        path: The folder with the published files (``finer_train_….jsonl``, ``finer_val_….jsonl``,
            ``finer_test_….jsonl``), or one file of such records.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        domain: The field that the questions are from; a label in rows and reports.
        fractions: The share of records in train, validation and test, which add up to 1. Unused where
            the files or the records say it. Records that share a sentence stay together.
    """

    primary = "tag accuracy, strict extraction"

    def __init__(
        self,
        *,
        path: FinerFiles,
        program: ProgramFactory,
        domain: str = "finance",
        fractions: Fractions = FRACTIONS,
    ) -> None:
        self.path = path
        self.program = program
        self.domain = domain
        self.fractions = fractions

    @cached_property
    def signature(self) -> type[dspy.Signature]:
        """:class:`tiltyard.programs.finance.TagFigures`, with the tags that the records name."""
        return tag_figures(self._batches[0].tags)

    @cached_property
    def _batches(self) -> list[_Batch]:
        batches = [_batch(split, record) for split, record in read_splits(self.path, NAME)]
        first = batches[0]
        for batch in batches:
            if set(batch.tags) != set(first.tags):
                odd = min(set(batch.tags) ^ set(first.tags))
                holder, other = (batch, first) if odd in batch.tags else (first, batch)
                raise batch.record.error(
                    f"field 'context' names other tags than {first.record.place}",
                    f"'{odd}' is named by record {holder.record.number}, not by {other.record.number}",
                )
        return batches

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the records into the splits of their files; see :func:`tiltyard.tasks.split_files.divide`."""
        groups = _connected([batch.sentences for batch in self._batches])
        entries = [_entry(batch, group) for batch, group in zip(self._batches, groups, strict=True)]
        return divide(entries, fractions=self.fractions, seed=seed, limit=limit, source=self.path)

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: object = None,
    ) -> Score:
        """Score by the official share of right tags, with feedback that names each wrong one."""
        answer = written(prediction, "answer")
        expected, got = example.answer.split(","), answer.split(",") if answer else []
        score = _share(got, expected)
        if not got:
            return Score(score, f"Expected '{example.answer}', no answer was given.")
        problems = [
            f"Question {number}: expected {right.strip()}, "
            + (f"got '{found.strip()}'." if found.strip() else "nothing was given.")
            for number, (right, found) in enumerate(
                zip(expected, _filled(got, len(expected)), strict=True), 1
            )
            if _plain(found) != _plain(right)
        ]
        if len(got) != len(expected):
            problems.append(f"Give {len(expected)} tags with commas between, not {len(got)}.")
        elif problems and sorted(map(_plain, got)) == sorted(map(_plain, expected)):
            problems.append("The tags are right, their order is not.")
        if score < 1.0 and _share(read_tags(answer), expected) > score:
            problems.append("Some tags are right, the form is not: write bare tags with commas between.")
        return Score(score, " ".join(problems) or "Correct.")

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score by both extractions, ``strict`` (the score) and ``flexible``; whole records as ``exact``."""
        answer, expected = written(prediction, "answer"), example.answer.split(",")
        strict = _share(answer.split(","), expected)
        return {
            "exact": float(strict == 1.0),
            "strict": strict,
            "flexible": max(strict, _share(read_tags(answer), expected)),
        }

    def gold(self, example: dspy.Example) -> str:
        """Show the tags as the record writes them."""
        return str(example.answer)

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the answer as the model wrote it."""
        return written(prediction, "answer")


def read_tags(text: str) -> list[str]:
    r"""Read the tags of an answer in any form of a list; empty items are dropped.

    >>> read_tags("1. us-gaap:Goodwill\n2. `Revenues`")
    ['goodwill', 'revenues']
    """
    items = [_MARKER.sub("", item.strip().strip("[]{}")) for item in _SEPARATOR.split(text)]
    bare = [_PREFIX.sub("", item.strip(" \t\r\"'`*[](){}.").lower()) for item in items]
    return [item for item in bare if item]


def _plain(tag: str) -> str:
    return tag.strip().lower()


def _filled(got: Sequence[str], size: int) -> list[str]:
    return [*got[:size], *[""] * (size - len(got))]


def _share(got: Sequence[str], expected: Sequence[str]) -> float:
    pairs = zip(_filled(got, len(expected)), expected, strict=True)
    return sum(_plain(found) == _plain(right) for found, right in pairs) / len(expected)


def _batch(split: SplitName | None, record: Record) -> _Batch:
    values = record.parse(FinerRecord)
    prompt = _PROMPT.fullmatch(values.context)
    if prompt is None:
        raise record.error(
            "field 'context' is not a prompt of FiNER",
            "it should read '… tags options: TAG,TAG,…. Answer the following … Provide nothing else. "
            "1. What is best tag for entity … in sentence: … Output US GAAP tags:'",
        )
    sentences = tuple(found["sentence"] for found in _QUESTION.finditer(prompt["questions"]))
    target = [tag.strip() for tag in values.target.split(",")]
    if not all(target):
        raise record.error("field 'target' has an empty tag", "write tags with commas between")
    if len(sentences) != len(target):
        raise record.error(
            f"field 'target' has {len(target)} tag(s), and the context {len(sentences)} question(s)",
            "give each question one tag",
        )
    tags = (tag.strip() for tag in prompt["tags"].split(","))
    return _Batch(
        record=record,
        split=split or values.split,
        tags=tuple(tag for tag in tags if tag),
        questions=prompt["questions"].strip(),
        sentences=sentences,
        target=",".join(target),
    )


def _entry(batch: _Batch, group: str) -> Entry:
    number = batch.record.number
    return Entry(
        example=dspy.Example(
            id=f"{batch.split}-{number}" if batch.split else str(number),
            question=batch.questions,
            answer=batch.target,
        ).with_inputs("question"),
        place=batch.record.place,
        content=content_key(batch.questions),
        group=group,
        split=batch.split,
    )


def _connected(batches: Sequence[Sequence[str]]) -> list[str]:
    """A key for each batch, which batches share that are linked by shared sentences, over others too."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    keys = [[content_key(sentence) for sentence in sentences] for sentences in batches]
    for first, *others in keys:
        for other in others:
            parent[root(other)] = root(first)
    return [root(first) for first, *_ in keys]
