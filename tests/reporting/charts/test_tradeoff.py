from hypothesis import given
from hypothesis import strategies as st

from tiltyard.reporting.charts.tradeoff import Point, pareto_front, tradeoff_figure
from tiltyard.reporting.figures import milliseconds, styles_of

# Few different values, so that points coincide.
PLACES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 70.0]), st.sampled_from([0.0, 0.25, 1.0])),
    min_size=1,
    max_size=12,
)


def points(places: list[tuple[float, float]]) -> list[Point]:
    return [Point(("t", f"m{n}", "ace"), x, score, 0.0, 1.0) for n, (x, score) in enumerate(places)]


def beats(one: Point, other: Point) -> bool:
    return one.x <= other.x and one.score >= other.score and (one.x, one.score) != (other.x, other.score)


@given(PLACES)
def test_the_front_is_what_nothing_beats(places: list[tuple[float, float]]) -> None:
    given_points = points(places)
    front = pareto_front(given_points)
    assert not any(beats(one, member) for one in given_points for member in front)
    unbeaten = {p.line for p in given_points if not any(beats(one, p) for one in given_points)}
    assert {member.line for member in front} == unbeaten


def test_points_of_the_front_are_named() -> None:
    placed = points([(1.0, 0.2), (10.0, 0.9), (100.0, 0.5)])
    figure = tradeoff_figure(placed, "latency", milliseconds, styles_of(["ace"]))
    [panel] = figure.axes
    assert {"m0", "m1"} <= {text.get_text() for text in panel.texts}
    assert panel.get_xscale() == "log"
    assert panel.get_title(loc="left") == "t"


def test_what_takes_nothing_is_drawn() -> None:
    [panel] = tradeoff_figure(
        points([(0.0, 0.2), (1.0, 0.4), (90.0, 0.9)]), "cost", milliseconds, {"ace": ("#0072B2", "s")}
    ).axes
    assert panel.get_xscale() == "linear"  # a logarithmic axis would leave 0 out


def test_low_scores_get_a_scale_of_their_own_and_ticks_within_a_power_of_ten() -> None:
    low = [Point(("t", f"m{n}", "ace"), x, 0.1 * n, 0.0, 0.2) for n, x in enumerate((110.0, 1000.0))]
    [panel] = tradeoff_figure(low, "tokens", milliseconds, styles_of(["ace"])).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["0", ".05", ".1", ".15", ".2", ".25"]
    between = [tick for tick in panel.get_xticks() if 110 <= tick <= 1000]
    assert between == [200, 500, 1000]
