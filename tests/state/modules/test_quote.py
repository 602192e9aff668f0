"""``license.quote`` refuses exactly where the message does, with the same code (N-license.9)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from chain.codec import encode_amount
from chain.errors import Rejected
from chain.ids import Kind
from chain.types import ROYALTY_UNITS
from state.modules.bank import Send
from state.modules.ip import messages as im
from state.modules.license import messages as lm
from state.modules.license import queries
from state.modules.royalty.shares import Policy
from tests.state.modules.lineages import Lineages

POOR, MIDDLING = 60_000, 10_500_000
"""Enough for a transaction's fee, not for a deposit; enough for some licences, not for many."""
AMOUNTS = (0, 1, 1, 3, 3, 100, 100, 2**64 - 1)
SHARES = (0, 10_000_000, 60_000_000)


class Market(Lineages):
    """Some IPs offered under some terms, some related, some sold in part; two poor accounts."""

    def __init__(self, draw: Any) -> None:
        super().__init__(6)
        self.check_every_block = False
        for who, left in ((4, POOR), (5, MIDDLING)):
            spare = self.balance(self.addresses[who]) - left - 10_000
            self.ok(who, Send(self.addresses[0], b"", encode_amount(spare)))
        self.known = [
            self.terms(
                policy=draw(st.sampled_from([Policy.LAP, Policy.LRP])),
                share=draw(st.sampled_from(SHARES)),
                fee=draw(st.sampled_from([0, 10**6, 2**127])),
            )
            for _ in range(2)
        ]
        self.owners = [draw(st.sampled_from([0, 0, 1])) for _ in range(6)]
        self.ips = [self.ip(owner) for owner in self.owners]
        for ip, owner in zip(self.ips, self.owners, strict=True):
            for terms in draw(st.sampled_from([[], self.known[:1], self.known[:1], self.known])):
                self.send(owner, lm.Attach(ip, terms, None))
        self.lots: list[bytes] = []
        for _ in range(draw(st.integers(0, 6))):
            self._act(draw)

    def _act(self, draw: Any) -> None:
        """Try something that may or may not succeed."""
        ip, who = draw(st.sampled_from(self.ips)), draw(st.sampled_from([0, 0, 0, 1]))
        terms = draw(st.sampled_from(self.known))
        lot = self.next_id(Kind.LOT, who)
        sold = encode_amount(draw(st.sampled_from([1, ROYALTY_UNITS])))
        config = draw(st.sampled_from([None, lm.Config(disabled=True)]))
        act = draw(
            st.sampled_from(
                [
                    lm.Attach(ip, terms, config),
                    lm.Mint(ip, terms, 2, self.addresses[draw(st.integers(0, 5))]),
                    im.Execute(ip, self.encoded(Send(self.addresses[3], ip, sold))),
                    self.derivative(draw),
                ]
            )
        )
        if not self.send(who, act).code and isinstance(act, lm.Mint):
            self.lots.append(lot)

    def derivative(self, draw: Any) -> lm.RegisterDerivative:
        """Return a link of any of the IPs to any of them."""
        parents = []
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3]))):
            ip, terms = draw(st.sampled_from(self.ips)), draw(st.sampled_from(self.known))
            lot = draw(st.sampled_from([None, None, *self.lots]))
            parents.append(lm.Parent(ip, terms if lot is None else None, lot))
        return lm.RegisterDerivative(
            draw(st.sampled_from([*self.ips, *self.ips, bytes((Kind.IP,)) + bytes(20)])),
            parents,
            max_minting_fee=draw(st.sampled_from([None, None, b"", encode_amount(10**6)])),
            max_rev_share=draw(st.sampled_from([None, None, None, *SHARES])),
            max_units=draw(st.sampled_from([0, 5, 20_000, 20_000, 20_000])),
        )

    def mint(self, draw: Any) -> lm.Mint:
        """Return a mint of any of the IPs for anybody."""
        return lm.Mint(
            draw(st.sampled_from([*self.ips, bytes((Kind.IP,)) + bytes(20)])),
            draw(st.sampled_from([*self.known, *self.known, bytes((Kind.TERMS,)) + bytes(20)])),
            draw(st.sampled_from(AMOUNTS)),
            draw(st.sampled_from([*self.addresses, *self.ips])),
            max_minting_fee=draw(st.sampled_from([None, None, b"", encode_amount(10**6)])),
            max_rev_share=draw(st.sampled_from([None, None, None, *SHARES])),
        )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_quote_refuses_exactly_where_the_message_does(data: st.DataObject) -> None:
    net = Market(data.draw)
    message = data.draw(st.sampled_from([net.mint, net.derivative]))(data.draw)
    who = data.draw(st.sampled_from([0, 0, 0, 0, 1, 4, 5]))

    quoted, view = "", None
    try:
        view = net.ask(queries.quote, sender=net.addresses[who], message=message)
    except Rejected as refusal:
        quoted = refusal.code
        details = refusal.details
    receipt = net.send(who, message)

    event(quoted or "done")
    assert quoted == receipt.code
    if view is None:
        assert but_held(details) == but_held(net.last_refusal.details)
    else:
        assert view.fee == receipt.events[-1].fee


