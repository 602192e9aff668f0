"""Accounts and sending: keys, thresholds, lanes, amounts, conservation under random histories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.errors import Corruption, Rejected
from chain.ids import NCOLO, TREASURY, Kind
from chain.transaction import Body, transaction_id
from state.authorise import authorise
from state.executor import Environment
from state.modules import account
from state.modules.account import ACCOUNTS, KeyWeight, SetKeys, all_balances, supply_of
from state.modules.bank import Send
from state.overlay import Overlay
from tests.state.ledger import Ledger, key_of

AMOUNT = encode_amount


def set_keys(*numbers: int, threshold: int = 1, weight: int = 1) -> SetKeys:
    """Return a message that gives an account these test keys."""
    keys = sorted(key_of(number).public_key for number in numbers)
    return SetKeys([KeyWeight(key, weight) for key in keys], threshold)


def authorise_raw(net: Ledger, body: Body[Any], keys: list[SigningKey]) -> None:
    """Read a body signed by these keys and authorise it alone; raises ``Rejected``."""
    raw = encode(body)
    tx = net.executor.registry.read(raw, [bytes(64)] * len(keys), net.hash, net.params)
    assert tx.id == transaction_id(raw, [bytes(64)] * len(keys))
    environment = Environment(
        net.hash, net.params, net.height + 1, net.now_ms + 1, net.params.base_fee_genesis
    )
    block = net.executor.open_block(Overlay(net.state.get), environment)
    authorise(block, tx)


def refusal(net: Ledger, *messages: Any, keys: list[int] | None = None, **changes: Any) -> str:
    """Return the code with which a transaction of account 0 is not includable."""
    signers = sorted((key_of(n) for n in keys or [1]), key=lambda key: key.public_key)
    given = {"keys": [key.public_key for key in signers], **changes}
    body = net.body(0, messages or (Send(net.addresses[1], b"", b"\1"),), **given)
    with pytest.raises(Rejected) as caught:
        authorise_raw(net, body, signers)
    return caught.value.code


def test_what_may_not_stand_in_a_block() -> None:
    net = Ledger()

    assert refusal(net, keys=[2]) == "tx/NotAuthorised"
    assert refusal(net, keys=[1, 2]) == "tx/NotAuthorised"
    assert refusal(net, seq=1) == "tx/WrongSeq"
    assert refusal(net, seq=2**64 - 1) == "tx/WrongSeq"
    assert refusal(net, lane=63, seq=1) == "tx/WrongSeq"
    assert refusal(net, valid_until=1) == "tx/Expired"
    assert refusal(net, max_fee=b"\1") == "tx/FeeTooLow"
    assert refusal(net, max_fee=AMOUNT(10**20), tip=AMOUNT(10**19)) == "tx/FeeUnpaid"
    assert refusal(net, sender=b"\0" + bytes(20)) == "tx/FeeUnpaid"
    many = [Send(net.addresses[1], b"", b"\1")] * 64
    small = Ledger(tx_units_max=500)
    assert refusal(small, *many) == "tx/TooManyUnits"


def test_what_bytes_alone_forbid() -> None:
    net = Ledger()

    assert refusal(net, version=2) == "tx/Version"
    assert refusal(net, genesis_hash=bytes(32)) == "tx/WrongNetwork"
    assert refusal(net, sender=bytes((Kind.IP,)) + bytes(20)) == "field/WrongKind"
    assert refusal(net, max_fee=b"\0\1") == "field/NotCanonical"
    assert refusal(net, sponsor=bytes((Kind.SPONSOR,)) + bytes(20)) == "tx/UnknownSponsor"
    assert refusal(net, lane=64) == "codec/Malformed"
    assert refusal(net, Send(NCOLO, b"", b"\1")) == "codec/Malformed"
    assert refusal(net, Send(net.addresses[1], b"\1\2", b"\1")) == "field/WrongDenom"
    assert refusal(net, Send(net.addresses[1], b"", b"\0\1")) == "field/NotCanonical"
    assert refusal(net, Send(TREASURY, b"", b"\1")) == "field/WrongKind"


def test_an_expired_transaction_uses_no_sequence_number() -> None:
    net = Ledger()
    before = net.seq(0)

    assert refusal(net, valid_until=net.now_ms) == "tx/Expired"

    assert net.seq(0) == before
    net.ok(0, Send(net.addresses[1], b"", b"\1"), valid_until=net.now_ms + 10_000)


def test_lanes_are_independent_and_each_begins_at_zero() -> None:
    net = Ledger()
    send = Send(net.addresses[1], b"", b"\1")

    net.ok(0, send, lane=63, seq=0)
    net.ok(0, send, lane=63, seq=1)
    net.ok(0, send, lane=7, seq=0)
    net.ok(0, send)

    assert [net.seq(0, lane) for lane in (0, 7, 63, 5)] == [1, 1, 2, 0]


def test_keys_rotate_and_the_id_stays() -> None:
    net = Ledger()

    net.ok(0, set_keys(50))

    assert refusal(net, keys=[1]) == "tx/NotAuthorised"
    body = net.body(0, (Send(net.addresses[1], b"", b"\1"),), keys=[key_of(50).public_key])
    authorise_raw(net, body, [key_of(50)])


def test_a_multisig_needs_its_threshold_of_weights() -> None:
    net = Ledger()
    net.ok(0, set_keys(50, 51, 52, threshold=4, weight=2))

    assert refusal(net, keys=[50]) == "tx/BelowThreshold"
    assert refusal(net, keys=[50, 99]) == "tx/NotAuthorised"
    signers = sorted((key_of(50), key_of(52)), key=lambda key: key.public_key)
    keys = [key.public_key for key in signers]
    body = net.body(0, (Send(net.addresses[1], b"", b"\1"),), keys=keys)
    authorise_raw(net, body, signers)


def test_refused_key_sets() -> None:
    net = Ledger()
    low, high = sorted(key_of(number).public_key for number in (50, 51))
    weak = bytes(31) + b"\x80"

    assert net.refused(0, set_keys(50, threshold=2)) == "account/ThresholdTooHigh"
    unsorted = SetKeys([KeyWeight(high, 1), KeyWeight(low, 1)], 1)
    assert net.refused(0, unsorted) == "account/KeyOrder"
    assert net.refused(0, SetKeys([KeyWeight(weak, 1)], 1)) == "crypto/WeakKey"
    assert net.refused(0, SetKeys([KeyWeight(b"\xff" * 32, 1)], 1)) == "crypto/WeakKey"


def test_refused_sends() -> None:
    net = Ledger()
    token = bytes((Kind.TOKEN,)) + bytes(20)
    missing = bytes((Kind.IP,)) + bytes(20)

    assert net.refused(0, Send(net.addresses[1], b"", b"")) == "bank/ZeroAmount"
    assert net.refused(0, Send(net.addresses[0], b"", b"\1")) == "bank/SelfSend"
    assert net.refused(0, Send(missing, b"", b"\1")) == "ip/NotRegistered"
    assert net.refused(0, Send(net.addresses[1], token, b"\1")) == "bank/UnknownDenom"
    assert net.refused(0, Send(net.addresses[1], missing, b"\1")) == "ip/NotRegistered"
    rich = Send(net.addresses[1], b"", b"\xff" * 16)
    assert net.refused(0, rich) == "bank/InsufficientFunds"


def test_an_account_starts_at_its_first_credit() -> None:
    net = Ledger()
    stranger = b"\0" + b"\7" * 20

    net.ok(0, Send(stranger, b"", AMOUNT(5)))

    assert net.balance(stranger) == 5


def test_a_fee_is_split_between_fire_and_treasury_and_nothing_is_lost() -> None:
    net = Ledger(fee_burn=25_000_000)
    supply = supply_of(net.state, NCOLO)

    receipt = net.ok(0, Send(net.addresses[1], b"", b"\1"), tip=AMOUNT(1_000))

    fee = int.from_bytes(receipt.fee, "big")
    burned = supply - supply_of(net.state, NCOLO)
    assert burned == (fee - 1_000) * 25 // 100
    assert net.balance(TREASURY) == fee - burned


def test_a_failed_transaction_keeps_fee_and_sequence_number() -> None:
    net = Ledger()

    assert net.refused(0, Send(net.addresses[0], b"", b"\1")) == "bank/SelfSend"

    assert net.seq(0) == 1
    assert net.last_refusal is not None


def test_the_supply_never_passes_its_width() -> None:
    net = Ledger()
    overlay = Overlay(net.state.get)

    with pytest.raises(Rejected) as caught:
        account.change_supply(overlay, NCOLO, 2**128)

    assert caught.value.code == "bank/SupplyOverflow"


def test_money_out_of_nothing_is_found() -> None:
    net = Ledger()
    row = ACCOUNTS.get(net.state, net.addresses[0])
    assert row is not None
    net.state.rows[ACCOUNTS.prefix + b"\0" + rb"\9" * 20] = encode(row)

    with pytest.raises(Corruption, match="supply"):
        net.send(1, Send(net.addresses[0], b"", b"\1"))


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2 * 10**18)), max_size=15
    )
)
def test_no_history_of_sends_makes_or_loses_money(moves: list[tuple[int, int, int]]) -> None:
    """Against a model of plain dictionaries."""
    net = Ledger()
    model = {address: net.balance(address) for address in net.addresses}
    for source, target, amount in moves:
        giver, taker = net.addresses[source], net.addresses[target]
        receipt = net.send(source, Send(taker, b"", AMOUNT(amount)))
        model[giver] -= int.from_bytes(receipt.fee, "big")
        if 0 < amount <= model[giver] and giver != taker:
            model[giver] -= amount
            model[taker] += amount
            assert receipt.code == ""
        else:
            assert receipt.code in ("bank/ZeroAmount", "bank/SelfSend", "bank/InsufficientFunds")

    assert {address: net.balance(address) for address in net.addresses} == model
    assert sum(amount for _, amount in all_balances(net.state)) == supply_of(net.state, NCOLO)
