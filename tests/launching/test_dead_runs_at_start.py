"""Runs that a dead process left RUNNING are ended when a run or a sweep starts, from the command line."""

import shutil
import sys

import pytest

from tiltyard.cli import main
from tiltyard.telemetry.processes import BEGAN, this_process
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking
from tiltyard.tracking.store import open_store

FAST = ("model=lexical", "task=iot_tiny", "limit=2")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    return open_store(tmp_path_factory.mktemp("store") / "mlruns", create=True).folder


@pytest.fixture
def left(in_folder, empty_store, monkeypatch):
    """A run of a process that is gone."""
    monkeypatch.setattr(sys, "argv", ["tiltyard"])
    shutil.copytree(empty_store, in_folder / "mlruns")
    tracking = LocalTracking()
    connection = tracking.connect(create=False)
    tags = this_process().tags() | {BEGAN: "1", "tiltyard.kind": "job"}
    experiment_id = connection.ensure_experiment(tracking.experiment)
    return connection.client.create_run(experiment_id, tags=tags, run_name="left").info.run_id


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_start_ends_what_a_dead_process_left(left, mode, capfd):
    assert main([*mode, *FAST]) == 0
    [found] = runs(LocalTracking(), statuses=("KILLED",))
    assert found.run_id == left
    assert capfd.readouterr().err.count(f"Run {left} (left) ended as KILLED: its process on ") == 1


def test_a_plan_or_a_run_that_is_not_tracked_changes_nothing(left, capfd):
    assert main(["-m", *FAST, "plan=true"]) == 0
    assert main([*FAST, "tracking=off"]) == 0
    [found] = runs(LocalTracking(), statuses=("RUNNING",))
    assert found.run_id == left
