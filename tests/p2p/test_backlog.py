"""What waits for all guests together: bounded, and who reads nothing of the most is closed.

Guests are puppets on loopback. Within one turn of the loop nothing leaves, so sums are exact.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.connection import Connection
from p2p.queues import MESSAGE_COST_BYTES

from .world import GOSSIP, HOST, REPLY, Node, Puppet, World, peer_id, run

PIECE = bytes(100_000)
ROOM = 1_000_000
"""For all guests; a message of the largest channel has 262 144 bytes."""


def connection(node: Node, puppet: Puppet) -> Connection:
    return node.network._connections[puppet.id]


def unread_for(guest: Connection, blocked_ms: int) -> None:
    """Let a guest have read nothing for so long."""
    assert guest._writer is not None
    guest.pause_writing()
    assert guest._writer.blocked_ms is not None
    guest._writer.blocked_ms -= blocked_ms


@settings(max_examples=30, deadline=None)
@given(sends=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200_000)), max_size=30))
def test_the_sum_is_bounded_and_who_holds_most_is_closed(sends: list[tuple[int, int]]) -> None:
    async def play(world: World) -> None:
        node = await world.node("node", waiting_bytes_max=ROOM)
        guests = [await world.accepted(node, f"guest {number}") for number in range(4)]
        await world.until(lambda: len(node.network.peers) == 4)
        for guest in guests:
            unread_for(connection(node, guest), 0)
        held = dict.fromkeys((guest.id for guest in guests), 0)

        for number, size in sends:
            node.network.send(guests[number].id, "gossip", bytes(size))
            if guests[number].id in held:
                held[guests[number].id] += size + MESSAGE_COST_BYTES
            if sum(held.values()) > ROOM:
                del held[max(held, key=lambda peer: held[peer])]
            assert node.network.peers == list(held)
            assert node.network.backlog.bytes == sum(held.values()) <= ROOM

        gone = sum("code=p2p/Backlog" in line for line in world.lines)
        assert gone == 4 - len(held) == node.network.counters.gone.get("p2p/Backlog", 0)

    run(play)


def test_deaf_guests_are_closed_and_one_that_reads_is_not() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", waiting_bytes_max=ROOM)
        reader = await world.node("reader")
        reader.network.call([node.at])
        deaf = [await world.accepted(node, f"deaf {number}") for number in range(5)]
        await world.until(lambda: reader.saw("connected"))
        for guest in deaf:
            guest.deaf()

        while any(guest.id in node.network.peers for guest in deaf):
            for guest in deaf:
                node.network.send(guest.id, "gossip", PIECE)
            assert node.network.backlog.bytes <= ROOM
            heard = len(reader.received("gossip"))
            node.network.send(reader.id, "gossip", PIECE)
            await world.until(lambda before=heard: len(reader.received("gossip")) > before)

        for guest in deaf:
            assert sum(guest.id.hex() in x and "code=p2p/Backlog" in x for x in world.lines) == 1
        assert node.network.counters.bans == 0
        assert node.network.peers == [reader.id]
        assert not reader.saw("gone")

    run(play)


def test_a_large_answer_that_is_being_read_outweighs_no_small_one_that_is_not() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", waiting_bytes_max=ROOM)
        reading, deaf = await world.accepted(node, "reading"), await world.accepted(node, "deaf")
        unread_for(connection(node, reading), 10)
        unread_for(connection(node, deaf), 10_000)

        node.network.send(deaf.id, "gossip", PIECE)
        for _ in range(9):
            node.network.send(reading.id, "gossip", PIECE)

        assert node.network.peers == [reading.id]
        assert node.saw("gone", deaf.id, "p2p/Backlog")

    run(play)


def test_peers_that_are_named_do_not_count_and_are_not_closed() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", waiting_bytes_max=ROOM)
        named, called = peer_id("named"), await world.node("called")
        node.network.call([f"{named.hex()}@{HOST}:1", called.at])
        puppet = await world.accepted(node, "named")
        await world.until(lambda: node.saw("connected", called.id))
        unread_for(connection(node, puppet), 10_000)

        for _ in range(20):
            node.network.send(named, "gossip", PIECE)
            node.network.send(called.id, "gossip", PIECE)

        assert node.network.backlog.bytes == 0
        assert set(node.network.peers) == {named, called.id}

    run(play)


def test_even_one_guest_may_hold_no_more_than_all() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", waiting_bytes_max=REPLY.bytes_max + MESSAGE_COST_BYTES)
        guest = await world.accepted(node)
        unread_for(connection(node, guest), 0)

        node.network.send(guest.id, "gossip", bytes(GOSSIP.bytes_max))
        node.network.send(guest.id, "votes", b"")

        assert node.saw("gone", guest.id, "p2p/Backlog")
        assert node.network.backlog.bytes == 0
        await world.goes_on(node)

    run(play)


def test_what_a_gone_guest_makes_the_node_say_is_bounded_too() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", waiting_bytes_max=ROOM)
        guests = [await world.accepted(node, f"guest {number}") for number in range(4)]
        for guest in guests:
            unread_for(connection(node, guest), 0)
        node.when_gone = lambda: node.network.broadcast("gossip", bytes(GOSSIP.bytes_max))

        for _ in range(2):
            node.network.broadcast("gossip", bytes(GOSSIP.bytes_max // 2))

        assert node.network.backlog.bytes <= ROOM
        assert node.saw("gone", guests[0].id, "p2p/Backlog")

    run(play)
