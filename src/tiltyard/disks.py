"""Says where a folder lies: SQLite's write-ahead log is safe where one machine alone has the folder.

>>> on_local_disk(Path("mlruns"))
True
"""

from pathlib import Path

_LOCAL = frozenset(
    {
        "apfs",
        "btrfs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "hfs",
        "ntfs",
        "overlay",
        "tmpfs",
        "xfs",
        "zfs",
    }
)
"""File systems that only the machine itself can have mounted."""


def on_local_disk(folder: Path) -> bool:
    """Whether several machines cannot be sharing a folder; one on an unknown file system counts as shared."""
    import psutil

    folder = folder.resolve()
    mounts = {Path(part.mountpoint): part.fstype.lower() for part in psutil.disk_partitions(all=True)}
    nearest = next((place for place in (folder, *folder.parents) if place in mounts), None)
    return nearest is not None and mounts[nearest] in _LOCAL
