"""Where a model's weights come from: a local folder, the Hugging Face Hub's cache, or the Hub.

Use :data:`ModelSource` for an option that names a model: a run's fingerprint then covers its content.
"""

import hashlib
from pathlib import Path
from typing import Annotated

from tiltyard.config import Content
from tiltyard.errors import InputError

HUB_TIMEOUT_SECONDS = 5.0
"""How long the Hub may take to say whether it has a model."""

WHOLE_FILE_BYTES = 8 * 2**20
"""Files up to this size are digested whole; larger ones by their size and samples."""
SAMPLES = 64
SAMPLE_BYTES = 64 * 2**10


class HubError(InputError):
    """The Hub does not hand out a model: it is out of reach, or it refuses."""


def local_folder(source: str) -> Path | None:
    """The folder that a source names, or None where it is to be looked for on the Hub."""
    folder = Path(source).expanduser()
    return folder if folder.is_dir() else None


def source_digest(source: str) -> str:
    """A digest that changes when the weights do, without reading all of them.

    A local folder is digested by its files' names, sizes and contents, hidden files left out. A file of more
    than 8 MiB is represented by 64 samples of 64 KiB, spread evenly from its first byte to its last. A Hub
    id is represented by itself and the commit of its default branch in the Hub's cache, if it is there; the
    network is not asked.
    """
    folder = local_folder(source)
    if folder is None:
        return f"{source}@{cached_commit(source) or 'unresolved'}"
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in Path(name).parts):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            _update_with_content(digest, path)
    return digest.hexdigest()


ModelSource = Annotated[str, Content(source_digest)]
"""A local folder or a Hub id. A run's fingerprint holds its digest."""


def _update_with_content(digest: "hashlib._Hash", path: Path) -> None:
    size = path.stat().st_size
    if size <= WHOLE_FILE_BYTES:
        digest.update(path.read_bytes())
        return
    last = size - SAMPLE_BYTES
    with path.open("rb") as file:
        for sample in range(SAMPLES):
            file.seek(last * sample // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))


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
