"""Transactions on the wire: ids, signatures, attachments, and the checks bytes alone allow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import encode
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.ids import address_of
from chain.params import Params
from chain.transaction import (
    ENVELOPE,
    Attachment,
    Body,
    check_attachments,
    make_blob,
    sign_body,
    signing_hash,
    transaction_id,
    verify_body,
)
from state.families import REGISTRY
from state.modules.bank import Send
from state.modules.ip import messages as im
from state.modules.ip.asset import AiDisclosure, Exemption, HumanReview, Identifier, IpKind, Role

KEYS = sorted((SigningKey(bytes([n]) * 32) for n in range(1, 4)), key=lambda k: k.public_key)
GENESIS = bytes(range(32))
PARAMS = Params(modules=[])


def body_of(messages: list[Any], keys: list[SigningKey] = KEYS[:1]) -> Body[Any]:
    """Return a body signed for by these keys."""
    sender = address_of(keys[0].public_key)
    names = [key.public_key for key in keys]
    return Body(1, GENESIS, sender, names, 0, 0, 0, b"\1", b"", None, messages)


SEND = Send(bytes(21), b"", b"\5")


def test_the_signed_bytes_are_the_hashed_and_sent_bytes() -> None:
    raw = sign_body(body_of([SEND]), KEYS[:1], [])

    envelope = ENVELOPE.decode(raw)

    verify_body([KEYS[0].public_key], envelope.body, envelope.signatures)
    assert envelope.signatures == [KEYS[0].sign(signing_hash(envelope.body))]


def test_signatures_stand_in_the_order_of_the_keys_and_each_is_checked() -> None:
    names = [key.public_key for key in KEYS]
    envelope = ENVELOPE.decode(sign_body(body_of([SEND], KEYS), reversed(KEYS), []))

    verify_body(names, envelope.body, envelope.signatures)
    with pytest.raises(Rejected, match="BadSignature"):
        verify_body(names, envelope.body, envelope.signatures[::-1])
    with pytest.raises(Rejected, match="SignatureCount"):
        verify_body(names, envelope.body, envelope.signatures[:2])


def test_nobody_else_can_change_the_id() -> None:
    envelope = ENVELOPE.decode(sign_body(body_of([SEND], KEYS), KEYS, []))
    tx_id = transaction_id(envelope.body, envelope.signatures)

    assert transaction_id(envelope.body, envelope.signatures[::-1]) != tx_id
    assert transaction_id(envelope.body, envelope.signatures[:2]) != tx_id


def test_attachments_are_exactly_the_distinct_blobs_in_order_of_appearance() -> None:
    first, one = make_blob(b"a" * 16, b"title")
    second, two = make_blob(b"b" * 16, b"metadata")
    message = im.Register(IpKind.TEXT, bytes(31) + b"\1", title=first, metadata=second)
    again = im.Register(IpKind.TEXT, bytes(31) + b"\2", title=second, metadata=first)
    raw = encode(body_of([message, again]))
    blobs = REGISTRY.read(raw, [bytes(64)], GENESIS, PARAMS).blobs

    check_attachments(blobs, [one, two])
    for wrong in ([two, one], [one], [one, two, two], [], [one, Attachment(b"b" * 16, b"x")]):
        with pytest.raises(Rejected, match="tx/Attachments"):
            check_attachments(blobs, wrong)


@given(st.binary(max_size=64), st.integers(0, 79), st.integers(1, 255))
def test_no_other_content_fits_a_blob(content: bytes, place: int, flip: int) -> None:
    blob, attachment = make_blob(bytes(16), content)
    whole = bytearray(attachment.salt + attachment.data)
    whole[place % len(whole)] ^= flip

    with pytest.raises(Rejected, match="tx/Attachments"):
        check_attachments([blob], [Attachment(bytes(whole[:16]), bytes(whole[16:]))])


def test_blobs_inside_execute_need_their_attachments_too() -> None:
    blob, attachment = make_blob(bytes(16), b"inside")
    inner = im.Register(IpKind.TEXT, bytes(31) + b"\1", title=blob)
    outer = im.Execute(b"\2" + bytes(20), [encode(inner)])

    tx = REGISTRY.read(encode(body_of([outer])), [bytes(64)], GENESIS, PARAMS)

    assert tx.blobs == [blob]
    check_attachments(tx.blobs, [attachment])


def refused(body: Body[Any], signatures: int = 1) -> str:
    """Return the code with which a body is refused."""
    with pytest.raises(Rejected) as caught:
        REGISTRY.read(encode(body), [bytes(64)] * signatures, GENESIS, PARAMS)
    return caught.value.code


def test_unknown_messages_have_a_code_of_their_own() -> None:
    assert refused(body_of([["bank.steal", 1]])) == "tx/UnknownMessage"
    assert refused(body_of([["bank.send"]])) == "codec/Malformed"
    assert refused(body_of([])) == "codec/Malformed"
    assert refused(body_of([7])) == "codec/Malformed"
    assert refused(body_of([SEND] * 65)) == "codec/Malformed"


def test_keys_are_one_to_sixteen_ascending_and_each_signs() -> None:
    assert refused(body_of([SEND], KEYS[::-1]), 3) == "field/NotAscending"
    assert refused(body_of([SEND], [KEYS[0], KEYS[0]]), 2) == "field/NotAscending"
    assert refused(body_of([SEND], KEYS), 2) == "tx/SignatureCount"


def test_every_text_and_list_has_its_limit() -> None:
    long = Identifier("x" * 33, "1")
    wide = Identifier("é" * 20, "1")
    blob = im.Blob(bytes(32), 257)

    def register(**fields: Any) -> str:
        return refused(body_of([im.Register(IpKind.TEXT, bytes(31) + b"\1", **fields)]))

    assert register(identifiers=[long]) == "codec/Malformed"
    assert register(identifiers=[wide]) == "field/TooLong"
    assert register(title=blob) == "field/TooLong"
    assert register(identifiers=[Identifier("a", "1")] * 9) == "codec/Malformed"
    bad = AiDisclosure(
        Role.PROVIDER, "", None, "", "", None, None, [b"\2" + b"\1" * 20, b"\2" + bytes(20)], 0,
        [], False, False, HumanReview(False, None), Exemption.NONE, "", None,
    )  # fmt: skip
    assert register(ai=bad) == "field/NotAscending"


def test_an_envelope_has_a_cap() -> None:
    _, attachment = make_blob(bytes(16), bytes(70_000))
    raw = sign_body(body_of([SEND]), KEYS[:1], [attachment])

    with pytest.raises(Rejected, match="codec/TooLarge"):
        ENVELOPE.decode(raw)
