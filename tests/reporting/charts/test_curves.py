from tiltyard.reporting.charts.curves import MOST_CURVES, curves_figure, trace
from tiltyard.reporting.figures import STYLES, style_of, styles_of

LINE = ("t", "m", "ace")


def test_a_trace_is_the_mean_over_the_steps_that_all_curves_have() -> None:
    one = trace(LINE, "test", [[(0, 0.0), (1, 0.4), (2, 1.0)], [(0, 0.2), (1, 0.6)]])
    assert list(one.steps) == [0, 1]
    assert [round(value, 9) for value in one.mean] == [0.1, 0.5]
    assert list(one.least) == [0.0, 0.4]
    assert list(one.greatest) == [0.2, 0.6]


def test_models_that_share_a_mode_have_colours_of_their_own() -> None:
    traces = [trace(("t", model, "ace"), "test", [[(0, 0.1), (1, 0.2)]]) for model in ("m", "n")]
    figure = curves_figure(traces, "score", styles_of(["ace"]), of_scores=True)
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert colours == [STYLES[0][0], STYLES[1][0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["m", "n"]


def test_too_many_curves_are_cut_and_said() -> None:
    traces = [trace(("t", f"m{n}", "ace"), "test", [[(0, 0.1), (1, 0.2)]]) for n in range(MOST_CURVES + 3)]
    figure = curves_figure(traces, "score", styles_of(["ace"]), of_scores=True)
    assert len(figure.axes[0].lines) == MOST_CURVES
    assert f"the first {MOST_CURVES} curves" in figure.get_supxlabel()


def test_a_label_is_no_formula() -> None:
    mode = "k$^{$2"  # as a formula it cannot be drawn
    figure = curves_figure(
        [trace(("t", "m", mode), "test", [[(0, 0.1), (1, 0.2)]])], "score", styles_of([mode]), of_scores=True
    )
    figure.draw_without_rendering()
    assert figure.get_supxlabel() == f"epoch or step of {mode}"


def test_a_colour_that_comes_again_has_another_marker() -> None:
    styles = [style_of(place) for place in range(3 * len(STYLES))]
    assert len(set(styles)) == len(styles)
