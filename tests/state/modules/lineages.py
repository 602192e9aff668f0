"""Short words for building lineages in tests: register, offer, derive, pay, claim."""

from __future__ import annotations

from typing import Any

import msgspec

from chain.codec import encode_amount
from chain.ids import Kind
from state.modules.ip import messages as im
from state.modules.ip.asset import IpKind
from state.modules.license import messages as lm
from state.modules.license import rows as license_rows
from state.modules.license.terms import FLAVOURS
from state.modules.royalty import messages as rm
from state.modules.royalty import queries
from state.modules.royalty.shares import Policy
from tests.state.ledger import Ledger

REMIX = FLAVOURS[2]
"""Commercial remix, 10 %, LAP, reciprocal."""


class Lineages(Ledger):
    """A ledger that knows how IPs come to be related. Account 0 acts unless said otherwise."""

    def __init__(self, accounts: int = 5, **params: Any) -> None:
        super().__init__(accounts, **params)
        self.contents = 0

    def ip(self, who: int = 0) -> bytes:
        """Register an IP with fresh content."""
        self.contents += 1
        ip = self.next_id(Kind.IP, who)
        content = self.contents.to_bytes(32, "big")
        self.ok(who, im.Register(IpKind.TEXT, content))
        return ip

    def terms(self, *, policy: Policy = Policy.LAP, share: int = 10_000_000, fee: int = 0,
              **changes: Any) -> bytes:  # fmt: skip
        """Register commercial remix terms with these numbers."""
        terms = msgspec.structs.replace(
            REMIX, royalty_policy=policy, rev_share=share, minting_fee=encode_amount(fee), **changes
        )
        self.ok(0, lm.RegisterTerms(terms))
        return license_rows.terms_id_of(terms)

    def offer(self, ip: bytes, terms: bytes, who: int = 0, **config: Any) -> None:
        """Attach terms to an IP."""
        made = lm.Config(**config) if config else None
        self.ok(who, lm.Attach(ip, terms, made))

    def derive(self, child: bytes, *parents: tuple[bytes, bytes], who: int = 0) -> None:
        """Register a derivative of (ip, terms) pairs."""
        named = [lm.Parent(ip, terms) for ip, terms in parents]
        self.ok(who, lm.RegisterDerivative(child, named, max_units=20_000))

    def child_of(self, *parents: tuple[bytes, bytes], who: int = 0) -> bytes:
        """Register an IP and make it a derivative."""
        child = self.ip(who)
        self.derive(child, *parents, who=who)
        return child

    def pay(self, ip: bytes, amount: int, who: int = 4) -> None:
        """Pay an IP in ncolo."""
        self.ok(who, rm.Pay(ip, b"", encode_amount(amount)))

    def settle(self, ip: bytes, *sources: bytes, who: int = 3) -> None:
        """Move what sources owe into an IP's vault; the sender gets nothing."""
        self.ok(who, rm.Claim(ip, [b""], list(sources), [], may_be_empty=True, max_units=40_000))

    def claimable(self, ip: bytes, holder: bytes | None = None) -> int:
        """Return what a holder (the IP's account) could claim now."""
        view = queries.claimable(self.query, ip=ip, holder=holder)
        return int.from_bytes(view.amount, "big")
