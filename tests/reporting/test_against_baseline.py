import csv
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from tiltyard.cli import main
from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.reporting.against_baseline import against_baseline, not_compared, remarks
from tiltyard.result import ExperimentResult

Job = Callable[..., ExperimentResult]


@pytest.fixture
def job(make_result: Callable[..., ExperimentResult], make_row: Callable[..., Row], tmp_path: Path) -> Job:
    """Makes a job's result with its rows: one per score, in a folder of its own."""
    numbers = iter(range(99))

    def make(
        optimizer: str, scores: str, *overrides: str, first: int = 0, **options: object
    ) -> ExperimentResult:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        rows = [make_row(f"q{first + number}", float(score)) for number, score in enumerate(scores)]
        write_rows(folder / "predictions.csv", rows)
        result = make_result(optimizer=optimizer, overrides=(f"optimizer={optimizer}", *overrides), **options)
        return replace(result, folder=folder)

    return make


def test_each_job_is_compared_with_the_one_without_an_optimizer(job: Job) -> None:
    compared = against_baseline(
        [
            job("none", "000011"),
            job("bootstrap", "111111"),
            job("labeled_few_shot", "000111", "optimizer.k=4"),
            job("none", "001111", model="tiny-gpt2"),
            job("bootstrap", "001111", model="tiny-gpt2"),
        ]
    )
    means = {position: against.difference.mean for position, against in compared.items()}
    assert means == {1: pytest.approx(4 / 6), 2: pytest.approx(1 / 6), 4: 0}
    # Of four examples all gained, of one, of none; adjusted for three comparisons.
    assert [against.difference.p for against in compared.values()] == pytest.approx([0.125, 1, 1])
    assert [against.p_adjusted for against in compared.values()] == pytest.approx([0.375, 1, 1])


@pytest.mark.parametrize(
    ("overrides", "options"),
    [
        (("limit=5",), {}),
        (("model.temperature=1",), {}),
        (("seed=1",), {"seed": 1}),
        ((), {"task": "iot_tiny"}),
        ((), {"model": "embedded"}),
        ((), {"first": 7}),
        ((), {"error": "no weights"}),
    ],
)
def test_jobs_that_differ_in_more_than_the_optimizer_are_not_compared(
    job: Job, overrides: tuple[str, ...], options: dict[str, object]
) -> None:
    assert against_baseline([job("none", "01"), job("bootstrap", "11", *overrides, **options)]) == {}


def test_rows_that_are_gone_cost_only_their_own_comparison(job: Job) -> None:
    jobs = [job("none", "01"), job("bootstrap", "11"), job("labeled_few_shot", "11")]
    (jobs[1].folder / "predictions.csv").unlink()
    assert list(against_baseline(jobs)) == [2]
    (jobs[0].folder / "predictions.csv").write_text("not,rows\n", encoding="utf-8")
    assert against_baseline(jobs) == {}


def test_there_is_nothing_to_compare_without_a_baseline(job: Job) -> None:
    assert against_baseline([job("bootstrap", "01"), job("labeled_few_shot", "11")]) == {}
    assert against_baseline([job("none", "01"), job("none", "01")]) == {}


def test_what_the_examples_could_show_is_said_of_jobs_that_were_not_told_apart(job: Job) -> None:
    jobs = [
        job("none", "0" * 30 + "1" * 10),
        job("bootstrap", "1" * 40),
        job("labeled_few_shot", "1" + "0" * 30 + "1" * 9),
        job("copro", "1" + "0" * 30 + "1" * 9),
    ]
    compared = against_baseline(jobs)
    assert compared[1].remark == ""
    [remark] = remarks(compared)
    assert remark.startswith("jobs 2, 3: 40 examples show a difference of 0.")
    assert remarks({1: compared[1]}) == []
    assert remarks({2: compared[2]})[0].startswith("job 2: 40 examples show")
    assert remarks(compared, 0) == ["summary.md says what the examples of the other jobs could show"]


def test_why_jobs_are_not_compared_is_said(job: Job) -> None:
    jobs = [
        job("none", "01", error="no weights"),
        job("bootstrap", "11"),
        job("none", "01", model="embedded"),
        job("bootstrap", "11", model="embedded", first=7),
        job("labeled_few_shot", "11", model="embedded"),
        job("labeled_few_shot", "11", "optimizer.k=4", model="embedded"),
        job("none", "01", task="iot_tiny", error="x"),
        job("bootstrap", "11", task="iot_tiny", error="x"),
    ]
    (jobs[4].folder / "predictions.csv").unlink()
    compared = against_baseline(jobs)
    assert list(compared) == [5]
    assert not_compared(jobs, compared) == [
        "no comparison for lexical on tatqa_tiny: job 0 (optimizer=none) failed",
        "no comparison for embedded on tatqa_tiny: "
        "job 3 and job 2 (optimizer=none) are of different examples: 2 only in job 3, such as 'q7'; "
        "2 only in job 2 (optimizer=none), such as 'q0'; 0 in both",
        "no comparison for embedded on tatqa_tiny: the rows of job 4 cannot be read",
    ]
    (jobs[2].folder / "predictions.csv").unlink()
    assert not_compared(jobs, {})[1:] == [
        "no comparison for embedded on tatqa_tiny: the rows of job 2 (optimizer=none) cannot be read"
    ]


def test_a_sweep_without_a_baseline_needs_no_excuse(job: Job) -> None:
    assert not_compared([job("bootstrap", "01"), job("labeled_few_shot", "11")], {}) == []
    assert not_compared([job("none", "01"), job("none", "01", error="x")], {}) == []
    again = [job("none", "01", error="x"), job("none", "01"), job("bootstrap", "11")]
    assert not_compared(again, against_baseline(again)) == []


def rows_of(folder: Path) -> dict[str, int]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return {row["sample_id"]: int(float(row["score"])) for row in csv.DictReader(file)}


def test_a_sweep_shows_what_adaptation_did(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tiltyard"])
    code = main(
        [
            "experiment=adaptation",
            "model=lexical",
            "optimizer=none,bootstrap",
            "limit=30",
            "tracking=off",
            "hydra.sweep.dir=mine",
        ]
    )
    out, _ = capfd.readouterr()
    assert code == 0
    before, after = (
        rows_of(in_folder / f"mine/{number}_conventions_lexical_{optimizer}_s0")
        for number, optimizer in enumerate(("none", "bootstrap"))
    )
    gained = sum(after[sample] > before[sample] for sample in before)
    lost = sum(after[sample] < before[sample] for sample in before)
    assert gained + lost
    with (in_folder / "mine/summary.csv").open(encoding="utf-8", newline="") as file:
        none, bootstrap = csv.DictReader(file)
    assert none["diff"] == ""
    assert float(bootstrap["diff"]) == pytest.approx((gained - lost) / 30)
    assert float(bootstrap["p"]) == pytest.approx(binomtest(gained, gained + lost).pvalue)
    assert bootstrap["p_holm"] == bootstrap["p"]
    [line] = [line for line in out.split("\n") if line.split()[:2] == ["1", "bootstrap"]]
    assert f" {(gained - lost) / 30:+.3f} [" in line
    assert "task conventions, model lexical, 30 examples each" in out
    assert "vs none" in (in_folder / "mine/summary.md").read_text(encoding="utf-8")
