"""Messages inside ``ip.execute``: each on its own right and within its own units (N-ip.9, F4)."""

from __future__ import annotations

from chain.codec import encode_amount
from state.modules.bank import Send
from state.modules.ip import messages as m
from state.modules.license import messages as lm
from state.modules.royalty import messages as rm
from tests.state.modules.lineages import Lineages

ONE = encode_amount(1)


def test_a_nested_message_has_the_units_it_declares_and_no_others() -> None:
    net = Lineages()
    terms = net.terms()
    parent, child = net.ip(), net.ip()
    net.offer(parent, terms)
    derive = lm.RegisterDerivative(child, [lm.Parent(parent, terms)], max_units=0)
    claim = rm.Claim(parent, [b""], [child], [], may_be_empty=True, max_units=100)

    assert net.refused(0, derive, claim) == "tx/OutOfUnits"
    together = m.Execute(child, net.encoded(derive, claim))
    assert net.refused(0, together) == "tx/OutOfUnits"
    deeper = m.Execute(child, net.encoded(together))
    assert net.refused(0, deeper, claim) == "tx/OutOfUnits"


def test_nested_messages_use_what_they_declare_one_after_the_other() -> None:
    net = Lineages()
    terms = net.terms()
    parent, child = net.ip(), net.ip()
    net.offer(parent, terms)
    net.ok(0, Send(child, b"", encode_amount(10**9)))
    derive = lm.RegisterDerivative(child, [lm.Parent(parent, terms)], max_units=4)
    claim = rm.Claim(parent, [b""], [child], [], may_be_empty=True, max_units=9)

    net.ok(0, m.Execute(child, net.encoded(derive, claim)))


def test_units_left_over_inside_do_not_pay_for_what_comes_after() -> None:
    net = Lineages()
    terms = net.terms()
    parent, child, other = net.ip(), net.ip(), net.ip()
    net.offer(parent, terms)
    net.offer(other, terms)
    net.ok(0, Send(child, b"", encode_amount(10**9)))
    rich = lm.RegisterDerivative(child, [lm.Parent(parent, terms)], max_units=900)
    poor = rm.Claim(parent, [b""], [child], [], may_be_empty=True, max_units=0)

    assert net.refused(0, m.Execute(child, net.encoded(rich)), poor) == "tx/OutOfUnits"
    assert net.refused(0, m.Execute(child, net.encoded(rich, poor))) == "tx/OutOfUnits"


def test_who_gives_an_ip_away_acts_as_it_no_more() -> None:
    net = Lineages()
    ip = net.ip()
    net.ok(0, Send(ip, b"", encode_amount(1_000)))
    give = m.Transfer(ip, net.addresses[1])
    empty = Send(net.addresses[0], b"", ONE)

    assert net.refused(0, m.Execute(ip, net.encoded(give, empty))) == "ip/NotOwner"
    net.ok(0, m.Execute(ip, net.encoded(empty, give)))
    assert net.refused(0, m.Execute(ip, net.encoded(empty))) == "ip/NotOwner"


def test_nor_when_it_was_given_away_and_came_back_in_between() -> None:
    net = Lineages()
    holder, ip = net.ip(), net.ip()
    there = m.Transfer(ip, holder)
    back = m.Execute(holder, net.encoded(m.Transfer(ip, net.addresses[0])))
    net.ok(0, there, back)

    assert net.refused(0, m.Execute(ip, net.encoded(there, m.FreezeMetadata(ip)))) == "ip/NotOwner"


def test_a_right_lost_below_is_lost_above() -> None:
    net = Lineages()
    outer, inner = net.ip(), net.ip()
    net.ok(0, m.Transfer(inner, outer))
    give = m.Execute(inner, net.encoded(m.Transfer(inner, net.addresses[1])))
    relate = m.FreezeMetadata(inner)

    assert net.refused(0, m.Execute(outer, net.encoded(give, relate))) == "ip/NotOwner"
