"""The top level of an experiment's config: its schema, its check, and the fingerprint of a run.

>>> cfg = resolve(composed)          # a Hydra config, from the command line or from ``compose``
>>> fingerprint(cfg)
'5f0c…'
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from tiltyard.digests import Operational, Settled, describe, digest, engines_digest
from tiltyard.errors import InputError, TiltyardError
from tiltyard.nested_models import model_nodes, unwrapped
from tiltyard.signatures import MISSING, Content, Leaf, check_node, options_of, target_of

__all__ = [
    "AXES",
    "Content",
    "ExperimentConfig",
    "HealthLimits",
    "Operational",
    "Settled",
    "check",
    "data_digests",
    "fingerprint",
    "instantiate",
    "model_identity",
    "nested_models",
    "resolve",
]

AXES: dict[str, tuple[str, ...]] = {
    "model": ("hardware",),
    "task": (),
    "hardware": (),
    "optimizer": ("metric", "checkpoints"),
    "simulation": (),
    "tracking": (),
}
"""The config groups, each with the arguments that the pipeline passes to its target itself."""

INSIDE: dict[str, tuple[str, ...]] = {"optimizer": (*AXES["optimizer"], *AXES["model"])}
"""What it passes to the nodes inside one: to a chain's steps, and to an optimizer's further models."""

OUTSIDE_FINGERPRINT = (
    "labels",
    "tracking",
    "debug",
    "evaluation",
    "cache",
    "resume",
    "retry",
    "plan",
    "timeout",
)
"""Top-level keys that cannot change a result: names, places, how many run at once, what is reused or run."""


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


EvaluatedSplit = Literal["test", "validation"]
"""A split that a run may evaluate."""

Rate = Annotated[float | None, Field(ge=0, le=1)]
"""A share of examples, or None for any."""


@dataclass(frozen=True)
class HealthLimits:
    """The highest rates at which a run still passes; null lets any rate pass.

    A run that exceeds one fails when all its results are recorded. :mod:`tiltyard.evaluation.health` says
    exactly what each rate is.
    """

    truncated: Rate = None
    """Examples with a completion that the token limit cut off."""
    unparsed: Rate = None
    """Examples whose completion did not have the format asked for."""
    error: Rate = None
    """Examples that failed for any other reason."""
    empty: Rate = None
    """Examples that were answered with nothing."""
    constant: Rate = None
    """Of the examples with another gold answer, those that got the most frequent answer."""
    duplicates: Rate = None
    """Evaluated items that also stand in train, or in validation unless that is evaluated."""
    gold_position_skew: Rate = None
    """How far the most favoured position of the right option exceeds its chance, in multiple choice."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How a program is evaluated."""

    threads: Annotated[int | None, Field(ge=1, le=1024)] = None
    """Examples in flight at once, no more than the model works on; null means as many as it does, and 8 where
    it does not say."""
    disable_caching: bool = False
    """Measure without any cache, the model's prefix cache included; compiling may still use them."""
    each_epoch: bool = False
    """Evaluate the program as it came and after each of the optimizer's epochs too, where it has epochs. The
    run's score stays that of the program which the optimizer chose."""
    fail_on: HealthLimits = field(default_factory=HealthLimits)
    """Health checks that fail a run."""


