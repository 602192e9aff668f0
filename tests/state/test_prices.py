"""What transactions are charged: one price for work and bytes, and what is given back (F1–F5)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import fees
from chain.codec import encode, encode_amount
from chain.fields import Blob
from chain.ids import TREASURY, Kind
from chain.params import Params
from chain.transaction import Envelope, make_blob
from colophon.bench.scene import Scene
from colophon.bench.worst_cases import CASES
from state.families import REGISTRY
from state.modules import account
from state.modules.bank import OUTPUTS_MAX, ROYALTY_OUTPUTS_MAX, MultiSend, Output, Send
from state.modules.ip import messages as im
from state.modules.ip.asset import IpKind
from state.modules.royalty import messages as rm
from state.modules.royalty.rules import MOVES_MAX
from state.registry import Transaction
from tests.state.ledger import Ledger
from tests.state.modules.lineages import Lineages

CONTENT = bytes(31) + b"\1"
PARAMS = Params(modules=[])


def read(net: Ledger, *messages: Any, params: Params = PARAMS) -> Transaction:
    """Return account 0's transaction of these messages, as a node reads it."""
    body = net.body(0, messages)
    return REGISTRY.read(encode(body), [bytes(64)], net.hash, params)


def described(length: int, content: int = 1) -> im.Register:
    """Return a registration with so many bytes of metadata."""
    metadata = Blob(content.to_bytes(32, "big"), length)
    return im.Register(IpKind.TEXT, content.to_bytes(32, "big"), metadata=metadata)


def test_a_block_full_of_bytes_is_a_block_full_of_units() -> None:
    net = Ledger()
    fat = read(net, *(described(10_000, number) for number in range(1, 7)))
    size = len(fat.raw_body) + 64 + 6 * (16 + 10_000)
    per_block = PARAMS.block_units_max // fat.units

    assert fat.units > fat.work
    assert per_block == PARAMS.block_bytes_max // size


