"""Searches from the command line, with a workforce that works out a score instead of asking a model."""

import csv
import json
import math
import os
import pickle
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import yaml
from filelock import FileLock

from tiltyard.cli import main
from tiltyard.config import resolve
from tiltyard.launching.assignment import INTERRUPTED
from tiltyard.result import ExperimentResult
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

WORKERS = "tiltyard.launching.workers.Workers"
SEARCH = ("-m", "hydra/sweeper=optuna", "model=lexical", "task=iot_tiny", "tracking=off")
TRUST = "model.trust=interval(0.1, 2)"
STUDY = "hydra.sweeper.study_name=mine"
FOLDER = Path("outputs/searches/mine")


def parabola(cfg):
    """A score with its best at trust=0.7, and a latency that grows with it."""
    trust = cfg.model["trust"]
    return {"score": 1 - (trust - 0.7) ** 2, "latency.generate.p50_ms": 10 * trust + cfg.model["neighbours"]}


class Working:
    """A workforce that leaves results as jobs do; ``before`` may end a job otherwise, or raise."""

    def __init__(self, metrics=parabola, before=lambda number, cfg: ""):
        self.metrics = metrics
        self.before = before
        self.batches = []

    def work(self, assignments, ended):
        self.batches.append([assignment.number for assignment in assignments])
        waiting = list(assignments)
        while waiting:
            assignment = waiting.pop(0)
            composed = pickle.loads(assignment.config)
            experiment = resolve(composed)
            reason = self.before(assignment.number, experiment)
            if not reason:
                assignment.folder.mkdir(parents=True, exist_ok=True)
                result = ExperimentResult.failed(experiment, assignment.folder, "")
                overrides = tuple(composed.hydra.overrides.task)
                replace(result, metrics=self.metrics(experiment), overrides=overrides).save()
            waiting += self.further(ended(assignment.number, reason))

    def further(self, jobs):
        return jobs or ()


class InBatches(Working):
    """A workforce that leaves jobs alone that come up while it works."""

    def further(self, jobs):
        return ()


