"""Sweeps that are started again: what is kept, what runs, and what the plan says, from the command line."""

import csv
import json
import shutil
import sys

import pytest

from tiltyard.cli import main
from tiltyard.tracking.reader import earlier_runs, runs
from tiltyard.tracking.recorder import LocalTracking

FAST = ("-m", "hydra/launcher=basic", "model=lexical", "task=iot_tiny", "limit=2")


@pytest.fixture
def tiltyard(in_folder, monkeypatch, capfd):
    """Runs a command line in a folder of its own; returns its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["tiltyard"])

    def run(*arguments):
        code = main(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return run


def table_of(folder):
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plan_of(folder):
    return json.loads((folder / "plan.json").read_text())["jobs"]


def test_the_same_sweep_again_runs_nothing_and_shows_the_same(tiltyard, in_folder):
    sweep = (*FAST, "optimizer=none,bootstrap")
    assert tiltyard(*sweep, "hydra.sweep.dir=first")[0] == 0
    before = runs(LocalTracking())
    code, out, _ = tiltyard(*sweep, "hydra.sweep.dir=second")
    assert code == 0
    assert [run.run_id for run in runs(LocalTracking())] == [run.run_id for run in before]
    first, second = table_of(in_folder / "first"), table_of(in_folder / "second")
    assert [job["status"] for job in second] == ["kept", "kept"]
    assert [job["kept_from"] for job in second] == [job["run_id"] for job in first]
    own = ("status", "kept_from")
    assert [{k: v for k, v in job.items() if k not in own} for job in second] == [
        {k: v for k, v in job.items() if k not in own} for job in first
    ]
    assert first[1]["p"] != ""  # the comparison needs the rows of both
    assert "2 kept from earlier runs" in out
    assert all(run.run_id in (in_folder / "second/summary.md").read_text() for run in before)
    assert [job["finished"]["run_id"] for job in plan_of(in_folder / "second")] == [
        job["run_id"] for job in first
    ]
    for job in second:
        rows = job["folder"] + "/predictions.csv"
        assert (in_folder / "second" / rows).read_bytes() == (in_folder / "first" / rows).read_bytes()


def test_a_larger_sweep_runs_only_what_is_new_under_its_own_number(tiltyard, in_folder):
    assert tiltyard(*FAST, "seed=1,3")[0] == 0
    code, _, err = tiltyard(*FAST, "seed=0,1,2,3,4", "hydra.sweep.dir=all")
    assert code == 0
    assert "3 of 5 jobs are to run" in err
    table = table_of(in_folder / "all")
    assert [job["status"] for job in table] == ["ok", "kept", "ok", "kept", "ok"]
    assert [(job["seed"], job["folder"][0]) for job in table] == [(str(n), str(n)) for n in range(5)]
    assert len(runs(LocalTracking())) == 5
    assert [job["fate"] for job in plan_of(in_folder / "all")] == ["run", "keep", "run", "keep", "run"]


def test_what_cannot_stand_for_the_job_runs_again(tiltyard, in_folder):
    assert tiltyard(*FAST, "seed=0,1,2,3")[0] == 0
    for other in ("limit=3", "resume=false", "evaluation.disable_caching=true", "optimizer=labeled_few_shot"):
        assert tiltyard(*FAST, "seed=0", other, "hydra.sweep.dir=again")[0] == 0
        assert [job["status"] for job in table_of(in_folder / "again")] == ["ok"], other
    [lost] = [run for run in runs(LocalTracking()) if run.name.endswith("s1")]
    for artifact in (in_folder / "mlruns").rglob(f"{lost.run_id}/artifacts/predictions.csv"):
        artifact.unlink()
    assert tiltyard(*FAST, "seed=1,2", "hydra.sweep.dir=lost")[0] == 0
    assert [job["status"] for job in table_of(in_folder / "lost")] == ["ok", "kept"]
    assert "gone" in plan_of(in_folder / "lost")[0]["reason"]


def test_jobs_with_one_fingerprint_are_kept_from_a_run_each(tiltyard, in_folder):
    sweep = (*FAST, "evaluation.threads=1,2")
    assert tiltyard(*sweep, "hydra.sweep.dir=first")[0] == 0
    assert tiltyard(*sweep, "hydra.sweep.dir=second")[0] == 0
    first, second = table_of(in_folder / "first"), table_of(in_folder / "second")
    assert [job["kept_from"] for job in second] == [job["run_id"] for job in first]
    assert tiltyard(*FAST, "evaluation.threads=1,2,3", "hydra.sweep.dir=third")[0] == 0
    assert [job["status"] for job in table_of(in_folder / "third")] == ["kept", "kept", "ok"]


def test_retry_runs_only_what_failed(tiltyard, in_folder, monkeypatch):
    assert tiltyard(*FAST, "seed=0")[0] == 0
    with monkeypatch.context() as broken:
        broken.setattr(
            "tiltyard.experiment.evaluate", lambda *_, **__: (_ for _ in ()).throw(OSError("no space"))
        )
        assert tiltyard(*FAST, "seed=0,1")[0] == 1
    code, out, _ = tiltyard(*FAST, "seed=0,1,2", "retry=failed", "hydra.sweep.dir=retried")
    assert code == 0
    assert [job["status"] for job in table_of(in_folder / "retried")] == ["kept", "ok", "not run"]
    assert "1 not run" in out
    statuses = [run.status for run in earlier_runs(LocalTracking())]
    assert sorted(statuses) == ["FAILED", "FINISHED", "FINISHED"]


def test_without_tracking_everything_runs(tiltyard, in_folder):
    for folder in ("first", "second"):
        assert tiltyard(*FAST, "tracking=off", "seed=0,1", f"hydra.sweep.dir={folder}")[0] == 0
        assert [job["status"] for job in table_of(in_folder / folder)] == ["ok", "ok"]
        assert [job["fate"] for job in plan_of(in_folder / folder)] == ["run", "run"]


def test_a_single_run_always_runs(tiltyard, in_folder):
    single = ("model=lexical", "task=iot_tiny", "limit=2")
    assert tiltyard(*single)[0] == 0
    assert tiltyard(*single)[0] == 0
    first, second = runs(LocalTracking())
    assert first.fingerprint == second.fingerprint
    for given in ("plan=true", "retry=failed"):
        code, _, err = tiltyard(*single, given)
        assert code == 2
        assert f"{given} is for sweeps" in err


def test_the_plan_starts_nothing_and_leaves_nothing(tiltyard, in_folder):
    code, out, _ = tiltyard(*FAST, "seed=0,1", "plan=true")
    assert code == 0
    assert "plan: 2 jobs, 2 to run" in out
    assert list(in_folder.iterdir()) == []

    assert tiltyard(*FAST, "seed=1")[0] == 0
    shutil.rmtree(in_folder / "outputs")
    code, out, _ = tiltyard(*FAST, "seed=0,1", "plan=true")
    assert code == 0
    assert "plan: 2 jobs, 1 finished before, 1 to run, about " in out
    [run] = earlier_runs(LocalTracking())
    lines = [line.split() for line in out.splitlines() if "seed=" in line]
    assert [line[0] for line in lines] == ["0", "1"]
    assert run.run_id in lines[1]
    assert not (in_folder / "outputs").exists()


@pytest.mark.parametrize(
    "key", ["plan=true,false", "resume=true,false", "retry=failed,null", "hardware.workers=1,2"]
)
def test_what_decides_about_a_sweep_cannot_be_swept_over(tiltyard, in_folder, key):
    code, _, err = tiltyard(*FAST, key)
    assert code == 2
    assert "cannot be swept over" in err
    assert list(in_folder.iterdir()) == []


FETCHED = """
from pathlib import Path
from typing import Annotated

