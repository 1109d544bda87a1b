"""The top level of an experiment's config: its schema, its check, and the fingerprint of a run.

>>> cfg = resolve(composed)          # a Hydra config, from the command line or from ``compose``
>>> fingerprint(cfg)
'5f0c…'
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from tiltyard.errors import InputError, TiltyardError
from tiltyard.signatures import MISSING, Content, Leaf, check_node, options_of, target_of

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

OUTSIDE_FINGERPRINT = ("labels", "tracking", "debug")
"""Top-level keys that cannot change a result: names, and where it is written."""


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
    """Decides every random choice: splits, shuffled options, sampling, bootstrap intervals."""
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
    of their paths, and the versions of the packages that matter. Two runs with one fingerprint are
    repetitions of each other.
    """
    plain = cfg.as_dict()
    content = {
        leaf.path: leaf.content.digest(leaf.value)
        for leaf in _check_plain(plain)
        if leaf.content is not None and leaf.value is not None
    }
    payload = {
        "config": _without_paths(
            {key: value for key, value in plain.items() if key not in OUTSIDE_FINGERPRINT}, content
        ),
        "content": content,
        "versions": {package: _version(package) for package in VERSIONED},
    }
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def _without_paths(value: Any, replaced: Mapping[str, str], path: str = "") -> Any:
    if isinstance(value, dict):
        return {
            key: _without_paths(item, replaced, f"{path}.{key}" if path else key)
            for key, item in value.items()
        }
    return None if path in replaced else value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