@pytest.fixture
def search(in_folder, monkeypatch, capfd):
    """Runs a search's command line with a workforce; returns its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["tiltyard"])

    def run(*arguments, workforce=None):
        monkeypatch.setattr(WORKERS, lambda count: workforce or Working())
        code = main([*SEARCH, *arguments])
        return code, *capfd.readouterr()

    return run


def trials(folder=FOLDER):
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows(folder):
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def drawn(folder=FOLDER):
    return [trial["model.trust"] for trial in trials(folder)]


def test_a_search_ends_with_its_best_trial_and_the_command_that_runs_it_again(search):
    code, out, _ = search(TRUST, STUDY, "hydra.sweeper.n_trials=5")
    assert code == 0
    found = trials()
    assert [trial["trial"] for trial in found] == [str(number) for number in range(5)]
    [best] = [trial for trial in found if trial["best"]]
    assert float(best["score"]) == max(float(trial["score"]) for trial in found)
    assert (FOLDER / best["folder"] / "result.json").exists()
    results = yaml.safe_load((FOLDER / "optimization_results.yaml").read_text())
    assert results["name"] == "optuna"
    assert results["best_params"] == {"model.trust": float(best["model.trust"])}
    assert results["best_value"] == float(best["score"])
    assert f"model.trust={best['model.trust']}" in results["command"]
    assert results["command"] in out.replace("python -m tiltyard", "tiltyard")
    assert "the best of 5 scores on the same examples is higher" in out
    assert (FOLDER / "figures/search.svg").exists()


def test_a_search_on_validation_ends_with_the_command_that_scores_its_best_on_test(
    in_folder, monkeypatch, capfd
):
    monkeypatch.setattr(sys, "argv", ["tiltyard"])
    given = [word for word in SEARCH if word != "tracking=off"]
    given += ["hydra/launcher=basic", "split=validation", "optimizer=labeled_few_shot"]
    assert main([*given, "optimizer.k=1,16", "hydra/sweeper/sampler=grid", STUDY]) == 0
    out = capfd.readouterr().out.replace("python -m tiltyard", "tiltyard")
    command = yaml.safe_load((FOLDER / "optimization_results.yaml").read_text())["command"]
    assert command in out
    assert "split=validation" not in command
    assert "on test, which the search has not seen" in out
    assert {row["split"] for t in trials() for row in rows(FOLDER / t["folder"])} == {"validation"}

    assert main([*shlex.split(command)[1:], "hydra.run.dir=final"]) == 0
    searched, final = rows(FOLDER / trials()[0]["folder"]), rows(Path("final"))
    assert {row["split"] for row in final} == {"test"}
    assert not {row["sample_id"] for row in searched} & {row["sample_id"] for row in final}
    capfd.readouterr()
    assert main(["report"]) == 0
    told = capfd.readouterr().out
    assert "2 of 3 runs evaluated validation" in told
    with Path("outputs/report/summary.csv").open(encoding="utf-8", newline="") as file:
        assert [line["split"] for line in csv.DictReader(file)] == ["test", "validation"]


def test_the_same_command_searches_the_same_and_finds_its_study_by_itself(search):
    assert search(TRUST, "hydra.sweeper.n_trials=3")[0] == 0
    [folder] = Path("outputs/searches").iterdir()
    before = trials(folder)
    assert folder.name.startswith("iot_tiny-")
    workforce = Working()
    assert search(TRUST, "hydra.sweeper.n_trials=3", workforce=workforce)[0] == 0
    assert workforce.batches == []
    assert trials(folder) == before
    assert search(TRUST, "hydra.sweeper.n_trials=5")[0] == 0
    assert trials(folder)[:3] == before
    assert len(trials(folder)) == 5


def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(search):
    options = ("hydra.sweeper.sampler.n_startup_trials=2", "hydra.sweeper.n_trials=5", TRUST)
    assert search(*options, "hydra.sweeper.study_name=whole")[0] == 0

    def interrupt(number, cfg):
        if number == 3:
            raise KeyboardInterrupt
        return ""

    code, out, _ = search(*options, STUDY, workforce=Working(before=interrupt))
    assert code == 130
    assert "4 of 5 trials, 1 unfinished" in out
    assert search(*options, STUDY)[0] == 0
    assert drawn() == drawn(Path("outputs/searches/whole"))
    assert [trial["state"] for trial in trials()] == ["ok"] * 5


def test_another_seed_draws_other_values(search):
    for seed in (0, 1):
        given = (f"seed={seed}", f"hydra.sweeper.study_name=s{seed}", "hydra.sweeper.n_trials=2")
        assert search(TRUST, *given)[0] == 0
    assert not set(drawn(Path("outputs/searches/s0"))) & set(drawn(Path("outputs/searches/s1")))


def test_a_search_that_was_killed_goes_on_with_the_trial_that_was_running(search, in_folder):
    options = (*SEARCH, TRUST, STUDY, "hydra.sweeper.n_trials=3")
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_search import Working, main
from tiltyard.launching import workers
def die(number, cfg):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ""
workers.Workers = lambda count: Working(before=die)
sys.argv = ["tiltyard"]
sys.exit(main({list(options)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    workforce = Working()
    assert search(*options[len(SEARCH) :], workforce=workforce)[0] == 0
    assert workforce.batches == [[1]]  # trial 2 came up when it had ended
    assert [trial["state"] for trial in trials()] == ["ok"] * 3


@pytest.mark.parametrize("kind", [Working, InBatches])
def test_as_many_trials_as_asked_for_run_at_the_same_time(search, kind):
    workforce = kind()
    code, _, _ = search(
        TRUST, STUDY, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2", workforce=workforce
    )
    assert code == 0
    assert workforce.batches[0] == [0, 1]
    assert sorted(trial["trial"] for trial in trials()) == [str(number) for number in range(5)]
    if kind is InBatches:
        assert all(len(batch) <= 2 for batch in workforce.batches)


def test_several_objectives_end_with_their_pareto_front(search):
    objectives = "hydra.sweeper.objectives={score: maximize, latency.generate.p50_ms: minimize}"
    code, out, err = search(TRUST, STUDY, objectives, "hydra.sweeper.n_trials=5")
    assert code == 0
    points = [(-float(trial["score"]), float(trial["latency.generate.p50_ms"])) for trial in trials()]
    front = [
        not any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)
        for point in points
    ]
    assert [bool(trial["best"]) for trial in trials()] == front
    solutions = yaml.safe_load((FOLDER / "optimization_results.yaml").read_text())["solutions"]
    assert len(solutions) == sum(front)
    assert "Pareto front" in out
    assert "evaluation.disable_caching=true" in err


def test_a_direction_may_be_down(search):
    assert search(TRUST, STUDY, "hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=2")[0] == 0
    [best] = [trial for trial in trials() if trial["best"]]
    assert float(best["score"]) == min(float(trial["score"]) for trial in trials())


def test_a_grid_has_each_combination_once(search):
    space = ("model.neighbours=range(1, 3)", "model.trust=0.5,1.0")
    assert search(*space, STUDY, "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=50")[0] == 0
    combinations = [(trial["model.neighbours"], trial["model.trust"]) for trial in trials()]
    assert sorted(combinations) == [(k, trust) for k in "12" for trust in ("0.5", "1.0")]


def test_a_failed_trial_does_not_end_the_search_and_too_many_do(search):
    def fail(numbers):
        return Working(before=lambda number, cfg: "it died" if number in numbers else "")

    options = (TRUST, "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failure_rate=0.3")
    code, out, _ = search(*options, STUDY, workforce=fail({1}))
    assert code == 0
    assert [trial["state"] for trial in trials()] == ["ok", "failed", "ok", "ok"]
    assert trials()[1]["error"] == "it died"
    assert "4 of 4 trials, 1 failed" in out

    code, _, err = search(*options, "hydra.sweeper.study_name=bad", workforce=fail({0, 1}))
    assert code == 1
    assert "2 trials failed, and max_failure_rate lets 1 of 4 fail" in err
    assert len(trials(Path("outputs/searches/bad"))) == 2
    assert search(*options, "hydra.sweeper.study_name=bad")[0] == 0  # the same command goes on
    assert len(trials(Path("outputs/searches/bad"))) == 4


def test_a_job_that_somebody_else_stops_counts_as_failed(search):
    workforce = Working(before=lambda number, cfg: INTERRUPTED if number == 1 else "")
    options = ("hydra.sweeper.n_trials=3", "hydra.sweeper.max_failure_rate=0.5")
    assert search(TRUST, STUDY, *options, workforce=workforce)[0] == 0
    assert [trial["state"] for trial in trials()] == ["ok", "failed", "ok"]


def test_a_metric_that_no_run_has_ends_the_search_at_once(search):
    code, _, err = search(TRUST, STUDY, "hydra.sweeper.objectives={scor: maximize}")
    assert code == 2
    assert "no metric 'scor'; did you mean score?" in err
    assert len(trials()) == 1


def test_a_metric_that_is_not_a_number_fails_its_trial_alone(search):
    workforce = Working(lambda cfg: {"score": math.nan if cfg.model["trust"] > 1.5 else 0.5})
    rate = "hydra.sweeper.max_failure_rate=1"
    assert (
        search("model.trust=1.0,2.0", STUDY, "hydra/sweeper/sampler=grid", rate, workforce=workforce)[0] == 0
    )
    assert {(trial["model.trust"], trial["state"]) for trial in trials()} == {
        ("1.0", "ok"),
        ("2.0", "failed"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.trust=1"], "nothing to search over"),
        (["model.trust=interval(0, 2)"], "model.trust=0.0: should be greater than 0"),
        (["model.neighbours=interval(1, 9)"], "model.neighbours=1.0: should be a valid integer"),
        (["model.trus=interval(1, 9)"], "did you mean 'trust'?"),
        (["model.trust=interval(2, 1)"], "give a range from low to high"),
        (["optimizer=none,nine"], "no option 'nine' in group 'optimizer'"),
        (["tracking.folder=a,b"], "'tracking.folder' cannot be searched over"),
        (["split=test,validation"], "'split' cannot be searched over"),
        (["hydra.sweeper.n_trials=1,2"], "hydra.sweeper.n_trials"),
        (
            [TRUST, "hydra.sweeper.n_trials=0"],
            "hydra.sweeper.n_trials=0: should be greater than or equal to 1",
        ),
        ([TRUST, "hydra.sweeper.direction=up"], "hydra.sweeper.direction"),
        ([TRUST, "hydra.sweeper.study_name=a/b"], "hydra.sweeper.study_name"),
        ([TRUST, "+hydra.sweeper.sampler.nope=1"], "unknown key 'hydra.sweeper.sampler.nope'"),
        ([TRUST, "hydra.sweeper.storage=nodb://x"], "cannot be opened in nodb://x"),
        ([TRUST, "hydra/sweeper/sampler=grid"], "cannot search this space"),
        ([TRUST, "retry=failed"], "retry=failed is for sweeps"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_runs(search, arguments, message):
    workforce = Working()
    code, _, err = search(*arguments, workforce=workforce)
    assert code == 2
    assert message in err.splitlines()[-1]
    assert workforce.batches == []


def test_a_study_takes_up_no_other_search(search):
    assert search(TRUST, STUDY, "hydra.sweeper.n_trials=1")[0] == 0
    for arguments, what in (
        (["model.trust=interval(0.1, 3)"], "another space"),
        ([TRUST, "limit=1"], "other overrides"),
        ([TRUST, "hydra.sweeper.objectives={accuracy: maximize}"], "other objectives"),
        ([TRUST, "resume=false"], "has begun"),
    ):
        code, _, err = search(*arguments, STUDY)
        assert code == 2
        assert what in err
    assert search(TRUST, STUDY, "hydra.sweeper.n_trials=2", "timeout=60")[0] == 0  # how it runs may change


def test_two_processes_do_not_work_on_one_study(search):
    FOLDER.mkdir(parents=True)
    with FileLock(FOLDER / "study.lock"):
        code, _, err = search(TRUST, STUDY)
    assert code == 2
    assert "another process works on study 'mine'" in err


def test_the_plan_starts_nothing_and_leaves_nothing(search, in_folder):
    code, out, _ = search(TRUST, "model.neighbours=range(1, 9)", STUDY, "plan=true")
    assert code == 0
    assert "search mine, 20 trials" in out
    assert "0.1 to 2.0" in out
    assert "integers 1 to 8" in out
    assert list(in_folder.iterdir()) == []


def test_a_yaml_experiment_may_hold_the_whole_search(search, in_folder):
    (in_folder / "mine/experiment").mkdir(parents=True)
    (in_folder / "mine/experiment/tuned.yaml").write_text(
        """# @package _global_
