"""The top level of an experiment's config: its schema, its check, and the fingerprint of a run.

>>> cfg = resolve(composed)          # a Hydra config, from the command line or from ``compose``
>>> fingerprint(cfg)
'5f0c…'
"""

import hashlib
import inspect
import json
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from tiltyard.errors import InputError, TiltyardError
from tiltyard.signatures import MISSING, TARGET, Content, Leaf, check_node, options_of, target_of

__all__ = ["AXES", "Content", "ExperimentConfig", "check", "fingerprint", "instantiate", "resolve"]

AXES: dict[str, tuple[str, ...]] = {
    "model": ("hardware",),
    "task": (),
    "hardware": (),
    "optimizer": ("metric",),
    "simulation": (),
    "tracking": (),
}
"""The config groups, each with the arguments that the pipeline passes to its target itself."""

VERSIONED = ("tiltyard", "dspy", "transformers", "torch", "scikit-learn", "numpy")
"""Packages whose version can change a result, and is therefore part of the fingerprint."""

OUTSIDE_FINGERPRINT = ("labels", "tracking", "debug", "evaluation")
"""Top-level keys that cannot change a result: names, where it is written, and how many run at once."""


@dataclass(frozen=True)
class Labels:
    """What rows, tags and reports call the chosen options."""

    model: str
    """The model's label; the option's name unless the option says otherwise."""
    task: str
    """The task's label."""
    optimizer: str
    """The optimizer's label; ``none`` is the baseline."""
    simulation: str
    """The simulation's label."""

    @property
    def mode(self) -> str:
        """The rows' mode: ``baseline`` where nothing was optimized."""
        return "baseline" if self.optimizer == "none" else self.optimizer


@dataclass(frozen=True)
class EvaluationConfig:
    """How a program is evaluated on the test split."""

    threads: Annotated[int, Field(ge=1, le=1024)] = 8
    """Examples in flight at once."""


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: an option of every axis, and the settings that belong to none."""

    model: dict[str, Any]
    """The model's node."""
    task: dict[str, Any]
    """The task's node."""
    hardware: dict[str, Any]
    """The hardware's node."""
    optimizer: dict[str, Any]
    """The optimizer's node."""
    simulation: dict[str, Any]
    """The simulation's node."""
    tracking: dict[str, Any]
    """The tracking's node."""
    labels: Labels
    """What the run is called."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the test split is evaluated."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides every random choice: splits, shuffled options, sampling."""
    limit: Annotated[int | None, Field(ge=1)] = None
    """At most this many examples in each split; null means all."""
    debug: bool = False
    """Show tracebacks of errors that are otherwise one line."""

    def as_dict(self) -> dict[str, Any]:
        """The config as plain values, for files and params."""
        return asdict(self)


def resolve(cfg: DictConfig) -> ExperimentConfig:
    """Check a composed config and return it with every interpolation resolved.

    Raises:
        InputError: The first thing that is wrong with it.
    """
    plain = _plain(cfg)
    _check_plain(plain)
    return ExperimentConfig(
        **{
            **plain,
            "labels": Labels(**{key: str(value) for key, value in plain["labels"].items()}),
            "evaluation": EvaluationConfig(**plain["evaluation"]),
        }
    )


def check(cfg: DictConfig) -> None:
    """Check a composed config without keeping anything.

    Raises:
        InputError: The first thing that is wrong with it.
    """
    _check_plain(_plain(cfg))


def _plain(cfg: DictConfig) -> dict[str, Any]:
    cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    _refuse_missing(OmegaConf.to_container(cfg), "")  # before something else is derived from it
    try:
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        reason = str(error).splitlines()[0]
        raise InputError(f"{where}{reason}", "fix the interpolation or give the value") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _refuse_missing(value: Any, path: str) -> None:
    if value == MISSING:
        raise InputError(f"{path} is not set", f"add {path}=VALUE")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_missing(item, f"{path}.{key}" if path else str(key))


def _check_plain(plain: Mapping[str, Any]) -> list[Leaf]:
    top = {key: value for key, value in plain.items() if key not in AXES}
    leaves = check_node(top, "", target=ExperimentConfig, supplied=tuple(AXES))
    for axis, supplied in AXES.items():
        if not isinstance(plain.get(axis), Mapping):
            raise InputError(f"{axis} is not set", f"choose an option: {axis}=NAME (tiltyard --help)")
        leaves += check_node(plain[axis], axis, supplied=supplied)
    return leaves


def instantiate(node: Mapping[str, Any], **supplied: Any) -> Any:
    """Build what a node names.

    Args:
        node: A checked node.
        **supplied: Arguments that the program passes itself; those that the target does not take are
            left out.

    Raises:
        TiltyardError: Whatever the target itself raised of this kind.
    """
    options, _ = options_of(target_of(node, ""))
    accepted = {name: value for name, value in supplied.items() if name in options}
    try:
        build = hydra_instantiate(dict(node), _partial_=True, _convert_="all")
        return build(**accepted)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, TiltyardError):
            raise cause from error
        raise


def fingerprint(cfg: ExperimentConfig) -> str:
    """A hash of everything that can change a run's result (64 hexadecimal digits).

    It covers the resolved config less labels and tracking, the content of data files and weights instead
    of their paths, the source of the user's own targets, and the versions of the packages that matter.
    Hardware counts where the model takes it, by the device that it comes to here. Two runs with one
    fingerprint are repetitions of each other.

    Raises:
        InputError: A file that counts cannot be read.
    """
    plain = {key: value for key, value in cfg.as_dict().items() if key not in OUTSIDE_FINGERPRINT}
    options, _ = options_of(target_of(plain["model"], "model"))
    if "hardware" not in options:
        del plain["hardware"]
    leaves = [leaf for leaf in _check_plain(cfg.as_dict()) if leaf.path.split(".")[0] in plain]
    try:
        content = {
            leaf.path: leaf.content.digest(leaf.value)
            for leaf in leaves
            if leaf.content is not None and leaf.value is not None
        }
        code = {name: _source_digest(name) for name in sorted(set(_targets(plain)))}
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename} ({error.strerror})", "check its permissions"
        ) from error
    payload = {
        "config": _canonical(plain, content),
        "content": content,
        "code": {name: digest for name, digest in code.items() if digest},
        "versions": {package: _version(package) for package in VERSIONED},
    }
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def _canonical(value: Any, replaced: Mapping[str, str], path: str = "") -> Any:
    """Plain values with one spelling: ``0`` is ``0.0``, and what is content has no path."""
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
    here = Path(__file__).resolve().parent
    if file is None or any(Path(file).resolve().is_relative_to(place) for place in (*installed, here)):
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
