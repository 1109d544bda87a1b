"""Shows two runs side by side: in the terminal, as ``compare.md``, and what flipped as ``compare.csv``.

$ tiltyard report --compare 5f0c 77ab
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Self

from rich.table import Table
from rich.text import Text

from tiltyard.errors import InputError
from tiltyard.evaluation.paired import Difference
from tiltyard.files import write_text
from tiltyard.reporting.console import Field, grid, show, table, text
from tiltyard.reporting.markdown import Column, escape, shorten
from tiltyard.reporting.markdown import table as markdown_table
from tiltyard.reporting.numbers import MISSING, count, duration, figure, is_missing, p_value, scored, signed
from tiltyard.reporting.one_run import OneRun
from tiltyard.reporting.side_by_side import KINDS, Changed, Differing, Flip, SideBySide
from tiltyard.reporting.significance import EFFECTS, TESTS
from tiltyard.reporting.terminal import shown_path

REPORT = "compare.md"
FLIPS = "compare.csv"
SHOWN = 5
"""Flips of each kind that the terminal shows."""
WRITTEN = 50
"""Flips of each kind that ``compare.md`` shows; ``compare.csv`` has all."""
CELL = 60
"""The longest text in a cell of the terminal's tables, in characters."""
WRITTEN_CELL = 300
"""The longest text in a cell of ``compare.md``, in characters."""

EXPENDABLE = (".mean_ms", ".p99_ms")
"""How the names of metrics end that the terminal leaves to ``compare.md``."""
DIGEST = 12
"""Digits of a digest that are shown, such as of a fingerprint."""

_Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Examples:
    """What a comparison says of single examples."""

    heading: str
    """What they are."""
    counted: str
    """How many there are of each kind, in one line."""
    flips: Sequence[Flip]
    """Each of them, those of one kind together."""
    remarks: Sequence[str] = ()
    """What a reader must know of them, one sentence each, without a full stop."""

    @classmethod
    def flipped(cls, found: SideBySide) -> Self:
        """Those whose score differs."""
        return cls("examples that flipped", _counted(found), found.flips)


def show_side_by_side(found: SideBySide, folder: Path, examples: Examples | None = None) -> None:
    """Print the comparison and write its files.

    Args:
        found: The two runs and how they differ.
        folder: Where ``compare.md`` and ``compare.csv`` go.
        examples: The examples to show; None for those that flipped.

    Raises:
        InputError: The folder cannot be written.
    """
    examples = examples or Examples.flipped(found)
    try:
        write_text(folder / REPORT, to_markdown(found, examples))
        write_text(folder / FLIPS, to_csv(examples.flips))
    except OSError as error:
        raise InputError(
            f"cannot write the comparison into {folder} ({error.strerror or error})",
            "name another folder with --output",
        ) from error
    _print(found, examples)
    written = [f"  {shown_path(folder / name)}" for name in (REPORT, FLIPS)]
    show("", *(Text(line, "dim") for line in ("written:", *written)))


def _print(found: SideBySide, examples: Examples) -> None:
    show(*(text(f"{letter}  {line}", "bold") for letter, line in zip("AB", _runs(found), strict=True)))
    show("", grid([(Text(name, "dim"), value) for name, value in _score(found)]))
    if remarks := [*found.remarks, *examples.remarks]:
        show("", *(text(remark, "yellow") for remark in remarks))
    for heading, columns, rows, note in _tables(found, CELL):
        show("", Text(heading, "bold"))
        kept = [row for row in rows if not row[0].endswith(EXPENDABLE)]
        if kept:
            show(_table(columns, kept))
        notes = [note] if note else []
        if len(kept) < len(rows):
            notes.append(
                f"{REPORT} has {len(rows) - len(kept)} more, means and 99th percentiles of latencies"
            )
        show(*(text(line, "dim") for line in notes))
    show("", Text(examples.heading, "bold"), text(examples.counted))
    partial = _are_partial(examples.flips)
    for kind, flips in _by_kind(examples.flips):
        show("", text(f"{kind} ({len(flips)})", "cyan"))
        rows = [_flip(flip, CELL, partial=partial) for flip in flips[:SHOWN]]
        show(_table(_flip_columns(partial=partial), rows))
        if len(flips) > SHOWN:
            show(text(f"and {len(flips) - SHOWN} more", "dim"))


