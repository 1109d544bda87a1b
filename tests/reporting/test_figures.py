import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from tiltyard.evaluation.rows import Row
from tiltyard.reporting.figures import latency_figure, save, score_figure

MakeRow = Callable[..., Row]


def _summary(tasks: int = 2, models: tuple[str, ...] = ("lexical", "tiny-gpt2")) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": f"task{number}",
            "model": model,
            "mode": mode,
            "samples": 3,
            "score": 0.5,
            "low": 0.2,
            "high": 0.8,
        }
        for number in range(tasks)
        for model in models
        for mode in ("baseline", "bootstrap")
    )


@pytest.mark.parametrize(("tasks", "visible"), [(1, 1), (3, 3), (5, 5)])
def test_every_task_has_a_panel_with_scores_from_zero_to_one(tasks: int, visible: int) -> None:
    panels = [panel for panel in score_figure(_summary(tasks)).axes if panel.get_visible()]
    assert len(panels) == visible
    for panel in panels:
        low, high = panel.get_xlim()
        assert -0.1 < low <= 0 < 1 <= high < 1.1


def test_every_mode_of_a_model_has_a_line_and_its_value() -> None:
    [panel] = score_figure(_summary(1)).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == [
        "lexical  baseline",
        "bootstrap",
        "tiny-gpt2  baseline",
        "bootstrap",
    ]
    assert [text.get_text() for text in panel.texts] == ["0.50"] * 4


def test_modes_differ_in_colour_and_marker() -> None:
    [panel] = score_figure(_summary(1, ("lexical",))).axes
    points = [line for line in panel.lines if line.get_marker() not in ("None", "")]
    assert len({(point.get_color(), point.get_marker()) for point in points}) == 2


def test_the_last_epoch_is_drawn() -> None:
    summary = _summary(1, ("lexical",)).iloc[[0, 0]].assign(epoch=[2, 1], score=[0.9, 0.1])
    [panel] = score_figure(summary).axes
    assert [text.get_text() for text in panel.texts] == ["0.90"]


@pytest.mark.parametrize("latencies", [[12.0], [12.0, 13.5, 19.0], [0.4, 12.0, 9000.0], [5.0, 5.0]])
def test_latencies_show_their_median_and_tail(
    make_row: MakeRow, tmp_path: Path, latencies: list[float]
) -> None:
    figure = latency_figure([make_row(str(n), latency_ms=ms) for n, ms in enumerate(latencies)])
    assert figure is not None
    [panel] = figure.axes
    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert [name[:3] for name in names] == ["p50", "p95"]
    assert f"n = {len(latencies)}" in panel.get_xlabel()
    assert panel.get_xscale() == ("log" if len(latencies) == 3 and latencies[0] < 1 else "linear")
    assert all(path.stat().st_size > 1000 for path in save(figure, tmp_path / "latency"))


def test_examples_that_never_ran_have_no_latency(make_row: MakeRow) -> None:
    assert latency_figure([]) is None
    assert latency_figure([make_row("1", latency_ms=0.0, error="metric: no gold")]) is None


def test_look_ups_are_no_latencies_of_the_model(make_row: MakeRow) -> None:
    kept, asked = make_row("1", latency_ms=0.1, cached=1), make_row("2", latency_ms=50.0)
    assert latency_figure([kept]) is None
    figure = latency_figure([kept, asked])
    assert figure is not None
    assert "n = 1" in figure.axes[0].get_xlabel()


def test_equal_data_gives_equal_files_from_any_thread(tmp_path: Path) -> None:
    def draw(number: int) -> list[bytes]:
        return [path.read_bytes() for path in save(score_figure(_summary()), tmp_path / str(number))]

    with ThreadPoolExecutor(4) as pool:
        svgs, pngs = zip(*pool.map(draw, range(4)), strict=True)
    assert len(set(svgs)) == len(set(pngs)) == 1
    assert b"<dc:date>" not in svgs[0]
    assert not list(tmp_path.glob("*.partial"))


def test_names_with_dollars_are_not_formulas(tmp_path: Path) -> None:
    summary = _summary(1).replace({"task0": "$\\frac{", "lexical": "$m$ $"})
    assert all(path.exists() for path in save(score_figure(summary), tmp_path / "x"))


def test_heavy_imports_wait_and_pyplot_is_never_needed(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from tiltyard.reporting import command, figures, run_report, terminal
assert not {"matplotlib", "pandas", "mlflow", "torch"} & set(sys.modules)
from matplotlib.figure import Figure
figures.save(Figure(), Path(sys.argv[1]))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "figure")], check=True)
