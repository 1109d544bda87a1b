"""The leaderboard of the HTML report.

>>> leaderboard(analysis).rows[0][0].text
'tatqa_tiny'
"""

from typing import TYPE_CHECKING

from tiltyard.reporting import numbers
from tiltyard.reporting.arms import Line
from tiltyard.reporting.html.compared import difference, kind_of
from tiltyard.reporting.html.tables import Bar, Cell, Heading, Table, missing, number

if TYPE_CHECKING:
    from tiltyard.reporting.analysis import Analysis


def leaderboard(analysis: "Analysis") -> Table:
    """A row per line, with its score, what it takes and how it compares."""
    summary = analysis.summary
    reference = analysis.comparisons.reference
    beside = [name for name in ("split", "epoch") if name in summary and name not in analysis.axes]
    headings = [
        *(Heading(axis, choices=summary[axis].nunique() > 1) for axis in analysis.axes),
        *(Heading(name, choices=True) for name in beside),
        Heading("score", number=True, says="mean over examples; those that failed count 0"),
        Heading("95% interval", number=True),
        *(
            [
                Heading(
                    f"against {reference}", number=True, says="paired by example; p adjusted by Holm's method"
                )
            ]
            if reference
            else []
        ),
        Heading("accuracy", number=True, says="share of examples with full marks"),
        Heading("runs", number=True),
        Heading("samples", number=True, says="distinct examples"),
        Heading("failed", number=True, says="evaluations that ended with an error"),
        Heading("mean latency", number=True, says="per example, without what a response cache answered"),
        Heading("p95 latency", number=True),
        Heading("tokens", number=True, says="read and written per example"),
        Heading("cost", number=True, says="US dollars per 1,000 examples, where the price is known"),
        Heading("compile tokens", number=True, says="that the optimizer used per run"),
        Heading("compile time", number=True, says="of the optimizer per run"),
        Heading("memory", number=True, says="peak of the process, MB"),
    ]
    rows = []
    for row in summary.to_dict("records"):
        line = tuple(str(row[axis]) for axis in analysis.axes)
        effort = analysis.efforts[line]
        cost = None if effort.cost is None else 1000 * effort.cost
        seconds = effort.compile_seconds
        rows.append(
            [
                *(Cell(value) for value in line),
                *(Cell(str(row[name])) for name in beside),
                number(
                    row["score"],
                    numbers.fraction(row["score"]),
                    bar=Bar(100 * row["low"], 100 * row["high"], 100 * row["score"]),
                ),
                Cell(numbers.interval(row["low"], row["high"]), row["low"]),
                *([_against(analysis, line)] if reference else []),
                number(row["accuracy"], numbers.fraction(row["accuracy"])),
                number(row["runs"], numbers.count(row["runs"])),
                number(row["samples"], numbers.count(row["samples"])),
                number(row["failed"], numbers.count(row["failed"]), kind="worse" if row["failed"] else ""),
                number(row["mean_latency_ms"], numbers.duration(row["mean_latency_ms"])),
                number(row["p95_latency_ms"], numbers.duration(row["p95_latency_ms"])),
                number(effort.tokens, numbers.count(effort.tokens)),
                number(cost, numbers.dollars(cost)),
                number(effort.compile_tokens, numbers.count(effort.compile_tokens)),
                number(seconds, numbers.duration(None if seconds is None else 1000 * seconds)),
                number(effort.memory_mb, numbers.count(effort.memory_mb)),
            ]
        )
    return Table("leaderboard", headings, rows)


def _against(analysis: "Analysis", line: Line) -> Cell:
    compared = analysis.comparisons.of(line)
    reference = analysis.comparisons.reference
    if compared is None:
        is_reference = (
            reference is not None and line[analysis.axes.index(reference.column)] == reference.shown
        )
        return Cell("reference", "", "missing") if is_reference else missing()
    return Cell(difference(compared), compared.difference.mean, kind_of(compared))
