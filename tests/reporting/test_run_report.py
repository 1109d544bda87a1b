import re
from collections.abc import Callable
from pathlib import Path

from tiltyard.evaluation.rows import Row
from tiltyard.reporting.run_report import write_run_report
from tiltyard.result import ExperimentResult

MakeResult = Callable[..., ExperimentResult]
MakeRow = Callable[..., Row]

LATENCIES = {
    "compile": {"count": 1.0, "success_rate": 1.0, "mean_ms": 2812.0},
    "generate": {
        "count": 3.0,
        "success_rate": 2 / 3,
        "mean_ms": 9.0,
        "p50_ms": 8.0,
        "p95_ms": 12.0,
        "p99_ms": 12.0,
    },
}


def _report(result: ExperimentResult, rows: list[Row], folder: Path, command: str = "") -> str:
    write_run_report(result, rows, LATENCIES, folder, command=command)
    return (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_says_what_ran_and_how_to_run_it_again(
    make_result: MakeResult, make_row: MakeRow, tmp_path: Path
) -> None:
    report = _report(
        make_result(f1=0.71234, energy__joules=12.5), [make_row("1")], tmp_path, "tiltyard task=tatqa_tiny"
    )
    assert report.startswith("# tatqa_tiny/lexical/none/s0\n")
    assert "| 0.667 [0.208, 0.939] " in report
    assert re.search(r"\| accuracy [^\n]+\n\| f1 +\| 0\.712 ", report)
    assert re.search(r"\| fingerprint [^\n]+\n\| energy\.joules +\| 12\.5 ", report)
    assert "```sh\ntiltyard task=tatqa_tiny\n```" in report
    assert "](figures/latency.svg)" in report
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"latency.svg", "latency.png"}


def test_every_phase_has_its_latencies(make_result: MakeResult, make_row: MakeRow, tmp_path: Path) -> None:
    report = _report(make_result(), [make_row("1")], tmp_path)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.split("\n")]
    assert ["compile", "1", "100.0%", "2.81 s", "–", "–", "–"] in cells
    assert ["generate", "3", "66.7%", "9.0 ms", "8.0 ms", "12 ms", "12 ms"] in cells


def test_failures_are_grouped_by_kind_with_what_to_do(
    make_result: MakeResult, make_row: MakeRow, tmp_path: Path
) -> None:
    rows = [make_row(str(n), 0.0, error=f"timeout: after {n} s | x") for n in range(7)]
    rows.append(make_row("p", 0.0, error="parse: no field `answer`"))
    report = _report(make_result(), rows, tmp_path)
    lines = [line for line in report.split("\n") if line.startswith(("| timeout", "| parse"))]
    assert [line.split("|")[1].strip() for line in lines] == ["timeout", "parse"]
    assert "0, 1, 2, 3, 4, …" in lines[0]
    assert "after 0 s \\| x" in lines[0]
    assert "threads" in lines[0]  # the hint
    assert "Wrong answers" not in report


def test_a_few_wrong_and_right_answers_are_shown(
    make_result: MakeResult, make_row: MakeRow, tmp_path: Path
) -> None:
    rows = [
        make_row(f"w{n}", n / 10, question="long " * 100, pred="", finish_reason="length") for n in range(8)
    ]
    rows += [make_row(f"r{n}") for n in range(5)]
    report = _report(make_result(), rows, tmp_path)
    wrong = [line for line in report.split("\n") if line.startswith("| w")]
    assert [line.split("|")[1].strip() for line in wrong[1:]] == ["w0", "w1", "w2", "w3", "w4"]
    assert "…" in wrong[1]
    assert "(empty) (cut off at the token limit)" in wrong[1]
    assert "| \\$5 \\| \\$6 " in report  # the expected answer
    assert sum(line.startswith("| r") for line in report.split("\n")) == 3
    assert "3 of 5; `predictions.csv` has all." in report


def test_a_run_whose_examples_never_ran_still_has_a_report(
    make_result: MakeResult, make_row: MakeRow, tmp_path: Path
) -> None:
    rows = [make_row("1", 0.0, latency_ms=0.0, error="metric: no gold, key sk-abcdefghijklmnop")]
    report = _report(make_result(without=("examples_per_second",)), rows, tmp_path)
    assert "figures" not in report
    assert "key ***" in report or "key \\*\\*\\*" in report
    assert "sk-abc" not in report
