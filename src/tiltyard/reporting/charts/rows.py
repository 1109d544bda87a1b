"""Charts with a row per line: differences, scores of seeds, latencies.

>>> figure = difference_figure(comparisons.compared, "optimizer=none", styles)
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tiltyard.reporting import numbers
from tiltyard.reporting.arms import Line, short_names
from tiltyard.reporting.charts.canvas import MOST_LINES, Styles, beside, cut, rows_figure
from tiltyard.reporting.figures import RULE, milliseconds, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tiltyard.reporting.over_seeds import OverSeeds
    from tiltyard.reporting.per_axis import Compared

PERCENTILES = (5, 25, 50, 75, 95)
"""What is drawn of a distribution of latencies."""


def difference_figure(compared: "Sequence[Compared]", reference: str, styles: Styles) -> "Figure":
    """What each arm changes against the reference arm, with intervals, a row per comparison.

    Args:
        compared: At least one.
        reference: What the arm is called that they are compared with.
        styles: Those of the modes.
    """
    shown = list(compared)[:MOST_LINES]
    names = short_names([one.line for one in compared])
    rows = [f"{one.line[0]}  {shorten(names[one.line])}" for one in shown]
    figure, panel = rows_figure(rows, width=5.0)
    panel.axvline(0, color="black", linewidth=0.9)
    for place, one in enumerate(shown):
        colour, marker = styles[one.line[2]]
        difference, told = one.difference, one.verdict != "not told apart"
        panel.plot([difference.low, difference.high], [place] * 2, color=colour, linewidth=1.7)
        panel.plot(
            [difference.mean],
            [place],
            marker,
            color=colour if told else "white",
            markersize=7,
            markeredgecolor=colour,
            markeredgewidth=1.3,
        )
        beside(panel, place, f"{difference.mean:+.2f}   {numbers.p_value(one.p_adjusted)}")
        if place and shown[place - 1].line[0] != one.line[0]:
            panel.axhline(place - 0.5, color=RULE, linewidth=0.8)
    reach = max(max(abs(one.difference.low), abs(one.difference.high)) for one in shown)
    panel.set_xlim(-min(1.05, reach * 1.1 + 0.02), min(1.05, reach * 1.1 + 0.02))
    panel.set_xlabel(
        f"score less that of {reference}, 95% interval; filled: p<0.05 after Holm"
        + cut(len(compared), len(shown)),
        fontsize=9,
        parse_math=False,
    )
    return figure


def seeds_figure(lines: "Sequence[OverSeeds]", styles: Styles) -> "Figure":
    """The scores of each seed and their mean, a row per line.

    Args:
        lines: At least one.
        styles: Those of the modes.
    """
    shown = list(lines)[:MOST_LINES]
    names = short_names([one.line for one in lines])
    figure, panel = rows_figure([f"{one.line[0]}  {shorten(names[one.line])}" for one in shown], width=5.0)
    for place, one in enumerate(shown):
        colour, marker = styles[one.line[2]]
        values = list(one.scores.values())
        panel.plot([min(values), max(values)], [place] * 2, color=colour, linewidth=1.2, alpha=0.6)
        panel.plot(
            values,
            [place] * len(values),
            marker,
            color=colour,
            markersize=6,
            alpha=0.75,
            markeredgecolor="black",
            markeredgewidth=0.4,
        )
        panel.plot([one.mean] * 2, [place - 0.3, place + 0.3], color="black", linewidth=1.6)
        beside(panel, place, f"{one.mean:.2f}  ±{one.deviation:.3f}")
        if place and shown[place - 1].line[0] != one.line[0]:
            panel.axhline(place - 0.5, color=RULE, linewidth=0.8)
    panel.set_xlim(-0.03, 1.03)
    panel.set_xlabel(
        "score of each seed; the bar is their mean, ± their standard deviation" + cut(len(lines), len(shown)),
        fontsize=9,
    )
    return figure


def latencies_figure(latencies: Mapping[Line, Sequence[float]], styles: Styles) -> "Figure":
    """Distributions of latencies per example on a logarithmic axis, a row per line.

    Args:
        latencies: Milliseconds by line, none empty; at least one.
        styles: Those of the modes.
    """
    import numpy as np

    shown = list(latencies)[:MOST_LINES]
    names = short_names(latencies)
    figure, panel = rows_figure([f"{line[0]}  {shorten(names[line])}" for line in shown], width=5.0)
    panel.set_xscale("log")
    for place, line in enumerate(shown):
        colour, marker = styles[line[2]]
        least, low, middle, high, most = np.percentile(latencies[line], PERCENTILES)
        panel.plot([least, most], [place] * 2, color=colour, linewidth=1.1)
        panel.plot([low, high], [place] * 2, color=colour, linewidth=6, alpha=0.45, solid_capstyle="butt")
        panel.plot(
            [middle],
            [place],
            marker,
            color=colour,
            markersize=6.5,
            markeredgecolor="black",
            markeredgewidth=0.6,
        )
        beside(panel, place, f"{numbers.duration(float(middle))} / {numbers.duration(float(most))}")
        if place and shown[place - 1][0] != line[0]:
            panel.axhline(place - 0.5, color=RULE, linewidth=0.8)
    panel.xaxis.set_major_formatter(milliseconds)
    panel.xaxis.set_minor_formatter(lambda value, position: "")
    panel.set_xlabel(
        "latency per example: marker p50, bar p25–p75, line p5–p95; right: p50 / p95"
        + cut(len(latencies), len(shown)),
        fontsize=9,
    )
    return figure
