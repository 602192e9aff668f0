"""Wallets and drafts: from plain values to signed envelopes a node can read."""

from __future__ import annotations

import pytest

from chain.codec import encode
from chain.crypto import verify_signature
from chain.errors import Rejected
from chain.ids import Kind, address_of, derive_id, format_id
from chain.transaction import ENVELOPE, check_attachments, signing_hash
from colophon.wallet import FEE_HEADROOM, USUAL_PARAMS, Draft, Wallet
from state.families import REGISTRY
from tests.state.ledger import Ledger, key_of

NETWORK = b"\x07" * 32
WALLET = Wallet(key_of(1), NETWORK)
TO = format_id(address_of(key_of(2).public_key))


def draft() -> Draft:
    return Draft().add("bank.send", to=TO, denom="ncolo", amount="5")


def test_an_envelope_is_read_and_its_signature_verifies():
    signed = WALLET.sign(draft(), seq=4, base_fee=1_000_000, lane=2, tip=3, valid_until=99)

    envelope = ENVELOPE.decode(signed.envelope)
    tx = REGISTRY.read(envelope.body, envelope.signatures, NETWORK, USUAL_PARAMS)

    assert tx.id == signed.id
    assert (tx.body.seq, tx.body.lane, tx.body.valid_until) == (4, 2, 99)
    assert tx.body.sender == WALLET.address
    verify_signature(WALLET.key.public_key, signing_hash(envelope.body), envelope.signatures[0])


def test_without_max_fee_twice_the_fee_is_offered():
    signed = WALLET.sign(draft(), seq=0, base_fee=1_000_000, tip=3)

    assert signed.max_fee == FEE_HEADROOM * signed.units + 3


def test_max_fee_is_kept_as_given():
    assert WALLET.sign(draft(), seq=0, base_fee=1, max_fee=0).max_fee == 0


def test_blobs_travel_as_attachments_each_once():
    content = "0x" + "11" * 32
    two = Draft()
    two.add("ip.register", kind="text", content_hash=content, title="Théâtre", metadata="{}")

    envelope = ENVELOPE.decode(WALLET.sign(two, seq=0, base_fee=1).envelope)
    tx = REGISTRY.read(envelope.body, envelope.signatures, NETWORK, USUAL_PARAMS)

    check_attachments(tx.blobs, envelope.attachments)
    assert [item.data for item in envelope.attachments] == ["Théâtre".encode(), b"{}"]


def test_the_same_text_gets_another_hash_every_time():
    assert Draft().attach(b"x") != Draft().attach(b"x")


def test_an_id_is_known_before_it_exists():
    expected = derive_id(Kind.IP, NETWORK, WALLET.address, 1, 9, [2], 0)

    assert WALLET.next_id(Kind.IP, 9, lane=1, path=(2,)) == expected


def test_a_computed_id_is_what_the_chain_makes():
    ledger = Ledger()
    wallet = Wallet(ledger.keys[0], ledger.hash)
    message = Draft().add("ip.register", kind="model", content_hash="0x" + "11" * 32).messages[0]

    made = ledger.ok(0, message).events[0].ip

    assert made == wallet.next_id(Kind.IP, 0)


def test_messages_inside_execute_are_given_as_objects():
    ip = format_id(b"\x02" + bytes(20))
    inner = {"type": "bank.send", "to": TO, "denom": "ncolo", "amount": "5"}

    message = Draft().add("ip.execute", ip=ip, nested=[inner]).messages[0]

    assert REGISTRY.read_nested(message) == draft().messages
    assert encode(message)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"type": "bank.sendd"}, "tx/UnknownMessage"),
        ({}, "tx/UnknownMessage"),
        ({"type": "bank.send", "to": TO, "denom": "ncolo"}, "json/MissingField"),
        ({"type": "bank.send", "to": TO, "denom": "ncolo", "amount": "-1"}, "json/WrongType"),
        ({"type": "bank.send", "to": "colo1", "denom": "ncolo", "amount": "1"}, "id/Malformed"),
        ({"type": "bank.send", "x": 1}, "json/UnknownField"),
    ],
)
def test_a_form_that_is_no_message_is_refused(form, code):
    with pytest.raises(Rejected) as caught:
        Draft().add_form(form)

    assert caught.value.code == code


def test_a_key_is_not_shown_by_its_wallet():
    assert WALLET.key.seed.hex() not in repr(WALLET.key)
