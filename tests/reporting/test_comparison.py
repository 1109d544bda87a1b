import math
from collections.abc import Callable

import pandas as pd
import pytest

from tiltyard.evaluation.rows import Row
from tiltyard.evaluation.statistics import interval
from tiltyard.reporting.comparison import latest, pooled_differences, summarize, to_markdown
from tiltyard.tracking.reader import TrackedRun

MakeRow = Callable[..., Row]
MakeRun = Callable[..., TrackedRun]
Frame = Callable[..., pd.DataFrame]


def _summary(rows: dict[str, pd.DataFrame], *runs: TrackedRun) -> pd.DataFrame:
    return summarize(runs, rows_of=lambda run: rows[run.run_id])


def test_a_run_keeps_the_figures_of_its_own_summary(
    make_run: MakeRun, make_row: MakeRow, frame: Frame
) -> None:
    rows = frame(
        make_row("1", 1.0, latency_ms=10.0),
        make_row("2", 0.0, latency_ms=30.0),
        make_row("3", 0.0, latency_ms=20.0, error="parse: no answer"),
    )
    [line] = _summary({"r": rows}, make_run("r")).to_dict("records")
    limits = interval([1, 0, 0])
    assert line == {
        "task": "tatqa_tiny",
        "model": "lexical",
        "mode": "baseline",
        "runs": 1,
        "samples": 3,
        "accuracy": pytest.approx(1 / 3),
        "score": pytest.approx(1 / 3),
        "low": limits.low,
        "high": limits.high,
        "mean_latency_ms": 20.0,
        "p95_latency_ms": pytest.approx(29.0),
        "failed": 1,
    }


def test_repeated_examples_do_not_narrow_the_interval(
    make_run: MakeRun, make_row: MakeRow, frame: Frame
) -> None:
    rows = frame(*(make_row(str(number), float(number % 2)) for number in range(20)))
    once = _summary({"a": rows}, make_run("a"))
    thrice = _summary({"a": rows, "b": rows, "c": rows}, *(make_run(name) for name in "abc"))
    assert thrice["runs"].tolist() == [3]
    assert thrice["samples"].tolist() == [20]
    assert thrice[["score", "low", "high"]].equals(once[["score", "low", "high"]])


def test_examples_of_several_seeds_are_averaged_first(
    make_run: MakeRun, make_row: MakeRow, frame: Frame
) -> None:
    rows = {
        "a": frame(make_row("1", 1.0), make_row("2", 0.0)),
        "b": frame(make_row("1", 0.0)),  # a shorter run
    }
    [line] = _summary(rows, make_run("a"), make_run("b")).to_dict("records")
    limits = interval([0.5, 0.0])
    assert (line["score"], line["low"], line["high"]) == (0.25, limits.low, limits.high)


def test_lines_are_sorted_with_the_baseline_first(make_run: MakeRun, make_row: MakeRow, frame: Frame) -> None:
    rows = frame(make_row("1"))
    runs = [
        make_run("1", task="b"),
        make_run("2", task="a", mode="ace"),
        make_run("3", task="a", model="zeta"),
        make_run("4", task="a"),
    ]
    summary = summarize(runs, rows_of=lambda run: rows)
    assert list(zip(summary["task"], summary["model"], summary["mode"], strict=True)) == [
        ("a", "lexical", "baseline"),
        ("a", "lexical", "ace"),
        ("a", "zeta", "baseline"),
        ("b", "lexical", "baseline"),
    ]


def test_epochs_are_lines_of_their_own_where_there_are_several(
    make_run: MakeRun, make_row: MakeRow, frame: Frame
) -> None:
    rows = frame(make_row("1", 0.0, epoch=1), make_row("1", 1.0, epoch=2))
    summary = _summary({"r": rows}, make_run("r"))
    assert summary["epoch"].tolist() == [1, 2]
    assert summary["score"].tolist() == [0.0, 1.0]
    assert "split" not in summary
    assert "| epoch |" in to_markdown(summary)


