"""A hello proves who speaks, on one network and with one handshake key only."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from chain.codec import encode
from chain.errors import Misuse, Rejected
from p2p.identity import HELLO_BYTES_MAX, Hello, Identity, Remote, recognise

from .world import GENESIS, key

STATIC = X25519PrivateKey.from_private_bytes(bytes([7]) * 32)
PUBLIC = STATIC.public_key().public_bytes_raw()
ALICE = Identity(key("alice"), STATIC)


def test_a_hello_is_recognised() -> None:
    hello = ALICE.hello(GENESIS, "node.example:26656")

    assert recognise(hello, GENESIS, PUBLIC) == Remote(ALICE.peer_id, "node.example:26656")


def test_the_longest_address_just_fits() -> None:
    hello = ALICE.hello(GENESIS, "a" * 255)

    assert len(hello) == HELLO_BYTES_MAX
    assert recognise(hello, GENESIS, PUBLIC).address == "a" * 255


def test_each_process_has_a_handshake_key_of_its_own() -> None:
    first, second = Identity(key("alice")), Identity(key("alice"))

    assert first.peer_id == second.peer_id
    assert first.hello(GENESIS) != second.hello(GENESIS)


@pytest.mark.parametrize("address", ["a" * 256, "two words:1", "line\n:1", "é:1"])
def test_an_address_that_cannot_be_logged_is_not_told(address: str) -> None:
    with pytest.raises(Misuse):
        ALICE.hello(GENESIS, address)


def test_another_network_or_handshake_key_is_refused() -> None:
    hello = ALICE.hello(GENESIS)

    with pytest.raises(Rejected, match="p2p/BadIdentity"):
        recognise(hello, bytes(32), PUBLIC)
    with pytest.raises(Rejected, match="p2p/BadIdentity"):
        recognise(hello, GENESIS, bytes(32))


def forged(**fields: object) -> bytes:
    hello = {
        "version": 1,
        "public_key": ALICE.peer_id,
        "signature": bytes(64),
        "address": "",
        **fields,
    }
    return encode(Hello(**hello))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "hello",
    [
        b"",
        b"\xc1",
        forged(),
        forged(version=2),
        forged(public_key=bytes(32)),
        forged(public_key=bytes(31)),
        forged(address="a" * 256),
        forged(address="peer_banned peer=\n"),
        ALICE.hello(GENESIS) + b"\x00",
    ],
)
def test_a_hello_that_proves_nothing_is_refused(hello: bytes) -> None:
    with pytest.raises(Rejected, match="p2p/BadIdentity"):
        recognise(hello, GENESIS, PUBLIC)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_well_signed_hello_of_another_version_is_refused(version: int) -> None:
    good = msgspec.msgpack.decode(ALICE.hello(GENESIS), type=Hello)
    hello = encode(msgspec.structs.replace(good, version=version))

    with pytest.raises(Rejected, match=f"p2p/BadIdentity: hello of version {version}"):
        recognise(hello, GENESIS, PUBLIC)


def test_a_key_of_small_order_can_sign_for_nobody() -> None:
    # With A the neutral point, R the neutral point and S = 0 the equation holds for any message.
    neutral = (1).to_bytes(32, "little")
    hello = forged(public_key=neutral, signature=neutral + bytes(32))

    with pytest.raises(Rejected, match="p2p/BadIdentity"):
        recognise(hello, GENESIS, PUBLIC)
