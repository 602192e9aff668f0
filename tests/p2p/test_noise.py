"""The Noise handshake against published bytes, an independent library, and damage.

The vector is the entry of the cacophony set (also carried by the snow library) for this protocol.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Misuse, Rejected
from p2p.noise import NONCE_LIMIT, PROTOCOL_NAME, Cipher, Handshake

PROLOGUE = bytes.fromhex("4a6f686e2047616c74")
STATIC = {
    True: bytes.fromhex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"),
    False: bytes.fromhex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"),
}
EPHEMERAL = {
    True: bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
    False: bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
}
HANDSHAKE_HASH = "c8e5f64e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e"
VECTOR = [
    (
        "4c756477696720766f6e204d69736573",
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d"
        "69736573",
    ),
    (
        "4d757272617920526f746862617264",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffc"
        "e2b65285e08d6b68aaa3629a5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be"
        "9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad",
    ),
    (
        "462e20412e20486179656b",
        "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be"
        "0865b57f58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030",
    ),
    ("4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df"),
    (
        "4a65616e2d426170746973746520536179",
        "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5",
    ),
    (
        "457567656e2042f6686d20766f6e2042617765726b",
        "eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f",
    ),
]

P = 2**255 - 19
SMALL_ORDER_X = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
)
"""Public keys that lead to an all-zero secret with any private key (RFC 7748, section 7)."""


def side(initiator: bool, prologue: bytes = PROLOGUE) -> Handshake:
    return Handshake(
        initiator=initiator,
        static_key=X25519PrivateKey.from_private_bytes(STATIC[initiator]),
        prologue=prologue,
        ephemeral_key=X25519PrivateKey.from_private_bytes(EPHEMERAL[initiator]),
    )


def shaken() -> tuple[Handshake, Handshake]:
    first, second = side(True), side(False)
    second.read(first.write())
    first.read(second.write())
    second.read(first.write())
    return first, second


def test_the_published_vector_is_met() -> None:
    first, second = side(True), side(False)
    sides = [first, second]

    for number, (payload, message) in enumerate(VECTOR[:3]):
        writer, reader = sides[number % 2], sides[1 - number % 2]
        assert writer.write(bytes.fromhex(payload)).hex() == message
        assert reader.read(bytes.fromhex(message)).hex() == payload
    ciphers = [first.split(), second.split()]
    for number, (payload, message) in enumerate(VECTOR[3:], 3):
        (sender, _), (_, receiver) = ciphers[number % 2], ciphers[1 - number % 2]
        assert sender.seal(bytes.fromhex(payload)).hex() == message
        assert receiver.open(bytes.fromhex(message)).hex() == payload

    assert first.handshake_hash.hex() == second.handshake_hash.hex() == HANDSHAKE_HASH
    assert first.remote_static == second._static.public_key().public_bytes_raw()
    assert second.remote_static == first._static.public_key().public_bytes_raw()


@pytest.mark.parametrize("initiator", [True, False], ids=["initiator", "responder"])
@given(payloads=st.lists(st.binary(max_size=300), min_size=3, max_size=3))
def test_an_independent_library_understands_us(initiator: bool, payloads: list[bytes]) -> None:
    noise = pytest.importorskip("noise.connection", reason="the package noiseprotocol is not here")
    ours = Handshake(
        initiator=initiator,
        static_key=X25519PrivateKey.from_private_bytes(STATIC[initiator]),
        prologue=PROLOGUE,
    )
    theirs = noise.NoiseConnection.from_name(PROTOCOL_NAME)
    theirs.set_prologue(PROLOGUE)
    theirs.set_keypair_from_private_bytes(noise.Keypair.STATIC, STATIC[not initiator])
    if initiator:
        theirs.set_as_responder()
    else:
        theirs.set_as_initiator()
    theirs.start_handshake()

    for number, payload in enumerate(payloads):
        if (number % 2 == 0) == initiator:
            assert theirs.read_message(ours.write(payload)) == payload
        else:
            assert ours.read(bytes(theirs.write_message(payload))) == payload
    send, receive = ours.split()

    assert theirs.handshake_finished and ours.finished
    assert theirs.get_handshake_hash() == ours.handshake_hash
    for payload in payloads:
        assert theirs.decrypt(send.seal(payload)) == payload
        assert receive.open(bytes(theirs.encrypt(payload))) == payload


@pytest.mark.parametrize("x", SMALL_ORDER_X)
@pytest.mark.parametrize("high_bit", [0, 1 << 255])
def test_a_key_with_a_known_secret_is_refused(x: int, high_bit: int) -> None:
    weak = (x | high_bit).to_bytes(32, "little")
    responder = side(False)
    responder.read(weak)

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        responder.write()


@pytest.mark.parametrize("number", [1, 2])
@given(data=st.data())
def test_a_changed_message_is_refused(number: int, data: st.DataObject) -> None:
    first, second = side(True), side(False)
    second.read(first.write())
    message, reader = second.write(b"payload"), first
    if number == 2:
        first.read(message)
        message, reader = first.write(b"payload"), second
    at = data.draw(st.integers(0, len(message) * 8 - 1))
    damaged = bytearray(message)
    damaged[at // 8] ^= 1 << at % 8

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        reader.read(bytes(damaged))


@given(length=st.integers(0, 102))
def test_a_short_message_is_refused(length: int) -> None:
    first, second = side(True), side(False)
    second.read(first.write())

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        first.read(second.write(b"payload")[:length])


def test_another_prologue_is_refused() -> None:
    first, second = side(True), side(False, prologue=b"another network")
    second.read(first.write())

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        first.read(second.write())


def test_turns_are_kept() -> None:
    first, second = side(True), side(False)

    with pytest.raises(Misuse):
        second.write()
    with pytest.raises(Misuse):
        first.read(b"")
    with pytest.raises(Misuse):
        first.split()
    with pytest.raises(Misuse):
        shaken()[0].read(b"")


def test_a_replayed_or_changed_message_does_not_open() -> None:
    first, second = shaken()
    (send, _), (_, receive) = first.split(), second.split()
    sealed = send.seal(b"once")

    assert receive.open(sealed) == b"once"
    with pytest.raises(Rejected, match="p2p/Corrupt"):
        receive.open(sealed)


def test_a_refused_message_does_not_move_the_counter() -> None:
    send, receive = Cipher(bytes(32)), Cipher(bytes(32))
    sealed = send.seal(b"first")

    with pytest.raises(Rejected, match="p2p/Corrupt"):
        receive.open(bytes(len(sealed)))

    assert receive.nonce == 0
    assert receive.open(sealed) == b"first"


def test_a_skipped_message_keeps_both_sides_in_step() -> None:
    send, receive = Cipher(bytes(32)), Cipher(bytes(32))
    send.seal(b"skipped")

    receive.skip()

    assert receive.open(send.seal(b"read")) == b"read"


@pytest.mark.parametrize("action", ["seal", "open"])
def test_a_key_is_not_used_for_ever(action: str) -> None:
    cipher = Cipher(bytes(32))
    cipher.nonce = NONCE_LIMIT

    with pytest.raises(Rejected, match="p2p/KeyUsedUp"):
        getattr(cipher, action)(bytes(16))

    assert cipher.nonce == NONCE_LIMIT
