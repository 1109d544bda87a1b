import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from submitit.core.core import Job
from submitit.core.utils import cloudpickle_dump

from tiltyard.errors import InputError
from tiltyard.launching.assignment import INTERRUPTED, Assignment
from tiltyard.launching.slurm.options import SlurmOptions
from tiltyard.launching.slurm.queue import JobState, Queue, SlurmUnavailableError
from tiltyard.launching.slurm.task import STOP_FILE
from tiltyard.launching.slurm.workforce import JOBS_FILE, Slurm

RUNNING, FAILED = JobState("RUNNING"), JobState("FAILED")


@dataclass
class Script(Queue):
    """A queue in which each look finds the next of a job's states; None is a job that Slurm has forgotten."""

    of_job: dict[str, list]
    comments: dict[str, str] = field(default_factory=dict)
    told: list = field(default_factory=list)

    def states(self, arrays):
        found = {job: states.pop(0) if len(states) > 1 else states[0] for job, states in self.of_job.items()}
        if SlurmUnavailableError in found.values():
            raise SlurmUnavailableError("no answer")
        return {job: state for job, state in found.items() if state is not None}

    def living(self, name):
        return self.comments

    def exit_code(self, job):
        return (137, 0)

    def tell(self, arrays, number):
        self.told.append((list(arrays), number))

    def cancel(self, arrays):
        self.told.append((list(arrays), "cancel"))


class Array:
    """Submits like submitit: jobs that leave their results, or none, in the folder."""

    def __init__(self, folder, results):
        self.folder, self.results = folder, results

    def submit_array(self, tasks):
        jobs = [Job(self.folder, f"12_{place}") for place in range(len(tasks))]
        for job, result in zip(jobs, self.results, strict=True):
            job.paths.submitted_pickle.write_text("")
            if result is not None:
                cloudpickle_dump(result, job.paths.result_pickle)
        return jobs


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Makes a cluster in which jobs leave these results and have these states."""
    jobs = [{"job": number, "fingerprint": f"mark{number}"} for number in range(4)]
    (tmp_path / "plan.json").write_text(json.dumps({"jobs": jobs}))

    def make(results, queue):
        cluster = Slurm(SlurmOptions(poll_seconds=1), tmp_path, queue)
        monkeypatch.setattr(cluster, "_executor", lambda timeout: Array(tmp_path / "slurm", results))
        cluster._options.poll_seconds = 0
        return cluster

    return make


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("tiltyard.launching.slurm.workforce._SECONDS_BETWEEN_LOOKS", 0.01)


def assignments(count, folder=Path("nowhere")):
    return [Assignment(number, f"job {number}", folder, "", None, b"", (), "/") for number in range(count)]


def work(cluster, count):
    reasons = {}
    cluster.work(assignments(count), reasons.__setitem__)
    return reasons


def test_each_jobs_end_is_found_by_itself(slurm, tmp_path):
    results = [("success", ""), None, None, ("error", "Traceback\n  File x\nValueError: no such thing")]
    states = {"12_0": [RUNNING], "12_1": [RUNNING, FAILED], "12_2": [None], "12_3": [RUNNING]}
    reasons = work(slurm(results, Script(states)), 4)
    log = tmp_path / "slurm/12_1_0_log.out"
    assert reasons[0] == ""
    assert reasons[1].startswith("its process was killed by SIGKILL")
    assert reasons[1].endswith(f"its log is {log}")
    assert reasons[2].startswith("it is gone from Slurm's queue")
    assert reasons[3].startswith("ValueError: no such thing; its log is")
    assert not list((tmp_path / "slurm").glob("*.pkl"))


def test_a_job_that_slurm_queues_again_has_not_ended(slurm, tmp_path):
    states = {"12_0": [JobState("NODE_FAIL"), JobState("PENDING"), FAILED, RUNNING, FAILED]}
    reasons = work(slurm([None], queue := Script(states)), 1)
    assert list(reasons) == [0]
    assert queue.of_job["12_0"] == [FAILED]  # all five were seen


def test_a_controller_that_does_not_answer_for_a_while_ends_nothing(slurm):
    states = {"12_0": [SlurmUnavailableError, SlurmUnavailableError, SlurmUnavailableError, FAILED]}
    assert "SIGKILL" in work(slurm([None], Script(states)), 1)[0]


def test_a_sweep_that_is_told_to_stop_tells_its_jobs_and_leaves_out_what_never_began(slurm, tmp_path):
    class Stopping(Script):
        def states(self, arrays):
            if not self.told:
                (tmp_path / "slurm/12_0_0_log.out").touch()
                os.kill(os.getpid(), signal.SIGINT)
            return super().states(arrays)

    over = JobState("CANCELLED")
    queue = Stopping({"12_0": [RUNNING, RUNNING, over], "12_1": [JobState("PENDING"), over]})
    reasons = {}
    with pytest.raises(KeyboardInterrupt):
        slurm([None, None], queue).work(assignments(2), reasons.__setitem__)
    assert queue.told == [(["12"], signal.SIGTERM)]
    assert (tmp_path / "slurm" / STOP_FILE).exists()
    assert reasons == {0: INTERRUPTED}


def test_a_failure_of_the_sweep_itself_leaves_no_jobs_behind(slurm):
    def ended(number, reason):
        raise OSError("disk full")

    queue = Script({"12_0": [RUNNING], "12_1": [RUNNING]})
    with pytest.raises(OSError, match="disk full"):
        slurm([("success", ""), None], queue).work(assignments(2), ended)
    assert queue.told == [(["12"], "cancel")]


def test_what_an_earlier_sweep_still_has_in_the_queue_is_not_run_twice(slurm, tmp_path):
    earlier = tmp_path / "earlier"
    (earlier / "slurm").mkdir(parents=True)
    known = {"7_0": {"job": 3, "fingerprint": "mark1"}, "7_1": {"job": 4, "fingerprint": "another"}}
    (earlier / "slurm" / JOBS_FILE).write_text(json.dumps(known))
    comments = {"7_0": str(earlier), "7_1": str(earlier), "8": "(null)"}
    with pytest.raises(InputError, match=r"1 of these jobs .* such as 7_0 of sweep earlier; .*scancel 7$"):
        work(slurm([None, None], Script({}, comments)), 2)
    assert not (tmp_path / "slurm").exists()
    assert work(slurm([("success", "")], Script({"12_0": [RUNNING]}, comments)), 1) == {0: ""}


def test_what_sbatch_says_is_passed_on(slurm, monkeypatch):
    cluster = slurm([], Script({}))

    class Refusing:
        def submit_array(self, tasks):
            raise RuntimeError("failed\nsbatch: error: Batch job submission failed: Invalid account\n")

    monkeypatch.setattr(cluster, "_executor", lambda timeout: Refusing())
    with pytest.raises(InputError, match="refused the jobs: Batch job submission failed: Invalid account"):
        work(cluster, 1)
