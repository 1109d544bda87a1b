r"""Markdown from data: nothing that a model or a file says can break a table or become markup.

>>> print(table([Column("task"), Column("score", right=True)], [["a|b", "0.667"]]))
| task | score |
| :--- | ----: |
| a\|b | 0.667 |
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_MARKUP = re.compile(r"([\\`*<>|~$]|\](?=[(\[]))")
_UNDERSCORES = re.compile(r"(?<!\w)_|_(?!\w)")
_BACKTICKS = re.compile(r"`+")


@dataclass(frozen=True)
class Column:
    """A column's heading and on which side its cells stand."""

    heading: str
    right: bool = False
    """True for numbers."""


def one_line(text: str) -> str:
    """The text in one line: white space collapsed, control characters left out."""
    return " ".join("".join(letter for letter in text if _is_text(letter)).split())


def _is_text(letter: str) -> bool:
    # Cc: control characters; Cs: halves of surrogate pairs.
    return letter.isspace() or unicodedata.category(letter) not in ("Cc", "Cs")


def shorten(text: str, limit: int) -> str:
    """The text in one line of at most ``limit`` characters; an ellipsis stands where it was cut."""
    line = one_line(text)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def escape(text: str) -> str:
    """The text in one line, with everything masked that Markdown (as GitHub and MLflow read it) acts upon."""
    # An ampersand first, so that "&lt;" in an answer stays readable as what it is.
    masked = _MARKUP.sub(r"\\\1", one_line(text).replace("&", "&amp;"))
    return _UNDERSCORES.sub(r"\\_", masked)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are plain text and get escaped."""
    cells = [[escape(value) for value in row] for row in rows]
    headings = [escape(column.heading) for column in columns]
    widths = [max(3, *map(len, values)) for values in zip(headings, *cells, strict=True)]
    rule = [
        "-" * (width - 1) + ":" if c.right else ":" + "-" * (width - 1)
        for c, width in _pairs(columns, widths)
    ]

    def line(values: Sequence[str]) -> str:
        padded = [
            value.rjust(width) if column.right else value.ljust(width)
            for value, (column, width) in zip(values, _pairs(columns, widths), strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(headings), f"| {' | '.join(rule)} |", *map(line, cells)])


def _pairs(columns: Sequence[Column], widths: Sequence[int]) -> list[tuple[Column, int]]:
    return list(zip(columns, widths, strict=True))


def code_block(text: str, language: str = "") -> str:
    """The text as it is, in a fence that it cannot close."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
