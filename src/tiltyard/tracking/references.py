"""Puts local files in the place of registered versions that a config names, before a run starts.

    >>> with without_references(cfg) as found:
    ...     found.cfg.optimizer["playbook"], found.versions
    ('/tmp/…/playbook', {'optimizer.playbook': 'models:/conventions.lexical.ace/3'})

What is below this layer knows files alone, and a fingerprint counts their content: ``latest`` that has moved
gives another one. The config as it was written is what a run records.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from tiltyard.config import AXES, INSIDE, ExperimentConfig, instantiate
from tiltyard.errors import InputError, TiltyardError
from tiltyard.files import write_text
from tiltyard.optimizers.registered import InProgram, is_reference
from tiltyard.signatures import check_node
from tiltyard.tracking.registry import find_version, state_of

AXIS = "optimizer"
"""The config group whose options may be references."""

_ITEM, _DOTTED = re.compile(r"\[(\d+)\]"), r".\1"


@dataclass(frozen=True)
class Found:
    """A config whose references are files."""

    cfg: ExperimentConfig
    versions: Mapping[str, str] = field(default_factory=dict)
    """What was found for each option that was a reference, as ``models:/NAME/NUMBER``, by its path."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """The same by the reference that stood there."""

    def tags(self) -> dict[str, str]:
        """The versions as tags of a run; an item of a list has its position behind a dot, as in params."""
        return {f"tiltyard.{_ITEM.sub(_DOTTED, path)}": version for path, version in self.versions.items()}

    def notes(self) -> list[str]:
        """The versions as sentences of its report."""
        return [f"{path} is that of {version}." for path, version in self.versions.items()]


@contextmanager
def without_references(cfg: ExperimentConfig, pins: Mapping[str, str] | None = None) -> Iterator[Found]:
    """Look up every registered version that a config names, in the store that it tracks to.

    Args:
        cfg: A checked config.
        pins: References that were looked up already: what they mean here, whatever they mean by now.

    Yields:
        The config with files, which are there while the block runs.

    Raises:
        InputError: There is no such version, it does not hold what the option needs, or there is no store.
        JobError: The store failed.
    """
    references = dict(_references(cfg))
    if not references:
        yield Found(cfg)
        return
    versions: dict[str, str] = {}
    files: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="tiltyard-") as folder:
        for path, (reference, mark) in references.items():
            try:
                versions[path], text = _fetched((pins or {}).get(reference, reference), mark, cfg)
            except TiltyardError as error:
                raise type(error)(f"{path}={reference}: {error.what}", error.remedy) from error
            file = Path(folder) / f"{len(files)}-{mark.what}"
            write_text(file, text)
            files[path] = str(file)
        yield Found(
            replace(cfg, optimizer=_replaced(cfg.optimizer, AXIS, files)),
            versions,
            {reference: versions[path] for path, (reference, _) in references.items()},
        )


def _references(cfg: ExperimentConfig) -> Iterator[tuple[str, tuple[str, InProgram]]]:
    for leaf in check_node(cfg.optimizer, AXIS, supplied=AXES[AXIS], inside=INSIDE[AXIS]):
        mark = next((mark for mark in get_args(leaf.annotation) if isinstance(mark, InProgram)), None)
        if mark is not None and is_reference(leaf.value):
            yield leaf.path, (leaf.value, mark)


def _fetched(reference: str, mark: InProgram, cfg: ExperimentConfig) -> tuple[str, str]:
    """The version that a reference names, and what it holds."""
    connection = instantiate(cfg.tracking).connect(create=False)
    version = find_version(connection, reference)
    text = mark.read(state_of(connection, version))
    if text is None:
        raise InputError(f"the program of {version.uri} has no {mark.what}", "name a version that has one")
    return version.uri, text


def _replaced(value: Any, path: str, files: Mapping[str, str]) -> Any:
    if path in files:
        return files[path]
    if isinstance(value, Mapping):
        return {key: _replaced(item, f"{path}.{key}", files) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, f"{path}[{number}]", files) for number, item in enumerate(value)]
    return value