defaults:
  - override /hydra/sweeper: optuna
hydra:
  mode: MULTIRUN
  sweeper:
    study_name: mine
    n_trials: 2
    params:
      model.trust: tag(log, interval(0.1, 2))
      model.neighbours: 3
"""
    )
    assert search("--config-dir", "mine", "experiment=tuned", "model.neighbours=5")[0] == 0
    assert len(trials()) == 2
    overrides = json.loads((FOLDER / "plan.json").read_text())["jobs"][0]["overrides"]
    assert "model.neighbours=5" in overrides
    assert not any(word == "model.neighbours=3" for word in overrides)


def test_trials_are_runs_of_one_sweep_and_finished_combinations_are_kept(in_folder, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["tiltyard"])
    real = ("-m", "hydra/sweeper=optuna", "hydra/launcher=basic", "model=lexical", "task=iot_tiny", "limit=2")
    assert main([*real, "model.neighbours=1,2", "hydra/sweeper/sampler=grid", STUDY]) == 0
    first = runs(LocalTracking())
    assert sorted(run.tags["tiltyard.trial.model.neighbours"] for run in first) == ["1", "2"]
    assert {run.tags["tiltyard.trial"] for run in first} == {"0", "1"}
    assert {run.sweep for run in first} == {"mine"}
    assert len({run.parent for run in first}) == 1

    other = "hydra.sweeper.study_name=other"
    assert main([*real, "model.neighbours=1,2,3", "hydra/sweeper/sampler=grid", other]) == 0
    found = trials(Path("outputs/searches/other"))
    assert {trial["model.neighbours"]: bool(trial["kept_from"]) for trial in found} == {
        "1": True,
        "2": True,
        "3": False,
    }
    assert len(runs(LocalTracking())) == 3
    assert main(["report", "--sweep", "mine"]) == 0
    assert "mine" in capfd.readouterr().out


def test_a_search_that_goes_on_keeps_its_own_run(in_folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tiltyard"])
    monkeypatch.setattr(WORKERS, lambda count: Working())
    tracked = [word for word in SEARCH if word != "tracking=off"]
    for number in (1, 2):
        assert main([*tracked, TRUST, STUDY, f"hydra.sweeper.n_trials={number}"]) == 0
    client = LocalTracking().connect(create=False).client
    own = client.search_runs(["1"], "tags.`tiltyard.kind` = 'sweep'")
    assert [(run.info.run_name, run.info.status) for run in own] == [("search/mine", "FINISHED")]
    assert own[0].data.metrics["jobs"] == 2


def test_the_study_is_one_that_optuna_reads(search):
    assert search(TRUST, STUDY, "hydra.sweeper.n_trials=1")[0] == 0
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{FOLDER}/study.db")
    assert [str(trial.params["model.trust"]) for trial in study.trials] == drawn()
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
