"""Nodes on loopback, a puppet that says whatever a test wants, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from chain.crypto import SigningKey
from p2p.buffer import ReceiveBuffer
from p2p.channels import Channel, Channels, Kind
from p2p.control import CONTROL_CHANNEL
from p2p.frames import Frame, Opener, Sealer
from p2p.handshake import Opening, Setup
from p2p.identity import Identity
from p2p.network import Network
from p2p.settings import Settings

GENESIS = bytes(range(32))
HOST = "127.0.0.1"
PATIENCE_S = 30
"""Only ever reached by a test that fails."""
GENEROUS = 10**9

VOTES = Channel(
    name="votes",
    number=1,
    kind=Kind.ONE_WAY,
    bytes_max=4_096,
    priority=0,
    messages_per_second=GENEROUS,
    messages_burst=GENEROUS,
    bytes_per_second=GENEROUS,
    bytes_burst=GENEROUS,
)
GOSSIP = replace(VOTES, name="gossip", number=2, bytes_max=262_144, priority=3)
QUESTION = replace(VOTES, name="question", number=3, kind=Kind.REQUEST, bytes_max=64, priority=1)
REPLY = replace(
    QUESTION, name="reply", number=4, kind=Kind.ANSWER, bytes_max=262_144, answers="question"
)
TABLE = (VOTES, GOSSIP, QUESTION, REPLY)


def key(name: str) -> SigningKey:
    """Return the key of a node with this name."""
    return SigningKey(name.encode().ljust(32, b"."))


def peer_id(name: str) -> bytes:
    """Return what peers call the node with this name."""
    return key(name).public_key


class Node:
    """A network and everything its handler was told."""

    def __init__(self, world: World, name: str, network_args: dict[str, Any]) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.port = 0
        self.reply = lambda data: data[::-1]
        self.broken = False
        self.when_gone: Callable[[], None] = lambda: None
        self._world = world
        self.id = peer_id(name)
        self.network = Network(identity=Identity(key(name)), handler=self, **network_args)

    @property
    def at(self) -> str:
        """Where the node listens."""
        return f"{HOST}:{self.port}"

    def on_connected(self, peer: bytes) -> None:
        self._note("connected", peer)

    def on_gone(self, peer: bytes, code: str) -> None:
        self._note("gone", peer, code)
        self.when_gone()

    def on_message(self, peer: bytes, channel: str, data: bytes) -> None:
        self._note("message", peer, channel, data)
        if self.broken:
            raise RuntimeError("a bug of the node")

    def on_request(self, peer: bytes, channel: str, request_id: int, data: bytes) -> None:
        self._note("request", peer, channel, data)
        if data != b"silence":
            self.network.answer(peer, channel, request_id, self.reply(data))

    def saw(self, *event: Any) -> bool:
        """Tell whether an event happened; fewer fields than it has match too."""
        return any(seen[: len(event)] == event for seen in self.events)

    def received(self, channel: str) -> list[bytes]:
        """Return the messages that came on a channel."""
        return [event[3] for event in self.events if event[0] == "message" and event[2] == channel]

    def _note(self, *event: Any) -> None:
        self.events.append(event)
        self._world.changed.set()


class World(logging.Handler):
    """All nodes of a test, their log, and a condition to wait on; use with ``async with``."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()
        self.lines: list[str] = []
        self._nodes: list[Node] = []
        self._puppets: list[Puppet] = []
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        logger = logging.getLogger("colophon.p2p")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for puppet in self._puppets:
            puppet.writer.close()
        for node in self._nodes:
            await node.network.close()
        for server in self._servers:
            server.close()
            await server.wait_closed()
        logging.getLogger("colophon.p2p").removeHandler(self)
        if error is None:
            assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of the log."""
        self.lines.append(record.getMessage())
        self.changed.set()

    def said(self, *parts: str) -> bool:
        """Tell whether a line of the log has all these parts."""
        return any(all(part in line for part in parts) for line in self.lines)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that an event or a line of the log goes with."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def goes_on(self, node: Node) -> None:
        """Show that a node still accepts and hears a good peer."""
        good = await self.accepted(node, "good")
        good.say(VOTES, b"good")
        await self.until(lambda: b"good" in node.received("votes"))

    async def turn(self) -> None:
        """Let the loop do what it has to do now."""
        await asyncio.sleep(0)

    async def deaf_server(self) -> str:
        """Start something that accepts connections and says nothing; return where."""

        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(keep, HOST, 0)
        self._servers.append(server)
        return f"{HOST}:{server.sockets[0].getsockname()[1]}"

    async def impostor(self, play: Callable[[Puppet], Coroutine[Any, Any, None]]) -> str:
        """Start something that shakes hands with whoever calls and then plays; return where."""

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            puppet = Puppet(reader, writer, "impostor", GENESIS, initiator=False)
            await puppet.shake_hands()
            await play(puppet)
            await puppet.end()
            writer.close()

        server = await asyncio.start_server(meet, HOST, 0)
        self._servers.append(server)
        return f"{HOST}:{server.sockets[0].getsockname()[1]}"

    async def node(
        self,
        name: str,
        *,
        genesis: bytes = GENESIS,
        channels: tuple[Channel, ...] = TABLE,
        port: int = 0,
        **settings: Any,
    ) -> Node:
        """Start a node that listens."""
        quick = {"dial_retry_ms_min": 1, "dial_retry_ms_max": 20, "accepts_burst": GENEROUS}
        node = Node(
            self,
            name,
            {
                "genesis_hash": genesis,
                "channels": channels,
                "settings": Settings(**(quick | settings)),
            },
        )
        self._nodes.append(node)
        node.port = await node.network.listen(HOST, port)
        return node

    async def pair(self, **settings: Any) -> tuple[Node, Node]:
        """Start two nodes that are connected; the second called."""
        first = await self.node("first", **settings)
        second = await self.node("second", **settings)
        second.network.call([first.at])
        await self.until(lambda: first.saw("connected") and second.saw("connected"))
        return first, second

    async def puppet(
        self, target: Node, name: str = "puppet", *, genesis: bytes = GENESIS
    ) -> Puppet:
        """Connect to a node without saying anything yet."""
        reader, writer = await asyncio.open_connection(HOST, target.port)
        puppet = Puppet(reader, writer, name, genesis)
        self._puppets.append(puppet)
        return puppet

    async def accepted(
        self, target: Node, name: str = "puppet", *, genesis: bytes = GENESIS
    ) -> Puppet:
        """Connect to a node and be accepted."""
        puppet = await self.puppet(target, name, genesis=genesis)
        await puppet.shake_hands()
        control = await puppet.hear()
        assert control.data == b"\x01"
        return puppet


class Puppet:
    """One side of a connection, moved by hand; the calling one unless told otherwise."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str,
        genesis: bytes,
        *,
        initiator: bool = True,
    ) -> None:
        identity = Identity(key(name))
        self.id = identity.peer_id
        self.writer = writer
        self._reader = reader
        self._buffer = ReceiveBuffer(262_144)
        self.opening = Opening(
            Setup(identity, genesis, identity.hello(genesis)),
            initiator=initiator,
            admit=lambda remote: None,
        )
        self.sealer: Sealer
        self.opener: Opener

    async def shake_hands(self) -> None:
        """Go through the handshake."""
        self.writer.write(self.opening.begin())
        while self.opening.secured is None:
            assert await self._fill(), "the node closed the connection"
            self.writer.write(self.opening.advance(self._buffer))
        secured = self.opening.secured
        self.sealer = Sealer(secured.send)
        self.opener = Opener(
            secured.receive, Channels(TABLE), CONTROL_CHANNEL, self._buffer, lambda *_: True
        )

    def say(self, channel: Channel, data: bytes, request_id: int = 0) -> None:
        """Send a message."""
        self.writer.write(self.sealed(channel, data, request_id))

    def sealed(self, channel: Channel, data: bytes, request_id: int = 0) -> bytes:
        """Return a message as it would go over the wire."""
        pieces = [self.sealer.start(channel.number, request_id, data)]
        while self.sealer.unfinished:
            pieces.append(self.sealer.proceed())
        return b"".join(pieces)

    async def hear(self) -> Frame:
        """Return the next message from the node."""
        while (frame := self.opener.next()) is None:
            assert await self._fill(), "the node closed the connection"
        return frame

    async def heard_greeting(self) -> None:
        """Wait until the node has greeted: it has noticed this connection."""
        assert await self._fill()

    def deaf(self) -> None:
        """Read nothing from now on."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def end(self) -> bytes:
        """Wait until the node closes the connection; return what it still sent."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    async def _fill(self) -> bool:
        room = self._buffer.room()
        async with asyncio.timeout(PATIENCE_S):
            data = await self._reader.read(min(len(room), 65_536))
        room[: len(data)] = data
        self._buffer.received(len(data))
        return bool(data)


def run(play: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run a test in a world of its own."""

    async def main() -> None:
        async with World() as world:
            await play(world)

    asyncio.run(main())
