"""Whole nodes on loopback: messages, questions, mistakes of the caller, the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chain.errors import Misuse, Rejected
from p2p.channels import Channel

from .world import GOSSIP, HOST, QUESTION, REPLY, VOTES, World, peer_id, run


def test_messages_arrive_on_every_channel_in_order() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()
        large = bytes(index % 251 for index in range(GOSSIP.bytes_max))

        for number in range(100):
            first.network.send(second.id, "votes", bytes([number]))
            second.network.broadcast("votes", bytes([number, 1]))
        first.network.send(second.id, "gossip", large)
        second.network.send(first.id, "gossip", b"")

        await world.until(
            lambda: bool(first.received("gossip")) and bool(second.received("gossip"))
        )
        assert second.received("votes") == [bytes([number]) for number in range(100)]
        assert first.received("votes") == [bytes([number, 1]) for number in range(100)]
        assert (second.received("gossip"), first.received("gossip")) == ([large], [b""])
        assert await second.network.request(first.id, "question", b"abc", 30_000) == b"cba"
        assert await first.network.request(second.id, "question", b"", 30_000) == b""
        assert second.network.counters.received[VOTES.number] == 100
        assert first.network.counters.sent[VOTES.number] == 100
        assert second.network.counters.bytes_received > len(large)

    run(play)


def test_questions_are_answered_each_by_its_own_answer() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()

        asked = [
            first.network.request(second.id, "question", bytes([n]), 30_000) for n in range(50)
        ]

        assert await asyncio.gather(*asked) == [bytes([n]) for n in range(50)]

    run(play)


def test_a_question_ends_without_an_answer() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair(requests_max=2)
        ask = first.network.request

        with pytest.raises(Rejected, match="p2p/Timeout"):
            await ask(second.id, "question", b"silence", 1)
        waiting = [asyncio.create_task(ask(second.id, "question", b"silence", 30_000))]
        await world.until(lambda: sum(event[0] == "request" for event in second.events) == 2)
        waiting.append(asyncio.create_task(ask(second.id, "question", b"silence", 30_000)))
        await world.until(lambda: world.said("messages_dropped", "asks more than is answered"))
        with pytest.raises(Rejected, match="p2p/Busy"):
            await ask(second.id, "question", b"one too many", 30_000)
        await second.network.close()
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(ended, Rejected) and ended.code == "p2p/Gone"
        await world.until(lambda: first.saw("gone", second.id))
        with pytest.raises(Rejected, match="p2p/Gone"):
            await ask(second.id, "question", b"", 30_000)

    run(play)


def test_a_question_that_is_not_wanted_any_more_is_forgotten() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair(requests_max=1)
        asking = asyncio.create_task(
            first.network.request(second.id, "question", b"silence", 30_000)
        )
        await world.until(lambda: second.saw("request"))

        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        with pytest.raises(Rejected, match="p2p/Timeout"):
            await first.network.request(second.id, "question", b"silence", 1)

        second.network.answer(first.id, "question", 1, b"late")
        second.network.send(first.id, "votes", b"after")
        await world.until(lambda: first.received("votes") == [b"after"])
        assert first.network.counters.unsolicited == 0

    run(play)


def test_questions_above_the_queue_are_refused() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair(queue_messages_max=1)
        ask = first.network.request

        asked = [ask(second.id, "question", bytes([n]), 30_000) for n in range(2)]
        answered, refused = await asyncio.gather(*asked, return_exceptions=True)

        assert answered == b"\x00"
        assert isinstance(refused, Rejected) and refused.code == "p2p/QueueFull"
        assert first.network.peers == [second.id]

    run(play)


def test_gossip_leaves_before_the_proposal_it_belongs_to() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()

        first.network.send(second.id, "gossip", b"transaction")
        first.network.send(second.id, "votes", b"vote")
        first.network.broadcast("votes", b"proposal", after="gossip")
        first.network.send(second.id, "gossip", b"later")

        await world.until(lambda: len(second.received("gossip")) == 2)
        order = [event[3] for event in second.events if event[0] == "message"]
        assert order == [b"vote", b"transaction", b"proposal", b"later"]

    run(play)


def test_quiet_peers_stay_connected() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair(ping_ms=1, idle_ms=20_000)
        heard = first.network.counters.received

        while heard[0] < 5:
            second.network.send(first.id, "votes", b"wake the test")
            messages = len(first.events)
            await world.until(lambda count=messages: len(first.events) > count)

        assert not first.saw("gone")

    run(play)


def test_what_cannot_be_sent_is_a_bug_of_the_caller() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()
        network = first.network

        with pytest.raises(Misuse):
            network.send(second.id, "votes", bytes(VOTES.bytes_max + 1))
        with pytest.raises(Misuse):
            network.send(second.id, "question", b"")
        with pytest.raises(Misuse):
            network.broadcast("nothing", b"")
        with pytest.raises(Misuse):
            network.answer(second.id, "question", 1, bytes(REPLY.bytes_max + 1))
        with pytest.raises(Misuse):
            await network.request(second.id, "question", bytes(QUESTION.bytes_max + 1), 1)
        with pytest.raises(Misuse):
            await network.request(second.id, "votes", b"", 1)
        network.send(peer_id("nobody"), "votes", b"dropped")
        network.answer(peer_id("nobody"), "question", 1, b"dropped")
        network.answer(second.id, "question", 99, b"dropped")

    run(play)


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        ((GOSSIP,), {"queue_bytes_max": GOSSIP.bytes_max - 1}),
        ((GOSSIP,), {"waiting_bytes_max": GOSSIP.bytes_max}),
        ((replace(GOSSIP, bytes_per_second=1_000),), {}),
    ],
)
def test_channels_must_fit_the_settings(
    rows: tuple[Channel, ...], settings: dict[str, Any]
) -> None:
    async def play(world: World) -> None:
        with pytest.raises(Misuse, match=r"p2p\."):
            await world.node("node", channels=rows, **settings)

    run(play)


def test_an_address_in_use_is_said() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")

        with pytest.raises(Rejected, match="p2p/CannotListen"):
            await world.node("other", port=node.port)
        with pytest.raises(Rejected, match="p2p/BadAddress"):
            node.network.call(["nowhere"])

    run(play)


def test_a_bug_of_the_node_ends_one_connection_only() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        other = await world.accepted(node, "other")
        puppet = await world.accepted(node)
        node.broken = True

        puppet.say(VOTES, b"poison")

        await puppet.end()
        node.broken = False
        other.say(VOTES, b"fine")
        await world.until(lambda: b"fine" in node.received("votes"))
        assert world.said("connection_failed")
        assert node.saw("gone", puppet.id, "p2p/Internal")

    run(play)


def test_close_ends_calls_handshakes_and_connections() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()
        await world.puppet(first, "silent")
        first.network.call([f"{HOST}:1", second.at])
        asking = asyncio.create_task(
            first.network.request(second.id, "question", b"silence", 30_000)
        )
        await world.until(lambda: second.saw("request"))

        await first.network.close()
        await first.network.close()

        [ended] = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(ended, Rejected) and ended.code == "p2p/Gone"
        assert first.saw("gone", second.id, "p2p/Shutdown")
        assert not first.network._sockets
        await world.until(lambda: second.saw("gone", first.id))

    run(play)


def test_a_network_that_was_never_used_can_be_closed() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")

        await node.network.close()

        with pytest.raises(ConnectionRefusedError):
            await world.puppet(node)

    run(play)


def test_a_peer_that_is_banned_twice_is_reported_once() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()

        for code in ("test/One", "test/Two"):
            first.network.ban(second.id, code, "it lied")

        await world.until(lambda: first.saw("gone", second.id, "test/One"))
        assert sum("peer_banned" in line for line in world.lines) == 1
        assert first.network.counters.bans == 1

    run(play)
