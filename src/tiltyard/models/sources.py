"""Where a model's weights come from: a local folder, the Hugging Face Hub's cache, or the Hub.

Use :data:`ModelSource` for an option that names a model: a run's fingerprint then covers its content.
"""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from tiltyard.config import Content
from tiltyard.errors import InputError

HUB_TIMEOUT_SECONDS = 5.0
"""How long the Hub may take to say whether it has a model."""

QUIET_SECONDS = 2.0
"""A younger file is digested anew each time: it may change again within one tick of its disk's clock."""
_READERS = min(4, os.cpu_count() or 1)

_Stamp = tuple[int, int, int, int, int]
_digests: dict[str, tuple[_Stamp, bytes]] = {}
"""By path, what a file was when this process digested it, and its digest."""


class HubError(InputError):
    """The Hub does not hand out a model: it is out of reach, or it refuses."""


def local_folder(source: str) -> Path | None:
    """The folder that a source names, or None where it is to be looked for on the Hub."""
    folder = Path(source).expanduser()
    return folder if folder.is_dir() else None


def source_digest(source: str) -> str:
    """A digest that changes when anything in the model's files does.

    A local folder is digested by its files' names and whole contents, hidden files left out. A process reads
    a file once; again only when its size, times or identity on the disk say that it may be another. A Hub id
    is represented by itself and the commit of its default branch in the Hub's cache, if it is there; the
    network is not asked.

    Raises:
        OSError: A file cannot be read.
    """
    folder = local_folder(source)
    if folder is None:
        return f"{source}@{cached_commit(source) or 'unresolved'}"
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*"))
    files = [(name, path) for name, path in files if _counts(name) and path.is_file()]
    digest = hashlib.sha256()
    with ThreadPoolExecutor(_READERS) as readers:  # hashlib lets other threads run
        contents = readers.map(_content_digest, (path for _, path in files))
        for (name, _), content in zip(files, contents, strict=True):
            digest.update(f"{name}\0".encode(errors="surrogateescape"))
            digest.update(content)
    return digest.hexdigest()


ModelSource = Annotated[str, Content(source_digest)]
"""A local folder or a Hub id. A run's fingerprint holds its digest."""


def _counts(name: str) -> bool:
    return not any(part.startswith(".") for part in name.split("/"))


def _content_digest(path: Path) -> bytes:
    """The digest of a whole file, read or remembered."""
    key = str(path.resolve())
    known = _digests.get(key)
    with path.open("rb") as file:
        stamp = _stamp(os.fstat(file.fileno()))
        if known and known[0] == stamp:
            return known[1]
        # BLAKE2 is quick on every CPU; SHA-256 takes several times as long where no instruction helps.
        digest = hashlib.file_digest(file, hashlib.blake2b).digest()
        unchanged = _stamp(os.fstat(file.fileno())) == stamp
    *_, modified, changed = stamp
    if unchanged and time.time() - max(modified, changed) / 1e9 > QUIET_SECONDS:
        _digests[key] = (stamp, digest)
    return digest


def _stamp(status: os.stat_result) -> _Stamp:
    # ctime as well: tools that copy a file's times along cannot set it back.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def cached_commit(source: str, revision: str | None = None) -> str | None:
    """The commit of a Hub model that this machine's cache holds, or None. Asks no network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(source, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(config).parent.name if isinstance(config, str) else None


def check_hub(source: str, revision: str | None = None) -> None:
    """Make sure, in seconds, that the Hub would hand out a model.

    The Hub's own clients repeat a failed connection for 20 s and more; one quick request comes first.

    Raises:
        HubError: It would not: the reason, and what to do about it.
    """
    refusal = _refusal(source, revision)
    if refusal is not None:
        reason, remedy = refusal
        raise HubError(
            f"model '{source}' is not a local folder and cannot be loaded from the Hub ({reason})", remedy
        )


def _refusal(source: str, revision: str | None) -> tuple[str, str] | None:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    check_name = "check the name, or give a folder with the model's files"
    try:
        api = HfApi()
        if api.model_info(source, revision=revision, timeout=HUB_TIMEOUT_SECONDS).gated:
            api.auth_check(source)
    except hub.HFValidationError:
        return "no such folder, and not a Hub id such as 'Qwen/Qwen2.5-0.5B-Instruct'", check_name
    except hub.OfflineModeIsEnabled:
        return (
            "HF_HUB_OFFLINE is set and the model is not in the Hub's cache",
            "unset HF_HUB_OFFLINE, or give a folder with the model's files",
        )
    except hub.GatedRepoError:
        return (
            "access is gated",
            f"accept its terms at https://huggingface.co/{source} and set HF_TOKEN to your token",
        )
    except hub.RevisionNotFoundError:
        return f"it has no revision '{revision}'", "check the revision"
    except hub.RepositoryNotFoundError:
        return (
            "no model of this name, or a private one",
            "check the name, set HF_TOKEN if it is private, or give a folder with the model's files",
        )
    except hub.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "check HF_TOKEN" if status in (401, 403) else "try again later"
        return f"the Hub answered HTTP {status}", f"{remedy}, or give a folder with the model's files"
    except (httpx.TransportError, OSError):
        return "no connection", "check the connection, or give a folder with the model's files"
    return None
