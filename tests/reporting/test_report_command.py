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
    with tracking.start("sweep/second", tags={"tiltyard.kind": "sweep"}, params={}) as parent_run:
        parents = {"second": parent_run.run_id}
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
            "tiltyard.optimizer": "none" if mode == "baseline" else mode,
            "tiltyard.fingerprint": f"{task}{mode}",
        } | ({"tiltyard.sweep": sweep} if sweep else {})
        parent = parents.get(sweep)
        with tracking.start(f"{task}/lexical/{mode}", tags=tags, params={"seed": 0}, parent=parent) as run:
            run.log_folder(outputs)
            run.log_metrics({"score": score or 0.0})
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
    files = {str(path.relative_to(tmp_path / "report")) for path in tmp_path.rglob("*.*")}
    drawn = ("scores", "score_and_latency", "score_and_tokens", "differences", "latencies")
    figures = {f"figures/{name}.{suffix}" for name in drawn for suffix in ("svg", "png")}
    assert files == {"report.html", "report.md", "summary.csv", *figures}
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert f"tiltyard report --output {tmp_path}/report" in page
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
        (["--tag", "tiltyard.task=iot_tiny"], ["baseline", "bootstrap"]),
        (["--tag", "mode=bootstrap", "--tag", "task=iot_tiny"], ["bootstrap"]),
        (["--filter", "tags.`tiltyard.mode` = 'bootstrap'"], ["bootstrap"]),
        (["--filter", "metrics.score > 0.5"], ["bootstrap", "baseline"]),
    ],
)
def test_runs_are_chosen(store: Path, tmp_path: Path, options: list[str], modes: list[str]) -> None:
    report(["--tracking", str(store / "mlruns"), "--no-log", "--output", str(tmp_path), *options])
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
        (["--tag", "mode"], ["--tag mode has no value"]),
        (["--tag", "mode=gepa"], ["no finished run has the tag mode=gepa", "baseline, bootstrap"]),
        (["--filter", "score is high"], ["MLflow does not understand the filter 'score is high'"]),
        (["--filter", "metrics.score > 2"], ["metrics.score > 2", "loosen the filter"]),
        (["--task", "iot_tiny", "--model", "lexical", "--tag", "sweep="], ["no finished run has the tag"]),
        (["--reference", "optimizer=gepa"], ["no run has optimizer=gepa", "bootstrap, none"]),
        (["--by", "optimizer.k"], ["--by optimizer.k: no run has this config key"]),
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


def artifacts(store: Path, run_filter: str) -> dict[str, set[str]]:
    """The artifacts of the runs that a filter finds, by the run's name."""
    connection = LocalTracking(folder=str(store / "mlruns")).connect(create=False)
    client, experiment = connection.client, connection.experiment_id("tiltyard")
    runs = client.search_runs([str(experiment)], run_filter)
    return {
        run.info.run_name: {
            path.path
            for folder in ("", "figures", "report")
            for path in client.list_artifacts(run.info.run_id, folder)
        }
        for run in runs
    }


def test_a_report_of_one_sweep_is_logged_to_the_sweep(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--tracking", str(store / "mlruns"), "--output", str(tmp_path)]
    (tmp_path / "private.txt").write_text("not the report's", encoding="utf-8")
    report([*options, "--sweep", "second", "--no-log"])
    assert artifacts(store, "tags.`tiltyard.kind` = 'sweep'") == {"sweep/second": set()}
    report([*options, "--sweep", "second"])
    assert "logged to MLflow: run sweep/second" in capsys.readouterr().out
    [found] = artifacts(store, "tags.`tiltyard.kind` = 'sweep'").values()
    assert {"report/report.html", "report/report.md", "report/summary.csv", "report/figures"} <= found
    assert "report/private.txt" not in found
    jobs = artifacts(store, "tags.`tiltyard.kind` = 'job'")
    assert not any("report" in of_job for of_job in jobs.values())


def test_a_report_of_several_sweeps_is_logged_on_demand(store: Path, tmp_path: Path) -> None:
    options = ["--tracking", str(store / "mlruns"), "--output", str(tmp_path)]
    report(options)
    assert artifacts(store, "tags.`tiltyard.kind` = 'report'") == {}
    report([*options, "--log"])
    [(name, found)] = artifacts(store, "tags.`tiltyard.kind` = 'report'").items()
    assert name.startswith("report/")
    assert {"report.html", "figures/scores.svg"} <= found
    report([*options, "--no-log", "--task", "iot_tiny"])  # the report's own run is no job
    assert pd.read_csv(tmp_path / "summary.csv")["mode"].tolist() == ["baseline", "bootstrap"]


def test_help_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--help"]) == 0
    out = capsys.readouterr().out
    assert "tiltyard report" in out
    assert "--sweep" in out
