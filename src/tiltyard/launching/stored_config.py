"""Turns the config that a run kept into one that can run again, with overrides.

>>> cfg = stored_config(run.text("config.yaml"), "run 5f0c…", overrides=["limit=50"])
>>> cfg.limit, cfg.task["path"]
(50, 'data/energy.jsonl')

A run keeps its config resolved: group choices and interpolations are gone, and secrets are masked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from tiltyard.config import AXES, ExperimentConfig, resolve
from tiltyard.errors import InputError
from tiltyard.launching.hydra_errors import explain
from tiltyard.redaction import MASK
from tiltyard.resolvers import register_resolvers

_MASKED = "a-masked-secret"
"""What stands for a mask while YAML, to which asterisks are an alias, is read."""
_DERIVED = {
    "labels.model": ("model.id", "${basename:${model.id}}"),
    "labels.task": ("task.path", "${stem:${task.path}}"),
}
"""Values that shipped options derive from others: from which one, and how."""


def stored_config(
    text: str,
    run: str,
    *,
    overrides: Sequence[str] = (),
    settings: Sequence[str] = (),
    tracking: Mapping[str, Any] | None = None,
) -> ExperimentConfig:
    """Read, change and check the config of a run.

    What shipped options derive follows an override, as on the command line: options called ``seed`` that had
    the run's seed, and labels that were made of ``model.id`` or ``task.path``.

    Args:
        text: The run's ``config.yaml``.
        run: What errors call the run.
        overrides: ``KEY=VALUE``, ``+KEY=VALUE`` or ``~KEY``, as Hydra takes them; no group choices.
        settings: What is overridden before that.
        tracking: The node of another store than the run's own.

    Raises:
        InputError: The config is damaged, an override does not fit it, a value in it was masked as a secret
            and is not given anew, or this version of Tiltyard does not take it. The error names the key.
    """
    register_resolvers()
    plain = _plain(text, run)
    cfg = OmegaConf.create(_linked(plain if tracking is None else {**plain, "tracking": dict(tracking)}))
    parsed = _parsed([*settings, *overrides])
    try:
        ConfigLoaderImpl._apply_overrides_to_config(parsed, cfg)
    except HydraException as error:
        explained = explain(error)
        assert explained is not None
        raise explained from error
    _refuse_masked(cfg, run)
    try:
        return resolve(cfg)
    except InputError as error:
        if not overrides:
            remedy = f"{error.remedy}; change it with KEY=VALUE, or drop it with ~KEY"
            raise InputError(
                f"this version does not take the config of {run}: {error.what}", remedy
            ) from error
        raise InputError(f"the config of {run} with these overrides: {error.what}", error.remedy) from error


def _plain(text: str, run: str) -> dict[str, Any]:
    try:
        plain = yaml.safe_load(text.replace(MASK, _MASKED))
    except yaml.YAMLError as error:
        raise InputError(f"the config.yaml of {run} is damaged", "rerun another run") from error
    if not isinstance(plain, dict) or not all(isinstance(plain.get(axis), dict) for axis in AXES):
        lacking = next((axis for axis in AXES if not (isinstance(plain, dict) and plain.get(axis))), "")
        raise InputError(f"the config.yaml of {run} has no {lacking}", "rerun another run")
    escaped: dict[str, Any] = _escaped(plain)
    return escaped


def _escaped(value: Any) -> Any:
    """Plain values in which nothing is taken for an interpolation: the run has resolved its own."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _linked(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the references again that shipped options have to other keys."""
    seed = plain.get("seed")
    linked = {
        key: _following(value, seed) if key in AXES and seed is not None else value
        for key, value in plain.items()
    }
    given = OmegaConf.create(dict(plain))
    for label, (source, derivation) in _DERIVED.items():
        value = OmegaConf.select(given, source)
        derived = OmegaConf.create({"is": derivation, source.split(".")[0]: {source.split(".")[1]: value}})
        if isinstance(value, str) and derived["is"] == OmegaConf.select(given, label):
            linked["labels"] = {**linked["labels"], label.split(".")[1]: derivation}
    return linked


def _following(value: Any, seed: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "${seed}" if key == "seed" and item == seed else _following(item, seed)
            for key, item in value.items()
        }
    return [_following(item, seed) for item in value] if isinstance(value, list) else value


def _parsed(overrides: Sequence[str]) -> list[Override]:
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        explained = explain(error)
        assert explained is not None
        raise explained from error
    for override in parsed:
        _refuse_unfit(override)
    return parsed


def _refuse_unfit(override: Override) -> None:
    key, line = override.key_or_group, override.input_line
    if override.is_sweep_override():
        raise InputError(f"{line} is a sweep, and a rerun is one run", "give one value")
    is_group = "/" in key or override.package is not None or key == "experiment"
    if is_group or (key in AXES and not isinstance(override.value(), dict)):
        raise InputError(
            f"{line} chooses an option, and a stored config has keys alone",
            f"override single keys, or run it anew: tiltyard … {line}; then tiltyard report --compare",
        )


def _refuse_masked(cfg: DictConfig, run: str) -> None:
    masked = [path for path, value in _leaves(OmegaConf.to_container(cfg), "") if _MASKED in str(value)]
    if masked:
        raise InputError(
            f"{', '.join(masked)} of {run} held a secret, which is not kept",
            f"give it from the environment: '{masked[0]}=${{oc.env:VARIABLE}}'",
        )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _leaves(item, f"{path}[{position}]")
    else:
        yield path, value