@dataclass(frozen=True)
class CacheConfig:
    """Where model answers are kept for reuse."""

    enabled: bool = True
    """Whether to use the response cache at all."""
    folder: str | None = None
    """The folder; null means ``$TILTYARD_CACHE_DIR``, else the user's cache folder."""
    size_limit_mb: Annotated[int, Field(ge=1)] = 4096
    """The most that it takes on disk, in MB; what was not used for longest makes room."""


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
    """How a program is evaluated."""
    cache: CacheConfig = field(default_factory=CacheConfig)
    """Where model answers are kept."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides every random choice: splits, shuffled options, sampling."""
    limit: Annotated[int | None, Field(ge=1)] = None
    """At most this many examples in each split; null means all."""
    split: EvaluatedSplit = "test"
    """The split that is evaluated: test to report a score, validation to choose among options by it. Where
    validation is evaluated, an optimizer sees train alone."""
    resume: bool = True
    """Continue a run of the same experiment that was interrupted, and keep combinations of a sweep that have
    finished before; false starts anew and runs all."""
    retry: Literal["failed"] | None = None
    """In a sweep, run only combinations whose last run failed or was killed."""
    plan: bool = False
    """Print what a sweep would do, and do nothing."""
    timeout: Annotated[float | None, Field(gt=0)] = None
    """Seconds that each job of a sweep may take; one that takes longer is ended. None sets no limit."""
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
            "evaluation": _evaluation(plain.get("evaluation", {})),
            "cache": CacheConfig(**plain.get("cache", {})),
        }
    )


def _evaluation(values: Mapping[str, Any]) -> EvaluationConfig:
    return EvaluationConfig(**{**values, "fail_on": HealthLimits(**values.get("fail_on", {}))})


def check(cfg: DictConfig) -> None:
    """Check a composed config without keeping anything.

    Raises:
        InputError: The first thing that is wrong with it.
    """
    _check_plain(_plain(cfg))


def _plain(cfg: DictConfig) -> dict[str, Any]:
    cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    if isinstance(cfg.get("optimizer"), DictConfig):
        cfg["optimizer"] = unwrapped(OmegaConf.to_container(cfg.optimizer))
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
        leaves += check_node(plain[axis], axis, supplied=supplied, inside=INSIDE.get(axis, ()))
    return leaves


def nested_models(cfg: ExperimentConfig) -> dict[str, Mapping[str, Any]]:
    """The nodes of the models beside the run's own: its optimizer's, by their paths in the config."""
    return model_nodes(cfg.optimizer, "optimizer")


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
    counted = {key: value for key, value in cfg.as_dict().items() if key not in OUTSIDE_FINGERPRINT}
    if not any(map(_takes_hardware, (cfg.model, *nested_models(cfg).values()))):
        del counted["hardware"]
    if cfg.split == "test":  # a config without the key means the same run
        del counted["split"]
    return digest(_described(cfg, counted))


def data_digests(cfg: ExperimentConfig) -> dict[str, str]:
    """The digests of what the task's options name, such as its data file, by the paths of these options.

    Raises:
        InputError: A file cannot be read.
    """
    leaves = check_node(cfg.task, "task", supplied=AXES["task"])
    digests: dict[str, str] = describe({}, leaves)["content"]
    return digests


def model_identity(cfg: ExperimentConfig, model: Mapping[str, Any] | None = None) -> str:
    """A hash of everything about the model that can change an answer, for the response cache's key.

    It covers the model as :func:`fingerprint` does, and the source of Tiltyard's own engines, which changes
    more often than its version. Options that a settled request holds (:class:`Settled`), such as a seed, are
    left to the request. Ask for it when the model is loaded: a Hub model then counts by its commit.

    Args:
        cfg: The run's config.
        model: The node of a model beside the run's own; None for that one. Equal nodes have one identity.

    Raises:
        InputError: A file that counts cannot be read.
    """
    if model is not None:
        cfg = replace(cfg, model=dict(model))
    counted = {"model": cfg.model}
    if _takes_hardware(cfg.model):
        counted["hardware"] = cfg.hardware
    described = _described(cfg, counted, left_out=(Operational, Settled))
    return digest({**described, "engines": engines_digest()})


def _takes_hardware(model: Mapping[str, Any]) -> bool:
    options, _ = options_of(target_of(model, "model"))
    return "hardware" in options


def _described(
    cfg: ExperimentConfig, counted: Mapping[str, Any], left_out: tuple[type, ...] = (Operational,)
) -> dict[str, Any]:
    leaves = [leaf for leaf in _check_plain(cfg.as_dict()) if leaf.path.split(".")[0] in counted]
    return describe(counted, leaves, left_out=left_out)
