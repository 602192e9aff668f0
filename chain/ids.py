"""21-byte typed ids and their bech32m text (protocol.md I1–I4).

An id is a kind byte and 20 bytes of hash. The kind is part of the id, so an account can never
equal an object, and the text form carries it a second time in its prefix.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Annotated

import msgspec

from .codec import encode
from .errors import Misuse, Rejected
from .hashing import tagged_hash

ID_BYTES = 21


class Kind(IntEnum):
    """What an id names: its first byte. Numbers are permanent."""

    ACCOUNT = 0
    MODULE = 1
    IP = 2
    TERMS = 3
    LOT = 4
    LOG = 5
    RECORD = 6
    CLASS = 7
    DAT = 8
    TOKEN = 9
    SPONSOR = 10
    DISPUTE = 11
    VALIDATOR = 12


PREFIX = {
    Kind.ACCOUNT: "colo",
    Kind.MODULE: "mod",
    Kind.IP: "ip",
    Kind.TERMS: "lic",
    Kind.LOT: "lot",
    Kind.LOG: "log",
    Kind.RECORD: "rec",
    Kind.CLASS: "cls",
    Kind.DAT: "dat",
    Kind.TOKEN: "tok",
    Kind.SPONSOR: "spo",
    Kind.DISPUTE: "dis",
    Kind.VALIDATOR: "val",
}
"""The human-readable prefix of each kind's text form."""


_KIND_BYTE = [kind.to_bytes(1, "big") for kind in sorted(Kind)]

AccountId = Annotated[
    bytes, msgspec.Meta(min_length=21, max_length=21, extra={"kinds": frozenset({0})})
]
Holder = Annotated[
    bytes, msgspec.Meta(min_length=21, max_length=21, extra={"kinds": frozenset({0, 2})})
]
"""Who can hold things: an account or an IP."""
IpId = Annotated[bytes, msgspec.Meta(min_length=21, max_length=21, extra={"kinds": frozenset({2})})]
TermsId = Annotated[
    bytes, msgspec.Meta(min_length=21, max_length=21, extra={"kinds": frozenset({3})})
]
LotId = Annotated[
    bytes, msgspec.Meta(min_length=21, max_length=21, extra={"kinds": frozenset({4})})
]
LogId = Annotated[
    bytes, msgspec.Meta(min_length=21, max_length=21, extra={"kinds": frozenset({5})})
]
RecordId = Annotated[
    bytes, msgspec.Meta(min_length=21, max_length=21, extra={"kinds": frozenset({6})})
]
AnyId = Annotated[bytes, msgspec.Meta(min_length=21, max_length=21, extra={"id": True})]

NCOLO = b""
"""The denomination of the native coin (protocol.md E6)."""


def derive_id(
    kind: Kind, genesis_hash: bytes, sender: bytes, lane: int, seq: int, path: list[int], n: int
) -> bytes:
    """Return the id of the ``n``-th object of ``kind`` a message makes (protocol.md I2).

    ``path`` holds the message's index in its transaction and, for a message inside
    ``ip.execute``, the indexes below it.
    """
    preimage = encode((genesis_hash, sender, lane, seq, path, n))
    return _KIND_BYTE[kind] + tagged_hash("id", preimage)[:20]


def address_of(public_key: bytes) -> bytes:
    """Return the account id of a first public key, the same on every network (I3)."""
    return b"\x00" + tagged_hash("address", public_key)[:20]


def module_id(name: str) -> bytes:
    """Return the id under which a module itself holds money, for instance ``treasury``."""
    raw = name.encode("ascii")
    if len(raw) > 20:
        raise Misuse(f"module name {name!r} is longer than 20 bytes")
    return b"\x01" + raw.ljust(20, b"\0")


TREASURY = module_id("treasury")
SYSTEM = bytes(ID_BYTES)
"""Sender of objects made at genesis (I2)."""


