"""What a sweep varied beyond the options that every table of results has columns for.

>>> swept(results)  # of -m optimizer=labeled_few_shot optimizer.k=1,8
{'k': ['1', '8']}
"""

from collections import Counter
from collections.abc import Sequence

from tiltyard.reporting.numbers import MISSING
from tiltyard.result import ExperimentResult

OPTIONS = ("model", "task", "optimizer", "simulation")
SHOWN = {*OPTIONS, "seed", *(f"labels.{option}" for option in OPTIONS)}
"""Overrides whose effect stands in a table's own columns."""
HEADINGS = {*OPTIONS, "job", "seed", "score", "examples", "failed", "cached", "p50", "p95", "status"} | {
    "kept from"
}
"""Names that a table's own columns have."""
DELETED = "deleted"
"""What stands for an override that takes a value away, ``~key``."""


def swept(results: Sequence[ExperimentResult]) -> dict[str, list[str]]:
    """The overrides that vary over the jobs of a sweep: a heading each, and every job's value.

    A heading is the last dotted part of the override's key; the whole key where two keys end alike, or
    where a table has a column of that name already.

    Args:
        results: One per job, in the order of the jobs.
    """
    of_jobs = [dict(map(_key_and_value, result.overrides)) for result in results]
    keys = dict.fromkeys(key for overrides in of_jobs for key in overrides if key not in SHOWN)
    values = {key: [overrides.get(key, MISSING) for overrides in of_jobs] for key in keys}
    varying = {key: found for key, found in values.items() if len(set(found)) > 1}
    endings = Counter(map(_ending, varying))
    return {
        key if endings[_ending(key)] > 1 or _ending(key) in HEADINGS else _ending(key): found
        for key, found in varying.items()
    }


def _key_and_value(override: str) -> tuple[str, str]:
    """Hydra's ``key=value``, ``+key=value``, ``++key=value`` or ``~key[=value]``."""
    key, _, value = override.partition("=")
    return key.lstrip("+~"), DELETED if key.startswith("~") else value


def _ending(key: str) -> str:
    return key.rpartition(".")[2]
