"""What the charts of a report share: panels by task, rows by line, legends, cuts.

>>> figure, panels = panels_figure(2, width=4.1, height=3.0)
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiltyard.reporting.arms import Line
from tiltyard.reporting.figures import PANELS_PER_ROW, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Styles = Mapping[str, tuple[str, str]]
"""Colour and marker of each mode; see :func:`tiltyard.reporting.figures.styles_of`."""
MOST_LINES = 36
"""Rows of a figure with a row per line; what is beyond stands in the tables."""
_SCALES = ((0.25, 0.05), (0.5, 0.1), (1.0, 0.25))
"""Where a vertical axis of scores may end, and the step between its ticks."""
SMALL = 8
"""The size of the smallest letters, in points."""


def by_task(items: Iterable[Any], line: Callable[[Any], Line]) -> dict[str, list[Any]]:
    """The items of each task, in the order in which they come."""
    tasks: defaultdict[str, list[Any]] = defaultdict(list)
    for item in items:
        tasks[line(item)[0]].append(item)
    return dict(tasks)


def panels_figure(
    count: int, *, width: float, height: float, share_y: bool = True
) -> "tuple[Figure, list[Axes]]":
    """A figure with so many panels, in rows."""
    from matplotlib.figure import Figure

    across = min(PANELS_PER_ROW, count)
    down = math.ceil(count / across)
    figure = Figure(figsize=(max(5.4, width * across), 0.9 + height * down))
    figure.set_layout_engine("constrained", wspace=0.04, hspace=0.06)
    panels = list(figure.subplots(down, across, squeeze=False, sharey=share_y).flatten())
    for panel in panels[count:]:
        panel.set_visible(False)
    return figure, panels[:count]


def rows_figure(rows: Sequence[str], *, width: float) -> "tuple[Figure, Axes]":
    """A figure with a labelled row per line, the first at the top, and room for figures at the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.078 * max(map(len, rows)) + width + 1.4, 0.75 + 0.27 * len(rows)))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    panel.set_yticks(range(len(rows)), rows, parse_math=False)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0, labelsize=9)
    panel.tick_params(axis="x", labelsize=SMALL)
    panel.grid(axis="x", color=RULE, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    return figure, panel


def beside(panel: "Axes", place: float, text: str) -> None:
    """Write figures at the right of a row."""
    panel.text(
        1.02, place, text, transform=panel.get_yaxis_transform(), va="center", ha="left", fontsize=SMALL
    )


def title(panel: "Axes", task: str) -> None:
    """Name a panel's task."""
    panel.set_title(task, fontsize=10, loc="left", parse_math=False)


def scale_of_scores(panel: "Axes", highest: float) -> None:
    """A vertical axis of scores, from 0 to a quarter, a half or 1, so that low scores lie apart.

    Args:
        panel: Its axes; panels that share theirs need the same ``highest``.
        highest: The greatest value drawn, in [0, 1].
    """
    top, step = next(scale for scale in _SCALES if highest <= scale[0] or scale is _SCALES[-1])
    panel.set_ylim(-0.04 * top, 1.04 * top)
    ticks = [step * place for place in range(round(top / step) + 1)]
    panel.set_yticks(ticks, [f"{tick:g}".lstrip("0") or "0" for tick in ticks])
    grid(panel)


def grid(panel: "Axes") -> None:
    """A quiet grid behind the data."""
    panel.tick_params(labelsize=SMALL)
    panel.grid(color=RULE, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def mode_legend(figure: "Figure", styles: Styles, modes: Iterable[str]) -> None:
    """Say which colour and marker is which mode."""
    from matplotlib.lines import Line2D

    present = [mode for mode in styles if mode in set(modes)]
    legend(
        figure,
        [
            Line2D(
                [],
                [],
                color=styles[mode][0],
                marker=styles[mode][1],
                linestyle="",
                markersize=7,
                markeredgecolor="black",
                markeredgewidth=0.4,
                label=mode,
            )
            for mode in present
        ],
    )


def legend(figure: "Figure", entries: Sequence[Any]) -> None:
    """Put a legend above the panels, as wide as the figure has room; none where one entry says nothing."""
    if len(entries) < 2:
        return
    longest = max(len(str(entry.get_label())) for entry in entries)
    room = int(figure.get_figwidth() / (0.45 + 0.085 * longest))
    drawn = figure.legend(
        handles=list(entries),
        loc="outside upper left",
        ncols=max(1, min(len(entries), room)),
        frameon=False,
        fontsize=9,
    )
    for text in drawn.get_texts():
        text.set_parse_math(False)


def cut(all_of_them: int, shown: int) -> str:
    """What a label says where lines are left out."""
    return f"\n(the first {shown} of {all_of_them}; the table has all)" if shown < all_of_them else ""
