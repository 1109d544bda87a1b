from tiltyard.evaluation.paired import compare
from tiltyard.reporting.charts.canvas import MOST_LINES
from tiltyard.reporting.charts.rows import difference_figure, latencies_figure, seeds_figure
from tiltyard.reporting.figures import styles_of
from tiltyard.reporting.over_seeds import OverSeeds
from tiltyard.reporting.per_axis import Compared

STYLES = styles_of(["ace"])


def test_only_what_is_told_apart_is_filled() -> None:
    difference = compare({str(n): 1.0 for n in range(9)}, {str(n): 0.0 for n in range(9)})
    compared = [
        Compared(("t", m, "ace"), difference, p, {"0": 1.0}, "") for m, p in (("m", 0.001), ("n", 0.2))
    ]
    [panel] = difference_figure(compared, "optimizer=none", STYLES).axes
    faces = [line.get_markerfacecolor() for line in panel.lines if line.get_marker() == STYLES["ace"][1]]
    assert faces == [STYLES["ace"][0], "white"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["t  m", "t  n"]


def test_each_seed_is_a_mark() -> None:
    [panel] = seeds_figure([OverSeeds(("t", "m", "ace"), {"0": 0.2, "1": 0.4}, None)], STYLES).axes
    [marks] = [line for line in panel.lines if line.get_marker() == STYLES["ace"][1]]
    assert list(marks.get_xdata()) == [0.2, 0.4]


def test_too_many_lines_are_cut_and_said() -> None:
    lines = {("t", f"m{n}", "ace"): [1.0, 10.0] for n in range(MOST_LINES + 1)}
    [panel] = latencies_figure(lines, STYLES).axes
    assert len(panel.get_yticklabels()) == MOST_LINES
    assert f"the first {MOST_LINES} of {MOST_LINES + 1}" in panel.get_xlabel()
