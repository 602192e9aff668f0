"""Messages come out as they went in, however the bytes are cut; bad headers cost nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Misuse, PeerFault, Rejected
from p2p.buffer import ReceiveBuffer
from p2p.channels import Channel, Channels
from p2p.control import CONTROL_CHANNEL
from p2p.frames import (
    CHUNK_BYTES_MAX,
    HEADER,
    SEALED_CHUNK_BYTES_MAX,
    SEALED_HEADER_BYTES,
    Frame,
    Opener,
    Sealer,
)
from p2p.noise import Cipher

from .world import GOSSIP, QUESTION, REPLY, TABLE, VOTES

KEY = bytes(range(32))


class Pipe:
    """A sealer and an opener with one key, and the bytes between them."""

    def __init__(self, awaits: Callable[[Channel, int], bool] = lambda *_: True) -> None:
        self.cipher = Cipher(KEY)
        self.sealer = Sealer(self.cipher)
        self.buffer = ReceiveBuffer(2 * (SEALED_CHUNK_BYTES_MAX + 1))
        self.opener = Opener(Cipher(KEY), Channels(TABLE), CONTROL_CHANNEL, self.buffer, awaits)
        self.held_max = 0

    def sealed(self, channel: Channel, data: bytes, request_id: int = 0) -> bytes:
        pieces = [self.sealer.start(channel.number, request_id, data)]
        while self.sealer.unfinished:
            pieces.append(self.sealer.proceed())
        return b"".join(pieces)

    def opened(self, data: bytes, step: int = 10**9) -> list[Frame]:
        found = []
        while data:
            room = self.buffer.room()
            count = min(step, len(room), len(data))
            room[:count] = data[:count]
            self.buffer.received(count)
            data = data[count:]
            while (frame := self.opener.next()) is not None:
                found.append(frame)
            self.held_max = max(self.held_max, self.opener.held_bytes)
        return found


ONE_WAY = st.tuples(st.sampled_from([VOTES, GOSSIP]), st.just(0))
ASKING = st.tuples(st.sampled_from([QUESTION, REPLY]), st.integers(1, 2**64 - 1))
MESSAGE = st.tuples(st.one_of(ONE_WAY, ASKING), st.binary(max_size=64))


@given(messages=st.lists(MESSAGE, max_size=8), step=st.integers(1, 200))
def test_messages_come_out_as_they_went_in(
    messages: list[tuple[tuple[Channel, int], bytes]], step: int
) -> None:
    pipe = Pipe()

    sealed = [pipe.sealed(channel, data, number) for (channel, number), data in messages]
    frames = pipe.opened(b"".join(sealed), step)

    assert frames == [
        Frame(channel, number, data, len(data)) for (channel, number), data in messages
    ]
    assert not pipe.opener.partial


@pytest.mark.parametrize(
    "size",
    [CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 3 * CHUNK_BYTES_MAX, 200_001],
)
def test_a_long_body_goes_in_chunks(size: int) -> None:
    pipe = Pipe()
    data = bytes(index * 7 % 251 for index in range(size))

    sealed = pipe.sealed(GOSSIP, data)

    chunks = -(-size // CHUNK_BYTES_MAX)
    assert len(sealed) == SEALED_HEADER_BYTES + size + 16 * chunks
    assert [frame.data for frame in pipe.opened(sealed, 50_000)] == [data]


def test_a_long_body_is_sealed_only_as_it_leaves() -> None:
    pipe = Pipe()

    first = pipe.sealer.start(GOSSIP.number, 0, bytes(CHUNK_BYTES_MAX + 1))

    assert len(first) == SEALED_HEADER_BYTES + SEALED_CHUNK_BYTES_MAX
    with pytest.raises(Misuse):
        pipe.sealer.start(VOTES.number, 0, b"")
    assert len(pipe.sealer.proceed()) == 1 + 16
    with pytest.raises(Misuse):
        pipe.sealer.proceed()


def test_a_length_above_the_cap_is_refused_at_the_header() -> None:
    pipe = Pipe()
    header = pipe.cipher.seal(HEADER.pack(VOTES.bytes_max + 1, VOTES.number, 0))

    with pytest.raises(PeerFault, match=r"p2p/TooLarge: .* 4097 bytes|p2p/TooLarge: 4097 bytes"):
        pipe.opened(header)

    assert pipe.opener.held_bytes == 0


@pytest.mark.parametrize(
    ("code", "number", "request_id"),
    [
        ("p2p/UnknownChannel", 9, 0),
        ("p2p/UnknownChannel", 255, 0),
        ("p2p/RequestId", VOTES.number, 1),
        ("p2p/RequestId", QUESTION.number, 0),
        ("p2p/RequestId", REPLY.number, 0),
        ("p2p/TooLarge", CONTROL_CHANNEL.number, 0),
    ],
)
def test_a_header_no_honest_node_seals_is_refused(code: str, number: int, request_id: int) -> None:
    pipe = Pipe()
    header = pipe.cipher.seal(HEADER.pack(CONTROL_CHANNEL.bytes_max + 1, number, request_id))
    if code == "p2p/RequestId":
        header = Pipe().cipher.seal(HEADER.pack(1, number, request_id))

    with pytest.raises(PeerFault, match=code):
        pipe.opened(header)


def test_an_answer_nobody_waits_for_is_read_off_without_keeping_it() -> None:
    pipe = Pipe(awaits=lambda channel, request_id: request_id == 2)
    answer = bytes(REPLY.bytes_max)

    sealed = pipe.sealed(REPLY, answer, 1) + pipe.sealed(VOTES, b"after")
    frames = pipe.opened(sealed, 10_000)

    assert [(frame.data, frame.size) for frame in frames] == [(None, len(answer)), (b"after", 5)]
    assert pipe.held_max == 0
    assert pipe.opened(pipe.sealed(REPLY, answer, 2))[0].data == answer


@given(at=st.integers(0, 3 * 8 * 16), size=st.integers(1, 40))
def test_changed_bytes_do_not_open(at: int, size: int) -> None:
    pipe = Pipe()
    sealed = bytearray(pipe.sealed(VOTES, bytes(size)))
    at %= len(sealed) * 8
    sealed[at // 8] ^= 1 << at % 8

    with pytest.raises(Rejected, match="p2p/Corrupt"):
        pipe.opened(bytes(sealed))


def test_messages_cannot_be_left_out_or_repeated() -> None:
    for order in ([1], [0, 0], [0, 2]):
        pipe = Pipe()
        sealed = [pipe.sealed(VOTES, bytes([number])) for number in range(3)]

        with pytest.raises(Rejected, match="p2p/Corrupt"):
            pipe.opened(b"".join(sealed[index] for index in order))


@given(garbage=st.binary(min_size=SEALED_HEADER_BYTES, max_size=400))
def test_garbage_does_not_open(garbage: bytes) -> None:
    with pytest.raises(Rejected, match="p2p/Corrupt"):
        Pipe().opened(garbage)
