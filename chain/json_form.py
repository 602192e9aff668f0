"""How encoded values look in JSON, and back: one rule for RPC, files and the command line.

Ids are bech32m text, other bytes ``0x`` hex, amounts and integers above 2^53 decimal strings,
denominations ``ncolo``, ``token/tok1…`` or ``royalty/ip1…``, enumerations their names in lower
case, messages and events objects with a ``type`` (docs/rpc.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import cache, lru_cache
from reprlib import repr as short_repr
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec

from .codec import Record, encode_amount
from .errors import Misuse, Rejected
from .fields import Blob, fields_of, json_names, members_of, optional_of, split_annotation
from .ids import Kind, format_id, parse_id
from .types import AMOUNT_MAX, U64_MAX

IDS_REMEMBERED = 16_384
"""Texts of ids kept, about 4 MB: bech32m costs a node more than the rest of an answer."""

SAFE_INTEGER = 2**53
"""Integers above this are strings in JSON: JavaScript would round them."""

Attach = Callable[[bytes], Blob]
"""Makes a blob of content and remembers its attachment."""
Content = Callable[[bytes], bytes | None]
"""Returns the content behind a blob's hash, or None if erased or unknown."""


def no_content(_: bytes) -> bytes | None:
    """Know no blob's content."""
    return None


@cache
def shape(kind: Any) -> tuple[Any, dict[str, Any], bool]:
    """Return bare type, extras, and whether None may stand there; looked at once per type."""
    bare, extras = split_annotation(kind)
    inner = optional_of(bare)
    if inner is None:
        return bare, extras, False
    inner_bare, inner_extras = split_annotation(inner)
    return inner_bare, {**extras, **inner_extras}, True


# --- to JSON ----------------------------------------------------------------------------------

Write = Callable[[Any, Content], Any]
"""Makes the JSON form of one value; compiled once per type, because answers are a hot path."""


def to_json(kind: Any, value: Any, content: Content = no_content) -> Any:
    """Return the JSON form of ``value``, which is of the annotated type ``kind``."""
    return json_writer(kind)(value, content)


def record_to_json(value: Record, content: Content = no_content) -> dict[str, Any]:
    """Return an object of the record's fields, with its ``type`` if it has a name."""
    form: dict[str, Any] = _record_writer(type(value))(value, content)
    return form


@cache
def json_writer(kind: Any) -> Write:
    """Return the function that writes values of the annotated type ``kind``."""
    bare, extras, optional = shape(kind)
    write = _writer(bare, extras)
    if not optional or write is _as_it_is:
        return write
    return lambda value, content: None if value is None else write(value, content)


def _as_it_is(value: Any, content: Content) -> Any:
    return value


def _writer(bare: Any, extras: dict[str, Any]) -> Write:
    origin = get_origin(bare)
    if origin in (list, tuple):
        write = json_writer(get_args(bare)[0])
        return lambda value, content: [write(part, content) for part in value]
    if bare is bytes:
        text = _bytes_text(extras)
        return lambda value, content: text(value)
    if bare in (str, bool, NoneType) or dict in (bare, origin):
        return _as_it_is
    if bare is Blob:
        return _blob_to_json
    if isinstance(bare, type) and issubclass(bare, IntEnum):
        names = {member: member.name.lower() for member in bare}
        return lambda value, content: names[value]
    if bare is int:
        return lambda value, content: (
            value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)
        )
    return _write_by_value


def _write_by_value(value: Any, content: Content) -> Any:
    """Write what only the value itself says how: a record of any class, or a member of a union."""
    if isinstance(value, Record):
        return _record_writer(type(value))(value, content)
    if isinstance(value, list):
        return [_write_by_value(part, content) for part in value]
    if value is None or isinstance(value, bytes | bool | str | int):
        return _writer(type(value), {})(value, content)
    raise Misuse(f"{value!r} has no JSON form")


@cache
def _record_writer(record: type[Record]) -> Write:
    if record is Blob:
        return _blob_to_json
    kinds = fields_of(record)
    steps = [(name, at, json_writer(kinds[at])) for name, at in json_names(record).items()]
    tag = record.__struct_config__.tag
    start = {} if tag is None else {"type": tag}

    def write(value: Any, content: Content) -> dict[str, Any]:
        form: dict[str, Any] = dict(start)
        for name, attribute, write_field in steps:
            field = getattr(value, attribute)
            form[name] = field if write_field is _as_it_is else write_field(field, content)
        return form

    return write


def _bytes_text(extras: dict[str, Any]) -> Callable[[bytes], str]:
    if extras.get("amount"):
        return lambda value: str(int.from_bytes(value, "big"))
    if extras.get("denom"):
        return denom_to_text
    if extras.get("kinds") or extras.get("id"):
        return _id_text
    return lambda value: "0x" + value.hex()


