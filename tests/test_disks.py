from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tiltyard.disks import on_local_disk

MOUNTS = [("/", "ext4"), ("/home", "nfs4"), ("/home/me/fast", "xfs"), ("/odd", "")]


@pytest.mark.parametrize(
    ("folder", "local"),
    [
        ("/data/mlruns", True),
        ("/home/me/.cache", False),
        ("/home/me/fast/.cache", True),
        ("/odd/folder", False),
        ("/home/me/fast/../slow", False),
    ],
)
def test_the_nearest_mount_decides(folder, local, monkeypatch):
    found = [SimpleNamespace(mountpoint=place, fstype=kind) for place, kind in MOUNTS]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)
    assert on_local_disk(Path(folder)) is local


def test_a_place_on_no_known_mount_counts_as_shared(monkeypatch):
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [])
    assert not on_local_disk(Path("/data"))
