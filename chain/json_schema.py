"""JSON Schema of the forms that json_form.py makes, from the same types, for ``rpc.discover``."""

from __future__ import annotations

from enum import IntEnum
from inspect import cleandoc
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from .codec import Record
from .fields import Blob, fields_of, json_names, members_of, optional_of
from .ids import PREFIX, Kind
from .json_form import defaults_of, shape


def json_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type's JSON form."""
    bare, extras, optional = shape(kind)
    schema = _schema(bare, extras) | _limits(bare, _bounds_of(kind))
    return {"anyOf": [schema, {"type": "null"}]} if optional else schema


def _bounds_of(kind: Any) -> dict[str, int]:
    """Return what the annotations of a type, or of ``T`` for ``T | None``, allow at most."""
    found: dict[str, int] = {}
    while True:
        while get_origin(kind) is Annotated:
            kind, *metas = get_args(kind)
            for meta in metas:
                for name in ("ge", "le", "min_length", "max_length"):
                    bound = getattr(meta, name, None)
                    if bound is not None:
                        found.setdefault(name, bound)
        inner = optional_of(kind)
        if inner is None:
            return found
        kind = inner


def _limits(bare: Any, bounds: dict[str, int]) -> dict[str, int]:
    """Return bounds in the words of JSON Schema, for the JSON form of ``bare``.

    A text's bound is in bytes of UTF-8; it has no more characters.
    """
    if bare is int:
        words = {"ge": "minimum", "le": "maximum"}
    elif get_origin(bare) in (list, tuple):
        words = {"min_length": "minItems", "max_length": "maxItems"}
    elif bare is str:
        words = {"max_length": "maxLength"}
    else:
        return {}
    return {word: bounds[name] for name, word in words.items() if bounds.get(name)}


def _schema(bare: Any, extras: dict[str, Any]) -> dict[str, Any]:
    origin = get_origin(bare)
    if origin in (list, tuple):
        return {"type": "array", "items": json_schema(get_args(bare)[0])}
    if bare is bool:
        return {"type": "boolean"}
    if bare is str:
        return {"type": "string"}
    if bare is NoneType:
        return {"type": "null"}
    if dict in (bare, origin):
        return {"type": "object"}
    if bare is bytes:
        return _bytes_schema(extras)
    if bare is Blob:
        return {"title": "blob", "type": ["object", "string"]}
    if isinstance(bare, type) and issubclass(bare, IntEnum):
        return {"type": "string", "enum": [member.name.lower() for member in bare]}
    if bare is int:
        return {"type": ["integer", "string"], "pattern": "^[0-9]+$"}
    if isinstance(bare, type) and issubclass(bare, Record):
        return record_schema(bare)
    members = members_of(bare)
    if members:
        return {"type": "object", "oneOf": [record_schema(part) for part in members.values()]}
    return {}


def record_schema(record: type[Record]) -> dict[str, Any]:
    """Return the JSON Schema of a record's JSON form; fields with a default may be left out."""
    kinds, defaults = fields_of(record), defaults_of(record)
    properties: dict[str, Any] = {}
    required = []
    tag = record.__struct_config__.tag
    if tag is not None:
        properties["type"] = {"const": tag}
    for name, attribute in json_names(record).items():
        properties[name] = json_schema(kinds[attribute])
        if attribute not in defaults:
            required.append(name)
    schema = {"title": tag or record.__name__, "type": "object", "properties": properties}
    if record.__doc__:
        schema["description"] = cleandoc(record.__doc__).partition("\n\n")[0].replace("\n", " ")
    return schema | {"required": required} if required else schema


def _bytes_schema(extras: dict[str, Any]) -> dict[str, Any]:
    if extras.get("amount"):
        return {"title": "amount", "type": ["string", "integer"], "pattern": "^[0-9]+$"}
    if extras.get("denom"):
        return {"title": "denomination", "type": "string"}
    if extras.get("id"):
        return {"title": "id", "type": "string", "pattern": "^[a-z]+1[0-9a-z]{40}$"}
    if extras.get("kinds"):
        prefixes = "|".join(PREFIX[Kind(kind)] for kind in sorted(extras["kinds"]))
        return {"title": "id", "type": "string", "pattern": f"^({prefixes})1[0-9a-z]{{{40}}}$"}
    return {"title": "hex", "type": "string", "pattern": "^0x([0-9a-f]{2})*$"}
