"""One connection: opened, kept alive, read no faster than allowed.

No task runs for it. Bytes come in through ``buffer_updated``, the passing of time through timers;
``writer.py`` sends. Whatever goes wrong ends in ``close``, with a code and one sentence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from chain.errors import PeerFault, Rejected

from .buffer import ReceiveBuffer
from .channels import CONTROL, Channel, Kind
from .contract import Ending, Owner, Phase
from .control import CONTROL_CHANNEL, Control, parse_control
from .frames import SEALED_CHUNK_BYTES_MAX, Frame, Opener
from .handshake import Opening, Secured
from .identity import Remote
from .limits import ChannelRate
from .peers import Known, Link
from .requests import AskedRequests, OpenRequests
from .watch import Watch
from .writer import Writer

log = logging.getLogger("colophon.p2p")

RECEIVE_BUFFER_BYTES = 2 * (SEALED_CHUNK_BYTES_MAX + 1)
"""What may have come and not be looked at; also what one turn of the loop takes from a peer."""

Answer = asyncio.Future[bytes | None]
"""What an answer will be; None if the peer goes before it answers."""


class Connection(asyncio.BufferedProtocol):
    """A socket and all that belongs to it; see the module."""

    def __init__(self, owner: Owner[Connection], known: Known | None) -> None:
        """``known`` is whom this node calls; None for a connection that came in."""
        self.known = known
        self.phase = Phase.OPENING
        self.host = ""
        self.address = ""
        """``host:port`` of the other end's socket."""
        self.remote: Remote | None = None
        """Who is at the other end, once that is proved."""
        self.link: Link | None = None
        """Its place in the table of peers, once it is accepted."""
        self.opened_ms = 0
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[Ending] = self._loop.create_future()
        """Done when the connection is closed."""
        self._owner = owner
        self._settings = owner.settings
        self._on_message = owner.handler.on_message
        self._backlog = owner.backlog
        self._report = owner.report
        self._counters = owner.report.counters
        self._transport: asyncio.Transport | None = None
        self._writer: Writer | None = None
        self._buffer = ReceiveBuffer(RECEIVE_BUFFER_BYTES)
        self._opening: Opening | None = None
        self._opener: Opener | None = None
        self._rates: list[ChannelRate | None] = []
        self._asked = AskedRequests(self._settings.requests_max)
        self._requests = OpenRequests[Answer](self._settings.requests_max)
        self._watch = Watch(self._settings, self._now_ms())
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._said: set[str] = set()

    @property
    def inbound(self) -> bool:
        """Whether the other side called."""
        return self.known is None

    @property
    def is_closed(self) -> bool:
        """Whether nothing comes or goes any more."""
        return self.phase is Phase.CLOSED

    @property
    def peer_id(self) -> bytes:
        """Who is at the other end; only once that is proved."""
        assert self.remote is not None
        return self.remote.peer_id

    @property
    def held_bytes(self) -> int:
        """Bytes kept for this peer, both ways; bounded whatever the peer does."""
        holders = [holder for holder in (self._opener, self._writer) if holder is not None]
        return len(self._buffer) + sum(holder.held_bytes for holder in holders)

    @property
    def burden(self) -> int:
        """How much waits for a guest, times how long it has read too little; 0 for others."""
        if self._writer is None or self.link is None or not self.link.is_guest:
            return 0
        return self._writer.waiting_bytes * (1 + self._writer.blocked_for_ms)

    # --- what the node says -------------------------------------------------------------------

    def send(
        self, channel: Channel, data: bytes, request_id: int = 0, after: Channel | None = None
    ) -> None:
        """Send a message as soon as it is its turn; ``after`` as in ``SendQueue.put``.

        A full queue drops messages, closes the connection if it is the most urgent one, and
        makes a request raise ``Rejected`` with ``p2p/QueueFull``.
        """
        if self.phase is not Phase.OPEN:
            return
        assert self._writer is not None
        try:
            dropped = self._writer.put(channel, request_id, data, after)
        except Rejected as refusal:
            self._note_dropped(channel, 1)
            if channel.priority == 0:
                self.close(refusal.code, refusal.message)
            if channel.kind is Kind.REQUEST:
                raise
            return
        if dropped:
            self._note_dropped(channel, dropped)
        if self._backlog.bytes > self._settings.waiting_bytes_max:
            self._owner.on_backlog()

    def ask(self, request: Channel, answer: Channel, data: bytes) -> tuple[int, Answer]:
        """Send a request; return its id and its answer to be.

        Raises ``Rejected`` with ``p2p/Busy`` or ``p2p/QueueFull``.
        """
        waiter: Answer = self._loop.create_future()
        request_id = self._requests.add(answer, waiter)
        try:
            self.send(request, data, request_id)
        except Rejected:
            self._requests.forget(request_id)
            raise
        return request_id, waiter

    def forget(self, request_id: int) -> None:
        """Wait no more for an answer."""
        self._requests.forget(request_id)

    def answer(self, request: Channel, answer: Channel, request_id: int, data: bytes) -> None:
        """Answer a request of the peer; nothing happens if it is not open any more."""
        if self.phase is Phase.OPEN and self._asked.take(request, request_id):
            self.send(answer, data, request_id)

    def _note_dropped(self, channel: Channel, count: int) -> None:
        self._counters.dropped[channel.number] += count
        if self._first_time(f"dropped {channel.number}"):
            self._report.dropped(self.peer_id, channel, "it reads too slowly", self._now_ms())

    # --- what the peer says -------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the loop may put received bytes."""
        return self._buffer.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Look at what came."""
        self._buffer.received(nbytes)
        self._counters.bytes_received += nbytes
        self._guard(self._look)

    def _guard(self, action: Callable[[], None]) -> None:
        """Run what a peer or a timer caused; whatever goes wrong ends this connection only."""
        try:
            action()
        except PeerFault as fault:
            self._owner.on_fault(self, fault)
        except Rejected as refusal:
            self.close(refusal.code, refusal.message)
        except Exception:
            log.exception("connection_failed address=%s", self.address)
            self.close("p2p/Internal", "this node has a bug; the log has its trace")

    def _look(self) -> None:
        if self.phase is Phase.OPENING:
            self._advance_opening()
        if self._opener is not None:
            self._take_messages(self._opener)

    def _take_messages(self, opener: Opener) -> None:
        """Hand on complete messages until none is left or the peer is above a rate."""
        now_ms, watch = self._now_ms(), self._watch
        while not self.is_closed:
            frame = opener.next()
            if frame is None:
                watch.waiting(now_ms, partial=opener.partial)
                return
            channel, _, data, size = frame
            number = channel.number
            watch.heard(now_ms)
            self._counters.received[number] += 1
            if channel.kind is Kind.ONE_WAY and data is not None and number:
                self._require_open()
                self._on_message(self.peer_id, channel.name, data)
            else:
                self._take_other(frame)
            rate = self._rates[number]
            assert rate is not None
            wait_ms = rate.take(size, now_ms)
            if wait_ms and not self.is_closed:
                self._slow_down(channel, wait_ms)
                return

    def _take_other(self, frame: Frame) -> None:
        channel, request_id, data, _ = frame
        if channel.number == CONTROL:
            assert data is not None
            self._take_control(*parse_control(data))
            return
        self._require_open()
        if channel.kind is Kind.ANSWER:
            self._take_answer(channel, request_id, data)
        else:
            assert data is not None
            self._take_request(channel, request_id, data)

    def _require_open(self) -> None:
        if self.phase is not Phase.OPEN:
            raise PeerFault("p2p/BadControl", "a message before the welcome")

    def _take_control(self, kind: Control, code: str) -> None:
        match kind:
            case Control.GOODBYE:
                self.close("p2p/SentAway", f"the peer said {code}")
            case Control.WELCOME:
                if self.inbound or self.phase is not Phase.WELCOMING:
                    raise PeerFault("p2p/BadControl", "a welcome out of place")
                self._accept()

    def _take_request(self, channel: Channel, request_id: int, data: bytes) -> None:
        if self._asked.add(channel, request_id):
            self._owner.handler.on_request(self.peer_id, channel.name, request_id, data)
            return
        self._counters.dropped[channel.number] += 1
        if self._first_time("asked"):
            reason = "it asks more than is answered"
            self._report.dropped(self.peer_id, channel, reason, self._now_ms())

    def _take_answer(self, channel: Channel, request_id: int, data: bytes | None) -> None:
        """Hand an answer to who waits; a late one is nothing, one to no question is noted."""
        waiter = self._requests.take(channel, request_id)
        if waiter is not None and data is not None and not waiter.done():
            waiter.set_result(data)
        elif not self._requests.was_asked(request_id):
            self._counters.unsolicited += 1
            if self._first_time("unsolicited"):
                self._report.unsolicited(self.peer_id, channel, request_id, self._now_ms())

    def _slow_down(self, channel: Channel, wait_ms: int) -> None:
        """Read nothing for a while; TCP makes the peer wait, memory stays as it is."""
        assert self._transport is not None
        self._counters.slowed += 1
        if self._first_time(f"slowed {channel.number}"):
            self._report.slowed(self.peer_id, channel, wait_ms, self._now_ms())
        self._watch.paused = True
        self._transport.pause_reading()
        self._set_timer("rate", wait_ms, self._speed_up)

    def _speed_up(self) -> None:
        assert self._transport is not None
        self._watch.resume(self._now_ms())
        self._look()
        if not self._watch.paused and not self.is_closed:
            self._transport.resume_reading()

    # --- the beginning ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there: greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._guard(self._greet)

    def _greet(self) -> None:
        assert self._transport is not None
        peername = self._transport.get_extra_info("peername")
        if peername is None:
            raise Rejected("p2p/Lost", "the peer closed the connection at once")
        self.host, port = peername[:2]
        self.address = f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"
        self._owner.on_socket(self)
        self._writer = Writer(self._transport, self._settings, self._counters)
        self._opening = Opening(
            self._owner.setup,
            initiator=not self.inbound,
            admit=lambda remote: self._owner.on_recognised(self, remote),
        )
        self._writer.write_clear(self._opening.begin())
        self._set_timer("handshake", self._settings.handshake_ms, self._give_up)

    def _give_up(self) -> None:
        awaited = self._opening.awaited if self._opening else "welcome"
        raise Rejected(
            "p2p/HandshakeTimeout",
            f"no {awaited} within {self._settings.handshake_ms} ms of connecting",
        )

    def _advance_opening(self) -> None:
        assert self._opening is not None and self._writer is not None
        reply = self._opening.advance(self._buffer)
        if reply:
            self._writer.write_clear(reply)
        if self._opening.secured is not None:
            self._secure(self._opening.secured, self._writer)

    def _secure(self, secured: Secured, writer: Writer) -> None:
        """The handshake is done: sealed messages from now on; who was called decides."""
        channels, now_ms = self._owner.channels, self._now_ms()
        self.phase = Phase.WELCOMING
        self.remote = secured.remote
        self._opening = None
        writer.secure(secured.send)
        self._opener = Opener(
            secured.receive, channels, CONTROL_CHANNEL, self._buffer, self._requests.awaits
        )
        self._rates = [
            None if row is None else ChannelRate(row, now_ms)
            for row in (CONTROL_CHANNEL, *channels.by_number[1:])
        ]
        if self.inbound:
            self._accept()

    def _accept(self) -> None:
        assert self._writer is not None
        self.link = self._owner.on_claim(self)
        if self.link.is_guest:
            self._writer.count_in(self._backlog)
        self.phase = Phase.OPEN
        self._cancel("handshake")
        self.opened_ms = self._writer.spoke_ms = self._now_ms()
        self._watch.heard(self.opened_ms)
        if self.inbound:
            self._writer.put_control(bytes([Control.WELCOME]))
        self._tick()
        self._owner.on_open(self)

    # --- time and end -------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at the limits in time, and say something if nothing else is said (W9)."""
        assert self._writer is not None
        now_ms = self._now_ms()
        self._watch.require_progress(now_ms, self._writer.blocked_ms)
        silent_ms = now_ms - self._writer.spoke_ms
        if silent_ms >= self._settings.ping_ms and not self._writer.control_waits:
            self._writer.put_control(bytes([Control.ALIVE]))
        self._set_timer("tick", self._watch.tick_ms, self._tick)

    def pause_writing(self) -> None:
        """The peer does not read as fast as we write."""
        if self._writer is not None:
            self._writer.pause()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._writer is not None:
            self._writer.resume()

    def close(self, code: str, reason: str, *, say: str = "") -> None:
        """End the connection; the peer is told ``say``, or ``code``. Calling again does nothing."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._opening = None  # It knows this connection: neither would be freed without the other.
        for name in list(self._timers):
            self._cancel(name)
        if self._writer is not None:
            self._writer.end(say or code)
        elif self._transport is not None:
            self._transport.abort()
        if self._transport is not None:
            self._set_timer("linger", self._settings.linger_ms, self._transport.abort)
        for waiter in self._requests.close():
            if not waiter.done():
                waiter.set_result(None)
        ending = Ending(code, reason)
        if not self.closed.done():
            self.closed.set_result(ending)
        self._owner.on_closed(self, ending)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever."""
        self.close("p2p/Lost", str(exc) if exc else "the peer closed the connection")
        self._cancel("linger")
        self._owner.on_socket_lost(self)

    # --- helpers ------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1_000)

    def _set_timer(self, name: str, delay_ms: int, action: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(delay_ms / 1_000, self._guard, action)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _first_time(self, event: str) -> bool:
        """Tell whether something happens on this connection for the first time."""
        if event in self._said:
            return False
        self._said.add(event)
        return True
