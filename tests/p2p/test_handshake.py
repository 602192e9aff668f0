"""The opening of a connection: golden bytes, other networks, garbage, unwanted peers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Rejected
from p2p.buffer import ReceiveBuffer
from p2p.channels import Channels
from p2p.frames import Sealer
from p2p.handshake import GREETING_BYTES, MESSAGE_BYTES_MAX, PROTOCOL, Opening, Setup
from p2p.identity import Identity, Remote

from .world import GENESIS, TABLE, VOTES, key


def welcome(remote: Remote) -> None:
    """Admit everybody."""


def setup_of(name: str, genesis: bytes = GENESIS) -> Setup:
    static = X25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"s"))
    identity = Identity(key(name), static)
    return Setup(identity, genesis, identity.hello(genesis, f"{name}.example:1"))


def side(
    name: str,
    *,
    initiator: bool,
    genesis: bytes = GENESIS,
    admit: Callable[[Remote], None] = welcome,
) -> Opening:
    ephemeral = X25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"e"))
    return Opening(
        setup_of(name, genesis), initiator=initiator, admit=admit, ephemeral_key=ephemeral
    )


def filled(*data: bytes) -> ReceiveBuffer:
    buffer = ReceiveBuffer(2_048)
    for piece in data:
        buffer.room()[: len(piece)] = piece
        buffer.received(len(piece))
    return buffer


def test_both_sides_learn_who_is_there() -> None:
    first, second = side("alice", initiator=True), side("bob", initiator=False)
    at_first, at_second = filled(second.begin()), filled(first.begin())

    message = second.advance(at_second)
    at_first.room()[: len(message)] = message
    at_first.received(len(message))
    last = first.advance(at_first)
    at_second.room()[: len(last)] = last
    at_second.received(len(last))
    nothing = second.advance(at_second)

    assert nothing == b""
    assert first.secured is not None and second.secured is not None
    assert first.secured.remote == Remote(key("bob").public_key, "bob.example:1")
    assert second.secured.remote == Remote(key("alice").public_key, "alice.example:1")
    assert first.secured.handshake_hash == second.secured.handshake_hash
    assert second.secured.receive.open(first.secured.send.seal(b"there")) == b"there"
    assert first.secured.receive.open(second.secured.send.seal(b"back")) == b"back"


# Made once with the package noiseprotocol, msgpack and libsodium, without any code of ours.
GOLDEN_FIRST = (
    "636f6c6f70686f6e2f7032702f31000102030405060700205db26b6b10b86693dae515fb37c6c499f8c60a99"
    "f203e2fba58409cca6efa045"
)
GOLDEN_SECOND = (
    "636f6c6f70686f6e2f7032702f31000102030405060700d4d1989d86850bf2825c196e63c90445cb076e69bb"
    "1f903730d4f0803ffb19394e83aea3259058328fbe4440d783d3f7f040026c336e1e232d410df1c8b79cb8bc"
    "472920c9f3cadc5ffc981ee71273cb2785b5e4e210a0985d097cbdc3cdd65f3b84672dc98bb75a6fc04334ae"
    "79f234657815f2ef4218bd91500c21ccc54980eaf9927f04ffad64d6aec33a6e7cd9f5e6e0f0c4aa4cbd6596"
    "fb62cc9e3fda9b6474a9340acdb74fa52beea36820b07e1c5292af74600239d8ab1480e89c17c2ac2d0f036c"
    "e64c2a505dfde250467e655f01a64746"
)
GOLDEN_THIRD = (
    "00b6eade72cd28b1d0c26d30de7caf7be0a8e9cebb3c44f5f325d089275f8b99a3143914d613ee90968d767e"
    "9fa5b98e4b7a9d1946d3fb07a1632f3478f2433146827a782e186f8a8ee6562f1d22e2f9faec2b77b0d5a755"
    "09e2d5bd2845297f931bae40a0a27c825de16d5e0f0701448a424be4657bb66b042d7a5f7121b07bcdb5cb5a"
    "c6657d5d5891cc19a03db05ff1c2cb6702ca2a1cb19989ffb0872122d88de96354ae47b104f417cda09e4d29"
    "c5c8de7f58e4bd54"
)
GOLDEN_FRAME = (
    "affbaf57b9bfcd8b76470f924b01889a388e55459105fe6ee228d13c6ddd9ecdb352229c963472b27a783ec7"
    "81617ed31a9848"
)


def test_the_bytes_on_the_wire_are_these() -> None:
    first, second = side("alice", initiator=True), side("bob", initiator=False)

    opening = first.begin()
    answer = second.begin() + second.advance(filled(opening))
    closing = first.advance(filled(answer))
    assert first.secured is not None
    vote = Channels(TABLE).named(VOTES.name)
    frame = Sealer(first.secured.send).start(vote.number, 0, b"a vote")

    assert opening.hex() == GOLDEN_FIRST
    assert answer.hex() == GOLDEN_SECOND
    assert closing.hex() == GOLDEN_THIRD
    assert frame.hex() == GOLDEN_FRAME


@given(cuts=st.lists(st.integers(1, 60), min_size=1))
def test_bytes_may_come_in_any_pieces(cuts: list[int]) -> None:
    first, second = side("alice", initiator=True), side("bob", initiator=False)
    greeted = first.begin()
    buffer, answer = filled(), b""
    position, turn = 0, 0
    while position < len(greeted):
        piece = greeted[position : position + cuts[turn % len(cuts)]]
        buffer.room()[: len(piece)] = piece
        buffer.received(len(piece))
        answer += second.advance(buffer)
        position, turn = position + len(piece), turn + 1

    first.advance(filled(second.begin(), answer))

    assert first.secured is not None


def test_another_network_is_named() -> None:
    first = side("alice", initiator=True)
    second = side("bob", initiator=False, genesis=bytes(32))

    for opening, other in ((first, second), (second, first)):
        with pytest.raises(Rejected, match=r"p2p/WrongNetwork: .*0001020304050607"):
            opening.advance(filled(other.begin()))


def test_a_network_that_only_begins_alike_is_refused() -> None:
    first = side("alice", initiator=True)
    second = side("bob", initiator=False, genesis=GENESIS[:8] + bytes(24))
    answer = second.begin() + second.advance(filled(first.begin()))

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        first.advance(filled(answer))


@pytest.mark.parametrize("initiator", [True, False])
@given(garbage=st.binary(min_size=GREETING_BYTES, max_size=600))
def test_garbage_is_refused(initiator: bool, garbage: bytes) -> None:
    with pytest.raises(Rejected, match="p2p/NotColophon"):
        side("alice", initiator=initiator).advance(filled(garbage))


@pytest.mark.parametrize("initiator", [True, False])
@given(garbage=st.binary(min_size=MESSAGE_BYTES_MAX + 2, max_size=MESSAGE_BYTES_MAX + 2))
def test_garbage_after_a_greeting_is_refused(initiator: bool, garbage: bytes) -> None:
    opening = side("alice", initiator=initiator)
    opening.begin()
    greeting = setup_of("bob").greeting

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        opening.advance(filled(greeting, garbage))
        # A key of 32 bytes is a good first message, whatever it is; the next is garbage again.
        opening.advance(filled(garbage))


@pytest.mark.parametrize("length", [0, 31, MESSAGE_BYTES_MAX + 1, 65_535])
def test_a_length_is_refused_before_its_bytes_are_waited_for(length: int) -> None:
    opening = side("alice", initiator=False)

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        opening.advance(filled(setup_of("bob").greeting, length.to_bytes(2, "big")))


def test_the_first_message_has_no_payload() -> None:
    message = key("alice").public_key + b"payload"
    prefix = len(message).to_bytes(2, "big")

    with pytest.raises(Rejected, match="p2p/BadHandshake"):
        side("bob", initiator=False).advance(filled(setup_of("alice").greeting, prefix, message))


def test_the_caller_does_not_say_who_it_is_to_a_peer_it_does_not_want() -> None:
    def refuse(remote: Remote) -> None:
        raise Rejected("p2p/Banned", "no")

    first, second = side("alice", initiator=True, admit=refuse), side("bob", initiator=False)
    answer = second.begin() + second.advance(filled(first.begin()))

    with pytest.raises(Rejected, match="p2p/Banned"):
        first.advance(filled(answer))

    assert first.secured is None


def test_a_silent_peer_is_waited_for() -> None:
    opening = side("alice", initiator=False)

    assert opening.advance(filled(PROTOCOL)) == b""
    assert opening.awaited == "greeting"
    assert opening.advance(filled(setup_of("bob").greeting, b"\x00")) == b""
    assert opening.awaited == "message"
