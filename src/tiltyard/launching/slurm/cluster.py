"""Whether a sweep can run on this machine's Slurm cluster: what is checked before anything begins.

>>> on_cluster(SlurmOptions(), master)
<tiltyard.launching.slurm.workforce.Slurm object at …>
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tiltyard.errors import InputError
from tiltyard.launching.slurm.folders import refuse_own_disks, warn_of_shared_database
from tiltyard.launching.slurm.options import SlurmOptions
from tiltyard.launching.slurm.queue import Queue, refuse_without_slurm
from tiltyard.launching.slurm.workforce import Slurm


def on_cluster(options: SlurmOptions, master: DictConfig) -> Slurm:
    """The nodes that a sweep may run on.

    Args:
        options: What is asked of Slurm, checked.
        master: The sweep's own composed config.

    Raises:
        InputError: Slurm or submitit is not there, an option goes ill with another, or the nodes do not see
            what the jobs share.
    """
    refuse_without_slurm()
    _refuse_what_goes_ill(options, master)
    folders = {"hydra.sweep.dir": Path(str(master.hydra.sweep.dir)).absolute()}
    store = _local_store(master)
    if store is not None:
        folders["tracking.folder"] = store
    queue = Queue()
    refuse_own_disks(folders, queue.nodes(options.partition))
    if store is not None:
        warn_of_shared_database(store)
    return Slurm(options, folders["hydra.sweep.dir"], queue)


def _refuse_what_goes_ill(options: SlurmOptions, master: DictConfig) -> None:
    device = master.hardware.get("device")
    if device == "auto":
        raise InputError(
            "hardware.device=auto would be what this machine has, and jobs run on others",
            "say what the nodes have: hardware.device=cuda or hardware.device=cpu",
        )
    if options.gpus_per_node and device == "cpu":
        raise InputError(
            f"hydra.launcher.gpus_per_node={options.gpus_per_node} with hardware.device=cpu",
            "add hardware.device=cuda, or leave the GPUs to others",
        )
    if options.timeout_min is not None and options.signal_delay_s >= options.timeout_min * 60:
        raise InputError(
            f"hydra.launcher.signal_delay_s={options.signal_delay_s} is as long as "
            f"hydra.launcher.timeout_min={options.timeout_min}",
            "jobs would be told to end when they begin: make one shorter or the other longer",
        )


def _local_store(master: DictConfig) -> Path | None:
    """The folder with the SQLite file that all jobs write; None where runs go elsewhere."""
    folder: Any = master.tracking.get("folder")
    return None if folder is None else Path(str(folder)).absolute()
