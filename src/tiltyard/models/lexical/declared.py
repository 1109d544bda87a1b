"""The types that a request declares for its output fields, read from what DSPy's adapters write about them.

>>> declared("Literal['', 'thousand']").choices
('', 'thousand')
>>> declared("list[int]").item.kind
'integer'
"""

import ast
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "integer", "number", "boolean", "choice", "list", "object", "leaf", "unknown"]


@dataclass(frozen=True)
class Declared:
    """What values an output field may take."""

    kind: Kind
    choices: tuple[Any, ...] = ()
    """The values of a ``choice``, in the order of declaration."""
    item: "Declared | None" = None
    """What a ``list`` holds."""
    properties: tuple[tuple[str, "Declared"], ...] = ()
    """The named parts of an ``object``; empty for an open mapping."""


TEXT = Declared("text")
UNKNOWN = Declared("unknown")
LEAF = Declared("leaf")
"""A part of an XML structure, whose type the prompt does not show."""
_SCALARS: Mapping[str, Declared] = {
    "str": TEXT,
    "string": TEXT,
    "int": Declared("integer"),
    "integer": Declared("integer"),
    "float": Declared("number"),
    "number": Declared("number"),
    "bool": Declared("boolean"),
    "boolean": Declared("boolean"),
    "dict": Declared("object"),
    "object": Declared("object"),
    "list": Declared("list", item=TEXT),
    "array": Declared("list", item=TEXT),
}
_CHOICES = re.compile(r"must (?:exactly match \(no extra characters\) )?(?:be )?one of: (.*)", re.DOTALL)
_SCHEMA = re.compile(r"must adhere to the JSON schema: (.*)", re.DOTALL)


def declared(annotation: str, note: str = "", example: str = "") -> Declared:
    """The type that an annotation's printed name means.

    Args:
        annotation: As the adapters print it: ``str``, ``Literal['a', 'b']``, ``Union[int, NoneType]``, a
            class's name.
        note: What the prompt says that the value must be; used where the name says too little.
        example: The nested XML structure that the prompt shows for the field; used last.
    """
    try:
        found = _from_syntax(ast.parse(annotation.strip(), mode="eval").body)
    except (SyntaxError, ValueError):
        found = UNKNOWN
    if found.kind != "unknown" and found.item is not UNKNOWN:
        return found
    if choices := _CHOICES.search(note):
        return Declared("choice", tuple(choices[1].split("; ")))
    if schema := _SCHEMA.search(note):
        try:
            return from_schema(json.loads(schema[1]))
        except ValueError:
            return found
    try:
        return _from_example(ET.fromstring(example)) if example else found
    except ET.ParseError:
        return found


def _from_syntax(node: ast.expr) -> Declared:
    if isinstance(node, ast.Name):
        return _SCALARS.get(node.id, UNKNOWN)
    if not isinstance(node, ast.Subscript):
        return UNKNOWN
    name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return Declared("choice", tuple(ast.literal_eval(part) for part in parts))
    if name == "Annotated":
        return _from_syntax(parts[0])
    if name in ("Union", "Optional"):
        return next((_from_syntax(part) for part in parts if getattr(part, "id", "") != "NoneType"), UNKNOWN)
    if name.lower() in ("list", "set", "tuple", "sequence", "frozenset"):
        return Declared("list", item=_from_syntax(parts[0]))
    return Declared("object") if name.lower() in ("dict", "mapping") else UNKNOWN


def from_schema(schema: Any, definitions: Mapping[str, Any] | None = None, depth: int = 0) -> Declared:
    """The type that a JSON schema describes; what it cannot read is ``unknown``.

    Args:
        schema: The schema, as JSON values.
        definitions: The named schemas that it may refer to; its own ``$defs`` when None.
        depth: How deep the schema is nested; recursive types end at eight levels.
    """
    if not isinstance(schema, Mapping) or depth > 8:
        return UNKNOWN
    if definitions is None:
        definitions = schema.get("$defs", {})
    if reference := schema.get("$ref"):
        return from_schema(definitions.get(str(reference).rsplit("/", 1)[-1]), definitions, depth + 1)
    if variants := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        chosen = next((variant for variant in variants if variant.get("type") != "null"), variants[0])
        return from_schema(chosen, definitions, depth + 1)
    if "enum" in schema or "const" in schema:
        return Declared("choice", tuple(schema.get("enum", [schema.get("const")])))
    kind = schema.get("type", "")
    if kind == "array":
        return Declared("list", item=from_schema(schema.get("items", {}), definitions, depth + 1))
    if kind == "object":
        named = schema.get("properties", {}).items()
        return Declared(
            "object",
            properties=tuple((name, from_schema(part, definitions, depth + 1)) for name, part in named),
        )
    return _SCALARS.get(kind, UNKNOWN)


def _from_example(element: ET.Element) -> Declared:
    children = list(element)
    if not children:
        return LEAF
    if [child.tag for child in children] == ["item"]:
        return Declared("list", item=_from_example(children[0]))
    return Declared("object", properties=tuple((child.tag, _from_example(child)) for child in children))
