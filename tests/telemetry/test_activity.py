import os
import subprocess
import sys
import time

import psutil
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.telemetry import activity
from tiltyard.telemetry.activity import FILE, Activity, read_activity, recording_activity


def test_a_folder_tells_what_its_job_does(tmp_path):
    with recording_activity(tmp_path / "job"):
        assert read_activity(tmp_path / "job").phase == "start"
        activity.tracked_as("ab12")
        activity.phase("evaluate", total=3)
        activity.advance(1.0, failed=False)
        activity.advance(0.0, failed=True)
        activity.phase("record")
    found = read_activity(tmp_path / "job")
    assert (found.pid, found.run_id, found.phase, found.done) == (os.getpid(), "ab12", "record", 0)


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


def test_a_process_is_alive_until_it_has_ended():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    while_alive = Activity(pid=process.pid, started=time.time() + 1)
    assert while_alive.is_alive()
    assert not Activity(pid=process.pid, started=time.time() - 3600).is_alive()  # that was another process
    assert Activity(pid=process.pid, host="elsewhere").is_alive() is None
    process.communicate(b"\n")
    assert not while_alive.is_alive()


def test_a_process_lives_on_when_the_clock_is_set(monkeypatch):
    before = Activity()
    booted = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: booted + 3600)  # as the system then says
    assert psutil.Process().create_time() > before.started + 1800
    assert before.is_alive()
