"""The table of peers, with time and chance given: calls, connections, bans."""

from __future__ import annotations

import pytest

from chain.errors import Rejected
from p2p.peers import BANS_MAX, Known, Link, PeerTable, parse_peer
from p2p.settings import Settings

SMALL, OWN, LARGE = bytes([1]) * 32, bytes([5]) * 32, bytes([9]) * 32
LIMITS = Settings(inbound_max=2, ban_ms=10_000)


def table(*peers: str) -> PeerTable:
    made = PeerTable(OWN, LIMITS)
    for peer in peers:
        made.add(peer)
    return made


def link(peer: bytes, *, inbound: bool) -> Link:
    return Link(peer, peer if inbound else OWN, "10.0.0.1:1", inbound)


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "pinned"),
    [
        ("node.example:26656", "node.example", 26656, None),
        ("10.0.0.1:1", "10.0.0.1", 1, None),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535, None),
        (f"{LARGE.hex()}@10.0.0.1:1", "10.0.0.1", 1, LARGE),
    ],
)
def test_a_peer_is_named_by_address_and_perhaps_id(
    text: str, host: str, port: int, pinned: bytes | None
) -> None:
    peer = parse_peer(text)

    assert (peer.host, peer.port, peer.pinned, peer.peer_id) == (host, port, pinned, pinned)
    assert text.endswith(peer.address)


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "host:", ":1", "host:0", "host:65536", "host:1x", "2001:db8::1:1", "a b:1"),
        *(f"{'A' * 64}@host:1", f"{'a' * 63}@host:1", "@host:1", "host:1\n"),
    ],
)
def test_anything_else_is_no_peer(text: str) -> None:
    with pytest.raises(Rejected, match="p2p/BadAddress"):
        parse_peer(text)


# --- calls -------------------------------------------------------------------------------------


def test_a_named_peer_is_called_at_once_and_only_once() -> None:
    peers = table("a:1", "b:1", "a:1")

    first, second = peers.due(0)
    first.busy = True

    assert peers.due(0) == [second]
    assert peers.wait_ms(0) == 0


def pauses(peers: PeerTable, peer: Known, jitter: int, count: int) -> list[int]:
    return [peers.call_ended(peer, lasted_ms=0, now_ms=0, jitter=jitter) for _ in range(count)]


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [
        (0, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]),
        (1_000, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]),
    ],
)
def test_the_pause_doubles_up_to_its_longest(jitter: int, expected: list[int]) -> None:
    peers = table("a:1")

    assert pauses(peers, peers.known[0], jitter, 7) == expected


def test_the_pause_never_overflows() -> None:
    peers = table("a:1")

    assert pauses(peers, peers.known[0], 0, 1_000)[-1] == 30_000


def test_a_connection_that_lasted_starts_the_pauses_anew() -> None:
    peers = table("a:1")
    peer = peers.known[0]
    pauses(peers, peer, 0, 5)

    short = peers.call_ended(peer, lasted_ms=30_000, now_ms=0, jitter=0)
    long = peers.call_ended(peer, lasted_ms=30_001, now_ms=7, jitter=0)

    assert (short, long) == (30_000, 1_000)
    assert peers.due(1_006) == []
    assert peers.wait_ms(1_006) == 1
    assert peers.due(1_007) == [peer]


def test_a_peer_that_is_connected_is_not_called() -> None:
    peers = table(f"{LARGE.hex()}@a:1")
    there = link(LARGE, inbound=True)
    peers.claim(there, 0)

    assert peers.due(0) == []
    assert peers.wait_ms(0) is None

    peers.release(there)
    assert peers.due(0) == peers.known


def test_a_peer_is_called_at_one_of_its_addresses_at_a_time() -> None:
    peers = table(f"{LARGE.hex()}@a:1", f"{LARGE.hex()}@b:1")
    first, second = peers.known
    first.busy = True

    assert peers.due(0) == []

    peers.call_ended(first, lasted_ms=0, now_ms=0, jitter=0)
    assert peers.due(0) == [second]


