"""Figures of reports, drawn without a display and from any thread; equal data gives equal files.

>>> save(score_figure(summary), folder / "scores")
[PosixPath('…/scores.svg'), PosixPath('…/scores.png')]

Colours are those of Okabe and Ito (2008), which readers with any kind of colour vision can tell apart; each
comes with a marker of its own, for prints in grey.
"""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tiltyard.evaluation.rows import Row
from tiltyard.files import write_bytes
from tiltyard.reporting import numbers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINE_STYLE = ("#000000", "o")
STYLES = (
    *(("#0072B2", "s"), ("#D55E00", "D"), ("#009E73", "^"), ("#CC79A7", "v")),
    *(("#E69F00", "P"), ("#56B4E9", "X"), ("#F0E442", "h")),
)
"""Colour and marker of the modes, in the order in which they come; the baseline has its own."""
SUFFIXES = (".svg", ".png")
"""What every figure is saved as."""
PANELS_PER_ROW = 3
LOGARITHMIC_FROM = 30.0
"""Latencies are drawn on a logarithmic axis when the longest is this many times the shortest."""
_LONGEST_LABEL = 34
RULE = "#d9d9d9"
"""The colour of grids and of lines between groups."""
_MEDIAN, _TAIL = "#0072B2", "#D55E00"


def score_figure(summary: "pd.DataFrame") -> "Figure":
    """Scores with their 95% intervals: a panel per task, a line per model and mode.

    Where a summary has several epochs or splits, each line shows the last epoch, on the test split.

    Args:
        summary: As :func:`tiltyard.reporting.comparison.summarize` makes it, not empty.
    """
    from matplotlib.figure import Figure

    summary = _one_per_line(summary)
    tasks = list(dict.fromkeys(summary["task"]))
    lines = _lines(summary)
    styles = styles_of(summary["mode"])
    panels_across = min(PANELS_PER_ROW, len(tasks))
    panels_down = math.ceil(len(tasks) / panels_across)
    labels = _labels(lines)
    label_width = 0.075 * max(map(len, labels))
    figure = Figure(
        figsize=(label_width + 0.3 + 2.9 * panels_across, 0.35 + panels_down * (0.75 + 0.27 * len(lines)))
    )
    figure.set_layout_engine("constrained", wspace=0.06, hspace=0.06)
    panels = figure.subplots(panels_down, panels_across, squeeze=False, sharey=True).flatten()
    for panel, task in zip(panels, tasks, strict=False):
        _draw_scores(panel, summary[summary["task"] == task], task, lines, styles)
    for panel in panels[len(tasks) :]:
        panel.set_visible(False)
    panels[0].set_yticks(range(len(lines)), labels, parse_math=False)
    panels[0].set_ylim(len(lines) - 0.4, -0.6)
    figure.supxlabel("score and 95% interval", fontsize=9)
    return figure


def _one_per_line(summary: "pd.DataFrame") -> "pd.DataFrame":
    if "split" in summary and (summary["split"] == "test").any():
        summary = summary[summary["split"] == "test"]
    if "epoch" in summary:
        summary = summary.sort_values("epoch", kind="stable")
    return summary.drop_duplicates(["task", "model", "mode"], keep="last").sort_index()


def _lines(summary: "pd.DataFrame") -> list[tuple[str, str]]:
    """Every model with every mode that it has anywhere, models together and baselines first."""
    pairs = {(str(m), str(mode)) for m, mode in zip(summary["model"], summary["mode"], strict=True)}
    return sorted(pairs, key=lambda pair: (pair[0], pair[1] != "baseline", pair[1]))


