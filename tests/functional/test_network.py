"""Four validators as processes: what they agree on, and what they survive.

Clients of ``traffic.py`` keep sending while nodes are killed and started. In the end every node
has everything that any node ever reported final, and no journal holds two votes that contradict
each other.
"""

from __future__ import annotations

import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain.vote import Vote, VoteKind
from colophon.client import Client
from colophon.home import Home
from colophon.journal_file import SUFFIX
from colophon.testnet.make import local_params
from colophon.testnet.network import Network, new_network
from colophon.testnet.process import wait_until
from colophon.testnet.status import compare
from consensus.journal import VoteRecord, read_journal
from tests.functional.traffic import Traffic, rich

CLIENTS = 6
FAST_MS = 10
"""Least time between blocks where many are wanted soon."""
PATIENCE_S = 60
"""What is waited for comes within a second or two; a busy machine may take longer."""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Run four validators; nothing of them is left behind."""
    with new_network(tmp_path / "network", 4, rich=rich(CLIENTS)) as running:
        yield running


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return what the condition gives once that holds."""
    found = wait_until(condition, time.monotonic() + PATIENCE_S)
    assert found, f"not within {PATIENCE_S} s: {what}"
    return found


def heights(network: Network) -> list[int]:
    """Return the heights of the nodes that answer."""
    return [node.height for node in network.status() if node.height is not None]


def wait_until_level(network: Network) -> None:
    """Return when all four are healthy, and each has come to where any was a moment before."""

    def level() -> bool:
        before = heights(network)
        found = [node.status for node in network.status()]
        if any(status is None or not status["healthy"] for status in found):
            return False
        known = heights(network)
        return len(known) == 4 and min(known) >= max(before)

    wait_for(level, "four healthy nodes at one height")


def require_agreement(network: Network) -> None:
    """Compare what the nodes have at the newest height that all have."""
    common = compare(network.status())
    assert common is not None and len(common.blocks) == 4 and common.agree


def require_honest(network: Network) -> None:
    """Read all journals: at most one vote per view and kind, never NULLIFY beside FINALIZE."""
    for node in network.nodes:
        votes = journalled_votes(node.home)
        assert votes
        promised: dict[tuple[int, int, int], Vote] = {}
        for vote in votes:
            known = promised.setdefault((vote.epoch, vote.view, vote.kind), vote)
            assert known.block_id == vote.block_id, f"{node.name} signed twice: {known} {vote}"
        for epoch, view, kind in promised:
            if kind == VoteKind.NULLIFY:
                assert (epoch, view, VoteKind.FINALIZE) not in promised, f"{node.name}, {view}"


def journalled_votes(home: Home) -> list[Vote]:
    """Return the votes that lie in a node's journal."""
    paths = sorted(home.journal.glob("*" + SUFFIX))
    replay = read_journal(b"".join(path.read_bytes() for path in paths))
    return [record.vote for record in replay.records if isinstance(record, VoteRecord)]


def health(url: str) -> tuple[int, str]:
    """Return the status and the sentence of ``/health``."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


@contextmanager
def judged(network: Network, *, seed: int = 1) -> Iterator[Traffic]:
    """Run traffic; in the end all nodes agree, and have all that was ever reported final."""
    with Traffic(network, CLIENTS, seed=seed) as traffic:
        traffic.wait_for(CLIENTS)
        yield traffic
        traffic.end()
    wait_until_level(network)
    require_agreement(network)
    for index in range(4):
        with network.client(index) as client:
            traffic.check(client)
    network.stop()
    require_honest(network)


def test_what_is_sent_to_different_nodes_is_final_on_all(network: Network) -> None:
    with judged(network) as traffic:
        traffic.wait_for(100)


def test_one_of_four_is_killed_under_load_comes_back_and_votes(network: Network) -> None:
    with judged(network) as traffic:
        network.node(2).kill()
        traffic.wait_for(60)
        network.start([2])
        with network.client(2) as client:
            height = int(client.call("chain.status")["height"])
            wait_for(lambda: votes_in(client, height), "a block of the restarted validator")
            traffic.wait_for(30)


def votes_in(client: Client, height: int) -> bool:
    """Tell whether this node's validator proposed a block above ``height``."""
    status = client.call("chain.status")
    me = int(status["validator_index"])
    newer = range(height + 1, int(status["height"]) + 1)
    headers = [client.call("chain.header", height=above)["header"] for above in newer]
    return any(header["proposer_index"] == me for header in headers)


def test_without_a_quorum_the_network_stops_says_so_and_goes_on_by_itself(
    network: Network,
) -> None:
    with judged(network) as traffic:
        network.node(1).kill()
        network.node(3).kill()
        url = network.url(0)
        status, said = wait_for(
            lambda: (found := health(url)) and found[0] == 503 and found, "503 of a node"
        )
        assert (status, "2 of 4 votes are connected" in said) == (503, True)
        stopped_at = heights(network)
        assert len(stopped_at) == 2
        network.start([1])
        wait_for(lambda: health(url)[0] == 200, "health of three of four")
        traffic.wait_for(20)
        network.start([3])


def test_all_are_killed_at_once_under_load(network: Network) -> None:
    with judged(network) as traffic:
        for node in network.nodes:
            node.kill()
        network.start(range(4))
        traffic.wait_for(60)


@pytest.mark.parametrize(
    "rounds", [3, pytest.param(20, marks=pytest.mark.long)], ids=["three", "twenty"]
)
def test_random_rounds_of_killing_and_starting(network: Network, rounds: int) -> None:
    rng = random.Random(rounds)
    with judged(network, seed=rounds) as traffic:
        for _ in range(rounds):
            victims = rng.sample(range(4), rng.choice((1, 1, 2, 4)))
            traffic.wait_for(rng.randrange(1, 20))
            for index in victims:
                network.node(index).kill()
            if len(victims) == 1:
                traffic.wait_for(rng.randrange(1, 20))
            network.start(victims)
            traffic.wait_for(10)


@pytest.mark.parametrize(
    "blocks", [60, pytest.param(5_000, marks=pytest.mark.long)], ids=["60", "5000"]
)
def test_a_node_that_was_away_catches_up_under_load(tmp_path: Path, blocks: int) -> None:
    params = msgspec.structs.replace(local_params(dev=True), block_interval_ms_min=FAST_MS)
    with new_network(tmp_path / "network", 4, params=params, rich=rich(CLIENTS)) as network:
        with judged(network) as traffic:
            network.node(3).kill()
            away_at = max(heights(network))
            wait_for_height(network, traffic, away_at + blocks)
            network.start([3])
            wait_until_level(network)
            traffic.wait_for(20)
        log = network.node(3).log.read_text(encoding="utf-8")
        assert "catching_up" in log and "caught_up" in log


def wait_for_height(network: Network, traffic: Traffic, height: int) -> None:
    while max(heights(network)) < height:
        traffic.wait_for(CLIENTS)
