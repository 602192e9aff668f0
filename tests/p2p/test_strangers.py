"""Hostile strangers: whatever they do before they are accepted, the node goes on and says why."""

from __future__ import annotations

import gc
from weakref import ref

import pytest

from p2p.channels import Channel
from p2p.control import CONTROL_CHANNEL

from .world import QUESTION, VOTES, Puppet, World, run


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", bytes(100_000), b"\x16\x03\x01\x02\x00" * 50],
    ids=["http", "zeros", "tls"],
)
def test_garbage_before_the_handshake(garbage: bytes) -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.puppet(node)

        puppet.writer.write(garbage)

        await puppet.end()
        await world.until(lambda: world.said("peer_refused", "code=p2p/NotColophon"))
        await world.goes_on(node)

    run(play)


def test_garbage_in_the_handshake() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.puppet(node)

        puppet.writer.write(puppet.opening.begin() + (100).to_bytes(2, "big") + bytes(100))

        await puppet.end()
        await world.until(lambda: world.said("peer_refused", "code=p2p/BadHandshake"))
        await world.goes_on(node)

    run(play)


def test_another_network() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.puppet(node, genesis=bytes(32))

        puppet.writer.write(puppet.opening.begin())

        await puppet.end()
        await world.until(lambda: world.said("peer_refused", "code=p2p/WrongNetwork"))
        await world.goes_on(node)

    run(play)


def test_a_half_open_connection() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", handshake_ms=20)
        puppet = await world.puppet(node)

        await puppet.end()

        await world.until(lambda: world.said("peer_refused", "p2p/HandshakeTimeout", "no greeting"))
        assert node.network._arrivals.handshaking == 0

    run(play)


@pytest.mark.parametrize("sent", [b"", bytes(1_000)], ids=["nothing", "garbage"])
def test_a_handshake_that_fails_leaves_nothing_behind(sent: bytes) -> None:
    """The node's collector of cycles comes seldom: memory must not wait for it."""

    async def play(world: World) -> None:
        node = await world.node("node", handshake_ms=20)
        puppet = await world.puppet(node)
        await puppet.heard_greeting()
        (connection,) = (ref(one) for one in node.network._sockets)

        puppet.writer.write(sent)

        await puppet.end()
        await world.until(lambda: world.said("peer_refused"))
        while node.network._sockets:
            await world.turn()
        assert connection() is None

    gc.disable()
    try:
        run(play)
    finally:
        gc.enable()


def test_a_handshake_one_byte_at_a_time() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", handshake_ms=50)
        puppet = await world.puppet(node)

        for byte in puppet.opening.begin()[:-1]:
            puppet.writer.write(bytes([byte]))
            await puppet.writer.drain()

        await puppet.end()
        await world.until(lambda: world.said("peer_refused", "p2p/HandshakeTimeout", "no message"))

    run(play)


def test_a_peer_that_calls_and_is_never_welcomed_gives_up() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", handshake_ms=30)
        server = await world.deaf_server()

        node.network.call([server])

        await world.until(lambda: world.said("call_failed", "p2p/HandshakeTimeout"))

    run(play)


def test_strangers_above_the_limit_are_closed_at_once() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", handshakes_max=3)
        silent = [await world.puppet(node) for _ in range(3)]
        await silent[0].heard_greeting()

        one_more = await world.puppet(node)

        assert await one_more.end() == b""
        await world.until(lambda: world.said("peer_refused", "code=p2p/TooManyHandshakes"))
        silent[0].writer.close()
        await world.until(lambda: node.network._arrivals.handshaking == 2)
        await world.goes_on(node)

    run(play)


def test_connections_above_the_limit_of_an_address() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", per_address_max=2)
        for name in ("first", "second"):
            await world.accepted(node, name)

        third = await world.puppet(node, "third")

        assert await third.end() == b""
        await world.until(lambda: world.said("peer_refused", "code=p2p/TooManyFromAddress"))
        assert len(node.network.peers) == 2

    run(play)


def test_connections_above_the_rate_of_an_address() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", accepts_burst=1, accepts_per_second=1)
        await world.accepted(node, "first")

        second = await world.puppet(node, "second")

        assert await second.end() == b""
        await world.until(lambda: world.said("peer_refused", "code=p2p/TooOften"))

    run(play)


@pytest.mark.parametrize(
    ("channel", "data"),
    [(VOTES, b"too early"), (QUESTION, b"too early"), (CONTROL_CHANNEL, b"\x01\x01")],
)
def test_a_peer_that_was_called_and_does_not_welcome(channel: Channel, data: bytes) -> None:
    async def play(world: World) -> None:
        async def say(puppet: Puppet) -> None:
            puppet.say(channel, data, int(channel is QUESTION))

        node = await world.node("node")

        node.network.call([await world.impostor(say)])

        await world.until(lambda: world.said("peer_banned", "code=p2p/BadControl"))
        assert not node.saw("connected")

    run(play)


def test_a_peer_that_welcomes_twice() -> None:
    async def play(world: World) -> None:
        async def say(puppet: Puppet) -> None:
            puppet.say(CONTROL_CHANNEL, b"\x01")
            puppet.say(CONTROL_CHANNEL, b"\x01")

        node = await world.node("node")

        node.network.call([await world.impostor(say)])

        await world.until(lambda: world.said("peer_banned", "code=p2p/BadControl"))
        assert [event[0] for event in node.events] == ["connected", "gone"]

    run(play)
