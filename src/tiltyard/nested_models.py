"""Finds the models inside an option's node, such as an optimizer's reflector, and hands built ones to it.

>>> node = {"_target_": "…ACE", "reflector": {"_target_": "…embedded", "weights": "shipped"}, "epochs": 1}
>>> model_nodes(node, "optimizer")
{'optimizer.reflector': {'_target_': '…embedded', 'weights': 'shipped'}}
>>> with_models(node, "optimizer", {"optimizer.reflector": lm})  # what Hydra builds with that very model

Such a node comes from Hydra's own package override: ``+model@optimizer.reflector=embedded``.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, get_args, get_type_hints

from tiltyard.signatures import TARGET, options_of, target_of

_BESIDE = {"labels"}
"""What stands in a model's option beside the model, where the option is written for the top level."""


def model_nodes(node: Mapping[str, Any], path: str) -> dict[str, Mapping[str, Any]]:
    """The nodes inside a node that build a ``dspy.LM``, by their paths.

    A node builds one where its target is such a class, says so in its return annotation, or stands for an
    argument that is annotated as one.

    Args:
        node: Plain values. The node itself is not looked at.
        path: Where it stands in the config, dotted.

    Raises:
        InputError: A target cannot be imported.
    """
    return dict(_found(node, path, Any))


def with_models(node: Mapping[str, Any], path: str, models: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a node with other values in the place of models.

    Args:
        node: Plain values.
        path: Where it stands in the config, dotted.
        models: Built models, or None for nothing, by the paths that :func:`model_nodes` gives.
    """
    changed: dict[str, Any] = _replaced(node, path, models)
    return changed


def unwrapped(value: Any) -> Any:
    """A copy of plain values in which models stand alone, before interpolations are resolved.

    Some options of the model group are written for the top level: they hold the model under ``model``, and
    beside it a label that refers to the run's own model.
    """
    if isinstance(value, dict):
        return (
            unwrapped(value["model"]) if _is_wrapped(value) else {k: unwrapped(v) for k, v in value.items()}
        )
    return [unwrapped(item) for item in value] if isinstance(value, list) else value


def _is_wrapped(value: Mapping[str, Any]) -> bool:
    model = value.get("model")
    return set(value) - _BESIDE == {"model"} and isinstance(model, dict) and TARGET in model


def _found(value: Any, path: str, annotation: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        options = options_of(target_of(value, path))[0] if TARGET in value else {}
        for key, item in value.items():
            inner = f"{path}.{key}"
            expected = options[key].annotation if key in options else Any
            if (
                isinstance(item, Mapping)
                and TARGET in item
                and _builds_model(target_of(item, inner), expected)
            ):
                yield inner, item
            else:
                yield from _found(item, inner, expected)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            inner = f"{path}[{position}]"
            if (
                isinstance(item, Mapping)
                and TARGET in item
                and _builds_model(target_of(item, inner), annotation)
            ):
                yield inner, item
            else:
                yield from _found(item, inner, annotation)


def _builds_model(target: Callable[..., Any], expected: Any) -> bool:
    if inspect.isclass(target):
        return _is_model(target)
    try:
        returned = get_type_hints(target).get("return")
    except (NameError, TypeError):  # annotations that only a type checker can resolve
        returned = None
    return _is_model(returned) or (returned is None and _is_model(expected))


def _is_model(annotation: Any) -> bool:
    import dspy

    if inspect.isclass(annotation):
        return issubclass(annotation, dspy.BaseLM)
    return any(_is_model(argument) for argument in get_args(annotation))


def _replaced(value: Any, path: str, models: Mapping[str, Any]) -> Any:
    if path in models:
        model = models[path]
        return None if model is None else {TARGET: f"{__name__}.taken", "built": _Built(model)}
    if isinstance(value, Mapping):
        return {key: _replaced(item, f"{path}.{key}", models) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, f"{path}[{n}]", models) for n, item in enumerate(value)]
    return value


class _Built:
    """A model on its way through Hydra, which copies every value of a node and reads dataclasses."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def taken(built: _Built) -> Any:
    """The model itself; what Hydra calls in the place of the model's own target."""
    return built.model
