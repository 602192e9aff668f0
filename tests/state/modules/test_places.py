"""Who has a place of a content, and what an offer of an IP may ask (N-ip.2, N-ip.7)."""

from __future__ import annotations

import pytest

from chain.codec import encode_amount
from chain.crypto import require_public_key
from chain.errors import Rejected
from chain.ids import Kind
from state.modules import account
from state.modules.bank import Send
from state.modules.ip import messages as m
from state.modules.ip import queries
from state.modules.ip.asset import IpKind
from state.modules.ip.precommits import commitment_of
from tests.state.ledger import Ledger, key_of
from tests.state.modules.lineages import Lineages

CONTENT = b"\x77" * 32


def salt(number: int) -> bytes:
    return number.to_bytes(32, "big")


def promise(net: Ledger, who: int, number: int = 0) -> None:
    """Let an account commit to the content."""
    raw = commitment_of(net.hash, net.addresses[who], IpKind.TEXT, CONTENT, salt(number))
    net.ok(who, m.Precommit(raw))


def registration(number: int | None = 0) -> m.Register:
    return m.Register(IpKind.TEXT, CONTENT, salt=None if number is None else salt(number))


def test_one_account_has_one_place_however_many_promises_it_made() -> None:
    net = Lineages()
    for number in range(16):
        promise(net, 1, number)
    first = net.next_id(Kind.IP, 0)
    net.ok(0, registration(None))
    own = net.next_id(Kind.IP, 1)
    net.ok(1, registration(15))

    for number in range(15):
        assert net.refused(1, registration(number)) == "ip/ContentAlreadyRegistered"
        assert net.last_refusal is not None and net.last_refusal.details["ip"] == own

    assert [place.ip for place in net.ask(queries.by_content, hash=CONTENT).items] == [own, first]


def test_who_was_first_and_displaced_cannot_take_a_second_place() -> None:
    net = Lineages()
    promise(net, 0)
    promise(net, 1)
    net.ok(1, registration())

    net.ok(0, registration())

    promise(net, 1, 5)
    assert net.refused(1, registration(None)) == "ip/ContentAlreadyRegistered"


def test_a_displaced_first_stays_and_a_17th_is_refused() -> None:
    net = Lineages(accounts=18)
    for who in range(17):
        promise(net, who)
    first = net.next_id(Kind.IP, 17)
    net.ok(17, registration(None))
    for who in range(16, 1, -1):
        net.ok(who, registration())

    assert net.refused(1, registration()) == "ip/TooManyPlaces"

    places = net.ask(queries.by_content, hash=CONTENT).items
    assert len(places) == 16 and places[-1].ip == first


def test_who_accepts_an_offer_may_say_which_state_of_the_ip_it_takes() -> None:
    """Between offer and acceptance the owner could empty it."""
    net = Lineages()
    ip = net.ip()
    net.ok(0, Send(ip, b"", encode_amount(500)))
    net.ok(1, account.RequireAcceptance(True))
    net.ok(0, m.Transfer(ip, net.addresses[1]))
    seen = queries.get(net.query, ip=ip).state
    net.ok(0, m.Execute(ip, net.encoded(Send(net.addresses[0], b"", encode_amount(500)))))

    assert net.refused(1, m.AcceptTransfer(ip, if_state=seen)) == "ip/StateChanged"
    net.ok(1, m.AcceptTransfer(ip, if_state=seen + 1))


def test_an_acceptance_without_a_state_takes_it_as_it_is() -> None:
    net = Lineages()
    ip = net.ip()
    net.ok(1, account.RequireAcceptance(True))
    net.ok(0, m.Transfer(ip, net.addresses[1]))

    net.ok(1, m.AcceptTransfer(ip))


@pytest.mark.parametrize("y", [2, 7, 11])
def test_a_key_that_is_no_point_of_the_curve_opens_no_account(y: int) -> None:
    net = Ledger()
    key = y.to_bytes(32, "little")
    with pytest.raises(Rejected, match="no point"):
        require_public_key(key)
    both = sorted([key, key_of(60).public_key])
    keys = [account.KeyWeight(item, 1) for item in both]

    assert net.refused(0, account.SetKeys(keys, 1)) == "crypto/WeakKey"
