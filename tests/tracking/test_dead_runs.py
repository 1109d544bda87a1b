import logging
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from tiltyard.errors import JobError
from tiltyard.telemetry.processes import BEGAN, HOST, MACHINE, PID, _start_of, this_process
from tiltyard.tracking.dead_runs import WITHOUT_SIGN_S, end_dead_runs, end_run
from tiltyard.tracking.heartbeat import SILENT_AFTER_S
from tiltyard.tracking.reader import runs
from tiltyard.tracking.recorder import LocalTracking, NoTracking
from tiltyard.tracking.tags import DESCRIPTION, ERROR, HEARTBEAT, KIND, PARENT

ANY_STATUS = ("RUNNING", "FINISHED", "FAILED", "KILLED")
NOW = 1_800_000_000.0
GONE = this_process().tags() | {BEGAN: "1"}
ELSEWHERE = this_process().tags() | {HOST: "node7", MACHINE: "another"}


@pytest.fixture
def left(tracking):
    """Records a run that is RUNNING, with the tags of some process; returns its id."""
    connection = tracking.connect(create=True)
    experiment_id = connection.ensure_experiment(tracking.experiment)

    def record(tags, *, kind="job", started=NOW - 3600, heartbeat=None, experiment=experiment_id):
        own = ({KIND: kind} if kind else {}) | ({HEARTBEAT: str(int(heartbeat))} if heartbeat else {})
        created = connection.client.create_run(
            experiment, start_time=int(started * 1000), tags=tags | own, run_name="left"
        )
        return created.info.run_id

    return record


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def at_now():
    return NOW


def status_of(tracking, run_id):
    return tracking.connect(create=False).client.get_run(run_id).info.status


def test_a_run_whose_process_is_gone_ended_with_its_last_heartbeat(tracking, left, caplog):
    caplog.set_level(logging.INFO)
    heartbeat = NOW - 1800
    run_id = left(GONE, heartbeat=heartbeat)
    [ended] = end_dead_runs(tracking, clock=at_now)
    reason = f"its process on {GONE[HOST]} is gone"
    assert (ended.run_id, ended.name, ended.reason) == (run_id, "left", reason)
    [found] = runs(tracking, statuses=("KILLED",))
    assert found.tags[ERROR] == reason
    assert found.ended == datetime.fromtimestamp(heartbeat, UTC)
    assert f"Run {run_id} (left) ended as KILLED: {reason}" in caplog.text
    assert end_dead_runs(tracking, clock=at_now) == []


@pytest.mark.parametrize(("silent", "status"), [(-60, "RUNNING"), (-1, "RUNNING"), (1, "KILLED")])
def test_a_run_of_another_machine_is_missed_after_ten_minutes(tracking, left, silent, status):
    assert SILENT_AFTER_S == 600
    heartbeat = NOW - SILENT_AFTER_S - silent
    run_id = left(ELSEWHERE, heartbeat=heartbeat)
    end_dead_runs(tracking, clock=at_now)
    assert status_of(tracking, run_id) == status
    [found] = runs(tracking, statuses=ANY_STATUS)
    when = datetime.fromtimestamp(heartbeat, UTC)
    missed = f"no sign of life from node7 since {when:%Y-%m-%d %H:%M:%S} UTC"
    assert found.tags.get(ERROR) == (missed if status == "KILLED" else None)
    assert found.ended == (when if status == "KILLED" else None)


@pytest.mark.parametrize(("older", "status"), [(-1, "RUNNING"), (1, "KILLED")])
def test_a_run_without_heartbeats_is_missed_after_a_week(tracking, left, older, status):
    run_id = left({}, started=NOW - WITHOUT_SIGN_S - older)
    end_dead_runs(tracking, clock=at_now)
    assert status_of(tracking, run_id) == status


