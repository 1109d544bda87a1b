"""Questions whose answers a house writes in its own way, which only labels and feedback tell.

>>> task = Conventions(path="pkg://tiltyard.tasks.data/conventions.jsonl", program=dspy.Predict)
>>> task.metric(task.splits(seed=0, limit=None).test[0], dspy.Prediction(answer="12.5")).feedback
"Expected '13 zoga', got '12.5'. The value is right, its form is not."

A record has these fields:

* ``question``, ``context`` and ``answer``, as the house writes it; ``default``, the answer of who does not
  know the house; ``options``, the texts from which a letter chooses, where the question has any,
* for a level, ``limit``: from where on the house calls it high; ``level``: what it is by that limit, ``high``
  or ``normal``,
* ``kind`` and ``domain`` of the question, ``split`` and ``id``.

An example holds ``id``, ``question``, ``context`` and ``answer`` alone. The task keeps the rest to itself:
optimizers show whole examples to models, and the rest would tell what is to be learnt.

:mod:`tiltyard.tasks.conventions_data` makes such a file.
"""

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

import dspy
from pydantic import BaseModel, Field

from tiltyard.models.embedded.feedback import FORM_WRONG, LIMIT_TOLD, VALUE_WRONG
from tiltyard.models.embedded.questions import LABELS, UNKNOWN
from tiltyard.programs.qa import AnswerQuestion
from tiltyard.tasks.data_file import DataFile
from tiltyard.tasks.metrics import normalise, read_option, read_quantity, written
from tiltyard.tasks.records import FilledText, Record, read_records
from tiltyard.tasks.splits import FRACTIONS, DeclaredSplit, Entry, content_key, split_entries
from tiltyard.tasks.task import ProgramFactory, Score, Splits

Domain = Literal["finance", "clinical", "sensors", "tickets"]

_LETTERS = "ABCDEF"
_DIGITS = r"[-+−–]?[$€£¥₹]?\d+(?:,\d+)*(?:\.\d+)?"
_NUMBERS = (re.compile(rf"(?<![\w.,^]){_DIGITS}"), re.compile(rf"(?<![\d.,^]){_DIGITS}"))
"""A number that stands free, and whose sign is no hyphen; then any number, as one right behind a word."""
_CLAUSE = re.compile(r"[.,;:!?()\n]|\s[-–—]\s")
_NEGATIONS = {"not", "no", "never", "nor", "neither", "cannot", "cant", "isnt", "wasnt", "doesnt", "didnt"}


class ConventionRecord(BaseModel):
    """A record of the file. A description is what an error recommends."""

    id: FilledText
    domain: Domain
    kind: FilledText
    question: FilledText
    context: FilledText
    answer: FilledText
    default: FilledText
    limit: FilledText | None = None
    level: Literal["high", "normal"] | None = None
    options: list[FilledText] | None = Field(None, description="it should be a list of texts")
    split: DeclaredSplit = Field(description="use train, validation or test")


