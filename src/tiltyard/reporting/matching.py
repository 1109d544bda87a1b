"""Tells which runs a check is about: those that have the axes and params that it asks for.

>>> fits(run, {"task": "iot_tiny", "optimizer": ["bootstrap", "ace"], "optimizer.epochs": 2})
True
"""

import difflib
import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tiltyard.config import OUTSIDE_FINGERPRINT
from tiltyard.reporting.thresholds import Value, Where

if TYPE_CHECKING:
    from tiltyard.tracking.reader import TrackedRun

AXES = ("task", "model", "optimizer", "simulation")
LABELS = (*AXES, "split", "mode", "sweep")
"""Names of a run's own labels; any other name but ``run`` is that of a param."""
RUN = "run"
"""The name of a run's id; the beginning of one is enough."""


def fits(run: "TrackedRun", where: Where) -> bool:
    """Whether a run has all that is asked for."""
    return all(
        any(_is(value_of(run, name), name, value) for value in _values(wanted))
        for name, wanted in where.items()
    )


def _values(wanted: Value | list[Value]) -> list[Value]:
    return wanted if isinstance(wanted, list) else [wanted]


def value_of(run: "TrackedRun", name: str) -> str | None:
    """One of a run's labels or params as text; None where it has none of this name."""
    if name in LABELS:
        return str(getattr(run, name))
    return run.run_id if name == RUN else run.params.get(name)


def _is(value: str | None, name: str, wanted: Value) -> bool:
    if value is None:
        return False
    if name == RUN:
        return value.startswith(str(wanted).lower())
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        try:
            return float(value) == wanted  # what YAML calls 0 may be the param 0.0
        except ValueError:
            return False
    return value == str(wanted)  # as params are written: True, None


def described(where: Where) -> str:
    """What is asked for, in one line: ``task=iot_tiny optimizer=bootstrap,ace``."""
    shown = [f"{name}={','.join(map(_written, _values(wanted)))}" for name, wanted in where.items()]
    return " ".join(shown) or "every run"


def _written(value: Value) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def why_none(where: Where, runs: "Sequence[TrackedRun]") -> str:
    """Why no run fits: the first thing that none has, else that none has all of it together."""
    for name, wanted in where.items():
        there = dict.fromkeys(value for run in runs if (value := value_of(run, name)) is not None)
        if not there:
            known = {*LABELS, RUN, *(param for run in runs for param in run.params)}
            close = difflib.get_close_matches(name, sorted(known), n=1)
            return f"no run has '{name}'" + (f"; did you mean '{close[0]}'?" if close else "")
        if not any(fits(run, {name: wanted}) for run in runs):
            return f"no run has {described({name: wanted})}; there are: {', '.join([*there][-8:])}"
    return "no run has all of this together"


def differences(run: "TrackedRun", other: "TrackedRun", named: Collection[str]) -> list[str]:
    """What else of two runs' configs differs than what is named, as ``limit (3, None)``.

    Args:
        run: A run.
        other: Another run.
        named: Axes and params; an axis stands for all of its options.
    """
    apart = (*OUTSIDE_FINGERPRINT, *(name for name in named if name in AXES))
    return [
        f"{name} ({value_of(run, name) or '–'}, {value_of(other, name) or '–'})"
        for name in dict.fromkeys((*run.params, *other.params))
        if name not in named
        and name.split(".")[0] not in apart
        and value_of(run, name) != value_of(other, name)
    ]