def test_this_node_itself_is_not_called_again() -> None:
    peers = table("a:1")
    peers.known[0].is_self = True

    assert peers.due(10**9) == []


def test_a_banned_peer_is_called_when_the_ban_ends() -> None:
    peers = table(f"{LARGE.hex()}@a:1")
    peers.ban(LARGE, "p2p/TooLarge", "it did", 0)

    assert peers.due(9_999) == []
    assert peers.wait_ms(0) == 10_000
    assert peers.due(10_000) == peers.known


# --- connections -------------------------------------------------------------------------------


def test_this_node_is_not_its_own_peer() -> None:
    with pytest.raises(Rejected, match="p2p/Self"):
        table().check(OWN, inbound=True, now_ms=0)


def test_inbound_peers_are_bounded_but_not_the_pinned_ones() -> None:
    peers = table(f"{LARGE.hex()}@a:1")
    for number in (2, 3):
        peers.claim(link(bytes([number]) * 32, inbound=True), 0)

    with pytest.raises(Rejected, match="p2p/Full"):
        peers.claim(link(SMALL, inbound=True), 0)

    assert not peers.claim(link(LARGE, inbound=True), 0)
    assert not peers.claim(link(SMALL, inbound=False), 0)


def test_pinned_peers_take_no_place_of_others() -> None:
    peers = table(f"{LARGE.hex()}@a:1", f"{SMALL.hex()}@b:1")
    for named in (LARGE, SMALL):
        peers.claim(link(named, inbound=True), 0)

    for number in (2, 3):
        peers.claim(link(bytes([number]) * 32, inbound=True), 0)

    with pytest.raises(Rejected, match="p2p/Full: 2 inbound"):
        peers.claim(link(bytes([4]) * 32, inbound=True), 0)


@pytest.mark.parametrize(
    ("peer", "first_inbound", "second_inbound", "outcome"),
    [
        # The connection whose initiator has the smaller id stays, whichever came first.
        (SMALL, True, False, "kept"),
        (SMALL, False, True, "replaced"),
        (LARGE, True, False, "replaced"),
        (LARGE, False, True, "kept"),
        # A peer that calls again has lost its first connection; this node knows its own.
        (SMALL, True, True, "replaced"),
        (LARGE, True, True, "replaced"),
        (SMALL, False, False, "kept"),
    ],
)
def test_of_two_connections_both_sides_keep_the_same(
    peer: bytes, first_inbound: bool, second_inbound: bool, outcome: str
) -> None:
    peers = table()
    first, second = link(peer, inbound=first_inbound), link(peer, inbound=second_inbound)
    peers.claim(first, 0)

    try:
        assert peers.claim(second, 0)
        found = "replaced"
    except Rejected as refusal:
        assert refusal.code == "p2p/Duplicate"
        found = "kept"

    assert found == outcome
    assert peers.links[peer] is (second if found == "replaced" else first)


def test_the_end_of_a_replaced_connection_changes_nothing() -> None:
    peers = table()
    first, second = link(SMALL, inbound=True), link(SMALL, inbound=True)
    peers.claim(first, 0)
    peers.claim(second, 0)

    peers.release(first)

    assert peers.links == {SMALL: second}


# --- bans --------------------------------------------------------------------------------------


def test_a_ban_holds_until_it_ends() -> None:
    peers = table()
    peers.ban(LARGE, "p2p/TooLarge", "it announced too much", 5)

    with pytest.raises(Rejected, match=r"p2p/Banned: .*p2p/TooLarge: it announced too much"):
        peers.check(LARGE, inbound=True, now_ms=10_004)

    peers.check(LARGE, inbound=True, now_ms=10_005)
    assert peers.bans == {}


def test_bans_are_bounded_and_the_first_to_end_goes() -> None:
    peers = table()

    for number in range(BANS_MAX + 1):
        peers.ban(number.to_bytes(32, "big"), "p2p/TooLarge", "", number)

    assert len(peers.bans) == BANS_MAX
    assert (0).to_bytes(32, "big") not in peers.bans
