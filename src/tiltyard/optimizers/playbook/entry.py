"""One rule of a playbook, with what is known about it.

>>> entry = Entry("k3", "amounts", "Write USD before amounts.")
>>> entry.line, entry.tokens
('[k3] Write USD before amounts.', 10)
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tiltyard.programs.playbook import listed

_ID = re.compile(r"k([1-9][0-9]*)")
_PIECE = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_LETTERS_A_TOKEN = 6
_DIGITS_A_TOKEN = 3
_FIRST_WIDE_CHARACTER = "\u2e80"
"""From here on Unicode has scripts that write a word in one or two characters."""


@dataclass(frozen=True)
class Entry:
    """One rule. The playbook replaces entries, it never changes one.

    Raises:
        ValueError: The id is no id, the content or the section is empty or more than one line, or a count
            is negative.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    """``k`` and a number from 1, such as ``k3``: never used again for another rule in a playbook's life."""
    section: str
    """What the rule is about, in a word or two."""
    content: str
    """The rule, in one line."""
    helpful: int = 0
    """Times that it was found to have helped."""
    harmful: int = 0
    """Times that it was found to have done harm."""
    neutral: int = 0
    """Times that it was found to have made no difference."""
    uses: int = 0
    """Times that it was shown in a prompt."""
    created: int = 0
    """The step at which it was added."""
    last_used: int | None = None
    """The last step at which it was shown; None before the first."""
    sources: tuple[str, ...] = ()
    """Ids of the examples that it came from, each once."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"an entry's id is k and a number from 1, not {self.id!r}")
        for name, text in (("section", self.section), ("content", self.content)):
            if not text or text != one_line(text):
                raise ValueError(f"the {name} of {self.id} is not one line of text: {text!r}")
        if min(self.helpful, self.harmful, self.neutral, self.uses) < 0:
            raise ValueError(f"a count of {self.id} is negative")

    @property
    def number(self) -> int:
        """The number in the id: entries with greater numbers came later."""
        return int(self.id[1:])

    @cached_property
    def line(self) -> str:
        """The entry as a prompt shows it."""
        return listed({self.id: self.content})

    @property
    def tokens(self) -> int:
        """An estimate of the tokens that its line adds to a prompt."""
        return tokens(self.line)


_ENTRIES = TypeAdapter(Entry)


def entry_of(record: Mapping[str, Any]) -> Entry:
    """The entry that ``dataclasses.asdict`` wrote, with the parts that are left out at their defaults.

    Raises:
        ValueError: It is no entry: a part is unknown, missing, of another type or out of its range.
    """
    try:
        return _ENTRIES.validate_json(json.dumps(record), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error


def one_line(text: str) -> str:
    """The text without line breaks, with single spaces, and as UTF-8 can hold it."""
    # A model can write half a surrogate pair, which no file of a program can hold.
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(whole.split())


@lru_cache(maxsize=16_384)
def tokens(text: str) -> int:
    """An estimate of a text's tokens that needs no tokenizer.

    Every started 6 letters of a word count as one, every started 3 digits of a number, every other sign, and
    every character of a script that writes words in one or two characters. White space counts nothing. For
    English prose that is near what byte-pair encodings of models come to, and a little above it for rules,
    which are rich in codes and numbers. All budgets of a playbook are in this unit.
    """
    return sum(_tokens_of(piece) for piece in _PIECE.findall(text))


def _tokens_of(piece: str) -> int:
    if piece[0].isdigit():
        return -(-len(piece) // _DIGITS_A_TOKEN)
    wide = sum(character >= _FIRST_WIDE_CHARACTER for character in piece)
    return wide + -(-(len(piece) - wide) // _LETTERS_A_TOKEN)
