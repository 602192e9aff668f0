"""The one encoding: canonical MessagePack of typed arrays (protocol.md E1–E6).

A decoder here accepts exactly the bytes its encoder would produce. Three steps make that so:
a cap on the length before anything is looked at, a decode directed by the type (never deeper,
never another kind of value than the type allows, so there is no recursion on input), and an
encode of the result that must give the same bytes back.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar, dataclass_transform

import msgspec

from .errors import Rejected
from .types import U8_MAX, U16_MAX, U32_MAX

T = TypeVar("T")

NESTING_MAX = 16
"""No encoded value nests deeper (protocol.md E4); a test proves it of every type we decode."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of everything encoded: an array of its fields in the order they are written.

    Instances are immutable. ``gc=False`` is safe because a record never refers to itself.
    """


U8 = Annotated[int, msgspec.Meta(ge=0, le=U8_MAX)]
U16 = Annotated[int, msgspec.Meta(ge=0, le=U16_MAX)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
U64 = Annotated[int, msgspec.Meta(ge=0)]
"""Wider integers do not exist in MessagePack; msgspec refuses them while decoding."""

Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
WideBytes = Annotated[bytes, msgspec.Meta(max_length=16)]
"""An amount on the wire: big-endian, shortest form, at most 16 bytes (protocol.md E5)."""

CounterBytes = Annotated[bytes, msgspec.Meta(max_length=32)]
"""An accumulator on disk: big-endian, shortest form, at most 32 bytes (protocol.md E5)."""

_ENCODER = msgspec.msgpack.Encoder()
encode = _ENCODER.encode
"""Encode a record (or a list, tuple, int, str, bytes, bool or None) canonically."""


class Decoder(Generic[T]):
    """Decodes canonical bytes into one type and refuses everything else."""

    def __init__(self, kind: type[T], *, bytes_max: int, what: str) -> None:
        """``kind`` is the type, ``bytes_max`` the cap, ``what`` names the thing in refusals."""
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._bytes_max = bytes_max
        self._what = what

    def decode(self, data: bytes) -> T:
        """Return the value ``data`` encodes.

        Raises ``Rejected`` with ``codec/TooLarge``, ``codec/Malformed`` or
        ``codec/NotCanonical`` (protocol.md E2).
        """
        if len(data) > self._bytes_max:
            raise Rejected(
                "codec/TooLarge",
                f"{self._what} has {len(data)} bytes, at most {self._bytes_max} are allowed",
                found=len(data),
                limit=self._bytes_max,
            )
        try:
            value = self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected("codec/Malformed", f"{self._what}: {error}") from None
        if _ENCODER.encode(value) != data:
            raise Rejected(
                "codec/NotCanonical",
                f"{self._what} is not in its one canonical encoding",
            )
        return value

    def decode_own(self, data: bytes) -> T:
        """Decode bytes this node wrote itself (state values, journal): no canonical check."""
        return self._decoder.decode(data)


def encode_amount(value: int) -> bytes:
    """Return an amount as its shortest big-endian bytes; zero is empty (protocol.md E5)."""
    return value.to_bytes((value.bit_length() + 7) >> 3, "big")


def decode_amount(data: bytes) -> int:
    """Return the amount in ``data``; refuses a leading zero or more than 16 bytes."""
    if data and data[0] == 0:
        raise Rejected("codec/NotCanonical", "an amount has a leading zero byte")
    if len(data) > 16:
        raise Rejected("codec/Malformed", f"an amount has {len(data)} bytes, at most 16")
    return int.from_bytes(data, "big")