def format_id(raw: bytes) -> str:
    """Return the bech32m text of an id, for instance ``ip1…`` (I4)."""
    if len(raw) != ID_BYTES or raw[0] not in PREFIX:
        raise Misuse(f"not an id: {raw.hex()}")
    prefix = PREFIX[Kind(raw[0])]
    data = _to_five_bits(raw)
    checksum = _checksum(prefix, data)
    data += [(checksum >> 5 * (5 - i)) & 31 for i in range(6)]
    return prefix + "1" + "".join(_CHARSET[value] for value in data)


def parse_id(text: str, *kinds: Kind) -> bytes:
    """Return the 21 bytes of an id's text; refuses another kind than ``kinds``, if any given.

    Raises ``Rejected`` with ``id/Malformed`` or ``id/WrongKind``.
    """
    raw = _decode_bech32m(text)
    if kinds and raw[0] not in kinds:
        wanted = " or ".join(f"{PREFIX[kind]}1…" for kind in kinds)
        raise Rejected("id/WrongKind", f"{text} is not an id of the form {wanted}")
    return raw


_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {char: value for value, char in enumerate(_CHARSET)}
_BECH32M = 0x2BC830A3  # BIP-350
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_DATA = 34
"""Five-bit groups of an id; six of checksum follow."""


def _shift(check: int) -> int:
    """Multiply a checksum state by x: one step of BIP-173's polymod with a zero."""
    top = check >> 25
    check = (check & 0x1FFFFFF) << 5
    for bit, generator in enumerate(_GENERATOR):
        if top >> bit & 1:
            check ^= generator
    return check


@cache
def _contributions() -> list[list[int]]:
    """Return, per data position, what each of 32 values adds to the checksum.

    The checksum is linear, so it is a sum of look-ups: 3 µs an id instead of 50.
    """
    column = list(range(32))
    for _ in range(6):
        column = [_shift(value) for value in column]
    columns = []
    for _ in range(_DATA):
        columns.append(column)
        column = [_shift(value) for value in column]
    columns.reverse()
    return columns


@cache
def _start(prefix: str) -> int:
    """Return what the prefix and the constant of bech32m add to the checksum."""
    check = 1
    for value in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]:
        check = _shift(check) ^ value
    for _ in range(_DATA + 6):
        check = _shift(check)
    return check ^ _BECH32M


def _checksum(prefix: str, data: list[int]) -> int:
    """Return the 30-bit checksum of an id's data groups."""
    check = _start(prefix)
    for column, value in zip(_contributions(), data, strict=True):
        check ^= column[value]
    return check


def _to_five_bits(raw: bytes) -> list[int]:
    value = int.from_bytes(raw, "big") << 2  # 168 bits padded to 170
    return [(value >> 5 * i) & 31 for i in range(33, -1, -1)]


def _decode_bech32m(text: str) -> bytes:
    if text.lower() != text or not 8 <= len(text) <= 90 or "1" not in text:
        raise Rejected("id/Malformed", f"{text[:90]!r} is not an id: lower-case bech32m expected")
    prefix, _, encoded = text.rpartition("1")
    if len(encoded) != 40 or any(char not in _VALUES for char in encoded):
        raise Rejected("id/Malformed", f"{text!r} is not an id: 40 bech32 characters expected")
    data = [_VALUES[char] for char in encoded]
    checksum = 0
    for five in data[_DATA:]:
        checksum = checksum << 5 | five
    if _checksum(prefix, data[:_DATA]) != checksum:
        raise Rejected("id/Malformed", f"{text!r} has a wrong checksum: mistyped?")
    value = 0
    for five in data[:_DATA]:
        value = value << 5 | five
    if value & 3:
        raise Rejected("id/Malformed", f"{text!r} has padding bits set")
    raw = (value >> 2).to_bytes(ID_BYTES, "big")
    if raw[0] not in PREFIX or PREFIX[Kind(raw[0])] != prefix:
        raise Rejected("id/Malformed", f"{text!r}: the prefix does not fit the kind inside")
    return raw