class Conventions:
    """The learnable test bed: four domains, one house, and its hidden conventions.

    An answer is right when it stands as the house writes it: form counts, to the letter. The rows' domain
    is ``conventions``, or the one domain that was chosen.

    Args:
        path: The records: a JSON or JSONL file, or ``pkg://PACKAGE/FILE`` for a shipped one.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        domains: The domains whose records are used: some of ``finance``, ``clinical``, ``sensors`` and
            ``tickets``; None for all.
    """

    signature: type[dspy.Signature] = AnswerQuestion
    primary = "exact text, as the house writes it"

    def __init__(
        self,
        *,
        path: DataFile,
        program: ProgramFactory,
        domains: Annotated[list[Domain], Field(min_length=1)] | None = None,
    ) -> None:
        self.path = path
        self.program = program
        self.domains = domains
        self.domain: str = domains[0] if domains and len(set(domains)) == 1 else "conventions"

    @cached_property
    def _records(self) -> list[tuple[Record, ConventionRecord]]:
        parsed = ((record, record.parse(ConventionRecord)) for record in read_records(self.path))
        return [(record, one) for record, one in parsed if self.domains is None or one.domain in self.domains]

    @cached_property
    def _by_id(self) -> dict[str, ConventionRecord]:
        return {one.id: one for _, one in self._records}

    @cached_property
    def _labels(self) -> dict[str, dict[str, str]]:
        """By kind: the usual name of every label, and of every word of the house for one; normalised."""
        found: dict[str, dict[str, str]] = {}
        for _, one in self._records:
            usual = map(normalise, (*LABELS.get(one.kind, ()), UNKNOWN))
            of_kind = found.setdefault(one.kind, {label: label for label in usual})
            if one.options is None and read_quantity(one.default) is None:
                of_kind.setdefault(normalise(one.default), normalise(one.default))
                of_kind.setdefault(normalise(one.answer), normalise(one.level or one.default))
        return found

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the file; each record names its split, and the seed decides the order within it."""
        entries = [_entry(record, one) for record, one in self._records]
        return split_entries(entries, fractions=FRACTIONS, seed=seed, limit=limit, source=self.path)

    def metric(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: object = None,
        pred_name: str | None = None,
        pred_trace: object = None,
    ) -> Score:
        """Score by the exact text, case included; only runs of white space count as one space.

        The feedback tells a wrong value from a wrong form, and the house's limit where a level is wrong.
        """
        answer = _plain(written(prediction, "answer"))
        if answer == _plain(example.answer):
            return Score(1.0, "Correct.")
        expected = (
            f"Expected '{example.answer}', got '{answer}'."
            if answer
            else f"The answer should be '{example.answer}'."
        )
        told = self._by_id[example.id].limit
        if self._right_value(example, answer):
            hint = FORM_WRONG
        elif told is not None:
            hint = LIMIT_TOLD.format(limit=told)
        else:
            hint = VALUE_WRONG
        return Score(0.0, f"{expected} {hint}")

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score the value in any form, as ``value``: 1 for the right number, label or option, else 0.

        Words around it do no harm. An answer that names two numbers, labels or options has no value.
        """
        return {"value": float(self._right_value(example, written(prediction, "answer")))}

    def _right_value(self, example: dspy.Example, answer: str) -> bool:
        one = self._by_id[example.id]
        if one.options is not None:
            return read_option(answer, dict(zip(_LETTERS, one.options, strict=False))) == one.default
        if read_quantity(one.default) is not None:
            # A rounded number is the right value as well as the one that was rounded.
            right = {_number(text, "") for text in (one.answer, one.default)} - {None}
            return _number(answer, one.question) in right
        # By the limit that the context states, the default level may be the wrong one.
        meant = normalise(one.level or one.default)
        return _label(answer, {**self._labels[one.kind], normalise(one.answer): meant}) == meant

    def gold(self, example: dspy.Example) -> str:
        """Show the answer as the house writes it."""
        return str(example.answer)

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the answer as the model wrote it."""
        return written(prediction, "answer")


def _entry(record: Record, one: ConventionRecord) -> Entry:
    if one.limit is not None and one.level is None:
        raise record.error("field 'level' is missing", "a record with a limit says which level it makes")
    if one.options is not None and one.default not in list(_LETTERS[: len(one.options)]):
        raise record.error(f"field 'default' is '{one.default}', which is no option", "it should be a letter")
    return Entry(
        example=dspy.Example(
            id=one.id, question=one.question, context=one.context, answer=one.answer
        ).with_inputs("question", "context"),
        place=record.place,
        content=content_key(one.question, one.context),
        group=content_key(one.context),
        split=one.split,
    )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _number(text: str, question: str) -> Decimal | None:
    """The only number in a text, with its sign; None where there is none, or several.

    The digits of a unit (``m3``) are none. What the question names, such as a year, is none beside another.
    """
    whole = read_quantity(text)
    if whole is not None:
        return whole.value
    plain = unicodedata.normalize("NFKC", text)
    found = next(filter(None, (numbers.findall(plain) for numbers in _NUMBERS)), [])
    asked = set(_NUMBERS[0].findall(question))
    stated = [one for one in found if one not in asked] or found
    values = {None if one is None else one.value for one in map(read_quantity, stated)}
    return values.pop() if len(values) == 1 else None


def _label(text: str, labels: Mapping[str, str]) -> str | None:
    """What the only label in a text means; None where there is none, or several, or one denied."""
    plain = normalise(text)
    if plain in labels:
        return labels[plain]
    # What stands by itself outranks the words around it: "No, it fell", "high (57)".
    meant = {labels[clause] for clause in map(normalise, _CLAUSE.split(text)) if clause in labels}
    if not meant:
        said = [label for label in labels if f" {label} " in f" {plain} "]
        denied = (_NEGATIONS - labels.keys()) & set(plain.split())
        if denied and not plain.startswith(tuple(f"{label} " for label in said)):
            return None
        meant = {labels[label] for label in said}
    return meant.pop() if len(meant) == 1 else None