def test_runs_of_other_programs_and_experiments_are_left_alone(tracking, left):
    other = tracking.connect(create=False).ensure_experiment("other")
    foreign = [left(GONE, kind=""), left(GONE, experiment=other)]
    assert end_dead_runs(tracking, clock=at_now) == []
    assert [status_of(tracking, run_id) for run_id in foreign] == ["RUNNING", "RUNNING"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    started=st.floats(0, 2 * NOW),
    heartbeat=st.one_of(st.none(), st.floats(1, 2 * NOW)),
    now=st.floats(0, 4 * NOW),
    kind=st.sampled_from(["job", "sweep"]),
)
def test_a_run_of_a_living_process_is_never_ended(tracking, left, started, heartbeat, now, kind):
    run_id = left(this_process().tags(), kind=kind, started=started, heartbeat=heartbeat)
    assert end_dead_runs(tracking, clock=lambda: now) == []
    assert status_of(tracking, run_id) == "RUNNING"


def test_a_run_that_ends_well_while_it_is_judged_stays_as_it_ended(tracking, left):
    run_id = left(GONE)
    client = tracking.connect(create=False).client

    def end_meanwhile():
        client.set_terminated(run_id, "FINISHED")
        return NOW

    assert end_dead_runs(tracking, clock=end_meanwhile) == []
    assert status_of(tracking, run_id) == "FINISHED"


