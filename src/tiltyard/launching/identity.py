"""What a sweep's jobs know of their sweep: a small file in the sweep's folder.

Jobs may run in other processes or on other machines; the folder is what they share.

    >>> SweepIdentity("2026-11-20_18-00-00", parent_run_id="ab12…").save(folder)
    >>> SweepIdentity.load(folder).id
    '2026-11-20_18-00-00'
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from tiltyard.files import write_text

FILE = "sweep.json"


@dataclass(frozen=True)
class SweepIdentity:
    """A sweep's id and its parent run."""

    id: str
    """Names the sweep: the tag ``tiltyard.sweep`` of every job's run."""
    parent_run_id: str | None
    """The tracked run that the jobs' runs are children of; None without tracking."""
    pins: dict[str, str] = field(default_factory=dict)
    """The registered versions that references in the jobs' configs meant when the sweep was planned, as
    ``models:/NAME/NUMBER`` by the reference: all jobs start from the same."""

    def save(self, folder: Path) -> None:
        """Write the identity into the sweep's folder."""
        write_text(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the identity from the sweep's folder."""
        return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
