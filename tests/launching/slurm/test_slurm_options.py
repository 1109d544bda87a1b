import pytest
from hypothesis import given
from hypothesis import strategies as st
from submitit.slurm.slurm import _make_sbatch_string

from tiltyard.errors import InputError
from tiltyard.launching.slurm.options import SlurmOptions
from tiltyard.signatures import check_node


def sbatch(options, timeout=None):
    """The lines that submitit hands to sbatch."""
    parameters = options.parameters("tiltyard", timeout)
    return _make_sbatch_string("run", "/shared/slurm", map_count=3, **parameters).splitlines()


def test_what_is_left_out_is_left_to_the_cluster():
    lines = sbatch(SlurmOptions())
    named = {line.split("--")[1].split("=")[0] for line in lines if line.startswith("#SBATCH")}
    assert named == {
        *("array", "job-name", "nodes", "open-mode", "output", "requeue", "signal", "time"),
    }
    assert "#SBATCH --time=60" in lines


def test_every_option_reaches_sbatch():
    options = SlurmOptions(
        partition="gpu",
        account="lab",
        qos="long",
        constraint="a100|h100",
        gpus_per_node=2,
        cpus_per_task=8,
        mem_gb=1.5,
        timeout_min=240,
        signal_delay_s=90,
        array_parallelism=2,
        setup=["module load cuda"],
        additional_parameters={"mail-type": "END", "requeue": False},
    )
    lines = sbatch(options)
    for line in (
        "--partition=gpu",
        "--account=lab",
        "--qos=long",
        "--constraint='a100|h100'",
        "--gpus-per-node=2",
        "--cpus-per-task=8",
        "--mem=1536M",
        "--time=240",
        "--signal=USR2@90",
        "--array=0-2%2",
        "--mail-type=END",
    ):
        assert f"#SBATCH {line}" in lines
    assert lines.index("module load cuda") < next(i for i, line in enumerate(lines) if "srun" in line)


def test_a_step_gets_its_jobs_cores_and_computes_with_as_many_threads():
    lines = sbatch(SlurmOptions(cpus_per_task=4))
    assert 'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"' in lines
    assert "--cpus-per-task=4" in next(line for line in lines if line.startswith("srun"))


@given(st.floats(min_value=0.1, max_value=1e6), st.integers(min_value=1, max_value=3600))
def test_slurms_limit_leaves_time_for_timeout_and_for_the_warning_before_it(timeout, delay):
    options = SlurmOptions(signal_delay_s=delay)
    assert options.minutes(timeout) * 60 >= timeout + delay + 60
    assert SlurmOptions(timeout_min=7).minutes(timeout) == 7


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gpus_per_node", -1),
        ("cpus_per_task", 0),
        ("mem_gb", "16GB"),
        ("timeout_min", "1:00:00"),
        ("setup", "module load cuda"),
        ("partition", ""),
        ("poll_seconds", 0),
        ("additional_parameters", ["requeue"]),
    ],
)
def test_a_value_of_a_wrong_kind_is_named(key, value):
    with pytest.raises(InputError, match=rf"hydra\.launcher\.{key}="):
        check_node({key: value}, "hydra.launcher", target=SlurmOptions)
