"""``tiltyard rerun`` as a user meets it: on runs of the lexical reader, which repeats itself."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tiltyard.cli import main
from tiltyard.config import resolve
from tiltyard.experiment import run
from tiltyard.tracking.reader import TrackedRun, runs
from tiltyard.tracking.recorder import LocalTracking

OPTIONS = ("model=lexical", "task=iot_tiny", "optimizer=labeled_few_shot")


@pytest.fixture
def first(in_folder: Path, composed: Callable) -> str:
    """The id of a run with demonstrations, in the store of the working directory."""
    found = run(resolve(composed(*OPTIONS)), in_folder / "first")
    assert found.run_id
    return found.run_id


def last_run() -> TrackedRun:
    return runs(LocalTracking(), statuses=("FINISHED", "FAILED"))[-1]


def test_a_rerun_that_answers_alike_passes_its_check(first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", first[:10], "--check", "hydra.run.dir=again"]) == 0
    out = capsys.readouterr().out
    assert "asked anew (cache.enabled=false), compiled again (resume=false)" in out
    assert "of 5 examples that both evaluated: 5 answered identically\n" in out
    assert "both have the same fingerprint" in out
    again = last_run()
    assert again.tags["tiltyard.rerun_of"] == first
    assert again.tags["tiltyard.command"] == f"tiltyard rerun {first}"
    assert again.params["cache.enabled"] == "False"
    assert Path("again/compare.csv").read_text().count("\n") == 1


def test_what_an_override_changes_is_listed_and_fails_the_check(
    first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rerun", first, "--check", "optimizer.k=1", "hydra.run.dir=again"]) == 1
    captured = capsys.readouterr()
    assert "optimizer.k  16  1" in captured.out
    with Path("again/compare.csv").open(encoding="utf-8", newline="") as file:
        changed = list(csv.DictReader(file))
    assert changed
    assert all(c["answer_a"] != c["answer_b"] for c in changed)
    assert f"error: {len(changed)} example" in captured.err
    assert main(["rerun", first, "optimizer.k=1"]) == 0


def test_a_smaller_limit_does_not_fail_the_check(first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", first, "task.path=pkg://tiltyard.tasks.data/iot_tiny.jsonl", "limit=4"]) == 0
    out = capsys.readouterr().out
    assert "of 4 examples that both evaluated" in out
    assert "; 1 not in the rerun" in out


WRONG_INPUT = [
    ([], "no run is named"),
    (["zzz"], "the last runs there: "),
    (["limit=5"], "'limit=5' is no run"),
    (["RUN", "optimizer=none"], "optimizer=none chooses an option"),
    (["RUN", "task/program=cot"], "task/program=cot chooses an option"),
    (["RUN", "seed=0,1"], "seed=0,1 is a sweep"),
    (["RUN", "optimizer.kk=3"], "did you mean 'k'?"),
    (["RUN", "limit=0"], "limit=0"),
    (["RUN", "a=b=c"], "cannot read 'a=b=c'"),
    (["RUN", "~optimizer.gone"], "'optimizer.gone' does not exist"),
    (["RUN", "plan=true"], "plan=true is for sweeps"),
    (["RUN", "--experiment", "nope"], "no experiment 'nope'"),
    (["RUN", "--tracking", "nowhere"], "no runs are tracked in nowhere"),
    (["RUN", "--nope"], "unrecognized arguments: --nope"),
    (["nowhere/x"], "nowhere/x is not a run's folder"),
]


def test_wrong_input_is_one_line_and_runs_nothing(first: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in WRONG_INPUT:  # one run serves all of them
        assert main(["rerun", *(first if word == "RUN" else word for word in arguments)]) == 2, arguments
        [line] = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")
        assert told in line
    assert not Path("outputs").exists()


def test_a_run_that_kept_no_config_is_refused_with_its_command(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = LocalTracking()
    with (
        pytest.raises(RuntimeError),
        tracking.start("killed", tags={"tiltyard.command": "tiltyard task=qa"}, params={}) as started,
    ):
        raise RuntimeError("gone")
    assert main(["rerun", str(started.run_id)]) == 2
    assert "start it anew: tiltyard task=qa" in capsys.readouterr().err


def test_a_sweep_is_told_from_a_run(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LocalTracking().start("job", tags={"tiltyard.sweep": "s1"}, params={}, parent="f" * 32):
        pass
    assert main(["rerun", "f" * 32]) == 2
    assert "is the sweep s1; name one of its runs: " in capsys.readouterr().err
