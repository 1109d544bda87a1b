"""The tables of the HTML report, made from what was found.

>>> leaderboard(analysis).rows[0][0].text
'tatqa_tiny'
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tiltyard.reporting import numbers
from tiltyard.reporting.arms import Line
from tiltyard.reporting.html.tables import Bar, Cell, Heading, Table, missing, number
from tiltyard.reporting.per_axis import Compared

if TYPE_CHECKING:
    from tiltyard.reporting.analysis import Analysis

SHORT_ID = 12
_MARKS = {"better": "▲ ", "worse": "▼ ", "not told apart": ""}


def leaderboard(analysis: "Analysis") -> Table:
    """A row per line, with its score, what it takes and how it compares."""
    summary = analysis.summary
    reference = analysis.comparisons.reference
    beside = [name for name in ("split", "epoch") if name in summary]
    headings = [
        *(Heading(axis, choices=summary[axis].nunique() > 1) for axis in analysis.axes),
        *(Heading(name, choices=True) for name in beside),
        Heading("score", number=True, says="mean over examples; those that failed count 0"),
        Heading("95% interval"),
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
                number(cost, f"${cost or 0:.3g}"),
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
    return Cell(difference(compared), compared.difference.mean, _kind(compared))


def difference(compared: Compared) -> str:
    """The difference with its adjusted p value: ``▲ +0.254, p < 0.001``."""
    return f"{_MARKS[compared.verdict]}{_signed(compared.difference.mean)}, {p_value(compared.p_adjusted)}"


def p_value(p: float) -> str:
    """``p < 0.001``, or the value with three decimals."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # adding 0 turns -0.0 into 0.0


def _kind(compared: Compared) -> str:
    return compared.verdict if compared.verdict in ("better", "worse") else ""


def matrix(analysis: "Analysis") -> Table | None:
    """Which value of the reference's axis helps where: a row per task and rest, a column per value."""
    found = analysis.comparisons
    if found.reference is None or not (found.compared or found.refused):
        return None
    place = list(analysis.axes).index(found.reference.column)
    values = list(dict.fromkeys(line[place] for line in analysis.lines))
    values.sort(key=lambda value: value != found.reference.shown)  # type: ignore[union-attr]
    rests = list(dict.fromkeys(_without(line, place) for line in analysis.lines))
    scores = {
        tuple(str(row[axis]) for axis in analysis.axes): row["score"]
        for row in analysis.summary.to_dict("records")
    }
    rows = []
    for rest in rests:
        cells = []
        for value in values:
            line = (*rest[:place], value, *rest[place:])
            compared = found.of(line)
            if compared is not None:
                cells.append(Cell(difference(compared), compared.difference.mean, _kind(compared)))
            elif line in scores:
                note = "" if value == found.reference.shown else " (not compared)"
                cells.append(Cell(f"{numbers.fraction(scores[line])}{note}", scores[line], "missing"))
            else:
                cells.append(missing())
        rows.append([*(Cell(value) for value in rest), *cells])
    return Table(
        "matrix",
        [
            *(Heading(axis) for position, axis in enumerate(analysis.axes) if position != place),
            *(Heading(value, number=True) for value in values),
        ],
        rows,
    )


def _without(line: Line, place: int) -> Line:
    return (*line[:place], *line[place + 1 :])


def comparisons(analysis: "Analysis") -> Table | None:
    """Every paired test, with its effect size."""
    if not analysis.comparisons.compared:
        return None
    headings = [
        *(Heading(axis, choices=analysis.summary[axis].nunique() > 1) for axis in analysis.axes),
        Heading("difference", number=True, says="score less that of the reference arm"),
        Heading("95% interval"),
        Heading("p (Holm)", number=True, says="adjusted for all comparisons of this report"),
        Heading("verdict", choices=True),
        Heading("what it could have found", says="where the arms are not told apart"),
        Heading("effect size", says="with its 95% interval"),
        Heading("test"),
        Heading("p", number=True, says="before the adjustment"),
        Heading("examples", number=True),
        Heading("seeds", number=True, says="that both arms have"),
    ]
    rows = [
        [
            *(Cell(value) for value in one.line),
            Cell(_signed(one.difference.mean), one.difference.mean, _kind(one)),
            Cell(f"[{_signed(one.difference.low)}, {_signed(one.difference.high)}]", one.difference.low),
            Cell(p_value(one.p_adjusted), one.p_adjusted),
            Cell(_MARKS[one.verdict] + one.verdict, kind=_kind(one)),
            Cell(one.remark, kind="remark"),
            Cell(one.effect),
            Cell(one.test),
            Cell(p_value(one.difference.p), one.difference.p),
            number(one.difference.examples, numbers.count(one.difference.examples)),
            number(one.seeds, numbers.count(one.seeds)),
        ]
        for one in analysis.comparisons.compared
    ]
    return Table("comparisons", headings, rows)


def refusals(analysis: "Analysis") -> Table | None:
    """The arms that could not be compared, and why."""
    refused = analysis.comparisons.refused
    if not refused:
        return None
    return Table(
        "refusals",
        [*map(Heading, analysis.axes), Heading("why it is not compared")],
        [[*map(Cell, one.line), Cell(one.reason)] for one in refused],
    )


def seeds(analysis: "Analysis") -> Table | None:
    """The spread of each line over its seeds."""
    if not analysis.seeds:
        return None
    headings = [
        *(Heading(axis, choices=analysis.summary[axis].nunique() > 1) for axis in analysis.axes),
        Heading("seeds", number=True),
        Heading("mean", number=True),
        Heading("standard deviation", number=True),
        Heading("95% interval", says="over examples and seeds"),
        Heading("scores by seed"),
        Heading("note"),
    ]
    rows = []
    for one in analysis.seeds:
        spread = one.spread
        values = list(one.scores.values())
        mean = spread.mean if spread else sum(values) / len(values)
        rows.append(
            [
                *map(Cell, one.line),
                number(len(values), str(len(values))),
                number(mean, numbers.fraction(mean)),
                number(one.deviation, numbers.fraction(one.deviation)),
                Cell(numbers.interval(spread.low, spread.high), spread.low) if spread else missing(),
                Cell(", ".join(f"{seed or '–'}: {numbers.fraction(v)}" for seed, v in one.scores.items())),
                Cell(one.reason, kind="remark"),
            ]
        )
    return Table("seeds", headings, rows)


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
        command = run.tags.get("tiltyard.command", "")
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
