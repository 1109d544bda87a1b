"""Writes a report over many runs: ``summary.csv``, ``report.md``, ``report.html``, and its figures.

>>> write_report(analyse(evidence), Path("outputs/report"), command="tiltyard report")
[PosixPath('outputs/report/report.html'), PosixPath('outputs/report/report.md'), …]
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tiltyard.files import write_text
from tiltyard.reporting import comparison, numbers
from tiltyard.reporting.arms import arm
from tiltyard.reporting.drawing import Drawn, figures_of
from tiltyard.reporting.figures import SUFFIXES, save
from tiltyard.reporting.html import compared, of_runs
from tiltyard.reporting.html.document import at_a_glance, document, facts
from tiltyard.reporting.markdown import Column, code_block, escape, shorten, table

if TYPE_CHECKING:
    from tiltyard.reporting.analysis import Analysis
    from tiltyard.reporting.html.tables import Table

PAGE_FILE = "report.html"
MARKDOWN_FILE = "report.md"
SUMMARY_FILE = "summary.csv"
FIGURES_FOLDER = "figures"
TITLE = "# Tiltyard report"
"""The first line of ``report.md``, which tells it from the report of a run."""
EXAMPLES_IN_MARKDOWN = 6
"""Disagreements that ``report.md`` shows; the page shows more."""
_TEXT = 160


def write_report(analysis: "Analysis", folder: Path, *, command: str) -> list[Path]:
    """Write the files, and remove the figures of an earlier report in the folder that this one has not.

    Args:
        analysis: What was found.
        folder: Where they go.
        command: The command line that makes this report.

    Returns:
        The files written, the one to read first.

    Raises:
        OSError: The folder cannot be written.
    """
    drawn = figures_of(analysis)
    earlier = _figures_named_in(folder)
    write_text(folder / MARKDOWN_FILE, "\n\n".join(_markdown(analysis, drawn, command)) + "\n")
    write_text(folder / SUMMARY_FILE, analysis.summary.to_csv(index=False, lineterminator="\n"))
    write_text(folder / PAGE_FILE, document(analysis, drawn, command=command))
    pictures = [path for one in drawn for path in save(one.figure, folder / FIGURES_FOLDER / one.name)]
    for path in earlier - set(pictures):
        path.unlink(missing_ok=True)
    return [*(folder / name for name in (PAGE_FILE, MARKDOWN_FILE, SUMMARY_FILE)), *pictures]


def _figures_named_in(folder: Path) -> set[Path]:
    """The figures that an earlier report in the folder wrote: its ``report.md`` names them."""
    text = ""
    with suppress(FileNotFoundError, UnicodeDecodeError):  # another program's file is no report either
        text = (folder / MARKDOWN_FILE).read_text(encoding="utf-8")
    if not text.startswith(f"{TITLE}\n"):
        return set()
    names = re.findall(rf"^!\[.*\]\({FIGURES_FOLDER}/(\w+)\.svg\)$", text, re.MULTILINE)
    return {folder / FIGURES_FOLDER / f"{name}{suffix}" for name in names for suffix in SUFFIXES}


def _markdown(analysis: "Analysis", drawn: Sequence[Drawn], command: str) -> Iterator[str]:
    told = facts(analysis)
    yield TITLE
    yield f"{told['runs']}; from {escape(told['from'])}; started {told['started']}."
    yield "\n".join(f"- {escape(sentence)}." for sentence in at_a_glance(analysis))
    if analysis.remarks:
        yield "\n".join(f"- {escape(remark)}" for remark in analysis.remarks)
    yield comparison.to_markdown(analysis.summary)
    yield (
        "Scores are means over examples, with their 95% intervals; examples that failed count 0. "
        "Latencies are per example, without those that a response cache answered."
    )
    for heading, said in (
        (f"Comparisons with {analysis.comparisons.reference}", compared.comparisons(analysis)),
        ("Not compared", compared.refusals(analysis)),
        ("Spread over seeds", compared.seeds(analysis)),
        ("Runs that did not finish", of_runs.failed_runs(analysis)),
        ("Failed examples", of_runs.failed_examples(analysis)),
    ):
        if said is not None:
            yield f"## {escape(heading)}"
            yield _table(said)
    yield from _disagreements(analysis)
    yield "## Figures"
    for one in drawn:
        yield f"![{escape(one.says)}]({FIGURES_FOLDER}/{one.name}.svg)"
    yield "## How to get the same"
    yield code_block(command, "sh")
    yield f"`{PAGE_FILE}` has the command and the resolved config of every run."


def _table(said: "Table") -> str:
    columns = [Column(heading.text, right=heading.number) for heading in said.headings]
    return table(columns, [[cell.text for cell in row] for row in said.rows])


def _disagreements(analysis: "Analysis") -> Iterator[str]:
    found = analysis.disagreements
    if not found.shown:
        return
    shown = found.shown[:EXAMPLES_IN_MARKDOWN]
    yield "## Examples where arms disagree"
    yield f"{len(shown)} of {found.total}; `{PAGE_FILE}` shows {len(found.shown)}."
    for one in shown:
        yield (
            f"**{escape(one.task)}** {escape(one.sample)}: {escape(shorten(one.question.text, _TEXT))} "
            f"Gold: {escape(shorten(one.question.gold, _TEXT))}"
        )
        yield table(
            [Column("arm"), Column("score", right=True), Column("answer")],
            [
                [
                    arm(answer.line),
                    numbers.fraction(answer.score),
                    shorten(answer.error or answer.text, _TEXT) or "(empty)",
                ]
                for answer in one.answers
            ],
        )
