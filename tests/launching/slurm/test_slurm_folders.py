import logging
import socket
from pathlib import Path

import pytest

from tiltyard.errors import InputError
from tiltyard.launching.slurm.folders import refuse_own_disks, warn_of_shared_database

OWN, SHARED = Path("/own/mlruns"), Path("/shared/mlruns")


@pytest.fixture(autouse=True)
def disks(monkeypatch):
    monkeypatch.setattr(
        "tiltyard.launching.slurm.folders.on_local_disk", lambda folder: folder.is_relative_to("/own")
    )


def test_a_folder_on_this_machines_disk_is_refused_where_other_machines_write_it():
    with pytest.raises(InputError, match=r"tracking\.folder=/own/mlruns .* node1, node2; .*tracking=server"):
        refuse_own_disks({"tracking.folder": OWN}, {"node2", "node1"})


def test_a_cluster_of_this_machine_alone_needs_nothing_shared():
    refuse_own_disks({"tracking.folder": OWN}, {socket.gethostname(), "localhost"})


def test_a_database_on_a_network_file_system_is_warned_of(caplog):
    refuse_own_disks({"tracking.folder": SHARED}, {"node1"})
    with caplog.at_level(logging.WARNING):
        warn_of_shared_database(OWN)
        assert not caplog.records
        warn_of_shared_database(SHARED)
    assert "tracking=server" in caplog.text