def test_several_may_look_at_once(tracking, left):
    dead = {left(GONE) for _ in range(6)}
    living = left(this_process().tags())
    found, threads = [], []
    for _ in range(4):
        own = LocalTracking(folder=str(tracking.folder))
        threads.append(threading.Thread(target=lambda own=own: found.extend(end_dead_runs(own))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.run_id for run in found} == dead
    assert {run.run_id for run in runs(tracking, statuses=("KILLED",))} == dead
    assert status_of(tracking, living) == "RUNNING"


def test_a_run_that_cannot_be_ended_does_not_keep_the_others(tracking, left, monkeypatch, caplog):
    run_ids = [left(GONE), left(GONE)]
    connection = tracking.connect(create=False)
    genuine = connection.client.set_terminated

    def sometimes(run_id, *args, **kwargs):
        if run_id == run_ids[0]:
            raise MlflowException("not yours")
        genuine(run_id, *args, **kwargs)

    monkeypatch.setattr(connection.client, "set_terminated", sometimes)
    monkeypatch.setattr(tracking, "connect", lambda create: connection)
    assert [run.run_id for run in end_dead_runs(tracking)] == run_ids[1:]
    assert f"Run {run_ids[0]} (left) stays RUNNING: " in caplog.text
    assert "not yours" in caplog.text


def test_nothing_is_made_where_nothing_is_recorded(tmp_path, tracking):
    assert end_dead_runs(LocalTracking(folder=str(tmp_path / "new"))) == []
    assert not (tmp_path / "new").exists()
    assert end_dead_runs(NoTracking()) == []
    assert end_dead_runs(LocalTracking(folder=str(tracking.folder), experiment="new")) == []


def test_all_pages_are_read(tracking, left, monkeypatch):
    monkeypatch.setattr("tiltyard.tracking.dead_runs.PAGE", 2)
    dead = {left(GONE) for _ in range(5)}
    assert {run.run_id for run in end_dead_runs(tracking)} == dead


def orphan_of(sleeper, left):
    own = this_process().tags() | {PID: str(sleeper.pid), BEGAN: _start_of(sleeper.pid)}
    sweep = left(GONE, kind="sweep")
    return sweep, left(own | {PARENT: sweep})


def test_a_job_that_outlives_its_sweep_gets_time_to_end(tracking, left, sleeper):
    sweep, job = orphan_of(sleeper, left)
    threading.Timer(0.3, sleeper.kill).start()
    assert {run.run_id for run in end_dead_runs(tracking)} == {sweep, job}


def test_a_job_that_goes_on_without_its_sweep_is_not_ended(tracking, left, sleeper, caplog):
    sweep, job = orphan_of(sleeper, left)
    assert [run.run_id for run in end_dead_runs(tracking, wait=0.2)] == [sweep]
    assert status_of(tracking, job) == "RUNNING"
    assert f"Run {job} (left) goes on without its sweep's process" in caplog.text


def test_nobody_waits_for_jobs_of_a_sweep_that_lives(tracking, left, sleeper):
    own = this_process().tags()
    sweep = left(own, kind="sweep")
    left(own | {PARENT: sweep, PID: str(sleeper.pid), BEGAN: _start_of(sleeper.pid)})
    start = time.monotonic()
    assert end_dead_runs(tracking) == []
    assert time.monotonic() - start < 5


def test_a_controller_ends_the_run_of_a_worker_that_it_saw_die(tracking, left):
    run_id = left(GONE)
    before = datetime.now(UTC).replace(microsecond=0)
    assert end_run(tracking, run_id, "KILLED", "its process was killed by SIGKILL") == "KILLED"
    [found] = runs(tracking, statuses=("KILLED",))
    assert found.tags[ERROR] == "its process was killed by SIGKILL"
    assert found.ended >= before


def test_a_run_that_was_told_to_end_learns_why(tracking):
    tags = {DESCRIPTION: "Run it again"}
    with pytest.raises(KeyboardInterrupt), tracking.start("a run", tags=tags, params={}) as run:
        raise KeyboardInterrupt
    reason = "it took longer than timeout=60 seconds"
    assert end_run(tracking, run.run_id, "KILLED", reason) == "KILLED"
    [found] = runs(tracking, statuses=("KILLED",))
    assert found.tags[ERROR] == reason
    assert found.tags[DESCRIPTION] == f"**Killed:** {reason}\n\nRun it again"


def test_a_run_that_has_ended_stays_as_it_ended(tracking):
    with tracking.start("a run", tags={}, params={}) as run:
        pass
    assert end_run(tracking, run.run_id, "KILLED", "its process was killed") == "FINISHED"
    assert ERROR not in runs(tracking)[0].tags
    with pytest.raises(JobError, match=r"could not end run 0+ \(.*not found"):
        end_run(tracking, "0" * 32, "KILLED", "its process was killed")


SWEEP = """
import sys, time
from tiltyard.tracking.recorder import LocalTracking

tracking = LocalTracking(folder=sys.argv[1])
with (
    tracking.start("a sweep", tags={"tiltyard.kind": "sweep"}, params={}) as sweep,
    tracking.start("a job", tags={}, params={"seed": 0}, parent=sweep.run_id) as job,
):
    print(sweep.run_id, job.run_id, flush=True)
    time.sleep(60)
"""


@pytest.mark.integration
def test_what_a_sigkill_leaves_is_ended(tracking):
    with subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(tracking.folder)], stdout=subprocess.PIPE
    ) as process:
        run_ids = process.stdout.readline().decode().split()
        assert len(run_ids) == 2
        assert end_dead_runs(tracking) == []
        os.kill(process.pid, signal.SIGKILL)
    ended = end_dead_runs(tracking)
    assert {run.run_id for run in ended} == set(run_ids)
    assert {run.reason for run in ended} == {f"its process on {this_process().host} is gone"}
    [found] = runs(tracking, statuses=("KILLED",))
    assert found.params == {"seed": "0"}
    assert found.started.replace(microsecond=0) <= found.ended <= datetime.now(UTC)


def test_a_run_that_goes_on_is_at_no_moment_that_of_a_dead_process(tracking, left, monkeypatch):
    from mlflow import MlflowClient

    run_id = left(GONE)
    assert [dead.run_id for dead in end_dead_runs(tracking)] == [run_id]
    update = MlflowClient.update_run

    def update_while_another_starts(*args, **kwargs):
        update(*args, **kwargs)
        assert end_dead_runs(tracking) == []

    monkeypatch.setattr(MlflowClient, "update_run", update_while_another_starts)
    with tracking.go_on(run_id):
        assert status_of(tracking, run_id) == "RUNNING"
    run = tracking.connect(create=False).client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert ERROR not in run.data.tags
