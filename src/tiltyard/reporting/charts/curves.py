"""Curves over the steps of an optimizer: scores, and the size of a playbook.

>>> figure = curves_figure([trace(line, "test", curves)], "score", styles, of_scores=True)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiltyard.reporting.arms import Line, short_names
from tiltyard.reporting.charts.canvas import (
    Styles,
    by_task,
    grid,
    legend,
    panels_figure,
    scale_of_scores,
    title,
)
from tiltyard.reporting.figures import PANELS_PER_ROW, shorten, style_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tiltyard.reporting.reading import Curve

MOST_CURVES = 12
"""Curves of one panel."""
STROKES = ("solid", (0, (4, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (2, 2)), (0, (8, 2)))
"""How curves that measure different things are drawn."""
_BAND = 0.18


@dataclass(frozen=True)
class Trace:
    """A curve of one line: the mean over its runs at each step, with the least and the greatest value."""

    line: Line
    what: str
    """What is measured; curves that measure different things have different strokes."""
    steps: Sequence[int]
    mean: Sequence[float]
    least: Sequence[float]
    greatest: Sequence[float]


def trace(line: Line, what: str, curves: "Sequence[Curve]") -> Trace:
    """Put the curves of one line's runs together, over the steps that all of them have."""
    by_step: defaultdict[int, list[float]] = defaultdict(list)
    for curve in curves:
        for step, value in curve:
            by_step[step].append(value)
    steps = sorted(step for step, values in by_step.items() if len(values) == len(curves))
    values = [by_step[step] for step in steps]
    return Trace(
        line, what, steps, [sum(v) / len(v) for v in values], list(map(min, values)), list(map(max, values))
    )


def curves_figure(
    traces: Sequence[Trace], label: str, styles: Styles, *, of_scores: bool, steps: str = "epoch or step"
) -> "Figure":
    """Curves over the steps of an optimizer, a panel per task, with bands over seeds.

    Args:
        traces: At least one, each with two steps or more.
        label: What the vertical axis measures.
        styles: Those of the modes.
        of_scores: Whether that is a score, in [0, 1].
        steps: What the horizontal axis counts.
    """
    from matplotlib.ticker import MaxNLocator

    tasks = by_task(traces, lambda one: one.line)
    highest = max(max(one.greatest) for one in traces)
    names = short_names(one.line for one in traces)
    own_styles = _styles(traces, names, styles)
    kinds = list(dict.fromkeys(one.what for one in traces))
    strokes = {what: STROKES[place % len(STROKES)] for place, what in enumerate(kinds)}
    figure, panels = panels_figure(len(tasks), width=4.1, height=3.0, share_y=of_scores)
    for panel, (task, own) in zip(panels, tasks.items(), strict=True):
        title(panel, task)
        for one in own[:MOST_CURVES]:
            colour, marker = own_styles[names[one.line]]
            panel.fill_between(one.steps, one.least, one.greatest, color=colour, alpha=_BAND, linewidth=0)
            panel.plot(
                one.steps,
                one.mean,
                color=colour,
                linestyle=strokes[one.what],
                marker=marker if len(one.steps) <= 24 else "",
                markersize=4.5,
                linewidth=1.6,
                markeredgecolor="black",
                markeredgewidth=0.3,
            )
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if of_scores:
            scale_of_scores(panel, highest)
        else:
            panel.set_ylim(0, max(1.0, 1.08 * max(max(one.greatest) for one in own)))
            grid(panel)
    for panel in panels[::PANELS_PER_ROW]:
        panel.set_ylabel(label, fontsize=9)
    cut = any(len(own) > MOST_CURVES for own in tasks.values())
    modes = {one.line[2] for one in traces}
    of_what = f"{steps} of {modes.pop()}" if len(modes) == 1 else steps
    figure.supxlabel(
        of_what + (f" (the first {MOST_CURVES} curves of a task)" if cut else ""),
        fontsize=9,
        parse_math=False,
    )
    _curve_legend(figure, traces, names, own_styles, strokes)
    return figure


def _styles(
    traces: Sequence[Trace], names: Mapping[Line, str], of_modes: Styles
) -> dict[str, tuple[str, str]]:
    """Colour and marker by name: those of the mode, unless several models share it."""
    arms = list(dict.fromkeys(names[one.line] for one in traces))
    modes = {names[one.line]: one.line[2] for one in traces}
    if len(set(modes.values())) == len(arms):
        return {name: of_modes[mode] for name, mode in modes.items()}
    return {name: style_of(place) for place, name in enumerate(arms)}


def _curve_legend(
    figure: "Figure",
    traces: Sequence[Trace],
    names: Mapping[Line, str],
    styles: Mapping[str, tuple[str, str]],
    strokes: Mapping[str, Any],
) -> None:
    from matplotlib.lines import Line2D

    arms = {names[one.line]: styles[names[one.line]] for one in traces}
    entries = [
        Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.6, label=shorten(name))
        for name, (colour, marker) in list(arms.items())[: 2 * MOST_CURVES]
    ]
    if len(strokes) > 1:
        entries += [
            Line2D([], [], color="#444444", linestyle=stroke, linewidth=1.6, label=what)
            for what, stroke in strokes.items()
        ]
    legend(figure, entries)
