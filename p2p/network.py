"""The door to the other nodes: listens, calls, accepts, and moves messages by peer and channel.

One task keeps calling the peers named in the configuration; everything else happens in the
callbacks of connections. A peer is its Ed25519 public key, 32 bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from secrets import randbelow

from chain.errors import Misuse, PeerFault, Rejected

from .arrivals import Arrivals
from .channels import Channel, Channels, Kind
from .connection import Connection
from .contract import Ending, Handler
from .handshake import Setup
from .identity import Identity, Remote
from .peers import JITTER_MAX, Known, Link, PeerTable
from .queues import MESSAGE_COST_BYTES, Backlog
from .report import Counters, Report
from .settings import Settings

log = logging.getLogger("colophon.p2p")


class Network:
    """One node among others; made once, used on one event loop, ended with ``close``."""

    def __init__(
        self,
        identity: Identity,
        genesis_hash: bytes,
        channels: Sequence[Channel],
        settings: Settings,
        handler: Handler,
    ) -> None:
        """Raises ``Misuse`` if the table of channels does not fit itself or the settings."""
        self.settings = settings
        self.channels = Channels(channels)
        self.setup = Setup(identity, genesis_hash, identity.hello(genesis_hash, settings.address))
        self.handler = handler
        self.report = Report()
        self.backlog = Backlog()
        self._table = PeerTable(identity.peer_id, settings)
        self._arrivals = Arrivals(settings)
        self._connections: dict[bytes, Connection] = {}
        self._arrived: dict[Connection, bool] = {}
        self._sockets: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._calling: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._closing = False
        _require_fit(self.channels, settings)

    # --- life ---------------------------------------------------------------------------------

    async def listen(self, host: str, port: int) -> int:
        """Accept connections; return the port, which the kernel chooses if ``port`` is 0.

        Raises ``Rejected`` with ``p2p/CannotListen``.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: Connection(self, None), host, port)
        except OSError as error:
            raise Rejected("p2p/CannotListen", f"{host}:{port}: {error.strerror}") from None
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        log.info("listening address=%s:%d", host, bound)
        return bound

    def call(self, peers: Iterable[str]) -> None:
        """Connect to these peers and keep connected, until ``close``.

        Each is ``host:port``, or ``<64 hex digits>@host:port`` to accept nobody else there.
        Raises ``Rejected`` with ``p2p/BadAddress``.
        """
        for text in peers:
            self._table.add(text)
        self._changed.set()
        if self._calling is None and not self._closing:
            self._calling = asyncio.get_running_loop().create_task(self._keep_calling())

    async def ended(self) -> None:
        """Return when this node has left or never called; raises the bug that ended its calls.

        Who waits here learns of it: a node that calls nobody any more is only half alive.
        """
        if self._calling is not None:
            await asyncio.wait([self._calling])
            if not self._calling.cancelled():
                self._calling.result()

    async def close(self) -> None:
        """Leave: tell the peers, close every socket, end every task."""
        self._closing = True
        for server in self._servers:
            server.close()
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.gather(self._calling, return_exceptions=True)
        for connection in list(self._sockets):
            connection.close("p2p/Shutdown", "this node stops")
        while self._sockets:
            self._changed.clear()
            await self._changed.wait()
        for server in self._servers:
            await server.wait_closed()

    # --- what the node says -------------------------------------------------------------------

    @property
    def peers(self) -> list[bytes]:
        """Who is connected, in the order of connecting."""
        return list(self._connections)

    @property
    def links(self) -> list[Link]:
        """The accepted connections: peer, address, direction."""
        return list(self._table.links.values())

    @property
    def counters(self) -> Counters:
        """Totals since the start, for metrics."""
        return self.report.counters

    def send(self, peer: bytes, channel: str, data: bytes, *, after: str = "") -> None:
        """Send a one-way message; if the peer is gone, nothing happens.

        ``after`` names a channel whose waiting messages to this peer go out before this one.
        """
        row, earlier = self._one_way(channel, data), self._optional(after)
        connection = self._connections.get(peer)
        if connection is not None:
            connection.send(row, data, after=earlier)

    def broadcast(self, channel: str, data: bytes, *, after: str = "") -> None:
        """Send a one-way message to every peer."""
        row, earlier = self._one_way(channel, data), self._optional(after)
        for connection in list(self._connections.values()):
            connection.send(row, data, after=earlier)

    async def request(self, peer: bytes, channel: str, data: bytes, timeout_ms: int) -> bytes:
        """Ask a peer; return its answer.

        Raises ``Rejected`` with ``p2p/Timeout``, ``p2p/Gone`` (not connected, or not any more),
        ``p2p/Busy`` (too many requests to it are open) or ``p2p/QueueFull``.
        """
        row, answer = self.channels.request(channel), self.channels.answer_to(channel)
        _require_size(row, data)
        connection = self._connections.get(peer)
        if connection is None:
            raise Rejected("p2p/Gone", "the peer is not connected")
        request_id, waiter = connection.ask(row, answer, data)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                found = await waiter
        except TimeoutError:
            raise Rejected("p2p/Timeout", f"no answer within {timeout_ms} ms") from None
        finally:
            connection.forget(request_id)
        if found is None:
            raise Rejected("p2p/Gone", "the peer went before it answered")
        return found

    def answer(self, peer: bytes, channel: str, request_id: int, data: bytes) -> None:
        """Answer a request that came on ``channel``; if nobody waits for it, nothing happens."""
        row, answer = self.channels.request(channel), self.channels.answer_to(channel)
        _require_size(answer, data)
        connection = self._connections.get(peer)
        if connection is not None:
            connection.answer(row, answer, request_id, data)

    def ban(self, peer: bytes, code: str, reason: str) -> None:
        """Close the connection to a peer and keep it away for the time set.

        Only for what the peer provably did: it signed or sealed what no honest node does. What
        else it had said before the first ban is no news.
        """
        now_ms = self._now_ms()
        is_news = not self._table.is_banned(peer, now_ms)
        ban = self._table.ban(peer, code, reason, now_ms)
        if is_news:
            self.report.banned(peer, ban, now_ms)
        self._changed.set()
        connection = self._connections.get(peer)
        if connection is not None:
            connection.close(code, reason, say="p2p/Banned")

    def _one_way(self, name: str, data: bytes) -> Channel:
        row = self.channels.named(name)
        if row.kind is not Kind.ONE_WAY:
            raise Misuse(f"channel {name} carries no one-way messages")
        _require_size(row, data)
        return row

    def _optional(self, name: str) -> Channel | None:
        return self.channels.named(name) if name else None

    # --- calling ------------------------------------------------------------------------------

    async def _keep_calling(self) -> None:
        """Call whoever is due, until cancelled."""
        async with asyncio.TaskGroup() as calls:
            while True:
                self._changed.clear()
                now_ms = self._now_ms()
                for known in self._table.due(now_ms):
                    known.busy = True
                    calls.create_task(self._call(known), name=f"call {known.address}")
                wait_ms = self._table.wait_ms(now_ms)
                try:
                    async with asyncio.timeout(None if wait_ms is None else wait_ms / 1_000):
                        await self._changed.wait()
                except TimeoutError:
                    pass  # somebody is due

    async def _call(self, known: Known) -> None:
        """Call one peer and stay until that connection has ended."""
        connection = Connection(self, known)
        try:
            async with asyncio.timeout(self.settings.dial_ms / 1_000):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, known.host, known.port
                )
            code, reason = await connection.closed
        except TimeoutError:
            code, reason = "p2p/Unreachable", f"no connection within {self.settings.dial_ms} ms"
        except (OSError, UnicodeError) as error:  # the latter for a host that is no name
            code, reason = "p2p/Unreachable", str(error)
        except Exception:
            log.exception("calling_failed address=%s", known.address)
            code, reason = "p2p/Internal", "this node has a bug; the log has its trace"
        self._note_call_ended(known, connection, code, reason)

    def _note_call_ended(
        self, known: Known, connection: Connection, code: str, reason: str
    ) -> None:
        now_ms = self._now_ms()
        retry_ms = self._table.call_ended(
            known,
            lasted_ms=now_ms - connection.opened_ms if connection.opened_ms else 0,
            now_ms=now_ms,
            jitter=randbelow(JITTER_MAX + 1),
        )
        known.is_self = code == "p2p/Self"
        if connection.link is None and code != "p2p/Duplicate":
            self.report.call_failed(known, code, reason, retry_ms=retry_ms, now_ms=now_ms)
        self._changed.set()

    # --- what connections tell ----------------------------------------------------------------

    def on_socket(self, connection: Connection) -> None:
        """See ``Owner``."""
        self._sockets.add(connection)
        if self._closing:
            raise Rejected("p2p/Shutdown", "this node stops")
        if connection.inbound:
            self._arrivals.enter(connection.host, self._now_ms())
            self._arrived[connection] = True

    def on_recognised(self, connection: Connection, remote: Remote) -> None:
        """See ``Owner``."""
        known = connection.known
        if known is None:
            return  # checked by the claim: only then can the refusal be told
        if known.pinned not in (None, remote.peer_id):
            raise Rejected("p2p/WrongPeer", f"{remote.peer_id.hex()} answers at its address")
        known.peer_id = remote.peer_id
        self._table.check(remote.peer_id, inbound=False, now_ms=self._now_ms())

    def on_claim(self, connection: Connection) -> Link:
        """See ``Owner``."""
        own_id, peer_id = self.setup.identity.peer_id, connection.peer_id
        link = Link(
            peer_id=peer_id,
            initiator=peer_id if connection.inbound else own_id,
            address=connection.address,
            inbound=connection.inbound,
            is_guest=connection.inbound and not self._table.is_named(peer_id),
        )
        replaced = self._connections.get(peer_id)
        if self._table.claim(link, self._now_ms()) and replaced is not None:
            replaced.close("p2p/Replaced", f"by the connection with {link.address}")
        self._connections[peer_id] = connection
        return link

    def on_open(self, connection: Connection) -> None:
        """See ``Owner``."""
        assert connection.link is not None
        self._end_handshake(connection)
        self.report.connected(connection.link, self._now_ms())
        self._tell(self.handler.on_connected, connection.peer_id)

    def on_fault(self, connection: Connection, fault: PeerFault) -> None:
        """See ``Owner``."""
        reason = str(fault).removeprefix(f"{fault.code}: ")
        self.ban(connection.peer_id, fault.code, reason)
        connection.close(fault.code, reason, say="p2p/Banned")

    def on_backlog(self) -> None:
        """See ``Owner``.

        Size alone would be a poor judge: many that each hold a little could have a peer closed
        that is being sent one large answer and reads it.
        """
        bytes_max = self.settings.waiting_bytes_max
        while self.backlog.bytes > bytes_max:
            worst = max(self._connections.values(), key=lambda connection: connection.burden)
            reason = f"{bytes_max} bytes wait for those who called, the most and longest for it"
            worst.close("p2p/Backlog", reason)

    def on_closed(self, connection: Connection, ending: Ending) -> None:
        """See ``Owner``."""
        link = connection.link
        self._end_handshake(connection)
        if link is not None:
            self._table.release(link)
            if self._connections.get(link.peer_id) is connection:
                del self._connections[link.peer_id]
            self.report.gone(link, *ending, now_ms=self._now_ms())
            self._tell(self.handler.on_gone, link.peer_id, ending.code)
        elif connection.inbound and not self._closing:
            self.report.refused(connection.address, *ending, now_ms=self._now_ms())
        self._changed.set()

    def on_socket_lost(self, connection: Connection) -> None:
        """See ``Owner``."""
        self._sockets.discard(connection)
        if self._arrived.pop(connection, None) is not None:
            self._arrivals.leave(connection.host)
        self._changed.set()

    def _end_handshake(self, connection: Connection) -> None:
        if self._arrived.get(connection):
            self._arrived[connection] = False
            self._arrivals.finish_handshake()

    def _tell(self, action: Callable[..., None], *arguments: object) -> None:
        """Call the node; a bug there must not leave the tables here half changed."""
        try:
            action(*arguments)
        except Exception:
            log.exception("handler_failed")

    def _now_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1_000)


def _require_size(channel: Channel, data: bytes) -> None:
    if len(data) > channel.bytes_max:
        raise Misuse(f"{len(data)} bytes for channel {channel.name}, at most {channel.bytes_max}")


def _require_fit(channels: Channels, settings: Settings) -> None:
    """Refuse a table that the settings make unworkable."""
    for row in channels.rows:
        if row.bytes_max > settings.queue_bytes_max:
            raise Misuse(f"p2p.queue_bytes_max is below the cap of channel {row.name}")
        if row.bytes_max + MESSAGE_COST_BYTES > settings.waiting_bytes_max:
            raise Misuse(f"p2p.waiting_bytes_max has no room for a message of {row.name}")
        # A peer is not read for as long as its largest message is worth, and the others must not
        # take that for a dead node.
        if row.bytes_max * 1_000 > row.bytes_per_second * settings.idle_ms // 2:
            raise Misuse(
                f"channel {row.name}: {row.bytes_per_second} bytes a second are too few for "
                f"messages of {row.bytes_max} and p2p.idle_ms {settings.idle_ms}"
            )
