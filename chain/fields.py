"""The vocabulary of message fields: what a field may hold beyond its bare type.

A field is an annotated Python type; the annotation says the rest in ``msgspec.Meta.extra``.
From it are derived: the checks made once where bytes are decoded (``checker``), the JSON form,
the schema, the command-line options and the fuzz strategies. So each rule stands in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from .codec import U32, Hash, Record
from .errors import Misuse, Rejected
from .ids import ID_BYTES, PREFIX, Kind

Check = Callable[[Any, str], None]


class Blob(Record):
    """What the chain keeps of erasable bytes: a salted hash and the length (protocol.md T5)."""

    hash: Hash
    length: U32


Amount = Annotated[bytes, msgspec.Meta(max_length=16, extra={"amount": True})]
"""Money on the wire: big-endian, shortest form (E5)."""

Denom = Annotated[bytes, msgspec.Meta(max_length=ID_BYTES, extra={"denom": True})]
"""``ncolo`` (empty), a token id, or an ip id, which means its royalty units (E6)."""

Share = Annotated[int, msgspec.Meta(ge=0, le=100_000_000, extra={"share": True})]
"""A percentage in units of 1e-8; 100 000 000 is 100 %."""


def text(bytes_max: int) -> msgspec.Meta:
    """Annotate a ``str`` of at most ``bytes_max`` bytes of UTF-8."""
    return msgspec.Meta(max_length=bytes_max, extra={"text": bytes_max})


def data(bytes_max: int) -> msgspec.Meta:
    """Annotate ``bytes`` of at most ``bytes_max``."""
    return msgspec.Meta(max_length=bytes_max, extra={"data": bytes_max})


def blob(bytes_max: int) -> msgspec.Meta:
    """Annotate a ``Blob`` (or ``Blob | None``) of at most ``bytes_max`` erasable bytes."""
    return msgspec.Meta(extra={"blob": bytes_max})


def listing(items_max: int, *, items_min: int = 0, ascending: bool = False) -> msgspec.Meta:
    """Annotate a ``list``; ``ascending`` asks for strictly rising items, so no duplicates."""
    return msgspec.Meta(min_length=items_min, max_length=items_max, extra={"ascending": ascending})


def split_annotation(kind: Any) -> tuple[Any, dict[str, Any]]:
    """Return the bare type and the merged extras of an annotated type."""
    extras: dict[str, Any] = {}
    while get_origin(kind) is Annotated:
        inner, *metas = get_args(kind)
        for meta in metas:
            if isinstance(meta, msgspec.Meta):
                extras = {**(meta.extra or {}), **extras}
        kind = inner
    return kind, extras


def optional_of(kind: Any) -> Any | None:
    """Return ``T`` for ``T | None``, else ``None``."""
    if get_origin(kind) in (Union, UnionType):
        others = [part for part in get_args(kind) if part is not NoneType]
        if len(others) == 1 and len(get_args(kind)) == 2:
            return others[0]
    return None


def members_of(kind: Any) -> dict[str, type[Record]]:
    """Return name → record of a union of named records (messages, events); else nothing."""
    if get_origin(kind) not in (Union, UnionType) or optional_of(kind) is not None:
        return {}
    return {str(part.__struct_config__.tag): part for part in get_args(kind)}


@cache
def fields_of(record: type[Record]) -> dict[str, Any]:
    """Return field name → annotated type of a record, in wire order."""
    hints = get_type_hints(record, include_extras=True)
    return {name: hints[name] for name in record.__struct_fields__}


@cache
def json_names(record: type[Record]) -> dict[str, str]:
    """Return name in JSON → attribute; they differ where Python reserves a word (``from``)."""
    names = zip(record.__struct_encode_fields__, record.__struct_fields__, strict=True)
    return dict(names)


def checker(kind: Any) -> Check | None:
    """Return the function that checks a decoded value of ``kind``, or None if the type says all.

    The function raises ``Rejected`` with a ``field/…`` code and the field's path. Make it once.
    """
    return _compile(*split_annotation(kind))


def _compile(bare: Any, extras: dict[str, Any]) -> Check | None:
    inner = optional_of(bare)
    if inner is not None:
        inner_bare, inner_extras = split_annotation(inner)
        return _optional(_compile(inner_bare, {**extras, **inner_extras}))
    members = members_of(bare)
    if members:
        return _member_check(tuple(members.values()))
    checks = [make(extras[name]) for name, make in _EXTRA_CHECKS.items() if extras.get(name)]
    if get_origin(bare) is list:
        checks += _list_checks(get_args(bare)[0])
    elif isinstance(bare, type) and issubclass(bare, Record) and bare is not Blob:
        checks += _record_checks(bare)
    if not checks:
        return None
    return checks[0] if len(checks) == 1 else _all_of(tuple(checks))


def _member_check(members: tuple[type[Record], ...]) -> Check:
    checks = {member: checker(member) for member in members}

    def check_member(value: Any, where: str) -> None:
        check = checks[type(value)]
        if check is not None:
            check(value, where)

    return check_member


def _optional(check: Check | None) -> Check | None:
    if check is None:
        return None

    def check_optional(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return check_optional


def _all_of(checks: tuple[Check, ...]) -> Check:
    def check_all(value: Any, where: str) -> None:
        for check in checks:
            check(value, where)

    return check_all


def _list_checks(item: Any) -> list[Check]:
    check = checker(item)
    if check is None:
        return []

    def check_items(values: Any, where: str) -> None:
        for index, value in enumerate(values):
            check(value, f"{where}[{index}]")

    return [check_items]


def _record_checks(record: type[Record]) -> list[Check]:
    steps = [(name, check) for name, kind in fields_of(record).items() if (check := checker(kind))]
    if not steps:
        return []

    def check_fields(value: Any, where: str) -> None:
        try:
            for name, check in steps:
                field = getattr(value, name)
                if field:  # nothing can be wrong with None, an empty list or an empty string
                    check(field, name)
        except Rejected as refusal:
            if not where:
                raise
            raise _inside(where, refusal) from None  # paths are made only when something is wrong

    return [check_fields]


def _inside(where: str, refusal: Rejected) -> Rejected:
    """Return a refusal with the path of the record it happened in put before its own."""
    details = {**refusal.details, "field": f"{where}.{refusal.details.get('field', '')}"}
    return Rejected(refusal.code, f"{where}.{refusal.message}", **details)


def _check_kinds(kinds: frozenset[int]) -> Check:
    wanted = " or ".join(f"{PREFIX[Kind(kind)]}1…" for kind in sorted(kinds))

    def check(value: Any, where: str) -> None:
        if value[0] not in kinds:
            raise Rejected(
                "field/WrongKind",
                f"{where} is an id of kind {value[0]}, expected one of the form {wanted}",
                field=where,
            )

    return check


def _check_amount(_: bool) -> Check:
    def check(value: Any, where: str) -> None:
        if value and value[0] == 0:
            raise Rejected("field/NotCanonical", f"{where} has a leading zero byte", field=where)

    return check


def _check_denom(_: bool) -> Check:
    def check(value: Any, where: str) -> None:
        if value and (len(value) != ID_BYTES or value[0] not in (Kind.IP, Kind.TOKEN)):
            raise Rejected(
                "field/WrongDenom",
                f"{where} is {value.hex()}, expected ncolo, a token id or an ip id",
                field=where,
            )

    return check


def _check_text(bytes_max: int) -> Check:
    def check(value: Any, where: str) -> None:
        if not value.isascii() and len(value.encode()) > bytes_max:
            raise Rejected(
                "field/TooLong",
                f"{where} has {len(value.encode())} bytes of UTF-8, at most {bytes_max}",
                field=where,
                limit=bytes_max,
            )

    return check


def _check_blob(bytes_max: int) -> Check:
    def check(value: Any, where: str) -> None:
        if value.length > bytes_max:
            raise Rejected(
                "field/TooLong",
                f"{where} has {value.length} bytes, at most {bytes_max}",
                field=where,
                limit=bytes_max,
            )

    return check


def _check_ascending(_: bool) -> Check:
    def check(values: Any, where: str) -> None:
        for left, right in pairwise(values):
            if not left < right:
                raise Rejected(
                    "field/NotAscending",
                    f"{where} must be sorted and without duplicates",
                    field=where,
                )

    return check


_EXTRA_CHECKS: dict[str, Callable[[Any], Check]] = {
    "kinds": _check_kinds,
    "amount": _check_amount,
    "denom": _check_denom,
    "text": _check_text,
    "blob": _check_blob,
    "ascending": _check_ascending,
}


Collect = Callable[[Any, list[Blob]], None]


def blob_collector(kind: Any) -> Collect | None:
    """Return the function that appends the blobs of a value, in wire order, to a list.

    None if values of ``kind`` never hold blobs. Compiled once per type: it visits only fields
    that can hold one.
    """
    bare, _ = split_annotation(kind)
    inner = optional_of(bare)
    if inner is not None:
        return blob_collector(inner)
    if bare is Blob:
        return _collect_blob
    if get_origin(bare) is list:
        return _collect_items(get_args(bare)[0])
    if isinstance(bare, type) and issubclass(bare, Record):
        return _collect_fields(bare)
    return None


def _collect_blob(value: Any, out: list[Blob]) -> None:
    out.append(value)


def _collect_items(item: Any) -> Collect | None:
    collect = blob_collector(item)
    if collect is None:
        return None

    def collect_items(values: Any, out: list[Blob]) -> None:
        for value in values:
            collect(value, out)

    return collect_items


def _collect_fields(record: type[Record]) -> Collect | None:
    steps = [
        (name, collect)
        for name, kind in fields_of(record).items()
        if (collect := blob_collector(kind)) is not None
    ]
    if not steps:
        return None

    def collect_fields(value: Any, out: list[Blob]) -> None:
        for name, collect in steps:
            field = getattr(value, name)
            if field:
                collect(field, out)

    return collect_fields


def nesting(kind: Any) -> int:
    """Return how deep arrays of ``kind`` nest on the wire (protocol.md E4)."""
    bare, _ = split_annotation(kind)
    if isinstance(bare, type):
        if issubclass(bare, Record):
            return 1 + max((nesting(part) for part in fields_of(bare).values()), default=0)
        if issubclass(bare, IntEnum | int | str | bytes | NoneType):
            return 0
    parts = [nesting(part) for part in get_args(bare) if part is not NoneType]
    if get_origin(bare) is list:
        return 1 + max(parts, default=0)
    if parts:
        return max(parts)
    raise Misuse(f"{kind!r} is no field type")
