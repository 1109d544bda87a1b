r"""Take an input apart: its tables, its options, its settings and its sentences.

>>> read_passage("A. aspirin\nB. heparin").options
(Option(key='A', text='aspirin'), Option(key='B', text='heparin'))
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

_FIGURE = re.compile(r"\d")
_HEADING = re.compile(r"(?<![\d.,])(?:19|20)\d\d(?![\d.,]*\d)|(?:[^\W\d_][^A-Za-z]*){4}")
"""What makes a cell with digits a heading: a year, or some letters."""
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<![\s.][A-Z]\.)(?<!Inc\.)(?<!Ltd\.)(?<!No\.)\s+(?=[A-Z\"'“‘(\[$€£])")
_OPTION = re.compile(r"^\s*[-*]?\s*\(?([A-Za-z]|\d{1,2})[.):]\s+(\S.*)$")
_INLINE_OPTION = re.compile(r"(?:^|\s)\(?([A-H])[.)]\s+(.+?)(?=\s*[;,]?\s+\(?[A-H][.)]\s|\s*$)")
_SETTING = re.compile(r"(?:^|(?<=[,;|\n]))\s*([A-Za-z][\w %/()-]{0,40}?)\s*[:=]\s*([^,;|\n=]*[^,;|\n=\s.])")
_BLOB = re.compile(r"^\[(\d+)\] «+\s*(.*?)\s*»+$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Option:
    """One of the answers that a multiple-choice question offers, or one entry of a numbered list."""

    key: str
    text: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table with the texts that say what it means."""

    text: str
    kind: Literal["cell", "heading", "column"]
    """A value, the heading of a row, or the heading of a column."""
    row: str
    """The first cell of its row, after the heading of the row's section; empty for a column's heading."""
    column: str
    """The headings above it; empty for a row's heading."""
    line: str
    """The whole row, for quoting."""


@dataclass(frozen=True)
class Passage:
    """What one input holds."""

    cells: tuple[Cell, ...] = ()
    options: tuple[Option, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    """Names and values written ``name: value`` or ``name=value``."""
    items: tuple[str, ...] = ()
    """The elements of a list."""
    sentences: tuple[str, ...] = ()


def read_passage(text: str) -> Passage:
    """Take one input's text apart. Every text is some passage; the empty text is an empty one."""
    if structured := _from_json(text.strip()):
        return structured
    if blobs := _BLOB.findall(text):
        text = "\n".join(body for _, body in blobs)
    tables: list[Cell] = []
    prose: list[str] = []
    for is_table, lines in groupby(text.splitlines(), key=lambda line: " | " in f" {line.strip()} "):
        block = list(lines)
        if is_table and len(block) > 1:
            tables += read_table([_split_row(line) for line in block])
        else:
            prose += block
    options = _options(prose)
    if options and not options[0].key.isdigit():
        prose = [line for line in prose if not _OPTION.match(line)]
    body = "\n".join(prose)
    if not options:
        options = _in_order(_INLINE_OPTION.findall(body))
        body = _INLINE_OPTION.sub(" ", body) if options else body
    return Passage(
        cells=tuple(tables),
        options=tuple(options),
        settings=tuple((name.strip(), value.strip()) for name, value in _SETTING.findall(body)),
        items=tuple(body for _, body in blobs),
        sentences=tuple(sentences(body)),
    )


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line break ends one too."""
    found = (part.strip() for line in text.splitlines() for part in _SENTENCE_END.split(line))
    return [sentence for sentence in found if sentence]


def _from_json(text: str) -> Passage | None:
    if text[:1] not in ("[", "{"):
        return None
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        named = tuple((str(key), str(part)) for key, part in value.items())
        if options := _in_order(named):
            return Passage(options=tuple(options))
        return Passage(
            settings=named, sentences=tuple(sentence for _, part in named for sentence in sentences(part))
        )
    if value and all(isinstance(row, list) for row in value):
        return Passage(cells=tuple(read_table([[str(cell) for cell in row] for row in value])))
    items = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    options = _options(items)
    body = () if options else tuple(sentence for item in items for sentence in sentences(item))
    return Passage(options=tuple(options), items=() if options else tuple(items), sentences=body)


def _options(lines: Iterable[str]) -> list[Option]:
    return _in_order([match.groups() for line in lines if (match := _OPTION.match(line))])


def _in_order(pairs: Iterable[Sequence[str]]) -> list[Option]:
    """The run of consecutive keys from the first one on (A, B, C or 1, 2, 3); fewer than two are none."""
    options: list[Option] = []
    for key, text in pairs:
        expected = ("a", "1") if not options else (_next_key(options[-1].key),)
        if key.casefold() in expected:
            options.append(Option(key, text.strip().rstrip(";").strip()))
    return options if len(options) >= 2 else []


def _next_key(key: str) -> str:
    return str(int(key) + 1) if key.isdigit() else chr(ord(key.casefold()) + 1)


def _split_row(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def read_table(rows: Sequence[Sequence[str]]) -> list[Cell]:
    """The non-empty cells of a table, each with its row's and its column's headings.

    Rows at the top that hold no figures but years are headings. A row with a first cell alone opens a
    section: its text belongs to the headings of the rows below it.
    """
    rows = [row for row in rows if any(row) and not all(re.fullmatch(r":?-{2,}:?|", cell) for cell in row)]
    top = next((index for index, row in enumerate(rows) if _holds_figures(row)), min(1, len(rows)))
    while top > 1 and not any(rows[top - 1][1:]):
        top -= 1  # a section's heading, not a column's
    width = max((len(row) for row in rows), default=0)
    headings = [_heading(rows[:top], column) for column in range(width)]
    cells: list[Cell] = []
    for row in rows[:top]:
        cells += [Cell(text, "column", "", text, " | ".join(filter(None, row))) for text in row if text]
    section = ""
    for row in rows[top:]:
        name, *values = row
        line = " | ".join(cell for cell in row if cell)
        if name and not any(values):
            section = name
        row_name = f"{section} {name}".strip() if name != section else name
        if name:
            cells.append(Cell(name, "heading", row_name, "", line))
        cells += [
            Cell(text, "cell", row_name, headings[column], line)
            for column, text in enumerate(values, start=1)
            if text
        ]
    return cells


def _holds_figures(row: Sequence[str]) -> bool:
    return any(_FIGURE.search(cell) and not _HEADING.search(cell) for cell in row[1:])


def _heading(rows: Sequence[Sequence[str]], column: int) -> str:
    """The texts above a column; an empty one takes its row's only text, or else the nearest one before it."""
    parts = []
    for row in rows:
        text = row[column] if column < len(row) else ""
        if not text and column:
            filled = [cell for cell in row[1:] if cell]
            before = [cell for cell in row[1:column] if cell]
            text = filled[0] if len(filled) == 1 else before[-1] if before else ""
        parts.append(text)
    return " ".join(part for part in parts if part)
