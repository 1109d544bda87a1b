from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiltyard.optimizers.report import Candidate, OptimizationReport
from tiltyard.reporting.description import (
    SWEEP_LIMIT,
    describe_run,
    describe_start,
    describe_sweep,
    describe_version,
)
from tiltyard.result import ExperimentResult

MakeResult = Callable[..., ExperimentResult]


def rows_of(description: str) -> list[list[str]]:
    """The cells of the description's table, its headings first."""
    lines = [line for line in description.split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]


def test_a_run_begins_with_its_score_and_ends_with_its_command(make_result: MakeResult) -> None:
    result = make_result(tokens__prompt=12_345.0, tokens__completion=67.0, examples__failed=1.0)
    paragraphs = describe_run(result, OptimizationReport(), command="tiltyard seed=3").split("\n\n")
    assert paragraphs[0].startswith("Score 0.667 [0.208, 0.939] on ")
    assert "1 failed" in paragraphs[0]
    assert "12,345 tokens read and 67 written" in paragraphs[0]
    assert paragraphs[1:] == ["Run it again:", "```sh\ntiltyard seed=3\n```"]
    assert describe_start("tiltyard seed=3") == "\n\n".join(paragraphs[1:])


def test_what_ended_a_run_early_comes_first(make_result: MakeResult) -> None:
    failed = describe_run(make_result(error="<b>no</b> weights"), OptimizationReport(), command="")
    assert failed == r"**Failed:** \<b\>no\</b\> weights"
    interrupted = describe_run(make_result(), OptimizationReport(), command="", interrupted=True)
    assert interrupted.startswith("**Interrupted** before its end.\n\nScore ")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (0.25, 0.75, "Validation (8 examples): 0.250 before, 0.750 after optimizing: +0.500"),
        (0.75, 0.25, "Validation (8 examples): 0.750 before, 0.250 after optimizing: -0.500"),
        (None, 0.75, None),
        (0.25, None, None),
    ],
)
def test_the_gain_on_validation_is_told_where_both_were_measured(
    make_result: MakeResult, before: float | None, after: float | None, told: str | None
) -> None:
    candidates = [
        Candidate("student", before, examples=8),
        Candidate("epoch 1", after, examples=8, chosen=True),
    ]
    description = describe_run(make_result(), OptimizationReport(candidates=candidates), command="")
    assert ("Validation" in description) == (told is not None)
    assert (told or "") in description


def test_scores_on_other_examples_are_no_gain(make_result: MakeResult) -> None:
    candidates = [Candidate("student", 0.2, examples=8), Candidate("epoch 1", 0.4, examples=4, chosen=True)]
    report = OptimizationReport(candidates=candidates)
    assert "Validation" not in describe_run(make_result(), report, command="")


def test_warnings_are_told(make_result: MakeResult) -> None:
    report = OptimizationReport(warnings=["All 16 curations failed."])
    assert "> **Warning:** All 16 curations failed." in describe_run(make_result(), report, command="")


def test_a_sweep_has_the_columns_that_tell_its_jobs_apart(make_result: MakeResult) -> None:
    results = [make_result(), make_result(optimizer="ace", score=0.9), make_result(error="no | weights")]
    description = describe_sweep(results)
    headings, *rows = rows_of(description)
    assert headings[0] == "job"
    assert {"optimizer", "score [95% interval]", "status"} <= set(headings)
    assert not {"task", "model", "simulation", "seed"} & set(headings)
    assert [row[headings.index("status")] for row in rows] == ["ok", "ok", "failed"]
    first, second = description.split("\n\n")[:2]
    assert first == "3 jobs, 1 failed."
    assert second.startswith("Highest scores: tatqa_tiny **0.900 [")
    assert r"- job 2: no \| weights" in description


def test_the_best_and_the_failed_are_among_those_that_fit(make_result: MakeResult) -> None:
    results = [make_result(seed=seed) for seed in range(60)]
    results[41] = make_result(seed=41, score=0.95)
    results[57] = make_result(seed=57, error="no weights")
    description = describe_sweep(results)
    _, *rows = rows_of(description)
    jobs = [int(row[0]) for row in rows]
    assert {41, 57} <= set(jobs)
    assert jobs == sorted(jobs)
    assert f"… and {60 - len(jobs)} more" in description


@given(
    names=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=30),
    error=st.text(max_size=3000),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_sweep_always_fits_and_its_table_is_whole(
    make_result: MakeResult, names: list[str], error: str
) -> None:
    results = [make_result(task=name, model=name * 9, seed=n) for n, name in enumerate(names)]
    description = describe_sweep([*results, make_result(error=error or "none")])
    assert len(description) <= SWEEP_LIMIT
    lines = [line for line in description.split("\n") if line.startswith("| ")]
    assert len({len(line) for line in lines}) <= 1


def test_a_version_says_how_to_load_it(make_result: MakeResult) -> None:
    uri = "models:/tatqa_tiny.lexical.none/3"
    description = describe_version(make_result(), "question: str -> answer: str", uri)
    assert description.startswith("Score 0.667 [0.208, 0.939] on ")
    for part in ("`question: str -> answer: str`", "`5f0c`", "`ab12`", f'load_model("{uri}")'):
        assert part in description