from tiltyard.models.lexical import lexical
from tiltyard.signatures import Content


def commit(source: str) -> str:
    return Path(source).read_text() if Path(source).exists() else "unresolved"


def model(*, source: Annotated[str, Content(commit)]):
    Path(source).write_text("5f0c")
    return lexical()
"""


def test_a_model_that_is_fetched_when_it_is_loaded_counts_by_what_was_fetched(
    tiltyard, in_folder, monkeypatch
):
    monkeypatch.syspath_prepend(str(in_folder))
    (in_folder / "fetched_on_loading.py").write_text(FETCHED)
    (in_folder / "mine/model").mkdir(parents=True)
    (in_folder / "mine/model/house.yaml").write_text("_target_: fetched_on_loading.model\nsource: cached\n")
    sweep = ("--config-dir", "mine", "-m", "hydra/launcher=basic", "model=house", "task=iot_tiny", "limit=1")
    for folder, status in (("first", "ok"), ("second", "kept")):
        assert tiltyard(*sweep, f"hydra.sweep.dir={folder}")[0] == 0
        assert [job["status"] for job in table_of(in_folder / folder)] == [status]
    first, second = (table_of(in_folder / folder)[0]["fingerprint"] for folder in ("first", "second"))
    [run] = earlier_runs(LocalTracking())
    assert first == second == run.fingerprint
    assert plan_of(in_folder / "first")[0]["fingerprint"] != first
