"""Tells one compilation from others, so that it goes on from its own checkpoints alone.

>>> fingerprint({"epochs": 2}, student, train=train, validation=[], metric=metric, models=[reflector])
'5f0c…'
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from tiltyard.optimizers.adapting.answering import Metric
from tiltyard.redaction import is_secret_name


def fingerprint(
    settings: Mapping[str, Any],
    student: dspy.Module,
    *,
    train: Sequence[dspy.Example],
    validation: Sequence[dspy.Example],
    metric: Metric | None,
    models: Sequence[Any],
) -> str:
    """A hash of what decides a compilation, as far as it can be known here.

    Of a metric that is its name, of a model its name and settings without its key, of the adapter its class.

    Args:
        settings: The optimizer's own.
        student: What is compiled.
        train: What is learnt from.
        validation: What is chosen by.
        metric: What judges; None where nothing does.
        models: Those besides the program's and that of DSPy's settings; None among them counts as none.
    """
    own = [predictor.lm for predictor in student.predictors()]
    described = {
        "settings": settings,
        "student": [_named(type(student)), _state_of(student)],
        "train": [_described(example) for example in train],
        "validation": [_described(example) for example in validation],
        "metric": _named(metric),
        "models": [_model(lm) for lm in (dspy.settings.lm, *models, *own)],
        "adapter": _named(type(dspy.settings.adapter)),
    }
    return hashlib.sha256(json.dumps(described, default=str, sort_keys=True).encode()).hexdigest()


def _described(example: dspy.Example) -> list[Any]:
    return [example.toDict(), sorted(example.inputs().keys())]


def _state_of(program: dspy.Module) -> dict[str, Any]:
    copy = program.deepcopy()
    for predictor in copy.predictors():
        predictor.lm = None  # not every engine has a state
    state: dict[str, Any] = copy.dump_state()
    return state


def _named(thing: Any) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def _model(lm: Any) -> list[Any]:
    settings = getattr(lm, "kwargs", None) or {}
    open_settings = {name: value for name, value in settings.items() if not is_secret_name(name)}
    return [getattr(lm, "model", None), open_settings]