@given(st.integers(0, 16_384))
def test_units_are_the_work_or_the_bytes_whichever_is_more(length: int) -> None:
    net = Ledger()
    tx = read(net, described(length))
    size = len(tx.raw_body) + 64 + 16 + length

    assert tx.bytes_units == -(-size * 250_000 // 1_048_576)
    assert tx.units == max(tx.work, tx.bytes_units)


def test_a_network_with_other_limits_has_another_price_of_bytes() -> None:
    net = Ledger()
    dear = msgspec.structs.replace(PARAMS, block_bytes_max=524_288)

    assert read(net, described(9_000), params=dear).units == pytest.approx(
        2 * read(net, described(9_000)).units, abs=1
    )


def test_a_blob_named_twice_counts_once_like_its_attachment() -> None:
    """Else a leader could fill a block that everybody else finds too large."""
    net = Ledger()
    blob, attachment = make_blob(b"s" * 16, b"x" * 16_000)
    registrations = [
        im.Register(IpKind.TEXT, number.to_bytes(32, "big"), metadata=blob)
        for number in range(1, 33)
    ]
    tx = read(net, *registrations)
    envelope = encode(Envelope(tx.raw_body, [bytes(64)], [attachment]))

    assert tx.bytes_units <= fees.bytes_units(PARAMS, len(envelope))


def test_bytes_inside_execute_are_paid_like_all_others() -> None:
    net = Lineages()
    ip = net.ip()
    nested = im.Execute(ip, net.encoded(described(16_000)))

    assert read(net, nested).bytes_units > read(net, described(16_000)).bytes_units


def test_a_deposit_counts_what_a_blob_names() -> None:
    paid = []
    for length in (1, 16_384):
        net = Lineages()
        receipt = net.ok(0, described(length))
        fee = int.from_bytes(receipt.fee, "big")
        paid.append(10**18 - net.balance(net.addresses[0]) - fee)

    # The longer one's length takes two bytes more of the row, too.
    assert paid[1] - paid[0] == (16_384 - 1 + 2) * 1_000


def test_of_unused_units_half_is_given_back_and_never_the_bytes() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms()
    net.offer(ip, terms)
    child = net.child_of((ip, terms))
    net.pay(child, 1_000)
    claim = rm.Claim(ip, [b""], [child], [], max_units=1_001)
    declared = read(net, claim)

    receipt = net.ok(0, claim)

    assert receipt.units == declared.units - (1_001 - 500)

    fat = read(net, claim, described(16_000, 99))
    assert fat.work - 501 < fat.bytes_units
    net.pay(child, 1_000)
    assert net.ok(0, claim, described(16_000, 99)).units == fat.bytes_units


def test_what_was_not_charged_returns_to_the_sender_at_once() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms()
    net.offer(ip, terms)
    child = net.child_of((ip, terms))
    net.pay(child, 1_000)
    before = net.balance(net.addresses[3])

    receipt = net.ok(3, rm.Claim(ip, [b""], [child], [ip], max_units=900))

    assert net.balance(net.addresses[3]) == before - int.from_bytes(receipt.fee, "big")
    assert int.from_bytes(receipt.fee, "big") == receipt.units


def test_a_failed_transaction_pays_the_treasury_its_fee_and_nothing_else() -> None:
    """Its protocol fee on a royalty is undone too: it would be money out of nothing."""
    net = Lineages(royalty_fee=10_000_000)
    ip = net.ip()
    treasury = net.balance(TREASURY)
    pay = rm.Pay(ip, b"", encode_amount(10_000))
    to_oneself = Send(net.addresses[0], b"", encode_amount(1))

    receipt = net.send(0, pay, to_oneself)

    assert receipt.code == "bank/SelfSend"
    fee = int.from_bytes(receipt.fee, "big")
    assert net.balance(TREASURY) - treasury == fee - fee // 2
    treasury = net.balance(TREASURY)
    receipt = net.ok(0, pay)
    fee = int.from_bytes(receipt.fee, "big")
    assert net.balance(TREASURY) - treasury == fee - fee // 2 + 1_000


def test_a_failed_transaction_leaves_its_deposits_with_the_payer() -> None:
    net = Lineages()
    held = account.balance_of(net.state, account.DEPOSITS)

    receipt = net.send(0, described(100), Send(net.addresses[0], b"", encode_amount(1)))

    assert receipt.code == "bank/SelfSend"
    assert account.balance_of(net.state, account.DEPOSITS) == held


# --- limits that fit together -----------------------------------------------------------------


@pytest.mark.parametrize("denoms", range(1, rm.DENOMS_MAX + 1))
def test_the_largest_claim_there_may_be_can_be_bought(denoms: int) -> None:
    """For every number of denominations, with the most sources and the most holders."""
    net = Ledger()
    moves = MOVES_MAX // denoms
    tokens = [bytes((Kind.TOKEN,)) + number.to_bytes(20, "big") for number in range(denoms)]
    for holders in (0, min(rm.HOLDERS_MAX, moves)):
        sources = min(rm.SOURCES_MAX, moves - holders)
        claim = rm.Claim(
            bytes((2,)) * 21, tokens, [bytes((2,)) * 21] * sources, [bytes(21)] * holders
        )
        assert read(net, claim).units <= PARAMS.tx_units_max


def test_the_largest_multi_send_there_may_be_can_be_bought() -> None:
    net = Ledger()
    royal = Output(bytes(21), bytes((2,)) * 21, b"\1")
    plain = Output(bytes(21), b"", b"\1")
    outputs = [royal] * ROYALTY_OUTPUTS_MAX + [plain] * (OUTPUTS_MAX - ROYALTY_OUTPUTS_MAX)

    assert read(net, MultiSend(outputs)).units <= PARAMS.tx_units_max
    one_more = [royal] * (ROYALTY_OUTPUTS_MAX + 1)
    assert net.refused(0, MultiSend(one_more)) == "bank/TooManyRoyaltySends"


@pytest.mark.parametrize("name", CASES)
def test_every_message_at_the_limits_of_its_lists_can_be_bought(name: str) -> None:
    net = Ledger()
    message = CASES[name](Scene(net.hash), net.addresses[0])
    tx = read(net, message)

    assert tx.units <= PARAMS.tx_units_max
    assert len(tx.raw_body) <= PARAMS.tx_bytes_max


def test_every_message_of_every_family_has_a_case_at_its_limits() -> None:
    assert {name.split(",")[0] for name in CASES} == set(REGISTRY.messages)
