"""Messages as sealed bytes, and back (protocol.md W5), without a network.

A message is a sealed header and its body in sealed chunks. The header has a tag of its own: it is
opened, and its length held against the channel's cap, before a byte of the body is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from chain.errors import Misuse, PeerFault

from .buffer import ReceiveBuffer
from .channels import Channel, Channels, Kind
from .noise import MESSAGE_BYTES_MAX, TAG_BYTES, Cipher

HEADER = Struct(">IBQ")
"""u32 length of the body, u8 channel, u64 request id (0 in one-way messages)."""
SEALED_HEADER_BYTES = HEADER.size + TAG_BYTES
CHUNK_BYTES_MAX = MESSAGE_BYTES_MAX - TAG_BYTES
"""Plaintext of a chunk; every chunk of a body but the last has exactly so much."""
SEALED_CHUNK_BYTES_MAX = MESSAGE_BYTES_MAX


class Sealer:
    """Turns messages into bytes, one after the other."""

    __slots__ = ("_cipher", "_rest")

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        self._rest: memoryview | None = None

    @property
    def unfinished(self) -> bool:
        """Whether chunks of the last message are still to be sealed with ``proceed``."""
        return self._rest is not None

    def start(self, number: int, request_id: int, data: bytes) -> bytes:
        """Return a message's header and first chunk; a long body goes on with ``proceed``.

        A long body is sealed as it leaves, so that a slow peer does not hold it in memory twice.
        """
        if self._rest is not None:
            raise Misuse("the message before has not left yet")
        length = len(data)
        header = self._cipher.seal(HEADER.pack(length, number, request_id))
        if length <= CHUNK_BYTES_MAX:
            return header + self._cipher.seal(data) if length else header
        self._rest = memoryview(data)
        return header + self.proceed()

    def proceed(self) -> bytes:
        """Return the next chunk of a long body."""
        if self._rest is None:
            raise Misuse("no message is under way")
        chunk, rest = self._rest[:CHUNK_BYTES_MAX], self._rest[CHUNK_BYTES_MAX:]
        self._rest = rest if len(rest) else None
        return self._cipher.seal(chunk)


class Frame(NamedTuple):
    """One message that came."""

    channel: Channel
    request_id: int
    data: bytes | None
    """None: an answer nobody waits for, read off the wire without keeping it."""
    size: int
    """Bytes of its body, kept or not."""


class Opener:
    """Takes messages out of a buffer, keeping at most one body, and that below its cap."""

    __slots__ = (
        *("_awaits", "_buffer", "_by_number", "_channel", "_cipher", "_kept", "_left"),
        *("_parts", "_request_id", "_size"),
    )

    def __init__(
        self,
        cipher: Cipher,
        channels: Channels,
        control: Channel,
        buffer: ReceiveBuffer,
        awaits: Callable[[Channel, int], bool],
    ) -> None:
        """``control`` is the connection's own channel; ``awaits`` tells whether an answer with
        this request id on this channel is open.
        """
        self._cipher = cipher
        self._by_number = list(channels.by_number)
        self._by_number[control.number] = control
        self._buffer = buffer
        self._awaits = awaits
        self._channel: Channel | None = None
        self._request_id = 0
        self._size = 0
        self._left = 0
        self._kept = True
        self._parts: list[bytes] = []

    @property
    def partial(self) -> bool:
        """Whether a message has begun to arrive and is not complete."""
        return self._channel is not None or len(self._buffer) > 0

    @property
    def held_bytes(self) -> int:
        """Bytes of the unfinished body that are held."""
        return sum(len(part) for part in self._parts)

    def next(self) -> Frame | None:
        """Return the next complete message, or None until more bytes are here.

        Raises ``PeerFault`` for a header no honest node seals (``p2p/UnknownChannel``,
        ``p2p/TooLarge``, ``p2p/RequestId``) and ``Rejected`` with ``p2p/Corrupt`` for bytes that
        do not open, which may have been changed by somebody on the way.
        """
        channel = self._channel
        if channel is None:
            sealed = self._buffer.take(SEALED_HEADER_BYTES)
            if sealed is None:
                return None
            channel = self._begin(self._cipher.open(sealed))
        while self._left:
            count = self._left if self._left < CHUNK_BYTES_MAX else CHUNK_BYTES_MAX
            sealed = self._buffer.take(count + TAG_BYTES)
            if sealed is None:
                return None
            if self._kept:
                self._parts.append(self._cipher.open(sealed))
            else:
                self._cipher.skip()
            self._left -= count
        return self._end(channel)

    def _begin(self, header: bytes) -> Channel:
        size, number, request_id = HEADER.unpack(header)
        channel: Channel | None = self._by_number[number]
        if channel is None:
            raise PeerFault("p2p/UnknownChannel", f"a message on channel {number}")
        if size > channel.bytes_max:
            raise PeerFault(
                "p2p/TooLarge",
                f"{size} bytes announced on channel {channel.name}, at most {channel.bytes_max}",
            )
        if (request_id == 0) != (channel.kind is Kind.ONE_WAY):
            raise PeerFault("p2p/RequestId", f"request id {request_id} on channel {channel.name}")
        self._channel, self._request_id = channel, request_id
        self._size = self._left = size
        self._kept = channel.kind is not Kind.ANSWER or self._awaits(channel, request_id)
        return channel

    def _end(self, channel: Channel) -> Frame:
        parts = self._parts
        data = None
        if self._kept:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
        if parts:
            self._parts = []
        self._channel = None
        return Frame(channel, self._request_id, data, self._size)
