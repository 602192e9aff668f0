"""Hostile peers that were accepted: the node goes on, memory is bounded, one line says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2p.connection import RECEIVE_BUFFER_BYTES
from p2p.control import CONTROL_CHANNEL
from p2p.frames import HEADER
from p2p.writer import WRITE_BUFFER_BYTES

from .world import GOSSIP, QUESTION, REPLY, TABLE, VOTES, World, run


def test_garbage_after_the_handshake_is_no_ground_for_a_ban() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.accepted(node)

        puppet.writer.write(bytes(1_000))

        await puppet.end()
        await world.until(lambda: world.said("peer_gone", "code=p2p/Corrupt"))
        assert node.network.counters.bans == 0
        await world.goes_on(node)

    run(play)


@pytest.mark.parametrize(
    ("code", "size", "number", "request_id"),
    [
        ("p2p/TooLarge", VOTES.bytes_max + 1, VOTES.number, 0),
        ("p2p/TooLarge", 2**32 - 1, GOSSIP.number, 0),
        ("p2p/TooLarge", CONTROL_CHANNEL.bytes_max + 1, 0, 0),
        ("p2p/UnknownChannel", 1, 99, 0),
        ("p2p/RequestId", 1, VOTES.number, 5),
        ("p2p/RequestId", 1, QUESTION.number, 0),
    ],
)
def test_a_header_that_no_honest_node_seals(
    code: str, size: int, number: int, request_id: int
) -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.accepted(node)
        cipher = puppet.opening.secured.send

        puppet.writer.write(cipher.seal(HEADER.pack(size, number, request_id)))

        await puppet.end()
        await world.until(lambda: world.said("peer_banned", puppet.id.hex(), f"code={code}"))
        assert node.saw("gone", puppet.id, code)
        again = await world.puppet(node)
        await again.shake_hands()
        assert (await again.hear()).data == b"\x02p2p/Banned"
        await world.goes_on(node)

    run(play)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x09", b"\x02not a code"])
def test_a_control_message_out_of_place(data: bytes) -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.accepted(node)

        puppet.say(CONTROL_CHANNEL, data)

        await puppet.end()
        await world.until(lambda: world.said("peer_banned", "code=p2p/BadControl"))

    run(play)


def test_a_request_id_used_twice() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.accepted(node)

        puppet.say(QUESTION, b"silence", 7)
        puppet.say(QUESTION, b"silence", 7)

        await puppet.end()
        await world.until(lambda: world.said("peer_banned", "code=p2p/RequestId"))

    run(play)


def test_an_endless_body_is_never_held_above_its_cap() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", message_ms=200, ping_ms=40)
        puppet = await world.accepted(node)
        body = puppet.sealed(GOSSIP, bytes(GOSSIP.bytes_max))

        puppet.writer.write(body[:-1])

        await puppet.end()
        await world.until(lambda: world.said("peer_gone", "code=p2p/TooSlow"))
        assert node.received("gossip") == []
        assert node.network.counters.bans == 0

    run(play)


def test_one_byte_at_a_time() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", message_ms=40, ping_ms=40)
        puppet = await world.accepted(node)

        for byte in puppet.sealed(VOTES, bytes(100))[:-1]:
            puppet.writer.write(bytes([byte]))
            await puppet.writer.drain()

        await puppet.end()
        await world.until(lambda: world.said("peer_gone", "code=p2p/TooSlow"))
        await world.goes_on(node)

    run(play)


def test_a_peer_that_falls_silent() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", ping_ms=10, idle_ms=500)
        puppet = await world.accepted(node)

        alive = await puppet.hear()

        assert alive.data == b"\x00"
        await puppet.end()
        await world.until(lambda: world.said("peer_gone", "code=p2p/Idle"))

    run(play)


def test_answers_to_nothing_are_dropped_and_said_once() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.accepted(node)

        for number in range(1, 20):
            puppet.say(REPLY, bytes(REPLY.bytes_max), number)
        puppet.say(VOTES, b"after")

        await world.until(lambda: node.received("votes") == [b"after"])
        assert node.network.counters.unsolicited == 19
        assert sum("answer_unsolicited" in line for line in world.lines) == 1
        assert not node.saw("gone")

    run(play)


def test_a_flood_is_slowed_and_hurts_nobody_else() -> None:
    async def play(world: World) -> None:
        slow = replace(GOSSIP, bytes_per_second=400_000, bytes_burst=0)
        table = tuple(slow if row is GOSSIP else row for row in TABLE)
        node = await world.node("node", channels=table)
        flooder = await world.accepted(node, "flooder")
        good = await world.accepted(node, "good")
        connection = node.network._connections[flooder.id]

        piece = bytes(50_000)
        for _ in range(400):
            flooder.say(GOSSIP, piece)
        await world.until(lambda: world.said("peer_slowed", flooder.id.hex(), "channel=gossip"))
        heard_before = len(node.received("gossip"))
        for number in range(200):
            good.say(VOTES, bytes([number]))
            await good.writer.drain()
        await world.until(lambda: len(node.received("votes")) == 200)

        assert heard_before < 400
        assert len(node.received("gossip")) < 400
        assert node.network.counters.slowed >= 1
        assert connection.held_bytes <= RECEIVE_BUFFER_BYTES + slow.bytes_max
        assert not node.saw("gone")

    run(play)


def test_a_flood_of_small_messages_is_slowed() -> None:
    async def play(world: World) -> None:
        slow = replace(VOTES, messages_per_second=200, messages_burst=10)
        table = tuple(slow if row is VOTES else row for row in TABLE)
        node = await world.node("node", channels=table)
        flooder = await world.accepted(node, "flooder")

        flooder.writer.write(b"".join(flooder.sealed(VOTES, bytes([n])) for n in range(30)))

        await world.until(lambda: len(node.received("votes")) == 30)
        assert node.received("votes") == [bytes([n]) for n in range(30)]
        assert node.network.counters.slowed >= 1

    run(play)


def test_a_flood_of_questions_is_answered_no_more_than_allowed() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", requests_max=4)
        puppet = await world.accepted(node)

        for number in range(1, 50):
            puppet.say(QUESTION, b"silence", number)
        puppet.say(VOTES, b"after")

        await world.until(lambda: bool(node.received("votes")))
        assert sum(event[0] == "request" for event in node.events) == 4
        assert node.network.counters.dropped[QUESTION.number] == 45
        assert world.said("messages_dropped", "asks more than is answered")

    run(play)


def test_a_peer_that_does_not_read_loses_the_least_urgent() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", queue_bytes_max=1_000_000, ping_ms=10, idle_ms=400)
        puppet = await world.accepted(node)
        connection = node.network._connections[puppet.id]
        puppet.deaf()

        for number in range(400):
            node.network.send(puppet.id, "gossip", bytes([number % 256]) * 50_000)
            if number % 20 == 0:
                puppet.say(VOTES, b"speaking is not reading")
                await world.turn()
            assert connection.held_bytes <= 1_000_000 + 2 * WRITE_BUFFER_BYTES

        await world.until(lambda: world.said("messages_dropped", "channel=gossip"))
        assert node.network.counters.dropped[GOSSIP.number] > 0
        puppet.say(VOTES, b"speaking is not reading")
        await world.until(lambda: world.said("peer_gone", "code=p2p/NotReading"))
        assert node.saw("gone", puppet.id, "p2p/NotReading")

    run(play)


def test_a_full_urgent_queue_closes_the_connection() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", queue_messages_max=5)
        puppet = await world.accepted(node)

        for number in range(6):
            node.network.send(puppet.id, "votes", bytes([number]))

        await world.until(lambda: world.said("peer_gone", "code=p2p/QueueFull"))
        await world.goes_on(node)

    run(play)


def test_a_peer_that_vanishes() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        puppet = await world.accepted(node)

        puppet.writer.transport.abort()

        await world.until(lambda: world.said("peer_gone", "code=p2p/Lost"))
        await world.goes_on(node)

    run(play)
