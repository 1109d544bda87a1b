import os
import signal
import subprocess
import time

import pytest

from tiltyard.launching.assignment import INTERRUPTED
from tiltyard.launching.job import end_on_sigterm
from tiltyard.launching.slurm.task import RESTARTS, STOP_FILE, SlurmTask

NUMBERS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM)


class Job:
    """An assignment that is sent signals while it works, as a real one is by Slurm."""

    def __init__(self, folder, *signals, seconds=0.0, timeout=None):
        self.folder, self.timeout = folder, timeout
        self.signals, self.seconds = signals, seconds
        self.tidied = False

    def carry_out(self):
        end_on_sigterm()  # what a job does
        try:
            os.kill(os.getpid(), self.signals[0]) if self.signals else None
            time.sleep(self.seconds)
        except KeyboardInterrupt:
            for number in self.signals[1:]:
                os.kill(os.getpid(), number)
            self.tidied = True
            return INTERRUPTED
        return ""


@pytest.fixture(autouse=True)
def asked_again(monkeypatch):
    """How often submitit was asked to queue the job again."""
    times = []
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGUSR2, lambda number, frame: times.append(number))
    monkeypatch.delenv(RESTARTS, raising=False)
    yield times
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_job_that_nobody_interrupts_ends_by_itself(tmp_path, asked_again):
    assert SlurmTask(Job(tmp_path), tmp_path, requeues=3)() == ""
    assert asked_again == []


def test_a_job_whose_time_is_nearly_over_ends_in_order_and_is_queued_again(tmp_path, asked_again):
    job = Job(tmp_path, signal.SIGUSR2, seconds=20)
    with pytest.raises(SystemExit):
        SlurmTask(job, tmp_path, requeues=3)()
    assert job.tidied
    assert len(asked_again) == 1


def test_further_signals_do_not_interrupt_what_a_job_does_to_end(tmp_path, asked_again):
    job = Job(tmp_path, signal.SIGTERM, signal.SIGUSR2, signal.SIGTERM, seconds=20)
    with pytest.raises(SystemExit):
        SlurmTask(job, tmp_path, requeues=3)()
    assert job.tidied
    assert len(asked_again) == 1


def test_what_slurm_cancels_leaves_no_result_and_is_not_queued_again(tmp_path, asked_again):
    with pytest.raises(SystemExit) as stop:
        SlurmTask(Job(tmp_path, signal.SIGTERM, seconds=20), tmp_path, requeues=3)()
    assert stop.value.code == 128 + signal.SIGTERM
    assert asked_again == []


def test_a_job_is_queued_again_only_so_often(tmp_path, asked_again, monkeypatch):
    monkeypatch.setenv(RESTARTS, "2")
    reason = SlurmTask(Job(tmp_path, signal.SIGUSR2, seconds=20), tmp_path, requeues=2)()
    assert "hydra.launcher.requeues" in reason
    monkeypatch.setenv(RESTARTS, "3")
    assert "3 times" in SlurmTask(Job(tmp_path), tmp_path, requeues=2)()
    assert asked_again == []


def test_slurm_may_be_queuing_the_job_again_already(tmp_path):
    def fail(number, frame):
        raise subprocess.CalledProcessError(1, ["scontrol", "requeue"])

    signal.signal(signal.SIGUSR2, fail)
    with pytest.raises(SystemExit):
        SlurmTask(Job(tmp_path, signal.SIGUSR2, seconds=20), tmp_path, requeues=3)()


def test_a_job_that_takes_longer_than_its_timeout_is_told_so(tmp_path):
    job = Job(tmp_path, seconds=20, timeout=0.05)
    assert SlurmTask(job, tmp_path, requeues=3)() == "it took longer than timeout=0.05 seconds"
    assert job.tidied


def test_no_job_begins_when_the_sweep_was_told_to_stop(tmp_path):
    (tmp_path / STOP_FILE).touch()
    assert SlurmTask(Job(tmp_path, signal.SIGTERM, seconds=20), tmp_path, requeues=3)() == INTERRUPTED
