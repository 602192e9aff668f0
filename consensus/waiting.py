"""A transaction that waits for a block, as the pool sees it (protocol.md C16)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from chain.fees import base_fee_within, base_part

RANK_SHIFT = 64
"""Ranks are tip per unit in 2^-64 ncolo: integers that compare like the fractions."""

Lane = tuple[bytes, int]
"""Sender and lane number."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the pool sees of a transaction; its signatures have been verified."""

    id: bytes
    raw: bytes
    """The envelope, as it is relayed."""
    sender: bytes
    sponsor: bytes | None
    lane: int
    seq: int
    units: int
    max_fee: int
    tip: int
    valid_until: int

    @property
    def size(self) -> int:
        """Bytes it counts for, attachments included."""
        return len(self.raw)

    @property
    def payer(self) -> bytes:
        """Who pays its fee."""
        return self.sender if self.sponsor is None else self.sponsor

    @property
    def rank(self) -> int:
        """Tip per unit; more is better."""
        return (self.tip << RANK_SHIFT) // max(self.units, 1)

    def fee_at(self, base_fee: int) -> int:
        """Return the fee F it would pay (F2)."""
        return base_part(self.units, base_fee) + self.tip

    @property
    def base_fee_max(self) -> int:
        """The highest base fee at which it can pay its fee F; below 0 if it never can."""
        return base_fee_within(self.units, self.max_fee - self.tip)


class Kept(msgspec.Struct, eq=False, gc=False):
    """A transaction in the pool and its history there."""

    tx: Waiting
    since_ms: int
    order: int
    """Its number in the order of arrival."""
    rank: int
    base_fee_max: int
    """These two are ``tx``'s: every build asks for them of the whole pool."""
    bad_since_ms: int | None = None
    """Since when it has been unpayable whenever it was looked at."""
    aside: bool = False
    """Whether my own blocks do without it."""

    def is_ready(self, base_fee: int, time_ms: int) -> bool:
        """Tell whether a block of this time and base fee may take it."""
        return (
            base_fee <= self.base_fee_max
            and not self.aside
            and not 0 < self.tx.valid_until < time_ms
        )


class Used(NamedTuple):
    """A place in a lane that a finalised transaction took."""

    sender: bytes
    lane: int
    seq: int
