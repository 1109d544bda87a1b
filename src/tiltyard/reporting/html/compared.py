"""The tables of the HTML report that compare arms, and seeds of one arm.

>>> matrix(analysis).rows[0][-1].text
'▲ +0.254, p<0.001'
"""

from typing import TYPE_CHECKING

from tiltyard.reporting import numbers
from tiltyard.reporting.arms import Line
from tiltyard.reporting.html.tables import Cell, Heading, Table, missing, number
from tiltyard.reporting.per_axis import Compared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiltyard.reporting.analysis import Analysis

_MARKS = {"better": "▲ ", "worse": "▼ ", "not told apart": ""}


def difference(compared: Compared) -> str:
    """The difference with its adjusted p value: ``▲ +0.254, p<0.001``."""
    of_scores, p = numbers.signed(compared.difference.mean), numbers.p_value(compared.p_adjusted)
    return f"{_MARKS[compared.verdict]}{of_scores}, {p}"


def kind_of(compared: Compared) -> str:
    """The class for the looks of what differs."""
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
                cells.append(Cell(difference(compared), compared.difference.mean, kind_of(compared)))
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
        Heading("95% interval", number=True, says="of this one comparison, not adjusted"),
        Heading("p (Holm)", number=True, says="adjusted for all comparisons of this report"),
        Heading("verdict", choices=True),
        Heading("note", says="what the examples could show, and whether seeds disagree"),
        Heading("effect size", says="with its 95% interval"),
        Heading("test"),
        Heading("p", number=True, says="before the adjustment"),
        Heading("examples", number=True),
        Heading("difference by seed", says="of the seeds that both arms have"),
    ]
    rows = [
        [
            *(Cell(value) for value in one.line),
            Cell(numbers.signed(one.difference.mean), one.difference.mean, kind_of(one)),
            Cell(
                f"[{numbers.signed(one.difference.low)}, {numbers.signed(one.difference.high)}]",
                one.difference.low,
            ),
            Cell(numbers.p_value(one.p_adjusted), one.p_adjusted),
            Cell(_MARKS[one.verdict] + one.verdict, kind=kind_of(one)),
            Cell(one.remark, kind="remark"),
            Cell(one.effect, kind="worded"),
            Cell(one.test, kind="worded"),
            Cell(numbers.p_value(one.difference.p), one.difference.p),
            number(one.difference.examples, numbers.count(one.difference.examples)),
            Cell(_by_seed({seed: numbers.signed(of_seed) for seed, of_seed in one.by_seed.items()})),
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
        Heading("95% interval", number=True, says="over examples and seeds"),
        Heading("scores by seed"),
        *([Heading("note")] if any(one.reason for one in analysis.seeds) else []),
    ]
    rows = []
    for one in analysis.seeds:
        spread = one.spread
        rows.append(
            [
                *map(Cell, one.line),
                number(len(one.scores), str(len(one.scores))),
                number(one.mean, numbers.fraction(one.mean)),
                number(one.deviation, numbers.fraction(one.deviation)),
                Cell(numbers.interval(spread.low, spread.high), spread.low) if spread else missing(),
                Cell(_by_seed({seed: numbers.fraction(of_seed) for seed, of_seed in one.scores.items()})),
                Cell(one.reason, kind="remark"),
            ][: len(headings)]
        )
    return Table("seeds", headings, rows)


def _by_seed(scores: "Mapping[str, str]") -> str:
    return ", ".join(f"{seed or numbers.MISSING}: {score}" for seed, score in scores.items())
