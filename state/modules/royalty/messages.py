"""What users say about royalties: payloads and events of the family (docs/royalty.md)."""

from __future__ import annotations

from typing import Annotated

from chain.codec import U64, Hash
from chain.fields import Amount, Denom, Share, listing
from chain.ids import Holder, IpId

from ...module import Event, Message
from .shares import Policy

DENOMS_MAX = 16
"""Denominations an IP accepts; a move of its units touches every one of them."""
SOURCES_MAX = 1_024
HOLDERS_MAX = 256
MOVE_WEIGHT = 6
"""Units of one settlement, or of paying one holder in one denomination: a small calculation."""
MOVE_WRITES = 2
"""Rows that such a move writes besides the vault of who claims."""


class Pay(Message, tag="royalty.pay"):
    """Pay an IP; its ancestors get their parts of it (N-royalty.5)."""

    ip: IpId
    denom: Denom
    amount: Amount
    payer_ip: IpId | None = None
    reference: Hash | None = None

    WEIGHT = 25
    WRITES = 2


class Accept(Message, tag="royalty.accept"):
    """Let an IP be paid in further denominations, for ever (N-royalty.1)."""

    ip: IpId
    denoms: Annotated[list[Denom], listing(DENOMS_MAX, items_min=1, ascending=True)]

    WRITES = 2


class Claim(Message, tag="royalty.claim"):
    """Settle what descendants owe an IP and pay its holders (N-royalty.7)."""

    ip: IpId
    denoms: Annotated[list[Denom], listing(DENOMS_MAX, items_min=1)]
    sources: Annotated[list[IpId], listing(SOURCES_MAX)]
    holders: Annotated[list[Holder], listing(HOLDERS_MAX)]
    may_be_empty: bool = False
    max_units: U64 = 1_000

    WEIGHT = 25

    def weight(self) -> int:
        """Each settlement and each holder in each denomination is one small calculation."""
        moves = len(self.sources) + max(len(self.holders), 2)
        return self.WEIGHT + MOVE_WEIGHT * len(self.denoms) * moves

    def writes(self) -> int:
        """A settlement writes two rows besides the vault; a holder a debt and a balance."""
        moves = len(self.sources) + max(len(self.holders), 2)
        return len(self.sources) + len(self.denoms) * (1 + MOVE_WRITES * moves)


class Paid(Event, tag="royalty.paid"):
    """An IP received revenue; ``net`` is what counts after the protocol fee."""

    ip: IpId
    payer: Holder
    payer_ip: IpId | None
    denom: Denom
    amount: Amount
    net: Amount
    reference: Hash | None


class Accepted(Event, tag="royalty.accepted"):
    """An IP accepts further denominations."""

    ip: IpId
    denoms: list[Denom]


class Settled(Event, tag="royalty.settled"):
    """What a descendant owed an ancestor has reached the ancestor's vault."""

    source: IpId
    ip: IpId
    denom: Denom
    amount: Amount


class Claimed(Event, tag="royalty.claimed"):
    """A holder of royalty units was paid."""

    ip: IpId
    holder: Holder
    denom: Denom
    amount: Amount


class UnitsMoved(Event, tag="royalty.units_moved"):
    """Royalty units changed hands."""

    ip: IpId
    source: Holder
    target: Holder
    units: Amount


class Linked(Event, tag="royalty.linked"):
    """An IP joined the lineage of its parents."""

    ip: IpId
    policy: Policy
    parents: list[IpId]
    shares: list[Share]
