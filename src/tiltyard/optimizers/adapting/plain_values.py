"""Turns what models and programs hold into values that a file can keep.

>>> plain({"answer": "412", "when": date(2024, 3, 5)})
{'answer': '412', 'when': '2024-03-05'}
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from tiltyard.redaction import redact


def plain(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Predicted fields as values that survive JSON; what has no JSON form becomes its text."""
    values: dict[str, Any] = to_jsonable_python(dict(outputs), fallback=str)
    return values


def redacted(value: Any) -> Any:
    """Plain values with the secrets in their texts masked.

    Before they become JSON: in a line of JSON, a mask can swallow the sign that escapes a quote.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redacted(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return value


def well_formed(text: str) -> str:
    """A model's text as it can be written to a file: half a surrogate pair becomes its escape."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")