_id_text = lru_cache(maxsize=IDS_REMEMBERED)(format_id)
_id_of = lru_cache(maxsize=IDS_REMEMBERED)(parse_id)


def _blob_to_json(value: Blob, content: Content) -> dict[str, Any]:
    form: dict[str, Any] = {"hash": "0x" + value.hash.hex(), "length": value.length}
    raw = content(value.hash)
    if raw is not None:
        try:
            form["text"] = raw.decode("utf-8")
        except UnicodeDecodeError:
            form["hex"] = "0x" + raw.hex()
    return form


def denom_to_text(denom: bytes) -> str:
    """Return ``ncolo``, ``token/tok1…`` or ``royalty/ip1…``."""
    if not denom:
        return "ncolo"
    return ("royalty/" if denom[0] == Kind.IP else "token/") + _id_text(denom)


# --- from JSON --------------------------------------------------------------------------------


Read = Callable[[Any, str, Attach | None], Any]
"""Makes a value of its JSON form, the field's path and ``attach``; compiled once per type."""


def from_json(kind: Any, form: Any, where: str, attach: Attach | None = None) -> Any:
    """Return the value of the annotated type ``kind`` that ``form`` describes.

    Raises ``Rejected`` with ``json/…`` and the field's path. Lengths, ranges and order are
    checked where the encoded bytes are decoded, by the same rules as for everyone.
    """
    return json_reader(kind)(form, where, attach)


@cache
def json_reader(kind: Any) -> Read:
    """Return the function that reads values of the annotated type ``kind``, as ``from_json``."""
    bare, extras, optional = shape(kind)
    read = _reader(bare, extras)
    if not optional:
        return read
    return lambda form, where, attach: None if form is None else read(form, where, attach)


def _reader(bare: Any, extras: dict[str, Any]) -> Read:
    if get_origin(bare) is list:
        return _list_reader(json_reader(get_args(bare)[0]))
    if bare is bool:
        return _bool
    if bare is int:
        return lambda form, where, attach: parse_integer(form, where)
    if bare is str:
        return _text
    if bare is bytes:
        read = _bytes_reader(extras)
        return lambda form, where, attach: read(form, where)
    if bare is Blob:
        return _blob
    if isinstance(bare, type) and issubclass(bare, IntEnum):
        return lambda form, where, attach: _enum(bare, form, where)
    if isinstance(bare, type) and issubclass(bare, Record):
        return lambda form, where, attach: record_from_json(bare, form, where, attach)
    members = members_of(bare)
    if members:
        return lambda form, where, attach: _member(members, form, where, attach)
    raise Misuse(f"{bare!r} cannot be read from JSON")


def _list_reader(read: Read) -> Read:
    def read_list(form: Any, where: str, attach: Attach | None) -> list[Any]:
        if not isinstance(form, list):
            raise _wrong(where, form, "a list")
        return [read(part, f"{where}[{i}]", attach) for i, part in enumerate(form)]

    return read_list


def _bool(form: Any, where: str, attach: Attach | None) -> bool:
    if not isinstance(form, bool):
        raise _wrong(where, form, "true or false")
    return form


def _text(form: Any, where: str, attach: Attach | None) -> str:
    if not isinstance(form, str):
        raise _wrong(where, form, "text")
    return form


def _member(members: dict[str, type[Record]], form: Any, where: str, attach: Attach | None) -> Any:
    """Read one of several named records by its ``type``."""
    name = form.get("type") if isinstance(form, dict) else None
    if not isinstance(name, str) or name not in members:
        raise _wrong(where, form, f"an object whose type is one of {', '.join(members)}")
    return record_from_json(members[name], form, where, attach)


def record_from_json(
    record: type[Record], form: Any, where: str, attach: Attach | None = None
) -> Any:
    """Return a record from an object of its fields; unknown and missing names are refused."""
    if not isinstance(form, dict):
        raise _wrong(where, form, "an object")
    names, kinds = json_names(record), fields_of(record)
    unknown = [name for name in form if name not in names and name != "type"]
    if unknown:
        raise Rejected(
            "json/UnknownField",
            f"{where}: unknown {', '.join(map(short_repr, unknown))}; known are {', '.join(names)}",
            field=where,
        )
    defaults = defaults_of(record)
    values = {}
    for name, attribute in names.items():
        kind = kinds[attribute]
        if name in form:
            path = f"{where}.{name}" if where else name
            values[attribute] = from_json(kind, form[name], path, attach)
        elif attribute in defaults:
            values[attribute] = defaults[attribute]
        elif shape(kind)[2]:
            values[attribute] = None
        else:
            raise Rejected("json/MissingField", f"{where}: {name} is missing", field=name)
    return record(**values)