def styles_of(modes: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each mode, the same in every figure of one report."""
    others = sorted({str(mode) for mode in modes} - {"baseline"})
    return {"baseline": BASELINE_STYLE} | {mode: style_of(place) for place, mode in enumerate(others)}


def style_of(place: int) -> tuple[str, str]:
    """The colour and marker at a place of a list; a colour that comes again comes with another marker."""
    several = len(STYLES)
    return STYLES[place % several][0], STYLES[(place + place // several) % several][1]


def _labels(lines: Sequence[tuple[str, str]]) -> list[str]:
    """A label per line; a model's name stands at its first line only."""
    models = [model for model, _ in lines]
    return [
        mode if model in models[:place] else f"{shorten(model)}  {mode}"
        for place, (model, mode) in enumerate(lines)
    ]


def shorten(model: str) -> str:
    """The name, cut in its middle: its end tells sizes and variants apart."""
    half = _LONGEST_LABEL // 2
    return model if len(model) <= _LONGEST_LABEL else f"{model[: half - 1]}…{model[-half:]}"


def _draw_scores(
    panel: "Axes",
    scores: "pd.DataFrame",
    task: str,
    lines: Sequence[tuple[str, str]],
    styles: dict[str, tuple[str, str]],
) -> None:
    places = {line: place for place, line in enumerate(lines)}
    samples = sorted({int(number) for number in scores["samples"]})
    panel.set_title(
        f"{task}  (n = {'–'.join(map(str, dict.fromkeys((samples[0], samples[-1]))))})",
        fontsize=10,
        loc="left",
        parse_math=False,
    )
    for place in range(1, len(lines)):
        if lines[place][0] != lines[place - 1][0]:
            panel.axhline(place - 0.5, color=RULE, linewidth=0.8)
    for model, mode, score, low, high in zip(
        *(scores[column] for column in ("model", "mode", "score", "low", "high")), strict=True
    ):
        place = places[model, mode]
        colour, marker = styles[mode]
        panel.plot([low, high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        panel.plot(
            [score],
            [place],
            marker,
            color=colour,
            markersize=6.5,
            markeredgecolor="black",
            markeredgewidth=0.6,
        )
        panel.text(
            1.02,
            place,
            f"{score:.2f}",
            transform=panel.get_yaxis_transform(),
            va="center",
            ha="left",
            fontsize=8,
        )
    panel.set_xlim(-0.03, 1.03)
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"], fontsize=8)
    panel.grid(axis="x", color=RULE, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0, labelsize=9)
    panel.spines[["top", "right", "left"]].set_visible(False)


def latency_figure(rows: Sequence[Row]) -> "Figure | None":
    """The cumulative distribution of one run's latencies per example, with median and 95th percentile.

    Args:
        rows: The run's rows. Those that a response cache answered say nothing of the model, and are left out.

    Returns:
        None when no example's program ran, or none asked the model.
    """
    import numpy as np
    from matplotlib.figure import Figure

    latencies = np.sort([row.latency_ms for row in rows if row.latency_ms > 0 and not row.cached])
    if not latencies.size:
        return None
    logarithmic = latencies[-1] > LOGARITHMIC_FROM * latencies[0]
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    panel = figure.subplots()
    panel.ecdf(latencies, color="black", linewidth=1.4)
    for rank, colour, style in ((50, _MEDIAN, (0, (4, 2))), (95, _TAIL, (0, (1, 1)))):
        value = float(np.percentile(latencies, rank))
        panel.axvline(
            value, color=colour, linewidth=1.4, linestyle=style, label=f"p{rank}  {numbers.duration(value)}"
        )
    if logarithmic:
        panel.set_xscale("log")
    else:
        panel.set_xlim(0, latencies[-1] * 1.05)
    panel.xaxis.set_major_formatter(milliseconds)
    panel.xaxis.set_minor_formatter(lambda value, _: "")
    panel.set_ylim(0, 1.02)
    panel.set_xlabel(f"latency per example (n = {latencies.size})", fontsize=9)
    panel.set_ylabel("share of examples", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(color=RULE, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure


def milliseconds(value: float, position: float | None = None) -> str:
    """A tick of an axis of times in milliseconds."""
    return f"{value:g} ms" if value < 1000 else f"{value / 1000:g} s"


def save(figure: "Figure", path: Path) -> list[Path]:
    """Write a figure as SVG and as PNG, atomically; the same figure always gives the same bytes.

    Args:
        figure: The figure.
        path: Where, without suffix.

    Returns:
        The files written.
    """
    fix_ids()
    written = []
    for suffix, metadata in zip(SUFFIXES, ({"Date": None}, {"Software": None}), strict=True):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], dpi=160, metadata=metadata, facecolor="white")
        written.append(path.with_name(path.name + suffix))
        write_bytes(written[-1], buffer.getvalue())
    return written


def fix_ids() -> None:
    """Let equal figures have equal ids in SVG, where they are random otherwise."""
    import matplotlib

    if matplotlib.rcParams["svg.hashsalt"] is None:
        # Set for good: a context would undo it under another thread's hands.
        matplotlib.rcParams["svg.hashsalt"] = "tiltyard"
