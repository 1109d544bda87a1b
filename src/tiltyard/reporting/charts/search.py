"""The course of a search, or what it found to trade off.

>>> found = [Found(0, {"score": 0.4}, best=False), Found(1, {"score": 0.6}, best=True)]
>>> figure = search_figure(found, {"score": "maximize"})
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from tiltyard.reporting.charts.canvas import grid
from tiltyard.reporting.figures import STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOUR, _BEST = STYLES[0][0], STYLES[1][0]


@dataclass(frozen=True)
class Found:
    """What a trial found."""

    number: int
    objectives: Mapping[str, float]
    best: bool
    """Whether it is the best, or on the Pareto front."""


def search_figure(found: Sequence[Found], directions: Mapping[str, str]) -> "Figure | None":
    """Draw a search: with one objective its course, with two what they trade off.

    Args:
        found: The trials that ended well, by number; at least one.
        directions: ``maximize`` or ``minimize``, by objectives.

    Returns:
        The figure; None with three objectives or more.
    """
    from matplotlib.figure import Figure

    if len(directions) > 2:
        return None
    figure = Figure(figsize=(6.4, 3.6))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    grid(panel)
    if len(directions) == 1:
        _course(panel, found, directions)
    else:
        _front(panel, found, directions)
    return figure


def _course(panel: "Axes", found: Sequence[Found], directions: Mapping[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    [(name, direction)] = directions.items()
    numbers = [one.number for one in found]
    values = [one.objectives[name] for one in found]
    best = list(accumulate(values, max if direction == "maximize" else min))
    panel.step(numbers, best, where="post", color=_BEST, linewidth=1.4, zorder=1)
    _points(panel, found, numbers, values)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("trial; the line is the best so far", fontsize=9)
    panel.set_ylabel(name, fontsize=9)


def _front(panel: "Axes", found: Sequence[Found], directions: Mapping[str, str]) -> None:
    upright, across = directions
    xs, ys = ([one.objectives[name] for one in found] for name in (across, upright))
    _points(panel, found, xs, ys)
    panel.set_xlabel(f"{across} ({directions[across]}); large marks: the Pareto front", fontsize=9)
    panel.set_ylabel(f"{upright} ({directions[upright]})", fontsize=9)


def _points(panel: "Axes", found: Sequence[Found], xs: Sequence[float], ys: Sequence[float]) -> None:
    for one, x, y in zip(found, xs, ys, strict=True):
        panel.plot(
            [x],
            [y],
            "D" if one.best else "o",
            color=_BEST if one.best else _COLOUR,
            markersize=8 if one.best else 5,
            alpha=1.0 if one.best else 0.7,
            markeredgecolor="black",
            markeredgewidth=0.9 if one.best else 0.4,
            zorder=3 if one.best else 2,
        )
