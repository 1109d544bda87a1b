import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tiltyard.evaluation.paired import Difference
from tiltyard.reporting.against_baseline import Against
from tiltyard.reporting.terminal import print_result, print_sweep
from tiltyard.result import ExperimentResult

MakeResult = Callable[..., ExperimentResult]


@pytest.fixture(autouse=True)
def on_the_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell finds the program."""
    program = tmp_path_factory.mktemp("bin") / "tiltyard"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def _result_lines(result: ExperimentResult, capsys: pytest.CaptureFixture[str], **options: str) -> list[str]:
    print_result(result, **options)
    return [line.strip() for line in capsys.readouterr().out.split("\n")]


def test_a_run_is_summed_up(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = make_result()
    monkeypatch.chdir(result.folder.parent)
    lines = _result_lines(result, capsys)
    assert lines[0] == "lexical on tatqa_tiny, baseline, seed 0"
    assert "score     0.667 [0.208, 0.939], 95% interval" in lines
    assert "examples  3" in lines
    assert "latency   p50 12 ms, p95 2.81 s" in lines
    assert "speed     85 examples/s" in lines
    assert "files     tatqa_tiny_lexical_none" in lines
    assert "tracked   MLflow run 5f0c" in lines
    assert not any("trouble" in line or "accuracy" in line for line in lines)


def test_further_metrics_stand_below_the_score(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _result_lines(make_result(value=0.92917, loss=12345.678), capsys)
    at = next(number for number, line in enumerate(lines) if line.startswith("score"))
    assert lines[at + 1 : at + 3] == ["loss      1.235e+04", "value     0.929"]


def test_failures_are_counted_and_pointed_at(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_result(examples__failed=2.0, examples__unparsed=1.0, examples__truncated=2.0)
    [trouble] = [line for line in _result_lines(result, capsys) if line.startswith("trouble")]
    assert trouble == (
        "trouble   2 failed (1 not in the format asked for), 2 cut off at the token limit, "
        f"see {result.folder / 'errors.jsonl'}"
    )


def test_what_was_not_measured_is_not_zero(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_result(
        without=("latency.generate.p50_ms", "examples_per_second", "memory.peak_mb", "score.low")
    )
    lines = _result_lines(result, capsys)
    assert "latency   p50 –, p95 2.81 s" in lines
    assert "speed     –" in lines
    assert "score     0.667" in lines
    assert not any(line.startswith("memory") for line in lines)


@pytest.mark.parametrize(
    ("optimizer", "run_id", "command", "first"),
    [
        (
            "none",
            "5f0c",
            "tiltyard task=iot_tiny optimizer=none",
            "tiltyard task=iot_tiny optimizer=bootstrap ",
        ),
        ("none", "5f0c", "", "… optimizer=bootstrap "),
        ("bootstrap", "5f0c", "tiltyard optimizer=bootstrap", "tiltyard report "),
    ],
)
def test_the_next_step_fits_what_ran(
    make_result: MakeResult,
    capsys: pytest.CaptureFixture[str],
    optimizer: str,
    run_id: str | None,
    command: str,
    first: str,
) -> None:
    lines = _result_lines(make_result(optimizer=optimizer, run_id=run_id), capsys, command=command)
    steps = lines[lines.index("next") + 1 :]
    assert steps[0].startswith(first)
    assert steps[1].startswith("tiltyard ui ")


@pytest.mark.parametrize(("task", "few"), [("iot_tiny", True), ("conventions", False)])
def test_the_next_step_fits_the_window_of_the_embedded_model(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], task: str, few: bool
) -> None:
    command = f"tiltyard task={task}"
    lines = _result_lines(make_result(task, "embedded"), capsys, command=command)
    typed = f"{command} optimizer=bootstrap" + (" optimizer.max_labeled_demos=4" if few else "")
    assert lines[lines.index("next") + 1].split("  ")[0] == typed


def test_an_untracked_run_is_not_sent_to_mlflow(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_result(optimizer="bootstrap", run_id=None)
    lines = _result_lines(result, capsys)
    assert "tracked   no (tracking=off)" in lines
    assert not any(line.startswith("tiltyard") for line in lines)
    assert str(result.folder / "report.md") in lines[lines.index("next") + 1]


def test_a_long_command_has_its_explanation_below(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "tiltyard " + " ".join(f"task.key{number}=value" for number in range(9))
    lines = _result_lines(make_result(), capsys, command=command)
    assert f"{command} optimizer=bootstrap" in lines


def test_a_sweep_is_a_table_in_the_order_of_its_jobs(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results = [
        make_result("iot_tiny", score=0.2),
        make_result("iot_tiny", optimizer="bootstrap", score=0.8),
        make_result("medqa_tiny", error="cannot load [weights]; free key sk-abcdefghijklmnop"),
        make_result("medqa_tiny", optimizer="bootstrap"),
    ]
    print_sweep(results, tmp_path)
    out = capsys.readouterr().out
    lines = [line for line in out.split("\n") if line[:3].strip().isdigit()]
    assert [line.split()[1:4] for line in lines[:4]] == [
        ["iot_tiny", "lexical", "none"],
        ["iot_tiny", "lexical", "bootstrap"],
        ["medqa_tiny", "lexical", "none"],
        ["medqa_tiny", "lexical", "bootstrap"],
    ]
    assert "0.200 [0.208, 0.939] " in lines[0]
    assert "*0.800 [0.208, 0.939] " in lines[1]
    assert lines[2].split()[4:] == ["failed", "–", "–"]
    assert "4 jobs, 1 failed" in out
    assert "2  medqa_tiny/lexical/none/s0  cannot load [weights]; free key ***" in out
    assert "seed" not in out
    assert f"tiltyard report --sweep {tmp_path.name}" in out


def test_failed_examples_stand_beside_the_score(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    print_sweep([make_result(), make_result(examples__failed=2.0)], tmp_path)
    lines = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert ["job", "task", "model", "optimizer", "score", "examples", "failed", "p50"] in lines
    assert [line[-4:-2] for line in lines if line[:1] in (["0"], ["1"])] == [["3", "0"], ["3", "2"]]


COMPARED = {
    1: Against(Difference(0.4124, 0.351, 0.4744, 1e-9, "mcnemar", 240), 2e-9),
    3: Against(Difference(-0.0004, -0.05, 0.0549, 0.62, "sign-flip", 240), 0.62),
}


def test_what_the_optimizer_changed_is_a_column(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results = [
        make_result(model=model, optimizer=optimizer, examples=240.0)
        for model in ("lexical", "embedded")
        for optimizer in ("none", "bootstrap")
    ]
    print_sweep(results, tmp_path, COMPARED)
    out = capsys.readouterr().out
    lines = [line.split() for line in out.split("\n")]
    assert "task tatqa_tiny, 240 examples each" in out
    assert ["job", "model", "optimizer", "score", "vs", "none", "p50"] in lines
    rows = {int(line[0]): line[6:-2] for line in lines if line and line[0] in ("0", "1", "2", "3")}
    assert rows == {
        0: [],
        1: ["+0.412", "[+0.35,", "+0.47]", "p<0.001"],
        2: [],
        3: ["+0.000", "[-0.05,", "+0.05]", "p=0.620"],
    }
    assert "vs none: difference from optimizer=none on the same examples, with its 95% interval" in out
    assert "McNemar's exact test or sign-flip permutation test, adjusted for 2 comparisons (Holm)" in out
    unsure = {3: replace(COMPARED[3], remark="240 examples show a difference of 0.090 or more")}
    print_sweep(results, tmp_path, unsure)
    assert "job 3: 240 examples show a difference of 0.090 or more" in capsys.readouterr().out
    print_sweep(results, tmp_path)
    assert "vs none" not in capsys.readouterr().out


@pytest.mark.parametrize(("width", "latencies"), [(80, False), (100, True)])
def test_a_comparison_stands_in_one_line_per_job(
    make_result: MakeResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
    latencies: bool,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    results = [
        make_result(model=model, optimizer=optimizer)
        for model in ("lexical", "embedded")
        for optimizer in ("none", "bootstrap")
    ]
    print_sweep(results, tmp_path, COMPARED)
    out = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert "  1  lexical   bootstrap  0.667 [0.208, 0.939]  +0.412 [+0.35, +0.47] p<0.001" in out
    assert ("p50" in out) == latencies
    assert all(len(line) <= width for line in out.split("\n") if str(tmp_path) not in line)


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (78, ["vs", "none"]),
        (87, ["vs", "none", "failed"]),
        (96, ["vs", "none", "examples", "failed"]),
        (104, ["vs", "none", "examples", "failed", "cached"]),
        (115, ["vs", "none", "examples", "failed", "cached", "p50"]),
    ],
)
def test_a_narrow_terminal_loses_columns_and_keeps_a_line_per_job(
    make_result: MakeResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
    headings: list[str],
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    results = [
        make_result(
            model=model, optimizer=optimizer, examples=examples, examples__cached=3.0, examples__failed=failed
        )
        for model, examples in (("lexical", 3.0), ("embedded", 5.0))
        for optimizer, failed in (("none", 0.0), ("bootstrap", 2.0))
    ]
    print_sweep(results, tmp_path, COMPARED)
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).split("\n")
    [heading] = [line.split() for line in lines if line.split()[:1] == ["job"]]
    assert heading[heading.index("score") + 1 :] == headings
    [line] = [line for line in lines if line.startswith("  3")]
    assert "embedded" in line
    assert "[-0.05, +0.05] p=0.620" in line
    told = "failed examples, which count 0: 2 of job 1, 2 of job 3"
    assert (told in lines) == ("failed" not in headings)


def test_a_missing_comparison_is_noted(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    print_sweep([make_result(error="no weights"), make_result(optimizer="bootstrap")], tmp_path)
    out = capsys.readouterr().out
    assert "\nno comparison for lexical on tatqa_tiny: job 0 (optimizer=none) failed\n" in out


def test_a_sweep_says_where_its_files_are(
    make_result: MakeResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    print_sweep([make_result(run_id=None)], tmp_path / "outputs" / "sweeps" / "mine")
    out = capsys.readouterr().out
    assert "files in outputs/sweeps/mine\n" in out
    assert "  summary.md        this table\n" in out
    assert "next" not in out


def test_seeds_are_shown_where_they_differ(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    print_sweep([make_result(seed=seed) for seed in (0, 11)], tmp_path)
    assert " 11 " in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_what_was_swept_fits_a_terminal(
    make_result: MakeResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    swept = [(f"optimizer.k={k}", f"model.temperature={t}") for k in (1, 16) for t in (0, 0.7)]
    print_sweep(
        [make_result(optimizer="labeled_few_shot", overrides=overrides) for overrides in swept],
        tmp_path,
    )
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).split("\n")
    assert "task tatqa_tiny, model lexical, optimizer labeled_few_shot, 3 examples each" in lines
    assert any(line.split()[:4] == ["job", "k", "temperature", "score"] for line in lines)
    assert [line.split()[1:3] for line in lines if "[0.208, 0.939]" in line] == [
        ["1", "0"],
        ["1", "0.7"],
        ["16", "0"],
        ["16", "0.7"],
    ]
    assert all(len(line) <= width for line in lines if str(tmp_path) not in line)


def test_what_the_response_cache_answered_shows_no_speed_of_the_model(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    times = ("latency.generate.p50_ms", "latency.generate.p95_ms", "examples_per_second")
    kept = make_result(examples__cached=3.0, without=times)
    lines = _result_lines(kept, capsys)
    assert "latency   p50 –, p95 –" in lines
    assert "cached    3 answered by the response cache" in lines
    print_sweep([make_result(), kept], tmp_path)
    out = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert [line[-2:] for line in out if "[0.208," in line] == [["12", "ms"], ["3", "–"]]
    assert any(line[-2:] == ["cached", "p50"] for line in out)
    print_sweep([make_result(), make_result(examples__cached=0.0)], tmp_path)
    assert "cached" not in capsys.readouterr().out


def test_the_next_steps_point_at_the_store(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = ("--tracking", "my store", "--experiment", "e")
    report = "--tracking 'my store' --experiment e"
    result = make_result(optimizer="bootstrap")
    print_result(result, store=store)
    out = capsys.readouterr().out
    assert f"  tiltyard report {report}" in out
    assert "  tiltyard ui --tracking 'my store'\n" in out
    print_sweep([result], tmp_path / "a sweep", store=store)
    out = capsys.readouterr().out
    assert f"  tiltyard report --sweep 'a sweep' {report}\n" in out
    assert "  tiltyard ui --tracking 'my store'\n" in out
    print_result(result, store=("--experiment", "e"))
    out = capsys.readouterr().out
    assert "  tiltyard report --experiment e " in out
    assert "  tiltyard ui  " in out


def test_a_server_is_opened_in_a_browser(
    make_result: MakeResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = ("--tracking", "http://mlflow.example:5000")
    result = make_result(optimizer="bootstrap")
    print_result(result, store=store)
    print_sweep([result], tmp_path, store=store)
    out = capsys.readouterr().out
    assert "tiltyard ui" not in out
    assert out.count("  http://mlflow.example:5000") == 2
    assert f"tiltyard report --sweep {tmp_path.name} --tracking http://mlflow.example:5000\n" in out


def test_a_result_keeps_its_overrides(make_result: MakeResult) -> None:
    result = make_result(overrides=("optimizer=bootstrap", "optimizer.k=8"))
    result.save()
    assert ExperimentResult.load(result.folder) == result


@pytest.mark.parametrize("width", [80, 120])
def test_a_sweep_fits_a_terminal(
    make_result: MakeResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", str(width))
    models = ("lexical", "qwen2.5-0.5b", "a-very-long-name-of-a-model")
    print_sweep([make_result(model=model, optimizer="bootstrap_random_search") for model in models], tmp_path)
    out = capsys.readouterr().out
    assert all(len(line) <= width for line in out.split("\n") if str(tmp_path) not in line)
    assert out.count("0.667 [0.208, 0.939]") == 3


def test_a_program_off_the_path_is_named_by_its_place(
    make_result: MakeResult,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(tmp_path / ".venv/bin/tiltyard")])
    print_result(make_result(optimizer="bootstrap"), command="tiltyard optimizer=bootstrap")
    assert "  .venv/bin/tiltyard report" in capsys.readouterr().out


def test_a_warning_cannot_be_missed(make_result: MakeResult, capsys: pytest.CaptureFixture[str]) -> None:
    warned = replace(make_result(), warnings=("All 8 reflections failed.",))
    assert "warning: All 8 reflections failed." in _result_lines(warned, capsys)
    print_sweep([make_result(), warned], warned.folder.parent)
    lines = [line.strip() for line in capsys.readouterr().out.split("\n")]
    below = lines[lines.index("warnings") + 1]
    assert below.startswith("1 ")
    assert "All 8 reflections failed." in below