def _table(columns: Sequence[Column], rows: _Rows) -> Table:
    cells = zip(*rows, strict=True)
    return table([Field(c.heading, values, c.right) for c, values in zip(columns, cells, strict=True)])


def to_markdown(found: SideBySide, examples: Examples | None = None) -> str:
    """The comparison as ``compare.md``; see :func:`show_side_by_side`."""
    examples = examples or Examples.flipped(found)
    a, b = _runs(found)
    parts = [
        "# Two runs side by side",
        f"- A: {escape(a)}\n- B: {escape(b)}",
        "\n".join(f"- {escape(name)}: {escape(value)}" for name, value in _score(found)),
        "\n".join(f"- {escape(remark)}" for remark in [*found.remarks, *examples.remarks]),
    ]
    for heading, columns, rows, note in _tables(found, WRITTEN_CELL):
        parts += [
            f"## {_capital(heading)}",
            markdown_table(columns, rows) if rows else "",
            escape(note),
        ]
    parts += [f"## {_capital(examples.heading)}", escape(examples.counted)]
    partial = _are_partial(examples.flips)
    for kind, flips in _by_kind(examples.flips):
        rows = [_flip(flip, WRITTEN_CELL, partial=partial) for flip in flips[:WRITTEN]]
        more = [f"and {len(flips) - WRITTEN} more in {FLIPS}"] if len(flips) > WRITTEN else []
        columns = _flip_columns(partial=partial)
        parts += [f"### {_capital(kind)} ({len(flips)})", markdown_table(columns, rows), *more]
    return "\n\n".join(part for part in parts if part) + "\n"


def _capital(heading: str) -> str:
    return f"{heading[0].upper()}{heading[1:]}"


def _by_kind(flips: Sequence[Flip]) -> Iterator[tuple[str, list[Flip]]]:
    for kind in dict.fromkeys(flip.kind for flip in flips):
        yield kind, [flip for flip in flips if flip.kind == kind]


