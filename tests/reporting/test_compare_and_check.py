import csv
import shutil
from pathlib import Path

import pytest
import yaml

from tiltyard.cli import main
from tiltyard.config import Labels
from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

SCORES = {"none": "1" * 4 + "0" * 8, "ace": "1" * 12, "worse": "0" * 12, "short": "11"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four runs and one that failed; the folder of each run stands beside it."""
    place = tmp_path_factory.mktemp("store")
    tracking = LocalTracking(folder=str(place / "mlruns"))
    for optimizer, scores in SCORES.items():
        folder = place / "outputs" / optimizer
        folder.mkdir(parents=True)
        write_rows(folder / "predictions.csv", [_row(optimizer, n, int(s)) for n, s in enumerate(scores)])
        config = {"optimizer": {"k": len(scores)}, "seed": 0, "tracking": {"folder": "mlruns"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        (folder / "program").mkdir()
        (folder / "program/metadata.json").write_text('{"versions": {"dspy": "3.4.1"}}', encoding="utf-8")
        share = sum(map(int, scores)) / len(scores)
        metrics = {"score": share, "score.low": share / 2, "score.high": (1 + share) / 2}
        tags = _tags(optimizer) | {"tiltyard.git_commit": f"commit of {optimizer}"}
        with tracking.start(f"iot/lexical/{optimizer}/s0", tags=tags, params=config) as run:
            run.log_metrics(metrics)
            run.log_folder(folder)
        labels = Labels(model="lexical", task="iot", optimizer=optimizer, simulation="none")
        ExperimentResult(
            *(f"iot/lexical/{optimizer}/s0", labels, 0, optimizer, "lexical", folder, run.run_id, metrics)
        ).save()
    (place / "outputs/sweep.json").write_text("{}", encoding="utf-8")
    with (
        pytest.raises(RuntimeError),
        tracking.start("iot/lexical/broken/s0", tags=_tags("broken"), params={}),
    ):
        raise RuntimeError("no weights")
    return place


def _tags(optimizer: str) -> dict[str, str]:
    return {
        "tiltyard.task": "iot",
        "tiltyard.model": "lexical",
        "tiltyard.optimizer": optimizer,
        "tiltyard.mode": optimizer,
        "tiltyard.simulation": "none",
        "tiltyard.fingerprint": optimizer,
    }


def _row(mode: str, number: int, score: int) -> Row:
    texts = ("lexical", "iot", "d", mode, f"q{number}", "g", f"of {mode}")
    return Row(
        *texts, 12.0, f"q{number}?", f"c{number}", score, float(score), "test", 0, "stop", "", 0.0, 0, 1, 1, 0
    )


@pytest.fixture
def here(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of the runs' folders, and the store elsewhere."""
    shutil.copytree(store / "outputs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_id(store: Path, optimizer: str) -> str:
    [found] = [run for run in runs(LocalTracking(folder=str(store / "mlruns"))) if run.optimizer == optimizer]
    return found.run_id


def test_runs_are_compared_by_id_beginning_and_folder(
    store: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none, ace = run_id(store, "none"), run_id(store, "ace")
    every = runs(LocalTracking(folder=str(store / "mlruns")), statuses=("FINISHED", "FAILED"))
    several = [run.run_id for run in every]
    unique = next(none[:n] for n in range(1, 33) if sum(run.startswith(none[:n]) for run in several) == 1)
    printed = []
    for a, b in ((none, ace), (unique.upper(), "runs/ace"), ("runs/none", ace)):
        where = ["--tracking", str(store / "mlruns"), "--output", "out"]
        assert main(["report", "--compare", a, b, *where]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == printed[2]
    assert "B - A    +0.667 [" in printed[0]
    assert "p=0.008 by McNemar's exact test, 12 examples" in printed[0]
    assert "of 12 examples that both evaluated: 8 wrong to right" in printed[0]
    assert "git_commit   commit of none  commit of ace" in printed[0]
    with (here / "out/compare.csv").open(encoding="utf-8", newline="") as file:
        flips = list(csv.DictReader(file))
    assert [flip["sample_id"] for flip in flips] == [f"q{n}" for n in range(4, 12)]
    assert {flip["answer_b"] for flip in flips} == {"of ace"}
    assert (here / "out/compare.md").read_text(encoding="utf-8").startswith("# Two runs side by side\n")


def test_folders_need_no_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--compare", "runs/none", "runs/short"]) == 0
    out = capsys.readouterr().out
    assert "no paired test: " in out
    assert "optimizer.k  12  2" in out
    assert "git_commit" not in out


def test_a_failed_run_can_be_compared(store: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracking = LocalTracking(folder=str(store / "mlruns"))
    [failed] = runs(tracking, statuses=("FAILED",))
    assert main(["report", "--compare", "runs/ace", failed.run_id, "--tracking", str(store / "mlruns")]) == 0
    out = capsys.readouterr().out
    assert "run B ended as FAILED" in out
    assert "no paired test: run B has no rows" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--compare", "zzz", "runs/ace"], ["begins with 'zzz'", "iot/lexical/short/s0"]),
        (["--compare", "", "runs/ace"], ["5 runs have an id that begins with ''", "write more of it"]),
        (["--compare", "runs", "runs/ace"], ["folder of a sweep", "ace, none, short, worse"]),
        (["--compare", "runs/ace/program", "runs/ace"], ["has no result.json"]),
        (["--compare", "runs/gone", "runs/ace"], ["runs/gone is not a run's folder"]),
        (["--compare", "runs/ace/config.yaml", "runs/ace"], ["is not a run's folder"]),
        (["--compare", "runs/ace", "runs/ace"], ["same run"]),
        (["--compare", "runs/ace"], ["expected 2 arguments"]),
        (["--compare", "runs/ace", "runs/none", "--task", "iot"], ["--compare does not go with --task"]),
        (["--compare", "runs/ace", "runs/none", "--check", "t.yaml"], ["not allowed with"]),
        (["--compare", "runs/ace", "runs/none", "--output", "runs/ace/config.yaml"], ["--output"]),
        (["--check", "gone.yaml"], ["cannot read gone.yaml"]),
        (["--check", ""], ["cannot read"]),
        (["--check", "t.yaml", "--reference", "model=lexical"], ["--check does not go with --reference"]),
        (["--check", "wrong.yaml"], ["wrong.yaml:2: bounds[0].where.task"]),
        (["--check", "t.yaml", "--task", "gsm8k"], ["no finished run of task 'gsm8k'"]),
        (["--check", "t.yaml", "--output", "t.yaml"], ["--output"]),
    ],
)
def test_wrong_input_is_one_line(
    store: Path, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: list[str]
) -> None:
    (here / "t.yaml").write_text("bounds:\n  - {where: {optimizer: ace}, at_least: 0.5}\n", encoding="utf-8")
    (here / "wrong.yaml").write_text("bounds:\n  - where: {task: {}}\n    at_least: 0\n", encoding="utf-8")
    assert main(["report", "--tracking", str(store / "mlruns"), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert all(part in captured.err for part in told)


def test_a_damaged_folder_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "runs/ace/result.json").write_text("{}", encoding="utf-8")
    assert main(["report", "--compare", "runs/ace", "runs/none"]) == 2
    assert "result.json is damaged" in capsys.readouterr().err
    (here / "runs/none/config.yaml").unlink()
    assert main(["report", "--compare", "runs/none", "runs/worse"]) == 2
    assert "config.yaml cannot be read" in capsys.readouterr().err
    (here / "runs/worse/predictions.csv").write_text("not,rows\n", encoding="utf-8")
    assert main(["report", "--compare", "runs/worse", "runs/short"]) == 0
    assert "no paired test: run A has no rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("bounds:\n  - {where: {optimizer: ace}, low_at_least: 0.5}\n", 0, "the check passed"),
        ("bounds:\n  - {where: {optimizer: [ace, none]}, low_at_least: 0.5}\n", 1, "1 of 2 checks failed"),
        ("bounds:\n  - {where: {optimizer: broken}, at_least: 0}\n", 1, "the run is FAILED: RuntimeError"),
        ("bounds:\n  - {where: {optimizer: gepa}, at_least: 0}\n", 2, "no run has optimizer=gepa"),
        (
            "regressions:\n  - {where: {optimizer: [ace, worse]}, reference: {optimizer: none}}\n",
            0,
            "no drop with p<0.05  pass",
        ),
        ("regressions:\n  - {where: {optimizer: worse}, reference: {optimizer: ace}}\n", 1, "p<0.001"),
        ("regressions:\n  - {where: {optimizer: worse}, baseline: runs/ace/predictions.csv}\n", 1, "FAIL"),
        (
            "regressions:\n  - {where: {optimizer: short}, baseline: runs/ace/predictions.csv}\n",
            2,
            "10 only in",
        ),
    ],
)
def test_the_exit_code_says_whether_all_checks_hold(
    store: Path, here: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, told: str
) -> None:
    (here / "t.yaml").write_text(text, encoding="utf-8")
    where = ["--tracking", str(store / "mlruns"), "--output", "out"]
    assert main(["report", "--check", "t.yaml", *where]) == code
    captured = capsys.readouterr()
    assert told in captured.out
    assert captured.err.count("\n") == (code != 0)
    assert (here / "out/check.md").is_file()
