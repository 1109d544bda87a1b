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

:mod:`tiltyard.tasks.conventions_data` makes such a file.
"""

import re
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

import dspy
from pydantic import BaseModel, Field

from tiltyard.models.embedded.adapting import FORM_WRONG, LIMIT_TOLD, VALUE_WRONG
from tiltyard.models.embedded.conventions import OPTIONS, Convention
from tiltyard.programs.qa import AnswerQuestion
from tiltyard.tasks.data_file import DataFile
from tiltyard.tasks.metrics import written
from tiltyard.tasks.records import FilledText, Record, read_records
from tiltyard.tasks.splits import FRACTIONS, DeclaredSplit, Entry, content_key, split_entries
from tiltyard.tasks.task import ProgramFactory, Score, Splits

Domain = Literal["finance", "clinical", "sensors", "tickets"]

_OPTION_FORMS = ("bracket", "small", "text", "both")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


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
    def _entries(self) -> list[Entry]:
        parsed = ((record, record.parse(ConventionRecord)) for record in read_records(self.path))
        return [
            _entry(record, one)
            for record, one in parsed
            if self.domains is None or one.domain in self.domains
        ]

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the file; each record names its split, and the seed decides the order within it."""
        return split_entries(self._entries, fractions=FRACTIONS, seed=seed, limit=limit, source=self.path)

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
        if _right_value(example, answer):
            hint = FORM_WRONG
        elif example.limit:
            hint = LIMIT_TOLD.format(limit=example.limit)
        else:
            hint = VALUE_WRONG
        return Score(0.0, f"{expected} {hint}")

    def extra_metrics(self, example: dspy.Example, prediction: dspy.Prediction) -> dict[str, float]:
        """Score the value in any form, as ``value``: 1 for the right number, label or option, else 0."""
        return {"value": float(_right_value(example, _plain(written(prediction, "answer"))))}

    def gold(self, example: dspy.Example) -> str:
        """Show the answer as the house writes it."""
        return str(example.answer)

    def answer(self, prediction: dspy.Prediction) -> str:
        """Show the answer as the model wrote it."""
        return written(prediction, "answer")


def _entry(record: Record, one: ConventionRecord) -> Entry:
    if one.limit is not None and one.level is None:
        raise record.error("field 'level' is missing", "a record with a limit says which level it makes")
    if one.options is not None and one.default not in list("ABCDEF"[: len(one.options)]):
        raise record.error(f"field 'default' is '{one.default}', which is no option", "it should be a letter")
    return Entry(
        example=dspy.Example(
            id=one.id,
            question=one.question,
            context=one.context,
            answer=one.answer,
            default=one.default,
            domain=one.domain,
            kind=one.kind,
            limit=one.limit,
            level=one.level,
            options=one.options,
        ).with_inputs("question", "context"),
        place=record.place,
        content=content_key(one.question, one.context),
        group=content_key(one.context),
        split=one.split,
    )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _right_value(example: dspy.Example, answer: str) -> bool:
    """Whether an answer has the right value, be it in the house's form, the default one or another."""
    # By the limit that the context states, the default level may be the wrong one.
    default = example.level or example.default
    forms = {example.answer, default}
    if example.options:
        forms |= {Convention(OPTIONS, form).apply(default, example.options) for form in _OPTION_FORMS}
    if answer.casefold() in {_plain(form).casefold() for form in forms}:
        return True
    # A rounded number is the right value as well as the one that was rounded.
    return _number(answer) in {_number(example.answer), _number(default)} - {None}


def _number(text: str) -> Decimal | None:
    """The only number in a text; None where there is none, or several."""
    found = _NUMBER.findall(text)
    return Decimal(found[0].replace(",", "")) if len(found) == 1 else None
