"""Refuses a sweep whose folders the nodes of a cluster cannot see, as far as this machine can tell.

>>> refuse_own_disks({"tracking.folder": Path("mlruns")}, nodes={"node1", "node2"})
Traceback (most recent call last):
...
tiltyard.errors.InputError: tracking.folder=mlruns is on a disk of this machine, and jobs run on node1, …
"""

import logging
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from tiltyard.disks import on_local_disk
from tiltyard.errors import InputError

logger = logging.getLogger(__name__)
_SHOWN = 3


def refuse_own_disks(folders: Mapping[str, Path], nodes: Collection[str]) -> None:
    """Refuse folders on a disk that this machine alone has, where jobs run on other machines too.

    Args:
        folders: Folders that jobs write and this process reads, by their keys in the config.
        nodes: The names of the machines that jobs may run on.

    Raises:
        InputError: A folder is on such a disk.
    """
    others = sorted(node for node in nodes if not is_this_machine(node))
    if not others:
        return
    for key, folder in folders.items():
        if on_local_disk(folder):
            more = ", …" if len(others) > _SHOWN else ""
            server = ", or use tracking=server" if key.startswith("tracking") else ""
            raise InputError(
                f"{key}={folder} is on a disk of this machine, and jobs run on "
                f"{', '.join(others[:_SHOWN])}{more}",
                f"name a folder on a file system that all nodes share{server}",
            )


def warn_of_shared_database(folder: Path) -> None:
    """Say so where many machines would write one SQLite file over a network."""
    if not on_local_disk(folder):
        logger.warning(
            "tracking.folder=%s is on a network file system: SQLite is slow there, and loses runs where file "
            "locks do not work; tracking=server is made for several machines",
            folder,
        )


def is_this_machine(node: str) -> bool:
    """Whether a node's name is this machine's."""
    own = socket.gethostname()
    return node == "localhost" or node.split(".")[0] == own.split(".")[0]
