"""A Slurm cluster of one machine: munged, slurmctld and slurmd on loopback, with a config of their own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
"""``cred_expire`` decides how long a job that was queued again waits: Slurm's default is two minutes."""


def missing() -> list[str]:
    """Programs that are not installed; Debian's packages slurm-wlm and munge have them."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster while a block runs.

    Yields:
        The environment in which Slurm's commands find it.
    """
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge/key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = _free_ports(2)
    config = CONFIG.format(
        folder=folder,
        host=host,
        user=getpass.getuser(),
        controller_port=controller_port,
        node_port=node_port,
    )
    (folder / "slurm.conf").write_text(config)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
    munge = folder / "munge"
    files = [f"--socket={munge}/socket", f"--key-file={key}", f"--pid-file={munge}/pid"]
    logs = [f"--log-file={munge}/log", f"--seed-file={munge}/seed", "--num-threads=2"]
    with ExitStack() as stack:
        stack.callback(_end_steps, environment["SLURM_CONF"])
        stack.enter_context(
            _daemon(["munged", "--foreground", "--force", *files, *logs], folder, environment)
        )
        _wait_for(lambda: (munge / "socket").exists())
        stack.enter_context(_daemon(["slurmctld", "-D"], folder, environment))
        stack.enter_context(_daemon(["slurmd", "-D"], folder, environment))
        _wait_for(lambda: _asked(["sinfo", "--noheader", "--format=%T"], environment) == "idle")
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--me", "--signal=KILL"], env=environment, check=False)
            subprocess.run(["scancel", "--me"], env=environment, check=False)
            _wait_for(lambda: _asked(["squeue", "--noheader"], environment) == "")


def _end_steps(config: str) -> None:
    """End what is left of this cluster's jobs: a step outlives a daemon that was stopped before it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name().startswith("slurmstepd") and process.environ().get("SLURM_CONF") == config:
                process.kill()


@contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("wb") as out:
        daemon = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        daemon.terminate()
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _asked(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    ).stdout.strip()


def _wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where Debian puts daemons
