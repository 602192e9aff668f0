"""A validator that lies, played by the test with that validator's key, against three that do not.

What a member signs is believed until it contradicts itself: two votes are evidence and no ban, a
vote for another network or an answer that proves wrong is a ban. The other three, a quorum, go on.
"""

from __future__ import annotations

from pathlib import Path

from chain.codec import encode
from chain.crypto import SigningKey
from chain.vote import NOTARIZE
from colophon.network.channels import CONSENSUS, MISSING_ASKED, PROPOSALS, RANGES_ASKED
from colophon.testnet.network import new_network
from consensus.messages import (
    MESSAGE,
    CompactProposal,
    RangeAnswer,
    RangeRequest,
    TransactionsAnswer,
    TransactionsRequest,
    VoteMessage,
)
from tests.functional.lies import Scene
from tests.functional.siege import CLIENTS, Siege, siege, wait_for
from tests.functional.stranger import Stranger
from tests.functional.traffic import rich

TRAITOR = 3
AWAY = 200
"""Blocks that a node is away: seven questions for ranges, so that each peer is asked, one that is
connected late too."""
ASK_MS = 30_000


def test_a_validator_that_lies(tmp_path: Path) -> None:
    with (
        new_network(tmp_path / "network", 4, rich=rich(CLIENTS)) as network,
        siege(network, (0, 1, 2)) as besieged,
    ):
        key = besieged.key_of(TRAITOR)
        left_at = leave_behind(besieged, 1)
        network.node(TRAITOR).stop()
        with besieged.stranger(0, 2, key=key) as traitor:
            lie_in_ranges(besieged, traitor, left_at)
            vote_twice(besieged, traitor, key)
            propose_without_answering(besieged, traitor, key)
            vote_for_another_network(besieged, traitor, key)
            besieged.goes_on()


def leave_behind(besieged: Siege, index: int) -> int:
    """Kill a node and let the others go on without it; return its height."""
    network = besieged.network
    with network.client(index) as client:
        left_at = int(client.call("chain.status")["height"])
    network.node(index).kill()
    with network.client(0) as client:
        while int(client.call("chain.status")["height"]) < left_at + AWAY:
            besieged.traffic.wait_for(CLIENTS)
    return left_at


def lie_in_ranges(besieged: Siege, traitor: Stranger, left_at: int) -> None:
    """Give a node that catches up the right headers with each other's bodies."""
    blocks = {}
    height = max(left_at - 10, 1)
    while raw := traitor.ask(besieged.id_of(0), RANGES_ASKED, RangeRequest(height, 100), ASK_MS):
        given = MESSAGE.decode(raw)
        assert isinstance(given, RangeAnswer)
        blocks |= {header.height: (header, body) for header, body in given.blocks}
        height += len(given.blocks)
    proof = given.proof

    def swapped(question: bytes) -> bytes:
        request = MESSAGE.decode(question)
        assert isinstance(request, RangeRequest)
        header, next_body = blocks[request.height][0], blocks[request.height + 1][1]
        return encode(RangeAnswer([(header, next_body)], proof))

    traitor.replies[RANGES_ASKED] = swapped
    traitor.call(besieged.address(1))
    besieged.network.start([1])
    besieged.restarted(1)
    besieged.bans(1, traitor, "block/BodyMismatch")
    wait_for(lambda: besieged.lines(1, "caught_up"), "a node that has caught up all the same")
    besieged.goes_on()


def scene(besieged: Siege, traitor: Stranger) -> Scene:
    """Return what the traitor knows from the newest proposal that it has heard."""
    heard = wait_for(lambda: traitor.newest(CompactProposal), "a proposal")
    return Scene(besieged.genesis, heard)


def vote_twice(besieged: Siege, traitor: Stranger, key: SigningKey) -> None:
    """Two votes for one view are evidence; the member stays, its votes may be needed."""

    def voted() -> bool:
        now = scene(besieged, traitor)
        for block_id in (bytes(32), bytes(31) + b"\1"):
            vote = now.vote(key, TRAITOR, NOTARIZE, block_id=block_id)
            traitor.say(CONSENSUS, VoteMessage(vote), to=besieged.id_of(0))
        return bool(besieged.lines(0, "equivocation_seen", f", {TRAITOR})"))

    wait_for(voted, "evidence")
    besieged.goes_on()
    besieged.require_welcome(traitor, 0, 2)


def propose_without_answering(besieged: Siege, traitor: Stranger, key: SigningKey) -> None:
    """Propose what nobody has: silence about it is no fault, an empty answer is one."""
    traitor.replies[MISSING_ASKED] = lambda question: None

    def proposed() -> int:
        now = scene(besieged, traitor)
        header = now.header(
            view=now.view_led_by(TRAITOR), proposer_index=TRAITOR, tx_root=bytes(32)
        )
        proposal = now.proposal(key, header, short_ids=[bytes(8)])
        traitor.say(PROPOSALS, proposal, to=besieged.id_of(2))
        return traitor.asked[MISSING_ASKED]

    wait_for(proposed, "a question for what a proposal names")
    besieged.goes_on()
    besieged.require_welcome(traitor, 2)

    def nothing(question: bytes) -> bytes:
        asked = MESSAGE.decode(question)
        assert isinstance(asked, TransactionsRequest)
        return encode(TransactionsAnswer(asked.block_id, []))

    traitor.replies[MISSING_ASKED] = nothing
    wait_for(
        lambda: proposed() and besieged.lines(2, f"peer_banned peer={traitor.id.hex()}"), "a ban"
    )
    besieged.bans(2, traitor, "compact/Empty")


def vote_for_another_network(besieged: Siege, traitor: Stranger, key: SigningKey) -> None:
    """A member's genuine vote of another network is none here."""
    now = scene(besieged, traitor)
    foreign = now.vote(key, TRAITOR, genesis_hash=bytes(32))
    traitor.say(CONSENSUS, VoteMessage(foreign), to=besieged.id_of(0))
    besieged.bans(0, traitor, "crypto/BadSignature")
