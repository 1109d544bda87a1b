"""Prints results on standard output: styled in a terminal, plain aligned text in a file or a pipe.

>>> show(grid([["score", "0.667"], ["examples", "3"]]))
score     0.667
examples  3
"""

import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tiltyard.redaction import redact
from tiltyard.reporting.markdown import one_line

_ASCII = str.maketrans({"–": "-", "—": "-", "…": "...", "·": "-", "─": "-", "━": "-"})
_UNLIMITED = 10_000
_GAP = 2
"""Spaces between columns."""


@dataclass(frozen=True)
class Field:
    """A column of a terminal table: its heading and its cells, top to bottom."""

    heading: str
    cells: Sequence[str | Text]
    right: bool = False
    """True for numbers, which stand on the right and are never broken over lines."""


def text(content: str, style: str = "") -> Text:
    """Data as rich takes it: brackets in it are not markup, it is one line, and secrets are masked."""
    return Text(redact(one_line(content)), style=style)


def show(*renderables: RenderableType) -> None:
    """Print on standard output, each part on lines of its own.

    A terminal's width is used; elsewhere lines are as long as their content, so that they can be searched,
    and there are neither colours nor rules. Characters that the output's encoding lacks are replaced.
    """
    console = _console()
    with console.capture() as capture:
        for renderable in renderables:
            console.print(renderable)
    output = "\n".join(line.rstrip() for line in capture.get().split("\n"))
    encoding = sys.stdout.encoding or "utf-8"
    if not encoding.lower().startswith("utf"):
        output = output.translate(_ASCII)
    sys.stdout.write(output.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()


def _console() -> Console:
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, force_jupyter=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


def table(fields: Sequence[Field], sections: Container[int] = ()) -> Table:
    """A table of columns.

    Args:
        fields: The columns, all of one length.
        sections: Numbers of the rows after which a terminal shows a rule.
    """
    rules = box.SIMPLE_HEAD if _console().is_terminal else None
    built = Table(box=rules, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    if rules:
        built.padding = (0, _GAP - 1, 0, 0)  # the place of the box's own separator is the rest of the gap
    for field in fields:
        built.add_column(
            text(field.heading),
            justify="right" if field.right else "left",
            no_wrap=field.right,
            overflow="fold",
        )
    for number, cells in enumerate(zip(*(field.cells for field in fields), strict=True)):
        built.add_row(*(_cell(cell) for cell in cells), end_section=number in sections)
    return built


def fitting(fields: Sequence[Field], expendable: Sequence[str]) -> list[Field]:
    """The columns that a terminal has room for with a row in one line; elsewhere, all of them.

    Args:
        fields: The columns.
        expendable: Headings of columns that may go, the first to go first.
    """
    console, kept = _console(), list(fields)
    for heading in expendable:
        needed = console.measure(table(kept), options=console.options.update(max_width=_UNLIMITED)).maximum
        if not console.is_terminal or needed <= console.width:
            break
        kept = [field for field in kept if field.heading != heading]
    return kept


def grid(rows: Sequence[Sequence[str | Text]], indent: int = 0) -> RenderableType:
    """Rows without headings, in aligned columns; the last column is broken over lines where it must be."""
    built = Table.grid(padding=(0, _GAP, 0, 0))
    for _ in range(max((len(row) for row in rows), default=0) - 1):
        built.add_column(no_wrap=True)
    built.add_column(overflow="fold")
    for row in rows:
        built.add_row(*(_cell(cell) for cell in row))
    return Padding(built, (0, 0, 0, indent), expand=False)


def _cell(cell: str | Text) -> Text:
    return text(cell) if isinstance(cell, str) else cell
