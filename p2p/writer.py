"""The sending half of a connection: gathers, seals and writes, most urgent first.

What is to be sent in one turn of the loop is written at once. Nothing is sealed before there is
room for it, so that whatever waits can be overtaken, and a peer that does not read costs no more
than the send queue.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque

from .channels import CONTROL, Channel
from .control import goodbye
from .frames import Sealer
from .noise import Cipher
from .queues import Backlog, SendQueue
from .report import Counters
from .settings import Settings

BATCH_BYTES = 65_536
"""What one turn of the loop seals and writes, give or take a chunk; then others have theirs."""
WRITE_BUFFER_BYTES = 262_144
"""Sealed bytes the kernel did not take; above, sealing stops and messages stay in the queue."""
UNSENT_BYTES = 131_072
"""Likewise in the kernel (Linux): its buffers grow to megabytes, and nothing overtakes in them."""


class Writer:
    """Writes to one transport; in clear until ``secure``, sealed messages from then on."""

    def __init__(
        self, transport: asyncio.Transport, settings: Settings, counters: Counters
    ) -> None:
        self.spoke_ms = 0
        """When something was last written."""
        self.blocked_ms: int | None = None
        """Since when the peer reads less than we write; None if it keeps up."""
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._counters = counters
        self._sealer: Sealer | None = None
        self._control: deque[bytes] = deque()
        self._queue = SendQueue(
            messages_max=settings.queue_messages_max, bytes_max=settings.queue_bytes_max
        )
        self._flush_due = False
        self._ended = False
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        _limit_unsent(transport)

    @property
    def held_bytes(self) -> int:
        """Bytes that wait, sealed or not, and what it costs to keep them."""
        return self._transport.get_write_buffer_size() + self._queue.cost

    @property
    def waiting_bytes(self) -> int:
        """What this connection counts for in its backlog."""
        return self._queue.cost

    @property
    def blocked_for_ms(self) -> int:
        """How long the peer has read too little; 0 if it keeps up."""
        return 0 if self.blocked_ms is None else self._now_ms() - self.blocked_ms

    def count_in(self, backlog: Backlog) -> None:
        """Count what waits in a backlog shared with other connections."""
        self._queue.count_in(backlog)

    def write_clear(self, data: bytes) -> None:
        """Write bytes of the handshake."""
        self._counters.bytes_sent += len(data)
        self._transport.write(data)

    def secure(self, cipher: Cipher) -> None:
        """Seal everything from now on."""
        self._sealer = Sealer(cipher)

    def put(
        self, channel: Channel, request_id: int, data: bytes, after: Channel | None = None
    ) -> int:
        """Queue a message; returns and raises what ``SendQueue.put`` does."""
        dropped = self._queue.put(channel, request_id, data, after=after)
        if not self._flush_due:
            self._schedule_flush()
        return dropped

    def put_control(self, data: bytes) -> None:
        """Queue a message of the connection itself; it goes before all others.

        The caller keeps them few; the next one is only made when the one before has left.
        """
        self._control.append(data)
        if not self._flush_due:
            self._schedule_flush()

    @property
    def control_waits(self) -> bool:
        """Whether a message of the connection itself has not left yet."""
        return bool(self._control)

    def pause(self) -> None:
        """The transport is full."""
        self.blocked_ms = self._now_ms()

    def resume(self) -> None:
        """The transport has room again."""
        self.blocked_ms = None
        self._schedule_flush()

    def end(self, code: str) -> None:
        """Say goodbye if the peer still listens, and close the transport; drops what waits."""
        self._ended = True
        self._queue.clear()
        sealer, transport = self._sealer, self._transport
        self._sealer = None  # A large message may be under way: it is not kept for a lost cause.
        if self.blocked_ms is not None or (sealer is not None and sealer.unfinished):
            transport.abort()
            return
        if sealer is not None and not transport.is_closing():
            transport.write(sealer.start(CONTROL, 0, goodbye(code)))
        transport.close()

    def _schedule_flush(self) -> None:
        if self.blocked_ms is None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Seal and write a batch of what waits; the rest has the next turn."""
        self._flush_due = False
        sealer = self._sealer
        if self._ended or self.blocked_ms is not None or sealer is None:
            return
        pieces: list[bytes] = []
        size = 0
        while size < BATCH_BYTES:
            piece = self._next_piece(sealer)
            if piece is None:
                break
            pieces.append(piece)
            size += len(piece)
        if not pieces:
            return
        self._counters.bytes_sent += size
        self.spoke_ms = self._now_ms()
        self._transport.write(b"".join(pieces))
        if size >= BATCH_BYTES:
            self._schedule_flush()

    def _next_piece(self, sealer: Sealer) -> bytes | None:
        if sealer.unfinished:
            return sealer.proceed()
        if self._control:
            return sealer.start(CONTROL, 0, self._control.popleft())
        message = self._queue.pop()
        if message is None:
            return None
        number = message.channel.number
        self._counters.sent[number] += 1
        return sealer.start(number, message.request_id, message.data)

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1_000)


def _limit_unsent(transport: asyncio.Transport) -> None:
    """Ask the kernel to keep little that is not sent yet, where it can."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    handle = transport.get_extra_info("socket")
    if option is not None and handle is not None:
        handle.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
