"""What a config looks like as MLflow params: flat, cut to MLflow's limits, and without secrets.

>>> flatten({"model": {"name": "lexical", "api_key": "…"}, "seed": 0})
{'model.name': 'lexical', 'seed': '0'}
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tiltyard.redaction import is_secret_name, redact

VALUE_LIMIT = 6000
"""MLflow's longest param value, in characters."""
TAG_LIMIT = 8000
"""MLflow's longest tag value, in characters."""
DESCRIPTION_LIMIT = 5000
"""MLflow's longest description of a registered version, in characters; PostgreSQL refuses a longer one."""
NAME_LIMIT = 250
"""MLflow's longest name of a param, metric or tag, in characters."""

_ILLEGAL = re.compile(r"[^\w.\-/ ]")


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Params from nested mappings and lists, with dotted names; secret-looking keys are left out."""
    return {legal_name(name): shorten(redact(str(value)), VALUE_LIMIT) for name, value in _leaves(config, "")}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or not name):
        for key, item in value.items():
            if not is_secret_name(str(key)):
                yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for position, item in enumerate(value):
            yield from _leaves(item, f"{name}.{position}")
    else:
        yield name, value


def legal_name(name: str) -> str:
    """The name with what MLflow refuses in names of params and metrics replaced by underscores."""
    legal = _ILLEGAL.sub("_", name)[:NAME_LIMIT]
    if posixpath.normpath(legal) == legal and legal[0] not in "./":
        return legal
    return re.sub(r"^\.+|/", "_", legal)  # MLflow takes a slash only where it reads as a path


def shorten(text: str, limit: int) -> str:
    """The text, cut to ``limit`` characters with an ellipsis as the last."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
