"""Runs that a dead process left RUNNING are ended when the next run or sweep starts, from the command line."""

import sys

import pytest

from tiltyard.cli import main
from tiltyard.tracking.processes import BEGAN, this_process
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking

FAST = ("model=lexical", "task=iot_tiny", "limit=2")


@pytest.fixture
def left(in_folder, monkeypatch):
    """A run of a process that is gone."""
    monkeypatch.setattr(sys, "argv", ["tiltyard"])
    tracking = LocalTracking()
    connection = tracking.connect(create=True)
    tags = this_process().tags() | {BEGAN: "1", "tiltyard.kind": "job"}
    experiment_id = connection.ensure_experiment(tracking.experiment)
    return connection.client.create_run(experiment_id, tags=tags, run_name="left").info.run_id


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_start_ends_what_a_dead_process_left(left, mode, capfd):
    assert main([*mode, *FAST]) == 0
    [found] = runs(LocalTracking(), statuses=("KILLED",))
    assert found.run_id == left
    assert capfd.readouterr().err.count(f"Run {left} (left) ended as KILLED: its process on ") == 1


def test_a_plan_changes_nothing(left, capfd):
    assert main(["-m", *FAST, "plan=true"]) == 0
    [found] = runs(LocalTracking(), statuses=("RUNNING",))
    assert found.run_id == left


def test_without_tracking_nothing_is_looked_for(left, capfd):
    assert main([*FAST, "tracking=off"]) == 0
    [found] = runs(LocalTracking(), statuses=("RUNNING",))
    assert found.run_id == left
