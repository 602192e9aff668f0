"""Who agrees in an epoch, when they are enough, and whose turn it is (protocol.md V1–V4).

A committee is an ordered list of members; a member is named by its index everywhere (votes,
certificates, headers). Sets of members are integers in which bit ``i`` is member ``i``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Annotated

import msgspec

from .codec import Record, encode
from .crypto import require_strong_key
from .errors import Rejected
from .genesis import POWER_MAX, Genesis
from .hashing import tagged_hash
from .transaction import PublicKey

MEMBERS_MAX = 100
"""Largest committee: beyond it votes cost a Python node more than the blocks they are about."""

EPOCH_ZERO_ID = bytes(32)
"""Stands for "the boundary block's parent" in the leader seed of epoch 0 (V4)."""


class Member(Record):
    """A validator of a committee and its voting power (at least 1)."""

    public_key: PublicKey
    power: Annotated[int, msgspec.Meta(ge=1)]


Members = Annotated[list[Member], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]
"""A committee on the wire, in its order."""


class Committee:
    """An ordered set of members; immutable."""

    __slots__ = ("_index_of", "hash", "members", "powers", "total")

    def __init__(self, members: Sequence[Member]) -> None:
        """Raise ``Rejected`` with a ``committee/…`` code if nobody could agree as this."""
        _check_members(members)
        self.members = tuple(members)
        self.powers = tuple(member.power for member in members)
        self.total = sum(self.powers)
        self.hash = tagged_hash("committee", encode(list(members)))
        """``H("committee", msgpack [[public_key, power] …])`` (V1)."""
        self._index_of = {member.public_key: i for i, member in enumerate(members)}

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    @property
    def bitmap_bytes(self) -> int:
        """Length of a certificate's bitmap for this committee."""
        return (len(self.members) + 7) // 8

    def index_of(self, public_key: bytes) -> int | None:
        """Return the index of the member with this key, None for a stranger."""
        return self._index_of.get(public_key)

    def power_of(self, members: int) -> int:
        """Return the summed power of a set of members."""
        power = 0
        while members:
            low = members & -members
            power += self.powers[low.bit_length() - 1]
            members ^= low
        return power

    def is_quorum(self, power: int) -> bool:
        """More than two thirds of the power: any two such sets share an honest member (V2)."""
        return 3 * power > 2 * self.total

    def has_honest(self, power: int) -> bool:
        """More than a third of the power: one of them is honest (V2)."""
        return 3 * power > self.total


class LeaderSchedule:
    """Whose turn each view of an epoch is: a pure function of finalised headers (V4)."""

    __slots__ = ("_cumulative", "_members", "_offset", "_seed")

    def __init__(self, committee: Committee, seed: bytes) -> None:
        equal = len(set(committee.powers)) == 1
        self._seed = seed
        self._members = len(committee)
        self._offset = int.from_bytes(seed, "big") % len(committee)
        self._cumulative = None if equal else list(accumulate(committee.powers))

    def leader(self, view: int) -> int:
        """Return the index of the member that proposes in ``view``."""
        if self._cumulative is None:
            return (self._offset + view) % self._members
        draw = tagged_hash("leader", self._seed + view.to_bytes(8, "big"))
        point = int.from_bytes(draw, "big") % self._cumulative[-1]
        return bisect_right(self._cumulative, point)


def leader_seed(genesis_hash: bytes, epoch: int, boundary_parent_id: bytes) -> bytes:
    """Return ``H("leader", genesis_hash ‖ u64 epoch ‖ id)`` (V4).

    ``boundary_parent_id`` is the id of the parent of the last block of the epoch before, and
    ``EPOCH_ZERO_ID`` in epoch 0.
    """
    return tagged_hash("leader", genesis_hash + epoch.to_bytes(8, "big") + boundary_parent_id)


def genesis_committee(genesis: Genesis) -> Committee:
    """Return the committee of epoch 0: the document's validators in its order."""
    return Committee([Member(item.public_key, item.power) for item in genesis.validators])


def _check_members(members: Sequence[Member]) -> None:
    if not 1 <= len(members) <= MEMBERS_MAX:
        raise Rejected(
            "committee/Size", f"a committee of {len(members)}, expected 1 .. {MEMBERS_MAX}"
        )
    for member in members:
        require_strong_key(member.public_key)
        if member.power < 1:
            raise Rejected("committee/ZeroPower", f"{member.public_key.hex()} has power 0")
    if len({member.public_key for member in members}) != len(members):
        raise Rejected("committee/DuplicateKey", "a key stands twice in the committee")
    if sum(member.power for member in members) > POWER_MAX:
        raise Rejected("committee/TooMuchPower", "the powers exceed 2^60 together")