def test_cached_answers_say_nothing_about_speed(make_run: MakeRun, make_row: MakeRow, frame: Frame) -> None:
    rows = {
        "some": frame(make_row("1", latency_ms=0.1, cached=1), make_row("2", latency_ms=50.0)),
        "all": frame(make_row("1", cached=1)),
    }
    some, every = _summary(rows, make_run("some"), make_run("all", task="z")).to_dict("records")
    assert some["mean_latency_ms"] == 50.0
    assert math.isnan(every["mean_latency_ms"])
    assert math.isnan(every["p95_latency_ms"])
    assert "|    – |   – |" in to_markdown(_summary(rows, make_run("all")))


def test_only_the_latest_run_of_a_fingerprint_counts(make_run: MakeRun) -> None:
    runs = [
        make_run("new", fingerprint="x", minute=9),
        make_run("old", fingerprint="x", minute=1),
        make_run("other", fingerprint="y", minute=5),
        make_run("unknown", fingerprint="", minute=2),
        make_run("unknown too", fingerprint="", minute=3),
    ]
    assert [run.run_id for run in latest(runs)] == ["unknown", "unknown too", "other", "new"]


def test_a_run_that_was_all_look_ups_does_not_hide_how_fast_the_model_is(
    make_run: MakeRun, make_row: MakeRow, frame: Frame
) -> None:
    runs = [
        make_run(name, fingerprint="x", minute=minute, metrics={"examples": 2.0, "examples.cached": cached})
        for minute, (name, cached) in enumerate([("first", 0.0), ("half", 1.0), ("kept", 2.0)])
    ]
    alone = make_run("alone", fingerprint="y", minute=9, metrics={"examples": 2.0, "examples.cached": 2.0})
    assert [run.run_id for run in latest([*runs, alone])] == ["half", "alone"]
    assert [run.run_id for run in latest([runs[2], runs[0]])] == ["first"]
    rows = {
        "first": frame(make_row("1", latency_ms=50.0)),
        "kept": frame(make_row("1", latency_ms=0.1, cached=1)),
    }
    [line] = _summary(rows, *latest([runs[0], runs[2]])).to_dict("records")
    assert line["mean_latency_ms"] == 50.0


def test_pooling_different_experiments_is_said(make_run: MakeRun) -> None:
    shared = {"labels.task": "a", "tracking.folder": "m"}
    runs = [
        make_run("1", params={**shared, "seed": "0", "limit": "3"}),
        make_run("2", params={**shared, "seed": "1", "limit": "5"}),
        make_run("3", task="z", params={"seed": "0"}),
        make_run("4", task="z", params={"seed": "1"}),
    ]
    assert pooled_differences(runs) == [
        "tatqa_tiny / lexical / baseline pools 2 runs that differ in limit (3, 5)"
    ]


def test_pooling_what_only_fingerprints_tell_apart_is_said(make_run: MakeRun) -> None:
    qa = {"task.path": "qa.jsonl", "seed": "0"}
    runs = [
        make_run("1", task="qa", params={**qa, "evaluation.threads": "1"}),
        make_run("2", task="qa", params={**qa, "evaluation.threads": "2", "tracking.folder": "m"}),
        make_run("3", task="qa", params={**qa, "seed": "1"}),
        make_run("4", task="seeds", params={"seed": "0"}),
        make_run("5", task="seeds", params={"seed": "1"}),
        make_run("6", task="unknown", fingerprint="", params={"seed": "0"}),
        make_run("7", task="unknown", fingerprint="", params={"seed": "0"}),
    ]
    assert pooled_differences(runs) == [
        "qa / lexical / baseline pools 2 runs whose data, weights, code or package versions differ "
        "(their configs are equal)"
    ]


def test_both_kinds_of_differences_are_said(make_run: MakeRun) -> None:
    limits = ("3", "3", "5")
    remarks = pooled_differences(
        [make_run(str(number), params={"limit": limit}) for number, limit in enumerate(limits)]
    )
    assert [remark.split(" pools ")[1].split(" whose")[0] for remark in remarks] == [
        "3 runs that differ in limit (3, 5)",
        "2 runs",
    ]


def test_no_runs_give_an_empty_table() -> None:
    assert len(summarize([])) == 0
