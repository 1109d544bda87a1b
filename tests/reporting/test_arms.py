from collections.abc import Callable

import pytest

from tiltyard.errors import InputError
from tiltyard.reporting.arms import Reference, arm, axes_of, by_line, choose_reference, short_names
from tiltyard.tracking.reader import TrackedRun

Track = Callable[..., TrackedRun]
ONE = {"1": 1.0}


def test_the_baseline_is_the_reference_where_there_is_one(track: Track) -> None:
    runs = [track(ONE), track(ONE, mode="ace")]
    assert str(choose_reference(runs, None)) == "optimizer=none"
    assert choose_reference(runs[1:], None) is None
    assert str(choose_reference(runs, "mode=ace")) == "optimizer=ace"


def test_runs_on_validation_have_lines_of_their_own_where_there_are_others(track: Track) -> None:
    validation = track(ONE, tags={"tiltyard.split": "validation"})
    assert axes_of([validation]) == ("task", "model", "mode")
    runs = [track(ONE), validation]
    lines = by_line(runs, axes_of(runs))
    assert {line[-1]: found for line, found in lines.items()} == {
        "test": [runs[0]],
        "validation": [validation],
    }


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("optimizer", "has no value"),
        ("=none", "has no value"),
        ("task=iot_tiny", "evaluated different examples"),
        ("seed=0", "evaluated different examples"),
        ("split=validation", "evaluated different examples"),
        ("optimizer=gepa", r"no run has optimizer=gepa; values of optimizer there: ace, none"),
        ("optimizer.k=4", "no run has optimizer.k=4"),
    ],
)
def test_a_reference_that_is_none_is_refused(track: Track, declared: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        choose_reference([track(ONE), track(ONE, mode="ace")], declared)


def test_lines_are_told_apart_by_what_varies(track: Track) -> None:
    runs = [
        track(ONE, mode="ace", params={"optimizer.k": "1"}),
        track(ONE, mode="ace", params={"optimizer.k": "8"}),
        track(ONE, tags={"tiltyard.simulation": "town"}),
    ]
    assert axes_of(runs[:2]) == ("task", "model", "mode")
    assert axes_of(runs) == ("task", "model", "mode", "simulation")
    axes = axes_of(runs[:2], Reference("optimizer.k", "1"), by=["optimizer.k"])
    assert axes == ("task", "model", "mode", "optimizer.k")
    assert list(by_line(runs, axes)) == [
        ("tatqa_tiny", "lexical", "baseline", "–"),
        ("tatqa_tiny", "lexical", "ace", "1"),
        ("tatqa_tiny", "lexical", "ace", "8"),
    ]
    with pytest.raises(InputError, match=r"--by optimizer\.depth: no run has this config key"):
        axes_of(runs, by=["optimizer.depth"])


def test_names_leave_out_what_all_lines_share() -> None:
    lines = [("t", "m", "baseline"), ("t", "m", "ace"), ("u", "m", "ace")]
    assert short_names(lines) == {lines[0]: "baseline", lines[1]: "ace", lines[2]: "ace"}
    assert short_names([*lines, ("t", "n", "ace")])["t", "n", "ace"] == "n · ace"
    assert short_names(lines[:1]) == {lines[0]: "baseline"}
    assert arm(lines[1]) == "m · ace"
