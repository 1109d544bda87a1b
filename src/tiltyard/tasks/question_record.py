"""Reads one record of a question-answering file, and makes the example that a model is asked.

>>> question = record.parse(QuestionRecord)
>>> entry(record, question, seed=0).example.choices
{'A': 'zinc', 'B': 'iron'}

:mod:`tiltyard.tasks.qa` says which fields a record has.
"""

import json
import random
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Annotated, Any

import dspy
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from tiltyard.tasks.records import AS_LIST, FilledText, Record, Text
from tiltyard.tasks.splits import DeclaredSplit, Entry, content_key


def _lettered(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text[:1] in ("{", "[") else text.split("|")
    if isinstance(value, list):
        value = {ascii_uppercase[i] if i < 26 else str(i): option for i, option in enumerate(value)}
    return value


def _distinct(options: dict[str, str]) -> dict[str, str]:
    if not 2 <= len(options) <= len(ascii_uppercase):
        raise ValueError(f"holds {len(options)} option(s); 2 to {len(ascii_uppercase)} make a choice")
    texts = [_key(text) for text in options.values()]
    repeated = next((text for text in options.values() if texts.count(_key(text)) > 1), None)
    if repeated is not None:
        raise ValueError(f"holds '{repeated}' twice")
    return options


def _key(text: str) -> str:
    return " ".join(text.casefold().split())


Options = Annotated[dict[str, FilledText], BeforeValidator(_lettered), AfterValidator(_distinct)]
"""A record's options, letter to text."""


class QuestionRecord(BaseModel):
    """A record of a question-answering file. A description is what an error recommends."""

    id: FilledText | None = None
    question: FilledText = Field(description="it should be text")
    answer: Annotated[list[FilledText], AS_LIST, Field(min_length=1)] = Field(
        description="it should be text, a number, or a list of them"
    )
    context: Text = Field("", description="it should be text")
    options: Options | None = Field(None, description='write {"A": "first", "B": "second"} or a list')
    answer_idx: FilledText | None = Field(None, description="it should be a letter of the options")
    split: DeclaredSplit | None = Field(None, description="use train, validation or test")


def entry(record: Record, question: QuestionRecord, seed: int) -> Entry:
    """The example of a record, and what decides its split.

    Args:
        record: Where the question stands; its number is the id of a question that has none.
        question: What it says.
        seed: Draws the order of the options, for each question on its own.

    Raises:
        InputError: The answer of a choice is none of its options, or several.
    """
    identifier = question.id or str(record.number)
    options = question.options or {}
    fields: dict[str, Any] = {"id": identifier, "question": question.question, "context": question.context}
    inputs = ["question", "context"]
    if options:
        choices, letter = _shuffled(options, _gold_key(record, question), f"{seed}/{identifier}")
        rendered = "\n".join(f"{letter}. {' '.join(text.split())}" for letter, text in choices.items())
        fields |= {"options": rendered, "choices": choices, "answer": letter}
        inputs.append("options")
    else:
        fields |= {"answer": question.answer[0], "answers": question.answer}
    content = content_key(question.question, question.context, *sorted(map(_key, options.values())))
    return Entry(
        example=dspy.Example(**fields).with_inputs(*inputs),
        place=record.place,
        content=content,
        group=content_key(question.context) if question.context.strip() else content,
        split=question.split,
    )


def _shuffled(options: Mapping[str, str], gold: str, seed: str) -> tuple[dict[str, str], str]:
    order = list(options)
    random.Random(seed).shuffle(order)
    choices = {letter: options[key] for letter, key in zip(ascii_uppercase, order, strict=False)}
    return choices, ascii_uppercase[order.index(gold)]


def _gold_key(record: Record, question: QuestionRecord) -> str:
    options = question.options or {}
    if len(question.answer) != 1:
        raise record.error("field 'answer' lists several answers", "a choice has one correct option")
    named = _keys(question.answer[0], options)
    if question.answer_idx is not None:
        stated = [key for key in options if _key(key) == _key(question.answer_idx)]
        if not stated:
            raise record.error(
                f"field 'answer_idx' is '{question.answer_idx}', which is no option",
                f"the options are {', '.join(options)}",
            )
        if stated[0] not in named:
            raise record.error("fields 'answer' and 'answer_idx' name different options", "correct one")
        return stated[0]
    if not named:
        raise record.error(
            f"field 'answer' is '{question.answer[0]}', which is neither an option's letter nor its text",
            f"the options are {json.dumps(options, ensure_ascii=False)}",
        )
    if len(named) > 1:
        raise record.error(
            f"field 'answer' is '{question.answer[0]}', the letter of one option and the text of another",
            "add the letter as field 'answer_idx'",
        )
    return named[0]


def _keys(answer: str, options: Mapping[str, str]) -> Sequence[str]:
    return [key for key, text in options.items() if _key(answer) in (_key(key), _key(text))]
