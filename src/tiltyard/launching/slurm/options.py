"""What a sweep asks of Slurm, and how submitit words it for ``sbatch``.

>>> SlurmOptions(partition="gpu", gpus_per_node=1, timeout_min=240).parameters("tiltyard", timeout=None)
{'job_name': 'tiltyard', 'time': 240, 'partition': 'gpu', 'gpus_per_node': 1, …}
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

GRACE_SECONDS = 30.0
"""What a job that takes longer than its ``timeout`` gets to keep what it has, before its process ends."""
MINUTES = 60
"""The time limit of jobs that are given none."""

Text = Annotated[str | None, Field(min_length=1)]


@dataclass(kw_only=True)
class SlurmOptions:
    """How the jobs of a sweep are submitted; every job is one task on one node.

    Args:
        partition: The partition, or several, separated by commas; null is the cluster's default.
        account: The account that is charged; null is the user's default.
        qos: The quality of service; null is the default.
        constraint: Features that the node must have, such as ``a100`` or ``"a100|h100"``.
        gpus_per_node: GPUs of each job. Models use them with ``hardware.device=cuda``.
        cpus_per_task: Cores of each job, which are its threads too; null is the cluster's default.
        mem_gb: Memory of each job in GiB; null is the cluster's default.
        timeout_min: Minutes that Slurm gives a job at a time. A job that takes longer is told so, keeps what
            it has, is queued again and goes on. Null is what ``timeout`` needs, or 60 without one.
        signal_delay_s: How long before its time is over a job is told, in seconds: it finishes the examples
            that it is working on. Slurm may tell it up to a minute earlier.
        requeues: How often a job may be queued again, after its time was over or a pre-emption.
        array_parallelism: How many jobs run at the same time.
        setup: Shell commands before each job, such as ``module load cuda``.
        additional_parameters: Further options of ``sbatch``, by their long names, such as
            ``{mail-type: END}``; null is none.
        python: The command that starts Python on a node, such as one in a container; null is this Python,
            which then has to be at the same place there.
        poll_seconds: How often Slurm is asked for the state of the jobs, in seconds.
    """

    partition: Text = None
    account: Text = None
    qos: Text = None
    constraint: Text = None
    gpus_per_node: Annotated[int, Field(ge=0)] = 0
    cpus_per_task: Annotated[int | None, Field(ge=1)] = None
    mem_gb: Annotated[float | None, Field(gt=0)] = None
    timeout_min: Annotated[int | None, Field(ge=1)] = None
    signal_delay_s: Annotated[int, Field(ge=1)] = 120
    requeues: Annotated[int, Field(ge=0)] = 3
    array_parallelism: Annotated[int, Field(ge=1)] = 64
    setup: list[str] = field(default_factory=list)
    additional_parameters: dict[str, str | int | float | bool] | None = None
    python: Text = None
    poll_seconds: Annotated[float, Field(ge=1)] = 10

    def parameters(self, name: str, timeout: float | None) -> dict[str, Any]:
        """What ``submitit.SlurmExecutor.update_parameters`` takes.

        Args:
            name: What the jobs are called in Slurm's queue.
            timeout: Seconds after which a job is ended as hanging; None sets no limit.
        """
        asked: dict[str, Any] = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "gpus_per_node": self.gpus_per_node or None,
            "cpus_per_task": self.cpus_per_task,
            "mem": None if self.mem_gb is None else f"{math.ceil(self.mem_gb * 1024)}M",
            "setup": [*self.setup, *self._threads()] or None,
            "srun_args": self._step() or None,
            "additional_parameters": {"requeue": True} | (self.additional_parameters or {}),
        }
        return {
            "job_name": name,
            "time": self.minutes(timeout),
            "signal_delay_s": self.signal_delay_s,
            "array_parallelism": self.array_parallelism,
            "stderr_to_stdout": True,
            "wckey": None,  # submitit's own, which a cluster with such keys need not know
            **{key: value for key, value in asked.items() if value is not None},
        }

    def minutes(self, timeout: float | None) -> int:
        """The time limit of a job, in minutes."""
        if self.timeout_min is not None:
            return self.timeout_min
        if timeout is None:
            return MINUTES
        return math.ceil((timeout + GRACE_SECONDS + self.signal_delay_s + 60) / 60)

    def _step(self) -> list[str]:
        """What ``srun`` has to be told again: since Slurm 22.05 a step does not inherit its job's cores."""
        return [] if self.cpus_per_task is None else [f"--cpus-per-task={self.cpus_per_task}"]

    def _threads(self) -> list[str]:
        """A job that asked for cores computes with as many threads, unless the environment says otherwise."""
        if self.cpus_per_task is None:
            return []
        from tiltyard.launching.sharing import THREADS

        return [f'export {name}="${{{name}:-{self.cpus_per_task}}}"' for name in THREADS]
