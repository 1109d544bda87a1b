import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tiltyard.cli import main
from tiltyard.errors import InputError
from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.reporting.command import report
from tiltyard.tracking.recorder import LocalTracking

MakeRow = Callable[..., Row]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps, a repetition, and a run without rows."""
    folder = tmp_path_factory.mktemp("store")
    tracking = LocalTracking(folder=str(folder / "mlruns"))
    for number, (task, mode, sweep, score) in enumerate(
        [
            ("iot_tiny", "baseline", "first", 0.0),
            ("iot_tiny", "baseline", "second", 0.0),
            ("iot_tiny", "bootstrap", "second", 1.0),
            ("tatqa_tiny", "baseline", "", 1.0),
            ("tatqa_tiny", "bootstrap", "", None),
        ]
    ):
        outputs = folder / "outputs" / str(number)
        outputs.mkdir(parents=True)
        if score is not None:
            write_rows(outputs / "predictions.csv", [_row(task, mode, str(n), score) for n in range(4)])
        (outputs / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
        tags = {
            "tiltyard.task": task,
            "tiltyard.model": "lexical",
            "tiltyard.mode": mode,
            "tiltyard.fingerprint": f"{task}{mode}",
        } | ({"tiltyard.sweep": sweep} if sweep else {})
        with tracking.start(f"{task}/lexical/{mode}", tags=tags, params={"seed": 0}) as run:
            run.log_folder(outputs)
    return folder


def _row(task: str, mode: str, sample: str, score: float) -> Row:
    texts = ("lexical", task, "d", mode, sample, "g", "p")
    return Row(*texts, 12.0, "q", "c", int(score), score, "test", 0, "stop", "", 0.0, 0, 1, 1, 0)


def test_the_report_is_printed_and_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(store)
    report(["--output", str(tmp_path / "report")])
    out = capsys.readouterr().out
    lines = [line.split() for line in out.split("\n")]
    assert [
        "iot_tiny",
        "lexical",
        "baseline",
        "4",
        "0.000",
        "[0.000,",
        "0.490]",
        "12",
        "ms",
        "12",
        "ms",
    ] in lines
    assert [
        "tatqa_tiny",
        "lexical",
        "baseline",
        "4",
        "1.000",
        "[0.510,",
        "1.000]",
        "12",
        "ms",
        "12",
        "ms",
    ] in lines
    assert "1 of 5 runs were repeated later" in out
    assert "left out: run tatqa_tiny/lexical/bootstrap" in out
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert files == [
        "report/figures/scores.png",
        "report/figures/scores.svg",
        "report/report.md",
        "report/summary.csv",
    ]
    summary = pd.read_csv(tmp_path / "report/summary.csv")
    assert summary["score"].tolist() == [0.0, 1.0, 1.0]
    markdown = (tmp_path / "report/report.md").read_text(encoding="utf-8")
    assert "| bootstrap |" in markdown
    assert "(figures/scores.svg)" in markdown


@pytest.mark.parametrize(
    ("options", "modes"),
    [
        (["--sweep", "latest"], ["baseline", "bootstrap"]),
        (["--sweep", "first"], ["baseline"]),
        (["--task", "tatqa_tiny,iot_tiny", "--model", "lexical"], ["baseline", "bootstrap", "baseline"]),
        (["--task", "tatqa_tiny"], ["baseline"]),
    ],
)
def test_runs_are_chosen(store: Path, tmp_path: Path, options: list[str], modes: list[str]) -> None:
    report(["--tracking", str(store / "mlruns"), "--output", str(tmp_path), *options])
    assert pd.read_csv(tmp_path / "summary.csv")["mode"].tolist() == modes
    assert "latest" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sweep", "third"], ["sweep 'third'", "second, first"]),
        (["--task", "gsm8k"], ["task 'gsm8k'", "iot_tiny, tatqa_tiny"]),
        (["--model", "gpt5"], ["model 'gpt5'", "lexical"]),
        (["--experiment", "other"], ["no experiment 'other'", "tiltyard"]),
        (["--tracking", "sqlite:///x.db"], ["sqlite:///x.db"]),
        (["--tracking", "nowhere"], ["nowhere"]),
        (["--colour"], ["unrecognized arguments: --colour", "tiltyard report --help"]),
        (["--sweep"], ["expected one argument"]),
    ],
)
def test_wrong_input_is_told_in_one_line(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: list[str],
) -> None:
    monkeypatch.chdir(store)
    assert main(["report", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert all(part in captured.err for part in told)


def test_runs_without_rows_are_no_report(store: Path, tmp_path: Path) -> None:
    tracking = LocalTracking(folder=str(store / "mlruns"), experiment="empty")
    with pytest.raises(InputError, match="no experiment 'empty'"):
        report(["--tracking", str(store / "mlruns"), "--experiment", "empty"])
    with tracking.start("x", tags={"tiltyard.task": "x"}, params={}):
        pass
    with pytest.raises(InputError, match="none of these runs has examples"):
        report(["--tracking", str(store / "mlruns"), "--experiment", "empty", "--output", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["afile", "afile/report", "locked/report", "blocked"])
def test_an_output_that_cannot_be_written_is_told_in_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    (tmp_path / "afile").touch()
    (tmp_path / "blocked/report.md").mkdir(parents=True)
    (tmp_path / "locked").mkdir(mode=0o500)
    if output.startswith("locked") and os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    assert main(["report", "--tracking", str(store / "mlruns"), "--output", str(tmp_path / output)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: cannot write the report into {tmp_path / output} (")
    assert captured.err.count("\n") == 1
    assert "--output" in captured.err


def test_help_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--help"]) == 0
    out = capsys.readouterr().out
    assert "tiltyard report" in out
    assert "--sweep" in out
