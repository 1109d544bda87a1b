"""``python -m tiltyard.tasks.conventions_data``: makes the records of the task ``conventions`` from a seed.

.. code-block:: console

    $ python -m tiltyard.tasks.conventions_data --seed 1 --records 240 --out conventions.jsonl

Words, numbers and phrasings are those that the embedded model's training leaves out. The house has one or
two conventions for each kind of question. The file shows them by the answers alone, and by the limit that a
level's feedback tells.
"""

import json
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from tiltyard.arguments import CommandParser
from tiltyard.errors import InputError, TiltyardError
from tiltyard.files import write_bytes
from tiltyard.models.embedded.conventions import LEVELS, OPTIONS, Convention, House, combined
from tiltyard.models.embedded.draw import Draw
from tiltyard.models.embedded.questions import DOMAINS, UNKNOWN, Question, ask
from tiltyard.models.embedded.vocabulary import TEAMS
from tiltyard.tasks.splits import NAMES, content_key

PROGRAM = "python -m tiltyard.tasks.conventions_data"
KINDS = ("amount", "growth", "dose", "verdict", "reading", "level", "team", "option")
"""What is asked: two kinds of each domain, so often each."""
SHIPPED_SEED, SHIPPED_RECORDS = 0, 240
"""What the shipped file was made with."""
UNKNOWN_SHARE = 0.1
"""At most so many records of a kind have the answer ``unknown``, which no convention changes."""

_DOMAIN_OF = {kind: domain for domain, kinds in DOMAINS.items() for kind in kinds}


def main(arguments: list[str] | None = None) -> int:
    """Write a file of records and return the process's exit code: 0 done, 2 wrong input.

    Args:
        arguments: The command line after the program; None is that of the process.
    """
    parser = CommandParser(prog=PROGRAM, description="Make the records of the task 'conventions'.")
    parser.add_argument("--seed", type=int, default=SHIPPED_SEED, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--records",
        type=int,
        default=SHIPPED_RECORDS,
        metavar="N",
        help=f"records of each split, a multiple of {len(KINDS)}; default: %(default)s",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSONL file to write")
    try:
        chosen = parser.parse_args(arguments)
        if chosen.out.suffix != ".jsonl":
            raise InputError(f"--out {chosen.out}: no JSONL file", "choose a name that ends in .jsonl")
        content = encoded(make_records(chosen.seed, chosen.records))
        try:
            write_bytes(chosen.out, content)
        except OSError as error:
            raise InputError(
                f"--out {chosen.out}: cannot be written ({error.strerror})", "choose another place"
            ) from error
    except TiltyardError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - what the user is told
        return error.exit_code
    return 0


def encoded(records: list[dict[str, Any]]) -> bytes:
    """The records as JSON Lines, in UTF-8."""
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records).encode()


def make_records(seed: int, count: int) -> list[dict[str, Any]]:
    """The records of all splits; no context occurs twice.

    Args:
        seed: Decides the house and the questions.
        count: Records of each split: a multiple of 8, so that each kind of question has an equal share.

    Raises:
        InputError: The count is none.
    """
    if count < 1 or count % len(KINDS):
        raise InputError(
            f"--records {count}: no multiple of {len(KINDS)}", "kinds of questions share equally"
        )
    house = draw_house(seed)
    taken: set[str] = set()
    records: list[dict[str, Any]] = []
    for split in NAMES:
        questions: list[Question] = []
        for kind in KINDS:
            draw = Draw(f"conventions/{seed}/{split}/{kind}", held_out=True)
            questions += _questions(draw, kind, count // len(KINDS), house, taken)
        Draw(f"conventions/{seed}/{split}/order").rng.shuffle(questions)
        records += [
            _record(f"conventions-{split}-{number}", split, question, house)
            for number, question in enumerate(questions, 1)
        ]
    return records


def draw_house(seed: int) -> House:
    """The house of a seed.

    Each kind has the same sort of convention whatever the seed, so that no test bed is made to be harder than
    another. Amounts combine two forms that training never combines.

    Args:
        seed: Decides the forms, the words and the limit.
    """
    draw = Draw(f"conventions/{seed}/house", held_out=True)
    labels = ["yes", "no", "maybe", "high", *TEAMS]
    words = _distinct(draw.word, len(labels) + 2)
    codes = _distinct(draw.code, 2)
    if draw.chance(0.5):
        doses = (Convention("doses", "whole"), Convention("doses", "after", words.pop()))
        readings = Convention("readings", "before", words.pop())
    else:
        doses = (Convention("doses", "tenth"), Convention("doses", "before", codes.pop()))
        readings = Convention("readings", "after", words.pop())
    house = [
        Convention("amounts", "commas"),
        Convention("amounts", "before", codes.pop()),
        *doses,
        readings,
        Convention(OPTIONS, draw.one(("bracket", "small", "text", "both"))),
        # In the middle, so that stated limits lie on both sides of it.
        Convention(LEVELS, "limit", draw.number(45, 60)),
        *(Convention(label, "say", words.pop()) for label in labels),
    ]
    return combined(house, draw)


def _distinct(make: Callable[[], str], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        text = make()
        if text not in found:
            found.append(text)
    return found


def _questions(draw: Draw, kind: str, count: int, house: House, taken: set[str]) -> Iterator[Question]:
    """Questions of a kind, whose contexts are not taken yet and are taken then."""
    unknown, found = 0, 0
    levels = cycle((differ, level) for differ in (True, False) for level in ("high", "normal"))
    wanted = next(levels)
    while found < count:
        question = ask(draw, kind)
        context = content_key(question.context)
        if context in taken:
            continue
        if question.answer == UNKNOWN:
            if unknown + 1 > UNKNOWN_SHARE * count:
                continue
            unknown += 1
        if kind == "level":
            # In half of them, the house's limit makes another level than the one that the context states.
            level = house_level(question, house)
            if (level != question.answer, level) != wanted:
                continue
            wanted = next(levels)
        taken.add(context)
        found += 1
        yield question


def house_level(question: Question, house: House) -> str:
    """What a level is by the house's limit, in the default words."""
    return question.answer_of(tuple(one for one in house if one.form == "limit"))


def _record(identifier: str, split: str, question: Question, house: House) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": identifier,
        "split": split,
        "domain": _DOMAIN_OF[question.kind],
        "kind": question.kind,
        "question": question.question,
        "context": question.context,
        "answer": question.answer_of(house),
        "default": question.answer,
    }
    if question.options:
        record["options"] = list(question.options)
    if question.reading:
        record["limit"] = next(one.value for one in house if one.form == "limit")
        record["level"] = house_level(question, house)
    return record


if __name__ == "__main__":
    sys.exit(main())