def defaults_of(record: type[Record]) -> dict[str, Any]:
    """Return the fields that may be left out, with what then stands there."""
    found = {}
    for info in msgspec.structs.fields(record):
        if info.default is not msgspec.NODEFAULT:
            found[info.name] = info.default
        elif info.default_factory is not msgspec.NODEFAULT:
            found[info.name] = info.default_factory()
    return found


def parse_integer(form: Any, where: str) -> int:
    """Return an integer given as a number or as decimal text."""
    if isinstance(form, int) and not isinstance(form, bool):
        number = form
    elif isinstance(form, str) and form.isascii() and form.isdecimal() and len(form) <= 78:
        number = int(form)
    else:
        raise _wrong(where, form, "an integer (or its decimal text)")
    if not 0 <= number <= U64_MAX:
        found = short_repr(number)
        raise Rejected("json/OutOfRange", f"{where} is {found}, expected 0 .. 2^64-1", field=where)
    return number


def parse_amount(form: Any, where: str) -> int:
    """Return an amount given as decimal text or as a number."""
    if isinstance(form, bool) or not isinstance(form, int | str):
        raise _wrong(where, form, "an amount as decimal text")
    if isinstance(form, str):
        amount = int(form) if form.isascii() and form.isdecimal() and len(form) <= 39 else -1
    else:
        amount = form
    if not 0 <= amount <= AMOUNT_MAX:
        raise _wrong(where, form, "an amount: decimal text, 0 .. 2^128-1")
    return amount


def parse_hex(form: Any, where: str) -> bytes:
    """Return the bytes of ``0x`` hex text."""
    if isinstance(form, str) and form.startswith("0x"):
        try:
            return bytes.fromhex(form[2:])
        except ValueError:
            pass
    raise _wrong(where, form, "0x hex text")


def parse_denom(form: Any, where: str) -> bytes:
    """Return the denomination of its text (see ``denom_to_text``); a bare id is understood."""
    if not isinstance(form, str):
        raise _wrong(where, form, "a denomination")
    if form == "ncolo":
        return b""
    return _id_of(form.rpartition("/")[2], Kind.IP, Kind.TOKEN)


def _bytes_reader(extras: dict[str, Any]) -> Callable[[Any, str], bytes]:
    if extras.get("amount"):
        return lambda form, where: encode_amount(parse_amount(form, where))
    if extras.get("denom"):
        return parse_denom
    if extras.get("kinds") or extras.get("id"):
        kinds = [Kind(kind) for kind in sorted(extras.get("kinds", ()))]
        return lambda form, where: _id(kinds, form, where)
    return parse_hex


def _id(kinds: list[Kind], form: Any, where: str) -> bytes:
    if not isinstance(form, str):
        raise _wrong(where, form, "an id")
    return _id_of(form, *kinds)


def _enum(bare: type[IntEnum], form: Any, where: str) -> IntEnum:
    names = [member.name.lower() for member in bare]
    if isinstance(form, str) and form in names:
        return bare[form.upper()]
    raise _wrong(where, form, "one of " + ", ".join(names))


def _blob(form: Any, where: str, attach: Attach | None) -> Blob:
    """A blob is given as text, as ``{"hex": …}``, or ready-made as ``{"hash", "length"}``."""
    if isinstance(form, dict) and set(form) >= {"hash", "length"}:
        return Blob(parse_hex(form["hash"], where), parse_integer(form["length"], where))
    if isinstance(form, str):
        content = form.encode("utf-8")
    elif isinstance(form, dict) and set(form) == {"hex"}:
        content = parse_hex(form["hex"], where)
    else:
        raise _wrong(where, form, 'text, {"hex": "0x…"} or {"hash", "length"}')
    if attach is None:
        raise Rejected("json/NoAttachment", f"{where}: give the blob as hash and length here")
    return attach(content)


def _wrong(where: str, form: Any, expected: str) -> Rejected:
    return Rejected(
        "json/WrongType",
        f"{where or 'value'} is {short_repr(form)}, expected {expected}",
        field=where,
    )


# --- details of refusals -----------------------------------------------------------------------


def plain_details(details: Mapping[str, object]) -> dict[str, Any]:
    """Return details as JSON values: bytes as hex, large integers as text."""
    return {name: _plain_detail(value) for name, value in details.items()}


def _plain_detail(value: object) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INTEGER else str(value)
    if isinstance(value, list | tuple):
        return [_plain_detail(item) for item in value]
    return str(value)
