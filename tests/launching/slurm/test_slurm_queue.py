import pytest

from tiltyard.errors import InputError
from tiltyard.launching.slurm.queue import (
    JobState,
    Queue,
    SlurmUnavailableError,
    explain,
    refuse_without_slurm,
)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Puts a command of Slurm's in the way of the real one."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return put


def test_states_are_read_for_jobs_of_arrays_and_others(command):
    command(
        "squeue", "printf '12_0|RUNNING|None\\n12_1|PENDING|launch failed requeued held\\n13|FAILED|x\\n'"
    )
    states = Queue().states(["12", "13"])
    assert states["12_0"] == JobState("RUNNING", "None")
    assert states["12_1"].held
    assert not states["12_1"].over
    assert states["13"].over


def test_jobs_that_slurm_has_forgotten_have_no_state(command):
    command("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert Queue().states(["12"]) == {}


def test_a_controller_that_does_not_answer_is_no_end_of_jobs(command):
    command("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SlurmUnavailableError, match="Unable to contact"):
        Queue().states(["12"])


def test_living_jobs_are_those_that_have_not_ended(command):
    command("squeue", "printf '12_0|RUNNING|/s/a\\n12_1|COMPLETED|/s/a\\n13|PENDING|/s/b|c\\n'")
    assert Queue().living("tiltyard") == {"12_0": "/s/a", "13": "/s/b|c"}


def test_the_exit_code_is_read_of_a_job_that_slurm_knows(command):
    command("scontrol", "echo 'JobId=2 JobState=FAILED ExitCode=137:0 RunTime=00:00:03 DerivedExitCode=0:9'")
    assert Queue().exit_code("12_0") == (137, 0)
    command("scontrol", "exit 1")
    assert Queue().exit_code("12_0") == (0, 0)


def test_a_partition_without_nodes_is_wrong_input(command):
    command("sinfo", "")
    with pytest.raises(InputError, match=r"hydra\.launcher\.partition=gpu"):
        Queue().nodes("gpu")


def test_a_machine_without_slurm_is_told_where_to_go(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="no 'sbatch'; start the sweep on a login node"):
        refuse_without_slurm()


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        (None, (0, 0), "gone from Slurm's queue"),
        ("OUT_OF_MEMORY", (0, 9), r"hydra\.launcher\.mem_gb"),
        ("TIMEOUT", (0, 15), r"hydra\.launcher\.timeout_min"),
        ("CANCELLED", (0, 15), "was cancelled"),
        ("NODE_FAIL", (0, 0), "node failed"),
        ("DEADLINE", (0, 0), "ended it as DEADLINE"),
        ("FAILED", (137, 0), "killed by SIGKILL; the node may have run out of memory"),
        ("FAILED", (0, 11), "killed by SIGSEGV"),
        ("FAILED", (3, 0), "exit code 3"),
        ("COMPLETED", (0, 0), "exit code 0"),
        ("FAILED", (124, 0), "longer than timeout=90 seconds"),
    ],
)
def test_the_reason_says_what_ended_a_job(state, code, said):
    import re

    assert re.search(said, explain(state and JobState(state), code, 90.0))
