"""Whole nodes on loopback find each other: one connection for two, bans, restarts, mistakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2p.contract import Phase

from .world import VOTES, Node, World, peer_id, run


@pytest.mark.parametrize("names", [("first", "second"), ("second", "first"), ("a", "b")])
def test_two_that_call_each_other_keep_one_connection(names: tuple[str, str]) -> None:
    async def play(world: World) -> None:
        first, second = [await world.node(name) for name in names]
        first.network.call([second.at])
        second.network.call([first.at])

        await world.until(lambda: same_link(first, second) and not in_between(first, second))

        first.network.send(second.id, "votes", b"one way")
        second.network.send(first.id, "votes", b"and back")
        await world.until(lambda: bool(first.received("votes")) and bool(second.received("votes")))
        assert same_link(first, second)

    run(play)


def same_link(first: Node, second: Node) -> bool:
    """Tell whether both nodes hold one connection, and the same."""
    initiators = [[link.initiator for link in node.network.links] for node in (first, second)]
    return len(initiators[0]) == 1 and initiators[0] == initiators[1]


def in_between(*nodes: Node) -> bool:
    """Tell whether a connection is still being opened."""
    return any(
        connection.phase in (Phase.OPENING, Phase.WELCOMING)
        for node in nodes
        for connection in node.network._sockets
    )


def test_four_nodes_that_all_call_each_other_form_one_network() -> None:
    async def play(world: World) -> None:
        nodes = [await world.node(name) for name in ("north", "east", "south", "west")]
        for node in nodes:
            node.network.call(other.at for other in nodes)

        await world.until(lambda: all(len(node.network.peers) == 3 for node in nodes))
        await world.until(lambda: not in_between(*nodes))
        for node in nodes:
            node.network.broadcast("votes", node.id)

        await world.until(
            lambda: all(
                set(node.received("votes")) == {other.id for other in nodes} - {node.id}
                for node in nodes
            )
        )

    run(play)


def test_a_bug_while_calling_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(world: World) -> None:
        first, second = await world.node("first"), await world.node("second")

        async def broken(*arguments: Any, **options: Any) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr(asyncio.BaseEventLoop, "create_connection", broken)
            second.network.call([first.at])
            await world.until(lambda: world.said("call_failed", "code=p2p/Internal"))

        await world.until(lambda: second.saw("connected", first.id))

    run(play)


def test_a_bug_that_ends_calling_is_told_to_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        await node.network.ended()  # it never called

        def broken(*arguments: Any) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(node.network._table, "due", broken)
        node.network.call([])
        with pytest.raises(ExceptionGroup) as failure:
            await node.network.ended()
        assert failure.group_contains(RuntimeError, match="a bug")

    run(play)


def test_who_waits_for_the_end_hears_of_it_and_ends_nothing() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()
        waiting = asyncio.create_task(second.network.ended())
        await world.turn()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await world.goes_on(second)

        waiting = asyncio.create_task(second.network.ended())
        await second.network.close()
        await waiting
        await world.until(lambda: first.saw("gone", second.id))

    run(play)


def test_a_second_connection_of_a_peer_replaces_the_first() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")
        first = await world.accepted(node)

        second = await world.accepted(node)
        second.say(VOTES, b"still here")

        await world.until(lambda: bool(node.received("votes")))
        await first.end()
        assert [event[0] for event in node.events] == ["connected", "gone", "connected", "message"]
        assert node.saw("gone", first.id, "p2p/Replaced")
        assert len(node.network.peers) == 1

    run(play)


def test_a_node_does_not_keep_calling_itself() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")

        node.network.call([node.at])

        await world.until(lambda: world.said("call_failed", "code=p2p/Self"))
        assert node.network._table.known[0].is_self
        assert node.network.peers == []

    run(play)


def test_a_peer_at_a_pinned_address_must_be_the_one() -> None:
    async def play(world: World) -> None:
        node, other = await world.node("node"), await world.node("other")

        node.network.call([f"{peer_id('somebody').hex()}@{other.at}"])
        await world.until(lambda: world.said("call_failed", "code=p2p/WrongPeer", other.id.hex()))
        assert not other.saw("connected")

        third = await world.node("third")
        third.network.call([f"{other.id.hex()}@{other.at}"])
        await world.until(lambda: third.saw("connected", other.id))

    run(play)


def test_another_network_is_named_on_both_sides() -> None:
    async def play(world: World) -> None:
        ours, theirs = await world.node("ours"), await world.node("theirs", genesis=bytes(32))

        theirs.network.call([ours.at])

        await world.until(lambda: world.said("call_failed", "code=p2p/WrongNetwork"))
        await world.until(lambda: world.said("peer_refused", "code=p2p/WrongNetwork"))
        assert ours.network.counters.refused["p2p/WrongNetwork"] >= 1
        assert not ours.saw("connected") and not theirs.saw("connected")

    run(play)


def test_a_ban_ends_the_connection_and_keeps_the_peer_away() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()

        first.network.ban(second.id, "tx/BadSignature", "it relayed a forged transaction")

        await world.until(lambda: second.saw("gone", first.id, "p2p/SentAway"))
        await world.until(lambda: world.said("call_failed", "the peer said p2p/Banned"))
        assert world.said("peer_banned", second.id.hex(), "code=tx/BadSignature")
        assert first.saw("gone", second.id, "tx/BadSignature")
        assert first.network.counters.refused["p2p/Banned"] >= 1
        assert first.network.counters.bans == 1
        assert first.network.peers == []

    run(play)


def test_a_banned_peer_is_not_called() -> None:
    async def play(world: World) -> None:
        first, second = await world.node("first"), await world.node("second")
        first.network.ban(second.id, "p2p/TooLarge", "it did")

        first.network.call([second.at])

        await world.until(lambda: world.said("call_failed", "code=p2p/Banned"))
        assert first.network._table.due(first.network._now_ms()) == []
        assert not second.saw("connected")

    run(play)


def test_one_peer_too_many_is_turned_away_with_a_reason() -> None:
    async def play(world: World) -> None:
        node = await world.node("node", inbound_max=1)
        late = await world.node("late")
        await world.accepted(node)

        late.network.call([node.at])

        await world.until(lambda: world.said("call_failed", "the peer said p2p/Full"))
        assert world.said("peer_refused", "code=p2p/Full")
        assert not late.saw("connected")

    run(play)


def test_a_peer_that_restarts_is_found_again() -> None:
    async def play(world: World) -> None:
        first, second = await world.pair()

        await first.network.close()
        await world.until(lambda: second.saw("gone", first.id, "p2p/SentAway"))
        await world.until(lambda: world.said("call_failed", "code=p2p/Unreachable"))
        second.events.clear()
        again = await world.node("first", port=first.port)

        await world.until(lambda: second.saw("connected", first.id) and again.saw("connected"))
        again.network.send(second.id, "votes", b"again")
        await world.until(lambda: second.received("votes") == [b"again"])

    run(play)


def test_a_host_that_is_no_name_is_unreachable() -> None:
    async def play(world: World) -> None:
        node = await world.node("node")

        node.network.call([f"{'x' * 64}.:1"])

        await world.until(lambda: world.said("call_failed", "code=p2p/Unreachable"))

    run(play)
