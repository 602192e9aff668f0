"""JSON as records carry it: one meaning, one spelling (protocol.md X1, X2).

A value is null, a boolean, an integer, a string, a list or an object with string keys. There are
no fractions: their spelling is the one hard part of RFC 8785, and money or rates belong into
decimal strings anyway. What is left has exactly one canonical form that ten lines in any language
can write.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import NoReturn, TypeAlias

import rfc8785

from .errors import Rejected

JsonValue: TypeAlias = bool | int | str | list["JsonValue"] | dict[str, "JsonValue"] | None

INTEGER_MAX = 2**53 - 1
"""Largest magnitude of a number: beyond it parsers that use doubles read another number."""
NESTING_MAX = 32
"""Deepest nesting of lists and objects; keeps every walk of a value far from any stack's end."""
VALUE_BYTES_MAX = 1_048_576
"""Longest canonical form of one value: 1 MiB holds any prompt a model takes; larger content is
kept elsewhere and recorded by its hash."""


def canonical_json(value: JsonValue) -> bytes:
    """Return the RFC 8785 form of ``value``, UTF-8 (X2).

    Raises ``Rejected`` with ``json/NotAllowed`` for anything X1 excludes, ``json/TooDeep`` or
    ``json/TooLarge``.
    """
    try:
        if type(value) is str:
            # Prompts and outputs are strings, and the interpreter's own quoting spells them as
            # RFC 8785 does (a test compares the two), several times faster.
            data = encode_basestring(value).encode()
        else:
            require_json(value)
            data = rfc8785.dumps(value)
    except ValueError:
        raise _not_allowed("a string holds a lone surrogate, which is no character") from None
    if len(data) > VALUE_BYTES_MAX:
        raise Rejected(
            "json/TooLarge",
            f"a value has {len(data)} bytes of JSON, at most {VALUE_BYTES_MAX} are allowed",
            found=len(data),
            limit=VALUE_BYTES_MAX,
        )
    return data


def require_json(value: object, *, nesting_max: int = NESTING_MAX) -> None:
    """Refuse a value that X1 excludes; lone surrogates show only when text is encoded."""
    level = [value]
    for _ in range(nesting_max + 1):
        below: list[object] = []
        for item in level:
            kind = type(item)
            if kind is list:
                below += item  # type: ignore[arg-type]  # kind says it is a list
            elif kind is dict:
                below += _values(item)  # type: ignore[arg-type]  # kind says it is a dict
            else:
                _require_scalar(item)
        if not below:
            return
        level = below
    raise Rejected(
        "json/TooDeep", f"a value nests deeper than {nesting_max} levels", limit=nesting_max
    )


def parse_json(data: bytes, *, bytes_max: int, nesting_max: int = NESTING_MAX) -> JsonValue:
    """Return the value in ``data``, refusing what has two meanings or none (X1).

    Whitespace and escapes may stand as JSON allows. Raises ``Rejected`` with ``json/TooLarge``,
    ``json/Malformed``, ``json/NotAllowed`` or ``json/TooDeep``.
    """
    if len(data) > bytes_max:
        raise Rejected(
            "json/TooLarge",
            f"the text has {len(data)} bytes, at most {bytes_max} are allowed",
            found=len(data),
            limit=bytes_max,
        )
    try:
        value: JsonValue = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_refuse_fraction,
            parse_constant=_refuse_fraction,
        )
        json.dumps(value, ensure_ascii=False).encode()  # fails on a lone surrogate
    except RecursionError:
        raise Rejected("json/TooDeep", f"the text nests deeper than {nesting_max}") from None
    except UnicodeEncodeError:
        raise _not_allowed("a string holds a lone surrogate, which is no character") from None
    except ValueError as error:
        raise Rejected("json/Malformed", f"not JSON: {error}") from None
    require_json(value, nesting_max=nesting_max)
    return value


def _values(item: dict[object, object]) -> list[object]:
    for key in item:
        if type(key) is not str:
            raise _not_allowed(f"an object has the key {key!r}, expected a string")
    return list(item.values())


def _require_scalar(item: object) -> None:
    if item is None or type(item) in (str, bool):
        return
    if type(item) is not int:
        raise _not_allowed(
            f"a value is of type {type(item).__name__}, expected null, true, false, an integer, "
            "a string, a list or an object (write fractions as strings)"
        )
    if not -INTEGER_MAX <= item <= INTEGER_MAX:
        raise _not_allowed(f"{item} is beyond ±(2^53-1); write it as a string")


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _not_allowed(f"an object has the key {twice!r} twice")
    return members


def _refuse_fraction(text: str) -> NoReturn:
    raise _not_allowed(f"{text} is not an integer; write fractions as strings")


def _not_allowed(message: str) -> Rejected:
    return Rejected("json/NotAllowed", message)
