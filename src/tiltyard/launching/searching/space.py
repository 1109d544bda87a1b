"""The space of a search: which values each option may take, from Hydra's own sweep syntax.

>>> space = read_space(["model=lexical", "model.trust=interval(0.1, 2)"], loader)
>>> space.overrides({"model.trust": 0.5})
['model=lexical', 'model.trust=0.5']
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from tiltyard.config import OUTSIDE_FINGERPRINT
from tiltyard.errors import InputError
from tiltyard.launching.plan import SAME_FOR_ALL, SAME_HARDWARE

LOG = "log"
"""The tag that has an interval searched on a logarithmic scale."""
MOST_CHOICES = 10_000
"""More listed values than that are meant as an interval."""


@dataclass(frozen=True)
class Parameter:
    """An option whose value is searched."""

    key: str
    """The option, as it is written on the command line, less a leading ``+``."""
    adds: str
    """The ``+`` or ``++`` in front of it, if any."""
    distribution: BaseDistribution
    """The values that it may take. Listed ones are texts, as they stand in an override."""

    def override(self, value: Any) -> str:
        """The override that gives the option a value."""
        return f"{self.adds}{self.key}={value if isinstance(value, str) else repr(value)}"

    def extremes(self) -> list[Any]:
        """The values to check before anything runs: both ends of a range, and all of a list."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return list(distribution.choices)
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        return list(dict.fromkeys((distribution.low, distribution.high)))

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuum."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return len(distribution.choices)
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.step is None:
            return None
        return round((distribution.high - distribution.low) / distribution.step) + 1

    def __str__(self) -> str:
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return ", ".join(map(str, distribution.choices))
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        kind = "integers " if isinstance(distribution, IntDistribution) else ""
        step = "" if distribution.step in (None, 1) else f", in steps of {distribution.step}"
        scale = ", on a logarithmic scale" if distribution.log else ""
        return f"{kind}{distribution.low} to {distribution.high}{step}{scale}"


@dataclass(frozen=True)
class Space:
    """All searched options, beside the overrides that are the same for all trials."""

    entries: tuple[str | Parameter, ...]
    """Fixed overrides and searched options, in the order in which they were given."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The searched options."""
        return tuple(entry for entry in self.entries if isinstance(entry, Parameter))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws from, by the options' names."""
        return {parameter.key: parameter.distribution for parameter in self.parameters}

    @property
    def size(self) -> int | None:
        """How many combinations there are; None for a continuum."""
        sizes = [parameter.size for parameter in self.parameters]
        known = [size for size in sizes if size is not None]
        return math.prod(known) if len(known) == len(sizes) else None

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial.

        Args:
            values: The values of the searched options.
        """
        return [
            entry.override(values[entry.key]) if isinstance(entry, Parameter) else entry
            for entry in self.entries
        ]

    def extremes(self) -> Iterator[dict[str, Any]]:
        """Samples that together have every end of a range and every listed value.

        The first has each option's first value, the following change one option each, and the last has each
        option's last value.
        """
        ends = {parameter.key: parameter.extremes() for parameter in self.parameters}
        first = {key: values[0] for key, values in ends.items()}
        yield first
        for key, values in ends.items():
            for value in values[1:]:
                yield {**first, key: value}
        if len(ends) > 1:
            yield {key: values[-1] for key, values in ends.items()}

    def described(self) -> dict[str, Any]:
        """What decides about a trial's score beside the values: equal for searches that may share a study."""
        fixed = [entry for entry in self.entries if isinstance(entry, str)]
        return {
            "space": {
                key: json.loads(distribution_to_json(distribution))
                for key, distribution in sorted(self.distributions.items())
            },
            "overrides": sorted(entry for entry in fixed if _key_of(entry) not in OUTSIDE_FINGERPRINT),
        }


def _key_of(override: str) -> str:
    """The top-level key that an override changes."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0].partition(".")[0].partition("/")[0]


def read_space(arguments: list[str], loader: ConfigLoader) -> Space:
    """Read the space from overrides; of several for one key, the last counts.

    Args:
        arguments: Hydra overrides. Those with ``interval(a, b)``, ``range(…)``, ``choice(…)`` or listed
            values are searched.
        loader: Knows the options of groups, for ``glob(…)``.

    Raises:
        InputError: There is nothing to search, or a key or a value cannot be searched over.
    """
    entries: dict[str, str | Parameter] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(arguments):
        key = override.get_key_element().lstrip("+~")
        entries.pop(key, None)
        entries[key] = _parameter(override, key) if override.is_sweep_override() else _fixed(override)
    space = Space(tuple(entries.values()))
    if not space.parameters:
        raise InputError(
            "the search has nothing to search over",
            "give options a range, as in model.temperature='interval(0, 1)'; leave out hydra/sweeper=optuna "
            "for a single setting",
        )
    return space


def _fixed(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _parameter(override: Override, key: str) -> Parameter:
    if key.startswith("hydra"):
        raise InputError(f"'{key}' cannot be searched over", "a search has one set of Hydra settings")
    for same, why in SAME_FOR_ALL.items():
        if key.partition(".")[0] == same:
            raise InputError(f"'{key}' cannot be searched over", why)
    for option, why in SAME_HARDWARE.items():
        if key == f"hardware.{option}":
            raise InputError(f"'{key}' cannot be searched over", why)
    element = override.get_key_element()
    return Parameter(key, element[: len(element) - len(key)], _distribution(override, key))


def _distribution(override: Override, key: str) -> BaseDistribution:
    value = override.value()
    if getattr(value, "shuffle", False):
        raise InputError(f"{key}: shuffle() is of no use in a search", "leave it out: the sampler draws")
    try:
        if isinstance(value, IntervalSweep):
            return _interval(value, key)
        if isinstance(value, RangeSweep) and (stepped := _stepped(value)) is not None:
            return stepped
        choices = list(dict.fromkeys(override.sweep_string_iterator()))
        if not choices:
            raise InputError(f"{key} has no value", "give it at least one")
        if len(choices) > MOST_CHOICES:
            raise InputError(f"{key} has {len(choices)} values", f"write {key}='interval(LOW, HIGH)'")
        return CategoricalDistribution(choices)
    except (ValueError, HydraException) as error:
        raise InputError(f"{key}: {error}", "give a range from low to high") from error


def _interval(value: IntervalSweep, key: str) -> BaseDistribution:
    """``interval(a, b)``, with both ends; ``int(interval(a, b))`` are the integers in it."""
    assert value.start is not None
    assert value.end is not None
    log = LOG in value.tags
    if value.start > value.end:
        raise ValueError(f"interval({value.start}, {value.end}) is empty")
    if log and value.start <= 0:
        raise InputError(f"{key}: a logarithmic scale has no {value.start}", "let the interval begin above 0")
    if isinstance(value.start, int) and isinstance(value.end, int):
        return IntDistribution(value.start, value.end, log=log)
    return FloatDistribution(value.start, value.end, log=log)


def _stepped(value: RangeSweep) -> BaseDistribution | None:
    """A range as numbers, so that a sampler knows their order; None where it is too short for one.

    As in a sweep, the end is not among its values.
    """
    values = sorted(value.range())
    if len(values) < 2:
        return None
    step = abs(value.step)
    if all(isinstance(number, int) for number in values):
        return IntDistribution(values[0], values[-1], log=LOG in value.tags and step == 1, step=int(step))
    return FloatDistribution(values[0], values[-1], step=step)
