"""Finds a task's files in a data set of the Hugging Face Hub: first in the Hub's cache, then on the Hub.

>>> fetch("hf://datasets/openai/gsm8k/main")
'…/snapshots/e53f048856ff4f594e959d75785d2c2d37b678ee/main'

A path is written as the Hub's own file system writes it: ``hf://datasets/OWNER/NAME[@REVISION][/PATH]``. A
task says where in its data set the files are where the path does not (:func:`on_hub`). Everything after that
is as with local files: the record's format, the splits, the errors.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tiltyard.errors import InputError
from tiltyard.models.sources import HUB_TIMEOUT_SECONDS, HubError

EXTENSIONS = (".json", ".jsonl", ".csv", ".parquet")
"""What the names of files with records end with."""

HUB = "hf://datasets/"
"""What the path of a data set on the Hub begins with."""

_PATH = re.compile(
    rf"{HUB}(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<inside>.*[^/]))?/?", re.ASCII
)


@dataclass(frozen=True)
class HubPath:
    """What a path on the Hub names."""

    name: str
    """The data set: ``OWNER/NAME``."""
    revision: str | None
    """A branch, tag or commit; None for the default branch."""
    inside: str
    """A file or folder in it; empty for the whole."""


def is_on_hub(path: str) -> bool:
    """Whether a path names something on the Hub."""
    return path.startswith("hf://")


def parse_hub(path: str) -> HubPath:
    """Read a path on the Hub.

    Raises:
        ValueError: It is malformed.
    """
    found = _PATH.fullmatch(path)
    if found is None or ".." in (found["inside"] or "").split("/"):
        raise ValueError("a data set on the Hub is written hf://datasets/OWNER/NAME[@REVISION][/PATH]")
    return HubPath(found["name"], found["revision"], found["inside"] or "")


def on_hub(path: str, inside: str) -> str:
    """A path with the place of a task's files, where it is a data set on the Hub that names none.

    >>> on_hub("hf://datasets/openai/gsm8k", "main")
    'hf://datasets/openai/gsm8k/main'
    """
    if not is_on_hub(path) or not inside or parse_hub(path).inside:
        return path
    return f"{path.rstrip('/')}/{inside}"


def hub_digest(path: str) -> str:
    """What a path on the Hub counts as in a fingerprint: itself, and the commit of it that the cache holds.

    The network is not asked.
    """
    hub = parse_hub(path)
    snapshot = _cached(hub, _wanted(hub))
    return f"{path}@{snapshot.name if snapshot else 'unresolved'}"


def fetch(path: str) -> str:
    """Get the files of a path on the Hub, and return where they are on this machine.

    Of a folder, only files of records are fetched. What the Hub's cache has is not asked for again; give a
    revision to fix what that is.

    Args:
        path: The path of a file or a folder on the Hub.

    Raises:
        InputError: The path is malformed, or there is nothing at it. It is a
            :class:`~tiltyard.models.sources.HubError` where the Hub does not hand the data set out.
    """
    try:
        hub = parse_hub(path)
    except ValueError as error:
        raise InputError(f"{path}: {error}", "such as hf://datasets/openai/gsm8k") from error
    wanted = _wanted(hub)
    found = _cached(hub, wanted)
    if found is None or not _holds(found, wanted):
        found = _download(hub, wanted)
    if not _holds(found, wanted):
        raise InputError(
            f"{path}: the data set has no file of records there", "look at its files on the data set's page"
        )
    return str(found / hub.inside if hub.inside else found)


def _wanted(hub: HubPath) -> list[str]:
    """Patterns of the files that a path asks for: it is itself a file, or a folder with some."""
    if PurePosixPath(hub.inside).suffix.lower() in EXTENSIONS:
        return [hub.inside]
    return [f"{hub.inside}/*{extension}".lstrip("/") for extension in EXTENSIONS]


def _cached(hub: HubPath, wanted: Sequence[str]) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            hub.name,
            repo_type="dataset",
            revision=hub.revision,
            allow_patterns=list(wanted),
            local_files_only=True,
        )
    except (LocalEntryNotFoundError, ValueError):
        return None
    return Path(str(folder))


def _holds(folder: Path, wanted: Sequence[str]) -> bool:
    return any(file.is_file() for pattern in wanted for file in folder.glob(pattern))


def _download(hub: HubPath, wanted: Sequence[str]) -> Path:
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub import errors as hub_errors

    local = "or give the path of its files on this machine"
    try:
        # The Hub's clients repeat a failed connection for 20 s and more; one quick request comes first.
        HfApi().dataset_info(hub.name, revision=hub.revision, timeout=HUB_TIMEOUT_SECONDS)
        folder = snapshot_download(
            hub.name, repo_type="dataset", revision=hub.revision, allow_patterns=list(wanted)
        )
    except hub_errors.HFValidationError as error:
        raise _refused(hub, "that is no name of the Hub", f"check the name, {local}") from error
    except hub_errors.OfflineModeIsEnabled as error:
        raise _refused(
            hub, "HF_HUB_OFFLINE is set and the Hub's cache lacks it", f"unset HF_HUB_OFFLINE, {local}"
        ) from error
    except hub_errors.GatedRepoError as error:
        page = f"https://huggingface.co/datasets/{hub.name}"
        raise _refused(hub, "access is gated", f"accept its terms at {page} and set HF_TOKEN") from error
    except hub_errors.RevisionNotFoundError as error:
        raise _refused(hub, f"it has no revision '{hub.revision}'", "check the revision") from error
    except hub_errors.RepositoryNotFoundError as error:
        raise _refused(
            hub, "no data set of this name, or a private one", f"check the name, {local}"
        ) from error
    except hub_errors.HfHubHTTPError as error:
        raise _refused(
            hub, f"the Hub answered HTTP {error.response.status_code}", f"try later, {local}"
        ) from error
    except (httpx.TransportError, OSError) as error:
        raise _refused(hub, "no connection", f"check the connection, {local}") from error
    return Path(str(folder))


def _refused(hub: HubPath, reason: str, remedy: str) -> HubError:
    return HubError(f"data set '{hub.name}' cannot be loaded from the Hub ({reason})", remedy)
