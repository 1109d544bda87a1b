"""``tiltyard doctor``: what works on this machine, a line each, and what to do where something is missing.

$ tiltyard doctor
ok      python                   3.11.7
note    hub                      not reachable (…); models must be in the cache or in a local folder
"""

import os
import platform
import shutil
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from tiltyard import __version__
from tiltyard.arguments import CommandParser
from tiltyard.errors import TiltyardError
from tiltyard.redaction import redact

KEYS = ("HF_TOKEN", "GROQ_API_KEY", "OPENAI_API_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")
"""Environment variables that some models and trackers need. Their values are never looked at."""

EXTRAS = ("constrained", "energy")
"""Extras whose packages a run can use."""

HUB_TIMEOUT_S = 5
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    state: Literal["ok", "note", "broken"]
    """``note``: something optional is absent. ``broken``: the default experiment cannot run."""
    subject: str
    text: str


def doctor(arguments: list[str]) -> None:
    """Examine this machine and print what was found.

    Raises:
        TiltyardError: Something that every run needs is broken.
    """
    parser = CommandParser(prog="tiltyard doctor", description="What works on this machine.")
    parser.add_argument(
        "--tracking", default="mlruns", metavar="FOLDER", help="the tracking store (default: mlruns)"
    )
    options = parser.parse_args(arguments)
    checks: list[Callable[[], Iterable[Finding]]] = [
        _python,
        _packages,
        _devices,
        _embedded_model,
        _hub,
        _keys,
        _response_cache,
        lambda: _store(Path(options.tracking)),
    ]
    broken = 0
    for check in checks:
        for finding in check():
            broken += finding.state == "broken"
            print(f"{finding.state:<7} {finding.subject:<24} {redact(finding.text)}")  # noqa: T201
    if broken:
        raise TiltyardError(f"{broken} of the lines above say 'broken'", "each says what to do")


def _python() -> Iterable[Finding]:
    yield Finding("ok", "tiltyard", f"{__version__} in {Path(__file__).parent}")
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("ok", "python", found)


def _packages() -> Iterable[Finding]:
    for text in requires("tiltyard") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            yield from _extra(requirement)
            continue
        name, wanted = requirement.name, str(requirement.specifier)
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding("broken", name, f"not installed; pip install '{name}{wanted}'")
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding("ok", name, found)
        else:
            yield Finding("broken", name, f"{found}, but {wanted} is needed; pip install '{name}{wanted}'")


def _extra(requirement: Requirement) -> Iterable[Finding]:
    extra = next(
        (name for name in EXTRAS if requirement.marker and requirement.marker.evaluate({"extra": name})), None
    )
    if extra is None:
        return
    try:
        yield Finding("ok", requirement.name, version(requirement.name))
    except PackageNotFoundError:
        yield Finding("note", requirement.name, f"not installed; pip install 'tiltyard[{extra}]' brings it")


def _devices() -> Iterable[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("broken", "torch", f"cannot be imported ({error}); pip install torch")
        return
    yield Finding("ok", "cpu", f"{torch.get_num_threads()} threads for torch")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield Finding("ok", f"cuda:{index}", f"{device.name}, {device.total_memory / 1e9:.0f} GB")
    else:
        yield Finding("note", "cuda", "none; for an NVIDIA GPU, install a CUDA build of torch and its driver")
    if torch.backends.mps.is_available():
        yield Finding("ok", "mps", "Apple GPU")
    elif platform.system() == "Darwin":
        yield Finding("note", "mps", "not available; it needs Apple silicon and macOS 12.3 or newer")


def _embedded_model() -> Iterable[Finding]:
    try:
        from tiltyard.models.embedded import weights_folder

        folder = weights_folder()
        problem = _problem_with(folder / WEIGHTS_FILE)
    except TiltyardError as error:
        yield Finding("broken", "embedded model", str(error))
    except ImportError as error:
        found = f"cannot be looked at ({error}); pip install --upgrade tiltyard brings what it needs"
        yield Finding("broken", "embedded model", found)
    else:
        if problem:
            found = f"{WEIGHTS_FILE} in {folder} is damaged ({problem}); reinstall tiltyard"
            yield Finding("broken", "embedded model", found)
            return
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        yield Finding("ok", "embedded model", f"{size / 1e6:.1f} MB in {folder}")


def _problem_with(weights: Path) -> str:
    """What the file's header shows to be wrong with it, such as another length; empty where nothing is."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="np"):
            return ""
    except (SafetensorError, OSError) as error:
        return " ".join(str(error).split())


def _hub() -> Iterable[Finding]:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield Finding("note", "hub", "offline because HF_HUB_OFFLINE is set; unset it to download models")
    else:
        started = time.perf_counter()
        try:
            request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
            urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S).close()
            yield Finding("ok", "hub", f"answered in {1000 * (time.perf_counter() - started):.0f} ms")
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            reason = getattr(error, "reason", error)
            yield Finding(
                "note", "hub", f"not reachable ({reason}); use cached models or model=hf model.id=FOLDER"
            )
    cache = Path(constants.HF_HUB_CACHE)
    cached = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    yield Finding("ok" if cached else "note", "hub cache", f"{cached} models in {cache}")


def _keys() -> Iterable[Finding]:
    from tiltyard.models.remote.keys import ENV_FILE, names_in_file

    for name in KEYS:
        if os.environ.get(name):
            yield Finding("ok", name, "set")
        elif name in names_in_file():
            yield Finding("ok", name, f"in {ENV_FILE}")
        else:
            yield Finding("note", name, "not set; export it if a model or a server asks for it")


def _response_cache() -> Iterable[Finding]:
    from tiltyard.config import CacheConfig
    from tiltyard.models.response_cache import ResponseCache, response_folder

    folder, limit = response_folder(), CacheConfig().size_limit_mb
    with closing(ResponseCache(folder, limit)) as cache:
        try:
            held = cache.contents()
        except (sqlite3.Error, OSError) as error:
            yield Finding("note", "response cache", f"{folder}: {error}; 'tiltyard cache --clear' empties it")
        else:
            yield Finding("ok", "response cache", f"{held} in {folder}; the limit is {limit:,} MB by default")


def _store(folder: Path) -> Iterable[Finding]:
    from tiltyard.tracking.reader import runs
    from tiltyard.tracking.recorder import LocalTracking

    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free / 1e9
    yield Finding("ok" if free > 1 else "note", "disk", f"{free:.0f} GB free")
    if not folder.exists():
        yield Finding("note", "store", f"{folder} does not exist yet; the first run creates it")
        return
    try:
        every = ("FINISHED", "FAILED", "KILLED", "RUNNING")
        tracked = runs(LocalTracking(folder=str(folder)), statuses=every)
    except TiltyardError as error:
        yield Finding("broken", "store", str(error))
    else:
        yield Finding("ok", "store", f"{folder}: {len(tracked)} runs in experiment 'tiltyard'")
