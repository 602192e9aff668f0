"""Rows are paid for by who causes them, and what can be removed gives its deposit back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chain.codec import encode, encode_amount
from chain.fields import Blob
from chain.ids import Kind
from state.context import blob_bytes, record_bytes
from state.families import MODULES
from state.modules.account import DEPOSITS, RequireAcceptance
from state.modules.bank import Send
from state.modules.ip import messages as m
from state.modules.ip import rows
from state.modules.ip.asset import Creator, IpKind, Rights, Scope, SoftBinding
from state.modules.ip.precommits import commitment_of
from state.modules.license import messages as lm
from state.modules.license import rows as lr
from state.modules.royalty import messages as rm
from state.modules.royalty import rows as rr
from tests.state.modules.lineages import Lineages

NO_IP = bytes((2,)) * 21
FREE = {
    "account": {1, 2, 3, 4, 5},
    "royalty": {rr.VAULTS.prefix[-1], rr.SETTLEMENTS.prefix[-1], rr.NET_SHARES.prefix[-1],
                rr.DEBTS.prefix[-1]},
    "license": {lr.COUNTERS.prefix[-1], lr.HOLDINGS.prefix[-1]},
}  # fmt: skip
"""Tables whose rows carry no deposit (N-account.4), by number."""


def held(net: Lineages) -> int:
    return net.balance(DEPOSITS)


def size_of_paid_rows(net: Lineages) -> int:
    """Return what all rows that carry a deposit should have cost, from the state alone."""
    total = 0
    for module in MODULES:
        for table in module.tables:
            if table.prefix[-1] in FREE.get(module.name, set()):
                continue
            for key, row in table.scan(net.state):
                deposit = getattr(row, "deposit", None)
                if deposit:
                    total += int.from_bytes(deposit, "big") // net.params.deposit_per_byte
                elif not (table is lr.TERMS or table in (rows.PRECOMMITS, rows.QUEUED)):
                    total += record_bytes(table.prefix + key, row)
                if isinstance(row, rows.Ip):
                    total += blob_bytes(rows.registration_of(net.state, key, row))
    return total


def everything(net: Lineages) -> None:
    """Cause every kind of row of ip, royalty and license."""
    content = b"\x11" * 32
    raw = commitment_of(net.hash, net.addresses[0], IpKind.TEXT, content, bytes(32))
    net.ok(0, m.Precommit(raw))
    creator = Creator(net.addresses[1], None, None, 0)
    ip = net.next_id(Kind.IP, 0)
    title = Blob(bytes(32), 100)
    net.ok(0, m.Register(IpKind.TEXT, content, title=title, salt=bytes(32), creators=[creator]))
    net.ok(1, m.AcceptCredit(ip, 0))
    net.ok(0, m.SetUpdater(ip, net.addresses[1], Scope.BOTH))
    net.ok(2, RequireAcceptance(True))
    net.ok(0, m.Transfer(ip, net.addresses[2]))
    terms = net.terms()
    net.offer(ip, terms)
    net.ok(1, lm.Mint(ip, terms, 2, net.addresses[1]))
    child = net.child_of((ip, terms))
    net.ok(0, lm.ApproveDerivative(ip, terms, child, True))
    net.ok(0, rm.Accept(ip, [b""]))


def test_what_deposits_hold_is_what_the_rows_cost() -> None:
    net = Lineages()

    everything(net)

    assert held(net) == size_of_paid_rows(net) * net.params.deposit_per_byte


def test_messages_of_one_transaction_pay_each_for_what_it_stores() -> None:
    net = Lineages()
    ip = net.ip()
    before = held(net), net.balance(net.addresses[0])

    first, second = (m.SetUpdater(ip, net.addresses[who], Scope.BOTH) for who in (1, 2))
    net.ok(0, first)
    one = held(net) - before[0]
    net.ok(0, m.SetUpdater(ip, net.addresses[1], None))
    net.ok(0, first, second)

    assert held(net) - before[0] == 2 * one
    net.ok(
        0, m.Execute(ip, net.encoded(*(m.SetUpdater(ip, it.who, None) for it in (first, second))))
    )
    assert held(net) == before[0]


def test_an_updater_is_paid_for_replaced_and_given_back() -> None:
    net = Lineages()
    ip = net.ip()
    before = held(net)
    who = net.addresses[1]

    net.ok(0, m.SetUpdater(ip, who, Scope.BOTH))
    one = held(net) - before
    assert one == 1_000 * (4 + 42 + len(encode(rows.Updater(Scope.BOTH, 0, 0, who, b""))))
    net.ok(0, m.SetUpdater(ip, who, Scope.RIGHTS))
    assert held(net) - before == one
    net.ok(0, m.SetUpdater(ip, who, None))
    assert held(net) == before
    net.ok(0, m.SetUpdater(ip, who, None))
    assert held(net) == before


def test_an_updater_that_is_an_ip_exists() -> None:
    net = Lineages()
    ip, other = net.ip(), net.ip()

    assert net.refused(0, m.SetUpdater(ip, NO_IP, Scope.BOTH)) == "ip/NotRegistered"
    net.ok(0, m.SetUpdater(ip, other, Scope.BOTH))
    net.ok(0, m.SetUpdater(ip, NO_IP, None))


@pytest.mark.parametrize("end", ["accept", "withdraw", "replace", "move"])
def test_an_offer_is_paid_for_by_who_makes_it_until_it_ends(end: str) -> None:
    net = Lineages()
    ip = net.ip()
    for who in (1, 2):
        net.ok(who, RequireAcceptance(True))
    before = held(net)
    net.ok(0, m.Transfer(ip, net.addresses[1]))
    one = held(net) - before
    assert one > 0

    ends: dict[str, Callable[[], Any]] = {
        "accept": lambda: net.ok(1, m.AcceptTransfer(ip)),
        "withdraw": lambda: net.ok(0, m.WithdrawTransfer(ip)),
        "replace": lambda: net.ok(0, m.Transfer(ip, net.addresses[2])),
        "move": lambda: net.ok(0, m.Transfer(ip, net.addresses[3])),
    }
    ends[end]()

    assert held(net) - before == (one if end == "replace" else 0)


def test_who_cannot_pay_for_a_row_makes_none() -> None:
    net = Lineages()
    ip = net.ip()
    as_poor_ip = m.Execute(ip, net.encoded(m.SetUpdater(ip, net.addresses[1], Scope.BOTH)))

    assert net.refused(0, as_poor_ip) == "bank/DepositUnpaid"


def test_a_long_registration_lies_apart_and_costs_its_row_more() -> None:
    """Its own row is then as short as any, because everybody reads that one."""
    net = Lineages()
    creator = Creator(net.addresses[1], None, None, 0)
    rights = Rights(jurisdiction="j" * 16, constraint=Blob(bytes(32), 70))

    def registration(number: int, length: int) -> m.Register:
        bindings = [SoftBinding("a" * 40, bytes(100)), SoftBinding("b", bytes(length))]
        return m.Register(IpKind.TEXT, number.to_bytes(32, "big"), creators=[creator],
                          rights=rights, soft_bindings=bindings)  # fmt: skip

    fits = 100 + rows.SHORT_BYTES_MAX - len(encode(registration(1, 100)))
    at_limit, over = registration(1, fits), registration(2, fits + 1)
    assert len(encode(at_limit)) == rows.SHORT_BYTES_MAX == len(encode(over)) - 1
    for message in (at_limit, over):
        before, ip = held(net), net.next_id(Kind.IP, 0)
        net.ok(0, message)

        row = rows.IPS.get(net.state, ip)
        apart = rows.REGISTRATIONS.get(net.state, ip)
        assert row is not None
        assert (row.registration, apart) == (
            (encode(message), None) if message is at_limit
            else (b"", rows.Registration(encode(message)))
        )  # fmt: skip
        assert rows.registration_of(net.state, ip, row) == message
        content = rows.CONTENTS.get(net.state, message.content_hash)
        assert content is not None
        size = record_bytes(rows.IPS.prefix + ip, row) + 70
        size += record_bytes(rows.CONTENTS.prefix + message.content_hash, content)
        if apart is not None:
            size += record_bytes(rows.REGISTRATIONS.prefix + ip, apart)
        assert held(net) - before == size * net.params.deposit_per_byte
        net.ok(1, m.AcceptCredit(ip, 0))


def test_what_a_message_brings_its_actor_pays_the_deposits_it_causes() -> None:
    """They are taken together at its end; those of a nested message at that one's end."""
    net = Lineages()
    ip, terms = net.ip(), net.terms()
    act = m.SetUpdater(ip, net.addresses[1], Scope.BOTH)
    size = 4 + 42 + len(encode(rows.Updater(Scope.BOTH, 0, 0, ip, b"")))
    exact = size * net.params.deposit_per_byte
    net.ok(0, Send(ip, b"", encode_amount(exact - 1)))
    assert net.refused(0, m.Execute(ip, net.encoded(act))) == "bank/DepositUnpaid"
    more = Send(net.addresses[1], b"", encode_amount(1))
    net.ok(0, Send(ip, b"", encode_amount(1)))
    assert net.refused(0, m.Execute(ip, net.encoded(act, more))) == "bank/InsufficientFunds"
    assert net.refused(0, m.Execute(ip, net.encoded(more, act))) == "bank/DepositUnpaid"

    net.ok(0, m.Execute(ip, net.encoded(act)))

    assert net.balance(ip) == 0
    net.ok(0, m.Execute(ip, net.encoded(m.SetUpdater(ip, net.addresses[1], None), more)))
    assert net.balance(ip) == exact - 1
    net.offer(ip, terms)


def test_messages_of_an_ip_write_no_more_than_they_pay_for() -> None:
    """The ledger checks each of them (F1); here all that touch what others have paid for."""
    net = Lineages()
    ip, terms = net.ip(), net.terms()
    rich = encode_amount(10**12)
    net.ok(0, Send(ip, b"", rich))
    who = net.addresses[1]
    net.ok(1, RequireAcceptance(True))

    def act(*messages: Any) -> None:
        net.ok(0, m.Execute(ip, net.encoded(*messages)))

    net.ok(0, m.SetUpdater(ip, who, Scope.BOTH))
    act(m.SetUpdater(ip, who, Scope.RIGHTS))
    net.ok(0, m.SetUpdater(ip, who, None))
    net.ok(0, lm.ApproveDerivative(ip, terms, ip, True))
    act(lm.ApproveDerivative(ip, terms, ip, True))
    act(lm.Attach(ip, terms))
    act(lm.Mint(ip, terms, 1, who))
    act(m.Register(IpKind.TEXT, b"\x10" * 32))
    act(m.Precommit(b"\x11" * 32))
    net.ok(0, m.Transfer(ip, who))
    act(m.Transfer(ip, who))
    net.ok(1, m.AcceptTransfer(ip))
