"""Checks a config node against the signature of the class or function that it names.

The schema of an option is its ``_target_``'s signature, so names, types, bounds and defaults stand once.

    >>> check_node({"_target_": "dspy.LabeledFewShot", "kk": 4}, path="optimizer")
    Traceback (most recent call last):
    ...
    tiltyard.errors.InputError: unknown key 'optimizer.kk'; did you mean 'k'? LabeledFewShot takes: k
"""

import difflib
import inspect
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from hydra.utils import get_object
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from tiltyard.errors import InputError
from tiltyard.redaction import is_secret_name, redact

TARGET = "_target_"
HYDRA_KEYS = frozenset({TARGET, "_partial_", "_recursive_", "_convert_", "_args_"})
"""Keys of a node that Hydra's ``instantiate`` reads itself."""
MISSING = "???"


@dataclass(frozen=True)
class Content:
    """Marks an option whose *content* decides the result: a data file, a folder of weights.

    Use it as ``Annotated[str, Content(file_digest)]``. The fingerprint of a run then holds the digest
    instead of the path.
    """

    digest: Callable[[str], str]
    """Maps the option's value to a digest of what it points to."""


@dataclass(frozen=True)
class Option:
    """One parameter of a target."""

    annotation: Any
    required: bool


@dataclass(frozen=True)
class Leaf:
    """One plain value of a config, with the annotation that it was checked against."""

    path: str
    value: Any
    annotation: Any

    @property
    def content(self) -> Content | None:
        """The marker of an option that stands for content, where it has one."""
        return next((mark for mark in get_args(self.annotation) if isinstance(mark, Content)), None)


def target_of(node: Mapping[str, Any], path: str) -> Callable[..., Any]:
    """Import what ``_target_`` names.

    Raises:
        InputError: The node names no target, or one that cannot be imported.
    """
    name = node.get(TARGET)
    if not isinstance(name, str):
        raise InputError(f"{path} has no {TARGET}", "name the class or function that it configures")
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it logs what is raised as well
    try:
        target: Callable[..., Any] = get_object(name)
    except (Exception, SystemExit) as error:  # Hydra wraps whatever the module raised at import
        cause = error.__cause__ or error
        reason = (str(cause) or type(cause).__name__).splitlines()[0]
        raise InputError(
            f"{path}.{TARGET}: cannot import '{name}' ({reason})", "check the name, or install its package"
        ) from error
    if not callable(target):
        raise InputError(f"{path}.{TARGET}: '{name}' is not a class or a function", "name one that is")
    return target


@cache
def options_of(target: Callable[..., Any]) -> tuple[dict[str, Option], bool]:
    """The parameters of a target, and whether it takes further ones (``**kwargs``).

    A parameter without an annotation takes its type from its default; a count whose default is positive
    cannot be negative.
    """
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # some of Python's own, such as dict
        return {}, True
    documented = inspect.getattr_static(target, "__init__") if inspect.isclass(target) else target
    try:
        hints = get_type_hints(documented, include_extras=True)
    except (NameError, TypeError):  # annotations that only a type checker can resolve
        hints = {}
    options: dict[str, Option] = {}
    open_ended = False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            annotation = hints.get(parameter.name, _type_of_default(parameter.default))
            options[parameter.name] = Option(annotation, required=parameter.default is parameter.empty)
    return options, open_ended


def _type_of_default(default: Any) -> Any:
    from typing import Annotated

    from pydantic import Field

    if isinstance(default, bool | str):
        return type(default)
    if isinstance(default, int):
        return Annotated[int | None, Field(ge=0)] if default > 0 else int | None
    if isinstance(default, float):
        return float | None
    return Any