def to_csv(flips: Sequence[Flip]) -> str:
    """Every flipped example as ``compare.csv``, with the fields of :class:`Flip` as columns."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([field.name for field in fields(Flip)])
    writer.writerows(astuple(flip) for flip in flips)
    return lines.getvalue()


def _runs(found: SideBySide) -> Iterator[str]:
    for run in (found.a, found.b):
        yield ", ".join([run.name, f"run {run.run_id}" if run.run_id else f"folder {run.given}"])


def _score(found: SideBySide) -> Iterator[tuple[str, str]]:
    for letter, run in (("A", found.a), ("B", found.b)):
        yield f"score {letter}", _scored(run)
    if found.score is None:
        yield "B - A", f"no paired test: {found.unpaired}"
        return
    yield "B - A", _difference(found.score)
    if found.score.effect is not None:
        effect = found.score.effect
        measure = EFFECTS[effect.measure]
        yield "effect", f"{measure} {figure(effect.value)} [{figure(effect.low)}, {figure(effect.high)}]"
    if found.power:
        yield "power", found.power


def _scored(run: OneRun) -> str:
    return scored(*(run.metrics.get(name) for name in ("score", "score.low", "score.high")))


def _difference(difference: Difference) -> str:
    test, p = TESTS[difference.test], p_value(difference.p)
    low, high = signed(difference.low), signed(difference.high)
    return f"{signed(difference.mean)} [{low}, {high}], {p} by {test}, {count(difference.examples)} examples"


def _tables(found: SideBySide, limit: int) -> Iterator[tuple[str, list[Column], _Rows, str]]:
    """Heading, columns, rows and a note below, of each table."""
    differing = [Column("name"), Column("A"), Column("B")]
    apart = "; ".join(f"{d.name}: {_value(d.a, limit)}, {_value(d.b, limit)}" for d in found.config_apart)
    yield (
        "config",
        differing,
        _differing(found.config, limit),
        ("" if found.config else "no option differs that can change a result. ")
        + (f"Without effect on a result: {apart}" if apart else ""),
    )
    columns = [Column("metric"), *(Column(name, right=True) for name in ("A", "B", "B - A", "change"))]
    equal = f"{count(found.equal_metrics)} metrics are the same in both" if found.equal_metrics else ""
    yield "other metrics", columns, [_metric(change) for change in found.metrics], equal
    yield (
        "what else differs",
        differing,
        _differing(found.origins, limit),
        "" if found.origins else "nothing that was recorded",
    )


def _differing(values: Sequence[Differing], limit: int) -> _Rows:
    return [
        (
            each.name,
            *(_value(value, DIGEST if _is_digest(each.name) else limit) for value in (each.a, each.b)),
        )
        for each in values
    ]


def _is_digest(name: str) -> bool:
    return name == "fingerprint" or name.startswith("data.")


def _value(value: str | None, limit: int) -> str:
    return MISSING if value is None else shorten(value, limit)


def _metric(change: Changed) -> tuple[str, ...]:
    written = _written(change)
    if change.a is None or change.b is None:
        return (change.name, written(change.a), written(change.b), "", "")
    difference = change.b - change.a
    signed = ("+" if difference > 0 else "-") + written(abs(difference))
    return (
        change.name,
        written(change.a),
        written(change.b),
        signed,
        _relative(change.name, change.a, change.b),
    )


def _written(change: Changed) -> Callable[[float | None], str]:
    """How the values of one metric are written, all alike."""
    if change.name.endswith("_ms"):
        return duration
    values = [value for value in (change.a, change.b) if value is not None]
    if all(value.is_integer() for value in values) and any(abs(value) > 1 for value in values):
        return count
    return lambda value: MISSING if value is None else figure(value)


def _relative(name: str, a: float, b: float) -> str:
    """The change in percent, or the ratio where it is large; empty for shares: it would pass for points."""
    shares = not name.endswith("_ms") and 0 <= a <= 1 and 0 <= b <= 1
    if a <= 0 or b <= 0 or shares:
        return ""
    ratio = b / a
    if 0.5 <= ratio < 2:
        return f"{ratio - 1:+.0%}"
    return f"x {ratio:,.0f}" if ratio >= 9.5 else f"x {ratio:.2g}"


def _counted(found: SideBySide) -> str:
    if not found.shared:
        return (
            "the runs share no example"
            if found.a.rows is not None and found.b.rows is not None
            else ("there are no rows to compare")
        )
    kinds = Counter(flip.kind for flip in found.flips)
    counted = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind])
    of = f"of {count(found.shared)} examples that both evaluated"
    return f"{of}: {counted}" if counted else f"{of}, none changed its score"


def _are_partial(flips: Sequence[Flip]) -> bool:
    scores = [score for flip in flips for score in (flip.score_a, flip.score_b)]
    return any(score not in (0, 1) for score in scores if not is_missing(score))


def _flip_columns(*, partial: bool) -> list[Column]:
    scores = [Column("score A", right=True), Column("score B", right=True)] if partial else []
    return [Column("example"), Column("question"), Column("gold"), Column("A"), Column("B"), *scores]


def _flip(flip: Flip, limit: int, *, partial: bool) -> tuple[str, ...]:
    scores = (
        tuple(MISSING if is_missing(s) else figure(s) for s in (flip.score_a, flip.score_b))
        if partial
        else ()
    )
    return (
        flip.sample_id,
        shorten(flip.question, limit),
        shorten(flip.gold, limit),
        shorten(_answer(flip.answer_a, flip.error_a), limit),
        shorten(_answer(flip.answer_b, flip.error_b), limit),
        *scores,
    )


def _answer(answer: str, error: str) -> str:
    return f"failed: {error}" if error else answer
