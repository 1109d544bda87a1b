import threading
import time

import pytest
from mlflow.exceptions import MlflowException

from tiltyard.errors import JobError
from tiltyard.telemetry.processes import Sight, seen
from tiltyard.tracking.heartbeat import Pulse
from tiltyard.tracking.reader import runs
from tiltyard.tracking.tags import ERROR, HEARTBEAT

SOON_S = 10.0


def eventually(holds):
    deadline = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch):
    """Everything beside a run is done all the time."""
    monkeypatch.setattr("tiltyard.tracking.run.HEARTBEAT_EVERY_S", 0.01)
    monkeypatch.setattr("tiltyard.tracking.run.FLUSH_EVERY_S", 0.01)


def tags_of(run):
    return run._client.get_run(run.run_id).data.tags


def pulses():
    return [thread for thread in threading.enumerate() if thread.name == "tiltyard-pulse"]


def test_a_run_says_from_its_start_which_process_it_is_of_and_that_it_lives(tracking):
    before = int(time.time())
    with tracking.start("a run", tags={}, params={}) as run:
        tags = tags_of(run)
        assert seen(tags) is Sight.ALIVE
        assert before <= int(tags[HEARTBEAT]) <= time.time()


def test_the_heart_beats_while_the_run_is_open(tracking, quick):
    with tracking.start("a run", tags={}, params={}) as run:
        run._client.set_tag(run.run_id, HEARTBEAT, "0")
        eventually(lambda: tags_of(run)[HEARTBEAT] != "0")
        assert pulses()
    assert not pulses()
    run._client.set_tag(run.run_id, HEARTBEAT, "0")
    time.sleep(0.1)
    assert tags_of(run)[HEARTBEAT] == "0"


def test_metrics_are_in_the_store_while_the_run_is_open(tracking, quick):
    with tracking.start("a run", tags={}, params={}) as run:
        run.log_metrics({"loss": 0.5}, step=3)
        eventually(lambda: run._client.get_run(run.run_id).data.metrics == {"loss": 0.5})


def test_metrics_wait_to_be_sent_together(tracking, monkeypatch):
    batches = []
    with tracking.start("a run", tags={}, params={}) as run:
        genuine = run._client.log_batch
        monkeypatch.setattr(
            run._client,
            "log_batch",
            lambda run_id, metrics: (batches.append(len(metrics)), genuine(run_id, metrics=metrics)),
        )
        for step in range(100):
            run.log_metrics({"loss": step / 100}, step=step)
        assert not batches
    assert batches == [100]
    [found] = runs(tracking)
    assert found.curve("loss") == [(step, step / 100) for step in range(100)]


def test_a_heart_that_cannot_beat_breaks_nothing(tracking, quick, monkeypatch):
    failures = []
    with tracking.start("a run", tags={}, params={}) as run:

        def fail(*args, **kwargs):
            failures.append(args)
            raise MlflowException("the disk is full")

        monkeypatch.setattr(run._client, "set_tag", fail)
        eventually(lambda: len(failures) > 1)
    assert [found.run_id for found in runs(tracking)] == [run.run_id]


def test_metrics_that_could_not_be_sent_are_reported_by_the_next_call_and_sent_at_the_end(
    tracking, quick, monkeypatch
):
    def work():
        with tracking.start("a run", tags={}, params={}) as run:
            genuine = run._client.log_batch

            def fail(*args, **kwargs):
                raise MlflowException("the disk is full")

            monkeypatch.setattr(run._client, "log_batch", fail)
            run.log_metrics({"loss": 0.5})
            eventually(lambda: run._lost is not None)
            monkeypatch.setattr(run._client, "log_batch", genuine)
            run.log_metrics({"loss": 0.25}, step=1)

    with pytest.raises(JobError, match=r"could not record its metrics .*the disk is full"):
        work()
    [found] = runs(tracking, statuses=("FAILED",))
    assert found.metrics == {"loss": 0.5}


def test_metrics_whose_sending_was_interrupted_too_late_are_there_once(tracking, monkeypatch):
    def work():
        with tracking.start("a run", tags={}, params={}) as run:
            genuine = run._client.log_batch

            def send(*args, **kwargs):
                monkeypatch.setattr(run._client, "log_batch", genuine)
                genuine(*args, **kwargs)
                raise KeyboardInterrupt

            monkeypatch.setattr(run._client, "log_batch", send)
            run.log_metrics({"loss": 0.5})

    with pytest.raises(KeyboardInterrupt):
        work()
    client = tracking.connect(create=False).client
    [found] = runs(tracking, statuses=("RUNNING",))
    assert [point.value for point in client.get_metric_history(found.run_id, "loss")] == [0.5]


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_run_that_was_missed_and_lives_takes_its_status_back(tracking, monkeypatch, at_the_end, quick):
    if at_the_end:
        monkeypatch.setattr("tiltyard.tracking.run.HEARTBEAT_EVERY_S", 60.0)
    with tracking.start("a run", tags={}, params={}) as run:
        client = run._client
        client.set_tag(run.run_id, ERROR, "no sign of life")
        client.set_terminated(run.run_id, "KILLED")
        monkeypatch.setattr("tiltyard.tracking.heartbeat.SILENT_AFTER_S", -1.0)
        if not at_the_end:
            eventually(lambda: client.get_run(run.run_id).info.status == "RUNNING")
    [found] = runs(tracking)
    assert ERROR not in found.tags


def test_a_pulse_does_each_thing_in_its_own_time_and_again_after_a_failure():
    often, seldom = [], []

    def fail():
        often.append(1)
        raise ValueError

    pulse = Pulse({fail: 0.01, lambda: seldom.append(1): 60.0})
    pulse.start()
    eventually(lambda: len(often) > 2)
    pulse.stop()
    count = len(often)
    time.sleep(0.05)
    assert len(often) == count
    assert not seldom


def test_the_end_of_a_run_does_not_wait_for_a_store_that_is_stuck(monkeypatch):
    monkeypatch.setattr("tiltyard.tracking.heartbeat.STOPPING_S", 0.05)
    entered, release = threading.Event(), threading.Event()

    def stuck():
        entered.set()
        release.wait(10)

    pulse = Pulse({stuck: 0.01})
    pulse.start()
    assert entered.wait(10)
    start = time.monotonic()
    pulse.stop()
    assert time.monotonic() - start < 5
    release.set()
