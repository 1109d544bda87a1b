"""Says in digests what a config stands for: the contents behind its paths, the code behind its targets.

>>> digest(describe({"model": node}, leaves))
'5f0c…'
"""

import hashlib
import inspect
import json
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

from tiltyard.errors import InputError
from tiltyard.signatures import TARGET, Leaf, target_of

VERSIONED = ("tiltyard", "dspy", "transformers", "torch", "scikit-learn", "numpy", "gepa", "optuna")
"""Packages whose version can change a result, and is therefore part of the fingerprint."""


_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Operational:
    """Marks an option that changes no answer: how many requests at once, how long to wait, what to report.

    Use it as ``Annotated[int, Operational()]``. Runs that differ in such options only have one fingerprint,
    and one's kept responses answer the other.
    """


@dataclass(frozen=True)
class Settled:
    """Marks an option that changes an answer only through the request that the engine settles.

    Use it as ``Annotated[int, Settled()]``, such as for the seed of an engine whose ``settle`` puts it into
    each request that it decides. The fingerprint holds it; the model's identity does not, so that requests
    which it does not decide share their kept responses. Without such a ``settle`` it would mix up answers.
    """


def describe(
    config: Mapping[str, Any], leaves: Sequence[Leaf], *, left_out: tuple[type, ...] = (Operational,)
) -> dict[str, Any]:
    """What a config stands for: the options that matter in one spelling, their contents, code and packages.

    Args:
        config: Plain values.
        leaves: The checked values of it, which know what is content.
        left_out: The marks of options that do not count.

    Raises:
        InputError: A file that counts cannot be read.
    """
    try:
        content = {
            leaf.path: leaf.content.digest(leaf.value)
            for leaf in leaves
            if leaf.content is not None and leaf.value is not None
        }
        uncounted = {
            leaf.path: ""
            for leaf in leaves
            if any(isinstance(mark, left_out) for mark in get_args(leaf.annotation))
        }
        code = {name: _source_digest(name) for name in sorted(set(_targets(dict(config))))}
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename} ({error.strerror})", "give a file that exists and may be read"
        ) from error
    return {
        "config": _canonical(dict(config), content | uncounted),
        "content": content,
        "code": {name: digest for name, digest in code.items() if digest},
        "versions": versions(),
    }


def digest(described: Mapping[str, Any]) -> str:
    """64 hexadecimal digits that stand for a description."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@cache
def engines_digest() -> str:
    """The digest of the source of Tiltyard's own models and engines."""
    source = hashlib.sha256()
    folder = _PACKAGE / "models"
    for path in sorted(folder.rglob("*.py")):
        source.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        source.update(path.read_bytes())
    return source.hexdigest()


def _canonical(value: Any, replaced: Mapping[str, str], path: str = "") -> Any:
    """Plain values with one spelling: ``0`` is ``0.0``, and what is replaced is null."""
    if isinstance(value, dict):
        return {
            key: _canonical(item, replaced, f"{path}.{key}" if path else str(key))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_canonical(item, replaced, path) for item in value]
    if path in replaced:
        return None
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get(TARGET), str):
            yield value[TARGET]
        for item in value.values():
            yield from _targets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _targets(item)


def _source_digest(name: str) -> str:
    """The digest of a target's file where it is the user's own; installed packages count by version."""
    file = inspect.getsourcefile(inspect.unwrap(target_of({TARGET: name}, name)))
    installed = {Path(sysconfig.get_path(place)).resolve() for place in ("purelib", "platlib", "stdlib")}
    if file is None or any(Path(file).resolve().is_relative_to(place) for place in (*installed, _PACKAGE)):
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """The versions here of the packages that can change a result; ``absent`` where one is not installed."""
    return {package: _version(package) for package in VERSIONED}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
