"""What is written down of a compilation: only plain files of its own, and a report that stays short."""

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.report import Candidate, OptimizationReport, Point
from tiltyard.reporting.optimization import (
    CANDIDATES_SHOWN,
    LINES_SHOWN,
    legal_curves,
    legal_files,
    legal_metrics,
    optimization_sections,
    write_optimization,
)

NAMES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["..", "../a.md", "/etc/a.md", "a/b.md", ".hidden", "a\\b.md", "con fig.md", "a.md\n"]),
)


@given(names=st.lists(NAMES, max_size=4))
def test_no_text_leaves_the_runs_folder(names):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        folder.mkdir()
        report = OptimizationReport(files=dict.fromkeys(names, "text"))
        written = write_optimization(report, folder, attempts=[])
        assert {path.name for path in folder.iterdir()} == set(written)
        assert [path.name for path in Path(place).iterdir()] == ["run"]


@pytest.mark.parametrize(
    "name", ["result.json", "RESULT.JSON", "candidates.csv", "adaptation.csv", "x" * 200 + ".md"]
)
def test_the_runs_own_files_are_not_replaced(name, caplog):
    report = OptimizationReport(files={name: "no", "cheatsheet.v2-final.md": "yes"})
    assert legal_files(report, ["result.json"]) == {"cheatsheet.v2-final.md": "yes"}
    assert "is not kept" in caplog.text


@given(st.dictionaries(st.sampled_from(["score", "examples", "optimizer.x", "tokens.prompt"]), st.floats()))
def test_no_figure_of_an_optimizer_passes_for_the_runs_own(metrics):
    legal = legal_metrics(metrics)
    assert all(name.startswith("optimizer.") and math.isfinite(value) for name, value in legal.items())
    assert len(legal) == sum(map(math.isfinite, metrics.values()))


def test_a_curve_does_not_take_the_place_of_the_whole():
    report = OptimizationReport(
        metrics={"optimizer.tokens": 30.0},
        points=[Point(1, {"optimizer.tokens": 10.0, "entries": 2.0}), Point(2, {"tokens": 20.0})],
    )
    assert legal_curves(report) == [
        (1, {"optimizer.curve.tokens": 10.0, "optimizer.entries": 2.0}),
        (2, {"optimizer.curve.tokens": 20.0}),
    ]


def test_an_empty_report_says_nothing():
    assert list(optimization_sections(OptimizationReport())) == []


def test_of_many_candidates_the_best_and_the_chosen_are_shown():
    scores = [None, *(number / 100 for number in range(1, 51))]
    candidates = [
        Candidate(f"candidate {number}", score, chosen=number == 3) for number, score in enumerate(scores)
    ]
    text = "\n".join(optimization_sections(OptimizationReport(candidates=candidates)))
    shown = [number for number in range(51) if f"| candidate {number} " in text]
    assert len(shown) == CANDIDATES_SHOWN
    assert shown == [3, *range(51 - CANDIDATES_SHOWN + 1, 51)]
    assert f"{CANDIDATES_SHOWN} of 51" in text


def test_a_playbook_is_shown_before_and_after():
    playbook = Playbook()
    for number in range(LINES_SHOWN + 5):
        playbook.apply(Add("style", f"Rule {number}. |`"), step=number)
    files = {"playbook.jsonl": playbook.dumps(), "playbook_history.jsonl": playbook.history.dumps()}
    text = "\n".join(optimization_sections(OptimizationReport(files=files, notes=["a | b"])))
    assert f"0 entries of 0 tokens before, {LINES_SHOWN + 5} of" in text
    assert "+ [k1] style: Rule 0. |`" in text
    assert "… and 5 more lines" in text
    assert r"- a \| b" in text


def test_files_of_these_names_that_are_no_playbook_do_not_stop_the_report(caplog):
    files = {"playbook.jsonl": "what?", "playbook_history.jsonl": "ever", "notes.md": "to read"}
    assert "to read" in "\n".join(optimization_sections(OptimizationReport(files=files)))
    assert "does not show the playbook" in caplog.text


def test_warnings_come_before_all_else():
    heading, warning, *_ = optimization_sections(
        OptimizationReport(warnings=["All 8 reflections failed."], notes=["a note"])
    )
    assert heading == "## Optimization"
    assert warning == "> **Warning:** All 8 reflections failed."
