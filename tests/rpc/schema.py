"""The part of JSON Schema that the node's documents use, as a check of a value."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, Any] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
LIMITS: dict[str, Any] = {
    "minimum": lambda value, bound: not isinstance(value, int) or value >= bound,
    "maximum": lambda value, bound: not isinstance(value, int) or value <= bound,
    "minItems": lambda value, bound: not isinstance(value, list) or len(value) >= bound,
    "maxItems": lambda value, bound: not isinstance(value, list) or len(value) <= bound,
    "maxLength": lambda value, bound: not isinstance(value, str) or len(value) <= bound,
}
"""As JSON Schema has it, each speaks of values of one type only."""
KNOWN = {
    "title", "description", "type", "pattern", "enum", "const", "items", "properties", "required",
    "anyOf", "oneOf", "$ref", "minimum", "maximum", "minItems", "maxItems", "maxLength",
}  # fmt: skip


def problems(schema: dict[str, Any], value: Any, document: Any, where: str = "") -> list[str]:
    """Return what is wrong with a value; properties that no schema names are wrong too."""
    assert set(schema) <= KNOWN, f"{where}: this checker does not know {set(schema) - KNOWN}"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return problems(document["components"]["schemas"][name], value, document, where)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            tried = [problems(part, value, document, where) for part in schema[choice]]
            return [] if [] in tried else [f"{where}: fits no part of {choice}: {value!r}"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(TYPES[kind](value) for kind in kinds):
        return [f"{where}: {value!r} is not {kinds}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is not one of {schema['enum']}"]
    if "const" in schema and value != schema["const"]:
        return [f"{where}: {value!r} is not {schema['const']!r}"]
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        return [f"{where}: {value!r} does not match {schema['pattern']}"]
    for word, bound in schema.items():
        if word in LIMITS and not LIMITS[word](value, bound):
            return [f"{where}: {value!r} breaks {word} {bound}"]
    if isinstance(value, list) and "items" in schema:
        return [
            problem
            for number, item in enumerate(value)
            for problem in problems(schema["items"], item, document, f"{where}[{number}]")
        ]
    if isinstance(value, dict) and "properties" in schema:
        return _object_problems(schema, value, document, where)
    return []


def _object_problems(
    schema: dict[str, Any], value: dict[str, Any], document: Any, where: str
) -> list[str]:
    known = schema["properties"]
    found = [
        f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value
    ]
    found += [f"{where}: {name} is unknown" for name in value if name not in known]
    for name, part in known.items():
        if name in value:
            found += problems(part, value[name], document, f"{where}.{name}")
    return found
