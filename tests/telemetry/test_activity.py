import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.telemetry import activity
from tiltyard.telemetry.activity import FILE, Activity, read_activity, recording_activity
from tiltyard.telemetry.processes import this_process


def test_a_folder_tells_what_its_job_does(tmp_path):
    with recording_activity(tmp_path / "job"):
        assert read_activity(tmp_path / "job").phase == "start"
        activity.tracked_as("ab12")
        activity.phase("evaluate", total=3)
        activity.advance(1.0, failed=False)
        activity.advance(0.0, failed=True)
        activity.phase("record")
    found = read_activity(tmp_path / "job")
    assert (found.process.pid, found.run_id, found.phase, found.done) == (os.getpid(), "ab12", "record", 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20))
def test_examples_are_counted_with_their_mean_score(tmp_path_factory, examples):
    folder = tmp_path_factory.mktemp("job")
    every_write = activity.SECONDS_BETWEEN_WRITES
    activity.SECONDS_BETWEEN_WRITES = 0.0
    try:
        with recording_activity(folder):
            activity.phase("evaluate", total=len(examples))
            for score, failed in examples:
                activity.advance(score, failed)
            found = read_activity(folder)
    finally:
        activity.SECONDS_BETWEEN_WRITES = every_write
    assert (found.done, found.total) == (len(examples), len(examples))
    assert found.failed == sum(failed for _, failed in examples)
    assert abs(found.score - sum(score for score, _ in examples) / len(examples)) < 1e-9


def test_outside_of_a_sweep_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    activity.phase("evaluate", total=3)
    activity.advance(1.0, failed=False)
    activity.tracked_as("ab12")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_job_has_no_activity(tmp_path):
    assert read_activity(tmp_path) is None
    (tmp_path / FILE).write_text('{"pid": 1, "half a f')
    assert read_activity(tmp_path) is None


def test_a_process_is_alive_until_it_has_ended(tmp_path):
    work = (
        "import sys; from pathlib import Path; from tiltyard.telemetry.activity import recording_activity\n"
    )
    work += "with recording_activity(Path(sys.argv[1])): print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", work, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline()
    assert read_activity(tmp_path).is_alive()
    process.communicate(b"\n")
    assert read_activity(tmp_path).is_alive() is False


@pytest.mark.parametrize(
    ("changed", "alive"),
    [
        ({}, True),
        ({"began": "1"}, False),  # its number was given to another process
        ({"machine": "an-earlier-start"}, False),
        ({"host": "elsewhere"}, None),
    ],
)
def test_a_process_is_known_by_more_than_its_number(changed, alive):
    assert Activity(process=replace(this_process(), **changed)).is_alive() is alive
