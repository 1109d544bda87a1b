"""Scores against what they take, with the Pareto front.

>>> figure = tradeoff_figure(points, "mean latency per example", milliseconds, styles)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltyard.reporting.arms import Line, short_names
from tiltyard.reporting.charts.canvas import (
    SMALL,
    Styles,
    by_task,
    mode_legend,
    panels_figure,
    scale_of_scores,
    title,
)
from tiltyard.reporting.figures import PANELS_PER_ROW, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS_PER_LETTER = 4.6
"""About how wide a letter is at the small size."""


@dataclass(frozen=True)
class Point:
    """One line in a trade-off."""

    line: Line
    x: float
    """What it takes: less is better."""
    score: float
    low: float
    high: float


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats in one respect without losing in the other, cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.score)):
        ties = front and (point.x, point.score) == (front[-1].x, front[-1].score)
        if not front or ties or point.score > front[-1].score:
            front.append(point)
    return front


def tradeoff_figure(
    points: Sequence[Point], takes: str, tick: Callable[[float, float | None], str], styles: Styles
) -> "Figure":
    """Scores against what they take, a panel per task; the Pareto front is large, and joined by steps.

    Args:
        points: At least one; lines of one task are on one panel.
        takes: What the horizontal axis measures.
        tick: Writes a value on it.
        styles: Those of the modes.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    tasks = by_task(points, lambda point: point.line)
    highest = max(point.high for point in points)
    figure, panels = panels_figure(len(tasks), width=4.1, height=3.3)
    for panel, (task, own) in zip(panels, tasks.items(), strict=True):
        title(panel, task)
        front = pareto_front(own)
        values = [point.x for point in own]
        if min(values) > 0 and max(values) > 8 * min(values):  # a logarithmic axis has no place for 0
            panel.set_xscale("log")
            if max(values) < 100 * min(values):  # so few powers of ten need ticks between them
                panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        else:
            panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.step(
            [point.x for point in front],
            [point.score for point in front],
            where="post",
            color="#666666",
            linewidth=1.2,
            linestyle=(0, (3, 2)),
            zorder=1,
        )
        for point in own:
            colour, marker = styles[point.line[2]]
            panel.plot([point.x] * 2, [point.low, point.high], color=colour, linewidth=1, alpha=0.5, zorder=2)
            panel.plot(
                [point.x],
                [point.score],
                marker,
                color=colour,
                markersize=8 if point in front else 6,
                markeredgecolor="black",
                markeredgewidth=1.1 if point in front else 0.4,
                zorder=3,
            )
        panel.margins(x=0.22)
        scale_of_scores(panel, highest)
        panel.xaxis.set_major_formatter(tick)
        panel.xaxis.set_minor_formatter(lambda value, position: "")
    for panel in panels[::PANELS_PER_ROW]:
        panel.set_ylabel("score", fontsize=9)
    figure.supxlabel(f"{takes}\nlarge marks, joined by the dashed line: the Pareto front", fontsize=9)
    mode_legend(figure, styles, [point.line[2] for point in points])
    figure.draw_without_rendering()
    for panel, own in zip(panels, tasks.values(), strict=True):
        _label_points(panel, own, _labels(own), pareto_front(own))
    return figure


def _labels(points: Sequence[Point]) -> dict[Line, str]:
    """What the legend of modes does not say: the models, where a panel has several; else the modes."""
    names = short_names((*point.line[:2], "", *point.line[3:]) for point in points)
    if len(names) == 1:
        return {point.line: point.line[2] for point in points}
    return {point.line: names[*point.line[:2], "", *point.line[3:]] for point in points}


def _label_points(
    panel: "Axes", points: Sequence[Point], names: Mapping[Line, str], front: Sequence[Point]
) -> None:
    """Write names beside points where there is room, those of the front first."""
    pixel = panel.figure.dpi / 72
    inside = panel.get_window_extent()
    places = {point.line: panel.transData.transform((point.x, point.score)) for point in points}
    taken = [(x - 5 * pixel, y - 5 * pixel, x + 5 * pixel, y + 5 * pixel) for x, y in places.values()]
    for point in sorted(points, key=lambda point: point not in front):
        text = shorten(names[point.line])
        width, height = len(text) * _POINTS_PER_LETTER * pixel, 10 * pixel
        x, y = places[point.line]
        for dx, dy, ha in (
            (8, 0, "left"),
            (-8, 0, "right"),
            (0, 11, "center"),
            (0, -12, "center"),
            (8, 11, "left"),
            (8, -11, "left"),
            (-8, 11, "right"),
            (-8, -11, "right"),
            (8, 22, "left"),
            (-8, 22, "right"),
            (8, -22, "left"),
            (-8, -22, "right"),
        ):
            left = x + dx * pixel - {"left": 0.0, "right": width, "center": width / 2}[ha]
            box = (left, y + dy * pixel - height / 2, left + width, y + dy * pixel + height / 2)
            fits = inside.x0 <= box[0] and box[2] <= inside.x1 and inside.y0 <= box[1] and box[3] <= inside.y1
            if fits and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                panel.annotate(
                    text,
                    (point.x, point.score),
                    xytext=(dx, dy),
                    textcoords="offset points",
                    ha=ha,
                    va="center",
                    fontsize=SMALL,
                    parse_math=False,
                    bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 0.6},
                )
                break


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
