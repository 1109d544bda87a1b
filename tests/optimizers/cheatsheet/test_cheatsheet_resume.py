"""Kills compilations and lets others go on. Run as a program, it dies once for each case."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dspy
import pytest
from scripted_house import House, examples, lm_of, metric, student

from tiltyard.optimizers.cheatsheet.teleprompter import JOURNAL, DynamicCheatsheet

TRAIN = examples("sum", "weight", "date", "sum")
VALIDATION = examples("sum", "date", first=50)
SETTINGS = {
    "cumulative": {"variant": "cumulative", "labels": True, "epochs": 2, "seed": 5},
    "unlabelled": {"variant": "cumulative", "labels": False, "window": 3, "epochs": 2},
    "retrieval": {"variant": "retrieval", "labels": True, "window": 2, "epochs": 2, "retrieved": 2},
}
CALLS = range(1, 18, 3)
"""The calls of a model at which a process is killed."""
CASES = [(name, call) for name in SETTINGS for call in CALLS]


class Mortal(House):
    """Kills its process when it is asked for the last time."""

    def __init__(self, last=None):
        super().__init__()
        self.last = last

    def generate(self, request):
        if len(self.requests) + 1 == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(request)


def run(name, checkpoints=None, last=None):
    """The optimizer, the program and how many calls it took."""
    engine = Mortal(last)
    optimizer = DynamicCheatsheet(metric, checkpoints, **SETTINGS[name])
    with dspy.context(lm=lm_of(engine), num_threads=1):
        program = optimizer.compile(student(), trainset=TRAIN, valset=VALIDATION)
    return optimizer, program, len(engine.requests)


def outcome(optimizer, program):
    """All that a compilation comes to but for time."""
    report = optimizer.report
    timeless = [
        {key: value for key, value in values.items() if "seconds" not in key}
        for values in (report.metrics, *(point.values for point in report.points))
    ]
    attempts = [
        (one.step, one.example.id, dict(one.prediction.items()), one.score, one.reflected)
        for one in report.attempts
    ]
    snapshots = [one.program.dump_state() for one in report.snapshots]
    return [
        program.dump_state(), snapshots, timeless, attempts, report.files, report.candidates, report.notes
    ]  # fmt: skip


def folder_of(parent, name, call):
    return Path(parent) / f"{name}-{call}"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder with what was left by each killed process."""
    parent = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, __file__, str(parent)], check=True, timeout=120)
    return parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes that die are forked")
@pytest.mark.parametrize(("name", "call"), CASES)
def test_a_killed_compilation_goes_on_and_ends_as_if_it_had_not_been(killed, name, call):
    optimizer, program, calls = run(name)
    resumed_optimizer, resumed, further_calls = run(name, folder_of(killed, name, call))
    assert outcome(resumed_optimizer, resumed) == outcome(optimizer, program)
    done_again = (call - 1) + further_calls - calls
    # What is kept together is asked for again together: a window's answers, or those to the validation set.
    assert 0 <= done_again < 2 * len(VALIDATION)
    if call > 6:
        assert further_calls < calls


def test_a_compilation_that_has_ended_asks_nothing_again(tmp_path):
    first = run("cumulative", tmp_path)
    second = run("cumulative", tmp_path)
    assert second[2] == 0
    assert outcome(*second[:2]) == outcome(*first[:2])


@pytest.mark.parametrize("change", [{"seed": 6}, {"max_loss": 0.9}, {"variant": "retrieval"}, {"window": 2}])
def test_checkpoints_of_other_settings_are_not_gone_on_from(tmp_path, monkeypatch, change):
    _, _, calls = run("cumulative", tmp_path)
    monkeypatch.setitem(SETTINGS, "changed", {**SETTINGS["cumulative"], **change})
    assert run("changed", tmp_path)[2] >= calls


def test_without_a_folder_nothing_is_written(in_folder):
    run("cumulative")
    assert not list(in_folder.rglob("*"))


def test_the_checkpoint_is_one_file(tmp_path):
    run("cumulative", tmp_path / "made" / "when needed")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [JOURNAL]


def die_once_for_each_case(parent):
    run("retrieval")  # what is imported late is imported once, and not in each child
    for name, call in CASES:
        child = os.fork()
        if child == 0:
            run(name, folder_of(parent, name, call), last=call)
            os._exit(0)  # it had no such call
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), (name, call)


if __name__ == "__main__":
    die_once_for_each_case(sys.argv[1])
