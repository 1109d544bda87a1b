"""What another machine must have in common with the sweep's own before jobs may run there.

>>> with node_needs(assignments) as needs:   # here: leaves a token in each folder that is to be shared
...     needs.missing()                      # there
InputError("it does not see the sweep's folder /home/ada/outputs/…", "start the sweep in a folder that …")
"""

import json
import os
import pickle
import platform
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import tiltyard
from tiltyard.config import AXES, INSIDE, instantiate
from tiltyard.digests import versions
from tiltyard.errors import InputError
from tiltyard.launching.assignment import Assignment
from tiltyard.nested_models import unwrapped
from tiltyard.signatures import check_node
from tiltyard.tracking.connection import probe_server
from tiltyard.tracking.recorder import LocalTracking, ServerTracking, Tracking

TOKEN = ".seen-by-nodes-"
"""How the names of the files begin by which a folder is recognised; they go when the sweep ends."""
SECONDS_TO_APPEAR = 5.0
"""How long a network file system may take to show a new file."""


@dataclass(frozen=True)
class NodeNeeds:
    """What a machine needs for a sweep's jobs. It travels there and looks."""

    folder: Path
    """The sweep's folder: jobs leave there what they found."""
    working_directory: Path
    """What the configs' relative paths are relative to."""
    token: str
    """The name of a file that lies in every folder which is to be the same one here and there."""
    store: Path | None
    """The folder of the tracking store, where it is a local one."""
    server: str | None
    """The address of the tracking server, where there is one."""
    data: Mapping[str, int | None]
    """The sizes of the files that configs name, in bytes, by absolute path; None is a folder."""
    tiltyard: str
    """The version of Tiltyard."""
    python: str
    """The version of Python, as ``3.11``."""
    versions: Mapping[str, str]
    """The versions of the packages that can change a result."""

    def missing(self) -> InputError | None:
        """Look for everything on this machine.

        Returns:
            The first thing that is missing, with ``it`` for the machine; None where nothing is.
        """
        return self._other_versions() or self._missing_folder() or self._missing_data() or self._no_tracking()

    def _other_versions(self) -> InputError | None:
        here = {"Python": python_version(), "Tiltyard": tiltyard.__version__, **versions()}
        wanted = {"Python": self.python, "Tiltyard": self.tiltyard, **self.versions}
        for name, version in wanted.items():
            if here.get(name) != version:
                return InputError(
                    f"it has {name} {here.get(name)}, and the sweep's machine has {version}",
                    "install the same versions on all machines: they count in a run's fingerprint",
                )
        return None

    def _missing_folder(self) -> InputError | None:
        if not _appears(self.folder / self.token):
            return InputError(
                f"it does not see the sweep's folder {self.folder}",
                "start the sweep in a folder that all nodes share, or set hydra.sweep.dir to one",
            )
        try:
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            return InputError(
                f"it cannot write into the sweep's folder {self.folder} ({error.strerror or error})",
                "let Ray run there as a user who may",
            )
        if not self.working_directory.is_dir():
            return InputError(
                f"it has no folder {self.working_directory}, where the sweep was started",
                "start the sweep in a folder that all nodes share",
            )
        return None

    def _missing_data(self) -> InputError | None:
        for path, size in self.data.items():
            place = Path(path)
            if not place.exists():
                return InputError(f"it does not see {path}", "put it where all nodes see it")
            if size is not None and place.stat().st_size != size:
                return InputError(
                    f"its {path} has {place.stat().st_size} bytes, and the sweep's has {size}",
                    "put the same file on all nodes",
                )
        return None

    def _no_tracking(self) -> InputError | None:
        if self.store is not None and not _appears(self.store / self.token):
            return InputError(
                f"it does not see the tracking folder {self.store}",
                "use tracking=server, or a tracking.folder that all nodes share",
            )
        if self.server is not None:
            try:
                probe_server(self.server)
            except InputError as error:
                return InputError(
                    f"from there, {error.what}",
                    "give tracking.uri an address that all nodes reach, and the credentials to all nodes",
                )
        return None


def python_version() -> str:
    """The version of Python here, as far as jobs' packed configs depend on it."""
    return ".".join(platform.python_version_tuple()[:2])


@contextmanager
def node_needs(assignments: Sequence[Assignment]) -> Iterator[NodeNeeds]:
    """Say what a machine needs for jobs, and leave tokens in shared folders while a block runs.

    Args:
        assignments: The jobs, at least one; all of one sweep.

    Raises:
        InputError: A config is wrong, or a token cannot be written.
    """
    configs = [pickle.loads(assignment.config) for assignment in assignments]
    folder = Path(configs[0].hydra.sweep.dir)
    working_directory = Path(assignments[0].working_directory)
    tracking: Tracking = instantiate(OmegaConf.to_container(configs[0].tracking, resolve=True))  # type: ignore[arg-type]
    store = tracking.folder.expanduser().resolve() if isinstance(tracking, LocalTracking) else None
    token = f"{TOKEN}{uuid.uuid4().hex}"
    with ExitStack() as stack:
        for place in {folder} if store is None else {folder, store}:
            stack.enter_context(_token(place / token))
        yield NodeNeeds(
            folder=folder,
            working_directory=working_directory,
            token=token,
            store=store,
            server=tracking.uri if isinstance(tracking, ServerTracking) else None,
            data=_data(configs, working_directory),
            tiltyard=tiltyard.__version__,
            python=python_version(),
            versions=versions(),
        )


@contextmanager
def _token(file: Path) -> Iterator[None]:
    try:
        file.touch()
    except OSError as error:
        raise InputError(
            f"{file.parent}: {error.strerror or error}", "choose a folder to write in"
        ) from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _data(configs: Sequence[Any], working_directory: Path) -> dict[str, int | None]:
    """The files and folders here that configs name as content: data, weights, playbooks."""
    found: dict[str, int | None] = {}
    seen: set[str] = set()
    for cfg in configs:
        for axis, supplied in AXES.items():
            node = unwrapped(OmegaConf.to_container(cfg[axis], resolve=True))
            key = json.dumps([axis, node], default=str)
            if key in seen:
                continue
            seen.add(key)
            for leaf in check_node(node, axis, supplied=supplied, inside=INSIDE.get(axis, ())):
                if leaf.content is None or not isinstance(leaf.value, str):
                    continue
                place = working_directory / Path(leaf.value).expanduser()
                if place.exists():
                    found[str(place)] = None if place.is_dir() else place.stat().st_size
    return found


def _appears(file: Path) -> bool:
    end = time.monotonic() + SECONDS_TO_APPEAR
    while not os.access(file, os.F_OK):
        if time.monotonic() >= end:
            return False
        time.sleep(0.2)
    return True
