"""Which figures a report has: each with its name, what it shows, and where its data come from.

>>> drawn = figures_of(analysis)
>>> [(one.name, one.title) for one in drawn]
[('scores', 'Scores'), ('score_and_latency', 'Score against latency'), …]
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltyard.reporting.arms import Line
from tiltyard.reporting.charts.curves import Trace, curves_figure, trace
from tiltyard.reporting.charts.rows import difference_figure, latencies_figure, seeds_figure
from tiltyard.reporting.charts.tradeoff import Point, tradeoff_figure
from tiltyard.reporting.figures import milliseconds, score_figure, styles_of
from tiltyard.reporting.numbers import is_missing
from tiltyard.reporting.reading import GROWTH, LEARNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from tiltyard.reporting.analysis import Analysis
    from tiltyard.reporting.reading import Curve

MOST_SCORES = 60
"""Lines of the figure of scores; the leaderboard has all."""
CURVE_NAMES = {
    "epoch.score": "evaluated",
    "optimizer.validation.score": "validation",
    "optimizer.train.score": "train",
    "optimizer.prequential_score": "stream so far",
    "optimizer.best_score": "best candidate",
    "optimizer.curve.best_score": "best candidate",
}
"""What curves are called in a picture."""


@dataclass(frozen=True)
class Drawn:
    """A figure of the report."""

    name: str
    """The name of its files, without suffix."""
    section: str
    """Which section of the report it stands in."""
    title: str
    says: str
    """What it shows, in a sentence, for readers who do not see it."""
    figure: "Figure"


def figures_of(analysis: "Analysis") -> list[Drawn]:
    """Draw what there are data for, in the order of the report."""
    return [
        *_scores(analysis),
        *_tradeoffs(analysis),
        *_differences(analysis),
        *_seeds(analysis),
        *_learning(analysis),
        *_growth(analysis),
        *_latencies(analysis),
    ]


def _styles(analysis: "Analysis") -> dict[str, tuple[str, str]]:
    """One colour and marker per mode, in all figures."""
    return styles_of(analysis.summary["mode"])


def _scores(analysis: "Analysis") -> "Iterator[Drawn]":
    summary = analysis.summary
    for axis in analysis.axes[3:]:  # the figure names models and modes alone
        summary = summary.assign(
            model=[" · ".join(p) for p in zip(summary["model"], summary[axis], strict=True)]
        )
    if "split" in analysis.axes:  # the names tell, and every line is drawn
        summary = summary.drop(columns="split")
    lines = summary[["model", "mode"]].drop_duplicates()
    if len(lines) > MOST_SCORES:
        summary = summary.merge(lines.head(MOST_SCORES), on=["model", "mode"])
    yield Drawn(
        "scores",
        "leaderboard",
        "Scores",
        "Scores with their 95% intervals, by task, model and mode"
        + (
            f" (the first {MOST_SCORES} of {len(lines)}; the table has all)"
            if len(lines) > MOST_SCORES
            else ""
        ),
        score_figure(summary),
    )


def _tradeoffs(analysis: "Analysis") -> "Iterator[Drawn]":
    kinds: list[tuple[str, str, str, Callable[[Line, float], float | None], Callable[..., str]]] = [
        ("latency", "latency", "mean latency per example", lambda line, mean: mean, milliseconds),
        (
            "tokens",
            "tokens",
            "tokens per example, read and written",
            lambda line, mean: analysis.efforts[line].tokens,
            lambda value, position: f"{value:,.0f}",
        ),
        (
            "cost",
            "cost",
            "cost per example in US dollars",
            lambda line, mean: analysis.efforts[line].cost,
            lambda value, position: f"${value:.2g}",
        ),
    ]
    rows = _last_of_line(analysis)
    for name, what, takes, effort, tick in kinds:
        points = []
        for line, row in rows.items():
            x = effort(line, row["mean_latency_ms"])
            if x is not None and not is_missing(x):
                points.append(Point(line, float(x), row["score"], row["low"], row["high"]))
        if points:
            yield Drawn(
                f"score_and_{name}",
                "tradeoffs",
                f"Score against {what}",
                f"Scores against {takes}, a panel per task, with the Pareto front",
                tradeoff_figure(points, takes, tick, _styles(analysis)),
            )


def _last_of_line(analysis: "Analysis") -> "dict[Line, pd.Series]":
    """The row of each line that is about its last epoch; of those on test, where there are any."""
    summary = analysis.summary
    if "split" in summary and (summary["split"] == "test").any():
        summary = summary[summary["split"] == "test"]
    return {tuple(row[axis] for axis in analysis.axes): row for _, row in summary.iterrows()}


def _differences(analysis: "Analysis") -> "Iterator[Drawn]":
    found = analysis.comparisons
    if found.compared:
        yield Drawn(
            "differences",
            "comparisons",
            f"What changes against {found.reference}",
            f"Differences of the scores from {found.reference}, with their 95% intervals",
            difference_figure(found.compared, str(found.reference), _styles(analysis)),
        )


def _seeds(analysis: "Analysis") -> "Iterator[Drawn]":
    if analysis.seeds:
        yield Drawn(
            "seeds",
            "seeds",
            "Spread over seeds",
            "The score of each seed by line, with their mean",
            seeds_figure(analysis.seeds, _styles(analysis)),
        )


def _learning(analysis: "Analysis") -> "Iterator[Drawn]":
    traces = []
    for name in LEARNING:
        traces += _traces(analysis, (name,), CURVE_NAMES[name])
    if traces:
        yield Drawn(
            "learning",
            "learning",
            "Learning curves",
            "Scores by epoch or step of the optimizer, the mean over seeds with their range",
            curves_figure(traces, "score", _styles(analysis), of_scores=True),
        )


def _growth(analysis: "Analysis") -> "Iterator[Drawn]":
    for what, names in GROWTH.items():
        steps = _growth_by_step(analysis, what)
        traces = _traces(analysis, names, what)
        if {one.line for one in traces} - {one.line for one in steps}:  # steps tell more than epochs
            yield Drawn(
                f"playbook_{what}",
                "growth",
                f"Playbook: {what}",
                f"How many {what} the playbook has by epoch or step, the mean over seeds with their range",
                curves_figure(traces, what, _styles(analysis), of_scores=False),
            )

        if steps:
            yield Drawn(
                f"playbook_{what}_by_step",
                "growth",
                f"Playbook: {what} by step",
                f"How many {what} the playbook has after each step, the mean over seeds with their range",
                curves_figure(steps, what, _styles(analysis), of_scores=False, steps="steps done"),
            )


def _growth_by_step(analysis: "Analysis", what: str) -> list[Trace]:
    """A curve per line, over the runs that kept the history of their playbook."""
    traces = []
    for line, runs in analysis.lines.items():
        curves = [curve for run in runs if (curve := analysis.evidence.growth.get(run.run_id, {}).get(what))]
        if curves and (one := trace(line, what, _as_long_as_the_longest(curves))).steps[-1] > 0:
            traces.append(one)
    return traces


def _as_long_as_the_longest(curves: "Sequence[Curve]") -> "list[Curve]":
    """The curves, of which each goes on as it ended: a step that changed no playbook may leave no trace."""
    steps = max(curve[-1][0] for curve in curves)
    return [
        [*curve, *((step, curve[-1][1]) for step in range(curve[-1][0] + 1, steps + 1))] for curve in curves
    ]


def _traces(analysis: "Analysis", names: "Sequence[str]", what: str) -> list[Trace]:
    """A curve per line, over the runs that have one by any of the names."""
    traces = []
    for line, runs in analysis.lines.items():
        curves = [
            next(curve for name in names if (curve := of_run.get(name)))
            for run in runs
            if any(name in (of_run := analysis.evidence.curves[run.run_id]) for name in names)
        ]
        if curves:
            one = trace(line, what, curves)
            traces += [one] if len(one.steps) > 1 else []
    return traces


def _latencies(analysis: "Analysis") -> "Iterator[Drawn]":
    import pandas as pd

    latencies = {}
    for line, runs in analysis.lines.items():
        rows = pd.concat([analysis.evidence.rows[run.run_id][["latency_ms", "cached"]] for run in runs])
        asked = rows.loc[(rows["cached"] == 0) & (rows["latency_ms"] > 0), "latency_ms"]
        if len(asked):
            latencies[line] = asked.tolist()
    if latencies:
        yield Drawn(
            "latencies",
            "latencies",
            "Latency distributions",
            "Percentiles of the latency per example by line, without what a response cache answered",
            latencies_figure(latencies, _styles(analysis)),
        )