def but_held(details: Any) -> dict[str, Any]:
    """Return details without the balance, from which the transaction has paid its fee."""
    return {name: value for name, value in details.items() if name != "held"}


# Each of these was a price where the message is refused.


def refused(net: Lineages, who: int, message: Any) -> str:
    """Require that quote and message are refused alike; return the code."""
    with pytest.raises(Rejected) as refusal:
        net.ask(queries.quote, sender=net.addresses[who], message=message)
    assert net.refused(who, message) == refusal.value.code
    return refusal.value.code


def offered(**terms: Any) -> tuple[Lineages, bytes, bytes]:
    net = Lineages()
    ip, terms_id = net.ip(), net.terms(**terms)
    net.offer(ip, terms_id)
    return net, ip, terms_id


def test_quote_refuses_a_stack_above_the_whole() -> None:
    net, parent, terms = offered(share=60_000_000)
    other = net.ip()
    net.offer(other, terms)
    parents = [lm.Parent(parent, terms), lm.Parent(other, terms)]

    message = lm.RegisterDerivative(net.ip(), parents)

    assert refused(net, 0, message) == "royalty/AboveMaxPercent"


def test_quote_refuses_a_child_whose_units_are_outside() -> None:
    net, parent, terms = offered()
    child = net.ip()
    net.ok(0, im.Execute(child, net.encoded(Send(net.addresses[3], child, encode_amount(1)))))

    message = lm.RegisterDerivative(child, [lm.Parent(parent, terms)])

    assert refused(net, 0, message) == "royalty/UnitsOutside"


def test_quote_refuses_a_child_of_somebody_else_or_of_nobody() -> None:
    net, parent, terms = offered()
    parents = [lm.Parent(parent, terms)]
    nobody = bytes((Kind.IP,)) + bytes(20)

    assert refused(net, 1, lm.RegisterDerivative(net.ip(), parents)) == "ip/NotOwner"
    assert refused(net, 0, lm.RegisterDerivative(nobody, parents)) == "ip/NotRegistered"


def test_quote_refuses_what_cannot_be_paid() -> None:
    net, ip, terms = offered(fee=10**19)
    free = net.terms(share=1)
    net.offer(ip, free)
    spare = net.balance(net.addresses[4]) - POOR
    net.ok(4, Send(net.addresses[0], b"", encode_amount(spare - 10_000)))
    most = lm.Mint(ip, terms, 2**64 - 1, net.addresses[1])

    assert refused(net, 1, lm.Mint(ip, terms, 1, net.addresses[1])) == "bank/InsufficientFunds"
    assert refused(net, 1, most) == net.refused(1, most)
    assert refused(net, 4, lm.Mint(ip, free, 1, net.addresses[4])) == "bank/DepositUnpaid"


def test_quote_counts_units_and_keeps_to_max_units() -> None:
    net, parent, terms = offered()
    child = net.child_of((parent, terms))
    grandchild = net.ip()
    named = [lm.Parent(child, terms)]

    view = net.ask(
        queries.quote, sender=net.addresses[0], message=lm.RegisterDerivative(grandchild, named)
    )

    assert view.shares == [10_000_000]
    enough = lm.RegisterDerivative(grandchild, named, max_units=view.units)
    above = net.params.tx_units_max + 1
    beyond = lm.RegisterDerivative(grandchild, named, max_units=above)
    with pytest.raises(Rejected, match="tx/TooManyUnits"):  # No transaction can carry it.
        net.ask(queries.quote, sender=net.addresses[0], message=beyond)
    short = lm.RegisterDerivative(grandchild, named, max_units=view.units - 1)
    assert refused(net, 0, short) == "tx/OutOfUnits"
    net.ok(0, enough)