def check_node(
    node: Mapping[str, Any],
    path: str,
    *,
    target: Callable[..., Any] | None = None,
    supplied: Collection[str] = (),
    inside: Collection[str] = (),
) -> list[Leaf]:
    """Check a resolved node, and every node inside it, against the signatures that they name.

    Args:
        node: The node's keys and values.
        path: Where the node stands in the config, dotted; empty for the root.
        target: What the node configures; read from ``_target_`` when None.
        supplied: Parameters that the program passes itself, which YAML need not give.
        inside: Parameters that it passes to the nodes inside this one.

    Returns:
        The plain values of the node, with their annotations.

    Raises:
        InputError: A key is unknown, missing or named like a secret; a value has the wrong type or is out
            of bounds.
    """
    resolved = target if target is not None else target_of(node, path)
    options, open_ended = options_of(resolved)
    keys = [key for key in node if key not in HYDRA_KEYS]
    offered = [name for name in options if name not in supplied]
    for key in keys:
        if key not in options and not open_ended and not is_secret_name(key):
            raise InputError(
                f"unknown key '{_join(path, key)}'", _known_keys(key, offered, name_of(resolved))
            )
        _refuse_secrets(node[key], _join(path, key), key)
    if not node.get("_partial_"):  # the rest of a partial's arguments come later
        for name in offered:
            if options[name].required and name not in node:
                raise InputError(f"{_join(path, name)} is not set", f"add +{_join(path, name)}=VALUE")
    return [
        leaf
        for key in keys
        for leaf in _check_value(
            node[key], _join(path, key), options[key].annotation if key in options else Any, inside
        )
    ]


def _refuse_secrets(value: Any, path: str, key: str) -> None:
    """Refuse a value that is a secret by its key, or by its own look, however deep it stands."""
    if isinstance(value, Mapping):
        for inner, item in value.items():
            _refuse_secrets(item, _join(path, str(inner)), str(inner))
    elif isinstance(value, list):
        for item in value:
            _refuse_secrets(item, path, key)
    elif value is not None and (is_secret_name(key) or (isinstance(value, str) and redact(value) != value)):
        raise InputError(
            f"'{path}' looks like a secret, and configs are written to disk",
            "give it in an environment variable",
        )


def _check_value(value: Any, path: str, annotation: Any, inside: Collection[str]) -> Iterator[Leaf]:
    if value == MISSING:
        raise InputError(f"{path} is not set", f"add {path}=VALUE")
    if isinstance(value, Mapping) and TARGET in value:
        yield from check_node(value, path, supplied=inside, inside=inside)
    elif isinstance(value, Mapping) and is_dataclass(annotation):
        yield from check_node(value, path, target=annotation)  # type: ignore[arg-type]
    elif isinstance(value, list) and any(map(_is_node, value)):
        for position, item in enumerate(value):
            yield from _check_value(item, f"{path}[{position}]", Any, inside)
    elif isinstance(value, Mapping) and any(map(_is_node, value.values())):
        for key, item in value.items():
            yield from _check_value(item, _join(path, str(key)), Any, inside)
    else:
        _check_type(value, path, annotation)
        yield Leaf(path, value, annotation)


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and TARGET in value


def _check_type(value: Any, path: str, annotation: Any) -> None:
    try:
        adapter = TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return  # a class of the user's own: its constructor is the check
    try:
        # JSON's strict mode is YAML's view of types: "3" is no number, a list may become a tuple.
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ")
        message = message.replace("Input should be", "should be", 1)
        inner = "".join(f"[{part}]" for part in problem["loc"] if isinstance(part, int))
        raise InputError(f"{path}{inner}={_shown(value)}: {message}", f"change {path}") from error


def _shown(value: Any) -> str:
    return "null" if value is None else json.dumps(value, ensure_ascii=False)


def name_of(target: Callable[..., Any]) -> str:
    """What a target is called in messages."""
    return str(getattr(target, "__name__", target))


def _known_keys(key: str, offered: list[str], name: str) -> str:
    close = difflib.get_close_matches(key, offered, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}{name} takes: {', '.join(offered) if offered else 'no keys'}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)
