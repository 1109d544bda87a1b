"""The tables of the HTML report about single runs: what failed, and how to run them again.

>>> reproduction(analysis).rows[0][-1].text
'tiltyard task=tatqa_tiny optimizer=bootstrap seed=0'
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tiltyard.redaction import redact
from tiltyard.reporting import numbers
from tiltyard.reporting.html.tables import Cell, Heading, Table, missing, number

if TYPE_CHECKING:
    from tiltyard.reporting.analysis import Analysis

SHORT_ID = 12
"""Letters of a run id, a fingerprint and a commit that are shown."""


def failed_runs(analysis: "Analysis") -> Table | None:
    """Runs that did not finish."""
    if not analysis.failed_runs:
        return None
    headings = [Heading("run"), Heading("run id"), Heading("status", choices=True), Heading("why")]
    rows = [
        [
            Cell(one.name),
            Cell(one.run_id[:SHORT_ID], kind="code"),
            Cell(one.status),
            Cell(one.reason) if one.reason else missing(),
        ]
        for one in analysis.failed_runs
    ]
    return Table("failed-runs", headings, rows)


def failed_examples(analysis: "Analysis") -> Table | None:
    """Examples that failed, by line and kind."""
    if not analysis.failed_examples:
        return None
    headings = [
        *(Heading(axis, choices=analysis.summary[axis].nunique() > 1) for axis in analysis.axes),
        Heading("kind", choices=True),
        Heading("evaluations", number=True),
        Heading("share", number=True),
        Heading("the first"),
        Heading("what to do"),
    ]
    rows = [
        [
            *map(Cell, one.line),
            Cell(one.kind),
            number(one.examples, numbers.count(one.examples)),
            number(one.examples / one.of, f"{one.examples / one.of:.1%}"),
            Cell(one.first),
            Cell(one.hint),
        ]
        for one in analysis.failed_examples
    ]
    return Table("failed-examples", headings, rows)


def reproduction(analysis: "Analysis") -> Table:
    """Each run with its command and its resolved config."""
    headings = [
        Heading("run"),
        Heading("score", number=True),
        Heading("started (UTC)"),
        Heading("run id"),
        Heading("fingerprint"),
        Heading("commit"),
        Heading("command, and the resolved config"),
    ]
    return Table("reproduction", headings, list(_reproduced(analysis)))


def _reproduced(analysis: "Analysis") -> Iterator[Sequence[Cell]]:
    for run in analysis.evidence.runs:
        command = redact(run.tags.get("tiltyard.command", ""))
        config = analysis.evidence.configs.get(run.run_id, "")
        score = run.metrics.get("score")
        yield [
            Cell(run.name),
            number(score, numbers.fraction(score)),
            Cell(f"{run.started:%Y-%m-%d %H:%M:%S}"),
            Cell(run.run_id[:SHORT_ID], kind="code"),
            Cell(run.fingerprint[:SHORT_ID] or numbers.MISSING, kind="code"),
            Cell(run.tags.get("tiltyard.git_commit", "")[:SHORT_ID] or numbers.MISSING, kind="code"),
            Cell(command or numbers.MISSING, kind="code" if command else "missing", config=config),
        ]
