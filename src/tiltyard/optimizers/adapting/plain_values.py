"""Turns what models and programs hold into values that a file can keep.

>>> plain({"answer": "412", "when": date(2024, 3, 5)})
{'answer': '412', 'when': '2024-03-05'}
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python


def plain(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Predicted fields as values that survive JSON; what has no JSON form becomes its text."""
    values: dict[str, Any] = to_jsonable_python(dict(outputs), fallback=str)
    return values


def well_formed(text: str) -> str:
    """A model's text as it can be written to a file: half a surrogate pair becomes its escape."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")
