"""Which job of Slurm this process is, and where Slurm writes what it prints.

>>> slurm_tags()        # in a job of a sweep on a cluster
{'tiltyard.slurm.job': '12_3', 'tiltyard.log': '/home/me/outputs/sweeps/…/slurm/12_3_0_log.out'}
>>> slurm_tags()        # elsewhere
{}
"""

import os
from pathlib import Path

JOB = "tiltyard.slurm.job"
"""The tag with the job's id, as ``scontrol show job`` takes it."""
LOG = "tiltyard.log"
"""The tag with the path of the log."""
LOG_FILE = "slurm.log"
"""What a run calls its copy of the log."""


def slurm_tags() -> dict[str, str]:
    """What a run's tags say of its job; nothing where this is none."""
    job, log = _job_id(), log_of_job()
    return ({JOB: job} if job else {}) | ({LOG: str(log)} if log else {})


def log_of_job() -> Path | None:
    """The file that this process prints into, where submitit started it."""
    folder, job = os.environ.get("SUBMITIT_FOLDER"), _job_id()
    if folder is None or not job:
        return None
    return Path(folder) / f"{job}_{os.environ.get('SLURM_PROCID', '0')}_log.out"


def copy_log(folder: Path) -> None:
    """Keep what the job has printed so far in a run's folder."""
    log = log_of_job()
    if log is not None and log.is_file():
        (folder / LOG_FILE).write_bytes(log.read_bytes())


def _job_id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    return os.environ.get("SLURM_JOB_ID", "")
