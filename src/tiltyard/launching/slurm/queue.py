"""What Slurm says of jobs, and what it is told: ``squeue``, ``scontrol``, ``scancel`` and ``sinfo``.

>>> Queue().states(["12"])
{'12_0': JobState(name='RUNNING', why='None'), '12_1': JobState(name='PENDING', why='Priority')}

``sacct`` is not asked: it needs an accounting database, which not every cluster has. Slurm itself remembers
a job that has ended for ``MinJobAge`` seconds, five minutes where nobody changed it.
"""

import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tiltyard.errors import InputError

ANSWER_SECONDS = 60
"""How long a command of Slurm's may take; a busy controller is asked again later."""
_COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
_OVER = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
_HELD = re.compile("held|never|BadConstraints|Inval", re.IGNORECASE)
TOO_LONG = 124
"""The exit code of a job's process that had to be ended because it took longer than its ``timeout``."""


class SlurmUnavailableError(Exception):
    """Slurm did not answer; it may later."""


@dataclass(frozen=True)
class JobState:
    """What Slurm knows of a job."""

    name: str
    """Its state, such as ``RUNNING``."""
    why: str = ""
    """Why it waits, or ended."""

    @property
    def over(self) -> bool:
        """Whether it has ended; Slurm may still queue it again."""
        return self.name in _OVER

    @property
    def held(self) -> bool:
        """Whether it waits for somebody to do something."""
        return self.name in ("PENDING", "SPECIAL_EXIT", "REQUEUE_HOLD") and bool(_HELD.search(self.why))


class Queue:
    """Slurm's controller, asked through its commands."""

    def states(self, arrays: Sequence[str]) -> dict[str, JobState]:
        """The state of the jobs that Slurm still knows, by their ids: ``12`` for a job, ``12_3`` in an array.

        Raises:
            SlurmUnavailableError: The controller does not answer.
        """
        return {
            job: JobState(name, why)
            for job, name, why in self._listed(["--jobs", ",".join(arrays)], "%i|%T|%r")
        }

    def living(self, name: str) -> dict[str, str]:
        """This user's jobs of a name that wait or run: their comments, by their ids.

        Raises:
            SlurmUnavailableError: The controller does not answer.
        """
        mine = ["--me", "--name", name]
        return {
            job: comment for job, state, comment in self._listed(mine, "%i|%T|%k") if not JobState(state).over
        }

    def _listed(self, which: Sequence[str], form: str) -> list[list[str]]:
        command = ["squeue", "--noheader", "--array", "--states=all", f"--format={form}", *which]
        try:
            answer = _ask(command)
        except subprocess.CalledProcessError as error:
            if "Invalid job id" in error.stderr:  # it has forgotten all of them
                return []
            raise SlurmUnavailableError(_last_line(error.stderr)) from error
        except subprocess.TimeoutExpired as error:
            raise SlurmUnavailableError("squeue takes too long") from error
        return [line.split("|", 2) for line in answer.splitlines() if line.count("|") >= 2]

    def exit_code(self, job: str) -> tuple[int, int]:
        """The exit code of a job that has ended, and the signal that ended it; 0 where unknown."""
        try:
            answer = _ask(["scontrol", "--oneliner", "show", "job", job])
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return 0, 0
        found = re.search(r"\bExitCode=(\d+):(\d+)", answer)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def nodes(self, partition: str | None) -> set[str]:
        """The names of the machines that jobs of a partition may run on.

        Raises:
            InputError: The controller does not answer, or knows no such partition.
        """
        chosen = [] if partition is None else [f"--partition={partition}"]
        try:
            answer = _ask(["sinfo", "--noheader", "--Node", "--format=%n", *chosen])
        except subprocess.CalledProcessError as error:
            raise InputError(
                f"Slurm does not answer: {_last_line(error.stderr)}", "try sinfo, or ask who runs the cluster"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise InputError(f"sinfo took over {ANSWER_SECONDS} s", "try again later") from error
        if not (found := set(answer.split())):
            raise InputError(
                f"Slurm has no nodes in hydra.launcher.partition={partition or 'null'}",
                "sinfo lists partitions",
            )
        return found

    def tell(self, arrays: Sequence[str], number: signal.Signals) -> None:
        """Send a signal to running jobs, and take those that wait out of the queue."""
        _order(["scancel", "--state=PENDING", *arrays])
        _order(["scancel", f"--signal={number.name.removeprefix('SIG')}", *arrays])

    def cancel(self, arrays: Sequence[str]) -> None:
        """Cancel jobs: those that run are told by SIGTERM, and killed after the cluster's ``KillWait``."""
        _order(["scancel", *arrays])


def refuse_without_slurm() -> None:
    """Refuse where Slurm's commands or submitit are missing.

    Raises:
        InputError: One of them is not there.
    """
    missing = next((command for command in _COMMANDS if shutil.which(command) is None), None)
    if missing is not None:
        raise InputError(
            f"hardware=slurm: this machine has no '{missing}'",
            "start the sweep on a login node of the cluster, or leave hardware=slurm out",
        )
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise InputError(
            "hardware=slurm takes submitit, which is not installed", "pip install 'tiltyard[slurm]'"
        ) from error


def explain(state: JobState | None, exit_code: tuple[int, int], timeout: float | None) -> str:
    """Why a job ended without a result, in one line.

    Args:
        state: What Slurm said last; None where it no longer knows the job.
        exit_code: The exit code and the signal, as of :meth:`Queue.exit_code`.
        timeout: The job's own limit in seconds.
    """
    if state is None:
        return "it is gone from Slurm's queue, and left no result"
    code, number = exit_code
    if code > 128 and not number:  # srun's way of telling a signal
        code, number = 0, code - 128
    said = _SAID.get(state.name, f"Slurm ended it as {state.name}")
    if state.name not in ("FAILED", "COMPLETED"):
        return said
    if code == TOO_LONG and timeout is not None:
        return too_long(timeout)
    if number:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        memory = "; the node may have run out of memory" if number == signal.SIGKILL else ""
        return f"its process was killed by {name}{memory}"
    return f"its process ended with exit code {code}"


def too_long(timeout: float | None) -> str:
    """Why a job ended that took longer than its limit in seconds."""
    return f"it took longer than timeout={timeout:g} seconds" if timeout else "it took too long"


_SAID: Mapping[str, str] = {
    "OUT_OF_MEMORY": "it took more memory than it had (OUT_OF_MEMORY), which hydra.launcher.mem_gb sets",
    "TIMEOUT": "Slurm's time limit ended it (TIMEOUT), which hydra.launcher.timeout_min sets",
    "CANCELLED": "it was cancelled in Slurm (CANCELLED)",
    "NODE_FAIL": "its node failed (NODE_FAIL)",
    "PREEMPTED": "another job took its place (PREEMPTED), and Slurm did not queue it again",
}


def _ask(command: Sequence[str]) -> str:
    """Run a command that a Ctrl-C in the terminal, which is for the sweep, does not reach."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True, start_new_session=True
    ).stdout


def _order(command: Sequence[str]) -> None:
    """Jobs that have ended by then make ``scancel`` complain; what became of them is looked up anyway."""
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            command, capture_output=True, timeout=ANSWER_SECONDS, check=False, start_new_session=True
        )


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "no reason given"
