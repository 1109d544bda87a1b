import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tiltyard.evaluation.paired import Difference
from tiltyard.reporting.against_baseline import Against
from tiltyard.reporting.sweep_summary import best_of_tasks, write_sweep_summary
from tiltyard.result import ExperimentResult

MakeResult = Callable[..., ExperimentResult]


def test_the_csv_has_a_row_per_job_and_empty_cells_for_what_is_missing(
    make_result: MakeResult, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    inside = replace(make_result(without=("tokens.prompt",)), folder=folder / "0_job")
    write_sweep_summary([inside, make_result(error="no weights")], folder)
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["score"], first["low"], first["high"]) == ("0.667", "0.208", "0.939")
    assert first["prompt_tokens"] == ""
    assert first["folder"] == "0_job"
    assert first["status"] == "ok"
    assert (second["status"], second["error"], second["score"], second["seconds"]) == (
        "failed",
        "no weights",
        "",
        "",
    )


def test_the_markdown_names_what_failed(make_result: MakeResult, tmp_path: Path) -> None:
    write_sweep_summary([make_result(), make_result(error="a | b")], tmp_path)
    written = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "2 jobs, 1 failed." in written
    assert "| a \\| b " in written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["summary.csv", "summary.md"]


def test_both_files_say_what_was_swept(make_result: MakeResult, tmp_path: Path) -> None:
    swept = [("optimizer=labeled_few_shot", f"optimizer.k={k}") for k in (1, 8)]
    write_sweep_summary([make_result(overrides=overrides) for overrides in swept], tmp_path)
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        assert [job["overrides"] for job in csv.DictReader(file)] == [" ".join(job) for job in swept]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (tmp_path / "summary.md").read_text(encoding="utf-8").split("\n")
        if line.startswith("|")
    ]
    assert rows[0][5:8] == ["seed", "k", "score [95% interval]"]
    assert [row[6] for row in rows[2:]] == ["1", "8"]


def test_what_the_response_cache_answered_is_told_where_there_is_any(
    make_result: MakeResult, tmp_path: Path
) -> None:
    times = ("latency.generate.p50_ms", "latency.generate.p95_ms")
    kept = make_result(examples__cached=3.0, without=times)
    none = make_result(examples__cached=0.0)
    tables = {}
    for name, results in {"some": [none, kept, make_result(error="x")], "none": [none, none]}.items():
        write_sweep_summary(results, tmp_path / name)
        text = (tmp_path / name / "summary.md").read_text(encoding="utf-8")
        tables[name] = [line.replace(" ", "").split("|")[-5:-1] for line in text.split("\n") if "|" in line]
    assert tables["some"][0] == ["cached", "p50", "p95", "status"]
    assert tables["some"][2:5] == [
        ["0", "12ms", "2.81s", "ok"],
        ["3", "–", "–", "ok"],
        ["–", "–", "–", "failed"],
    ]
    assert tables["none"][0] == ["failed", "p50", "p95", "status"]
    with (tmp_path / "some" / "summary.csv").open(encoding="utf-8", newline="") as file:
        jobs = [(job["cached"], job["p50_ms"]) for job in csv.DictReader(file)]
    assert jobs == [("0.0", "12.34"), ("3.0", ""), ("", "")]


def test_further_metrics_are_in_both_files(make_result: MakeResult, tmp_path: Path) -> None:
    few = [make_result(value=0.92917), make_result("qa", f1=0.5), make_result(error="x")]
    many = [make_result(**{f"m{number}": number for number in range(4)})]
    headings = {}
    for name, results in {"few": few, "many": many}.items():
        write_sweep_summary(results, tmp_path / name)
        table = (tmp_path / name / "summary.md").read_text(encoding="utf-8").split("\n")
        headings[name] = [line.replace(" ", "").split("|")[7:-1] for line in table if line.startswith("|")]
    assert headings["few"][0][:4] == ["score[95%interval]", "f1", "value", "examples"]
    assert [row[1:3] for row in headings["few"][2:5]] == [["–", "0.929"], ["0.500", "–"], ["–", "–"]]
    assert headings["many"][0][:2] == ["score[95%interval]", "examples"]
    with (tmp_path / "few" / "summary.csv").open(encoding="utf-8", newline="") as file:
        jobs = [(job["metric.value"], job["metric.f1"]) for job in csv.DictReader(file)]
    assert jobs == [("0.92917", ""), ("", "0.5"), ("", "")]
    with (tmp_path / "many" / "summary.csv").open(encoding="utf-8", newline="") as file:
        [job] = csv.DictReader(file)
    assert [job[f"metric.m{number}"] for number in range(4)] == ["0", "1", "2", "3"]


def test_a_missing_comparison_is_said(make_result: MakeResult, tmp_path: Path) -> None:
    write_sweep_summary([make_result(error="x"), make_result(optimizer="bootstrap")], tmp_path)
    written = (tmp_path / "summary.md").read_text(encoding="utf-8")
    note = "no comparison for lexical on tatqa\\_tiny: job 0 (optimizer=none) failed."
    assert note in written or note.replace("\\", "") in written


def test_the_best_are_found_per_task(make_result: MakeResult) -> None:
    results = [
        make_result("a", score=0.1),
        make_result("a", score=0.9),
        make_result("a", score=0.9),
        make_result("b", score=0.5),
        make_result("c", score=0.5),
        make_result("c", score=0.5),
        make_result("d", error="x"),
    ]
    assert best_of_tasks(results) == {1, 2}


def test_what_the_optimizer_changed_is_in_both_files(make_result: MakeResult, tmp_path: Path) -> None:
    results = [make_result(), make_result(optimizer="bootstrap")]
    compared = {1: Against(Difference(0.5, 0.25, 0.75, 0.004, "mcnemar", 60), 0.008, "60 examples show more")}
    write_sweep_summary(results, tmp_path, compared)
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        jobs = [
            [job[name] for name in ("diff", "diff_low", "diff_high", "p", "p_holm")]
            for job in csv.DictReader(file)
        ]
    assert jobs == [[""] * 5, ["0.5", "0.25", "0.75", "0.004", "0.008"]]
    written = (tmp_path / "summary.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.split("|")[7:9]] for line in written.split("\n") if "|" in line]
    assert cells[0] == ["score [95% interval]", "vs none"]
    assert [cell for _, cell in cells[2:]] == ["", "+0.500 [+0.25, +0.75] p=0.008"]
    assert "vs none: difference from optimizer=none" in written
    assert "job 1: 60 examples show more." in written
    write_sweep_summary(results, tmp_path)
    assert "vs none" not in (tmp_path / "summary.md").read_text(encoding="utf-8")
