"""Who is asked, who is heard, and who is blamed at the door between consensus and peers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from chain.block import Body, Proposal, transaction_root
from chain.codec import encode, encode_amount
from chain.crypto import SigningKey, verify_signature
from chain.transaction import ENVELOPE, SignedBody, transaction_id
from chain.vote import NOTARIZE, Vote, vote_message
from colophon.config import P2pSection
from colophon.gate import Gate
from colophon.network.channels import (
    BLOCKS_ASKED,
    CONSENSUS,
    MISSING_ASKED,
    PROPOSALS,
    RANGES_ASKED,
    TRANSACTIONS,
)
from colophon.network.router import Router
from colophon.signatures import SignatureWorkers
from colophon.testnet.make import local_params, new_genesis
from colophon.wallet import Draft, Wallet
from consensus.compact import shrink
from consensus.core import Core
from consensus.events import Started
from consensus.gossip import TransactionsBatch
from consensus.messages import (
    BlockRequest,
    CompactProposal,
    LookbackAnswer,
    LookbackQuestion,
    ProposalMessage,
    RangeRequest,
    ViewRequest,
    VoteMessage,
)
from consensus.shared import Settings
from p2p.network import Network
from state.families import REGISTRY
from state.machine import StateMachine
from state.modules.bank import Send
from tests.chain.votes import header as header_with
from tests.colophon.applications import application_above
from tests.colophon.lonely import START_MS, SimulatedStore, VirtualClock
from tests.consensus.driver import Driver

from .peers import Peers

KEYS = [SigningKey(bytes([number]) * 32) for number in range(100, 104)]
GENESIS = new_genesis("router", START_MS, KEYS, [], local_params(dev=False))
STRANGERS = [SigningKey(bytes([number]) * 32).public_key for number in range(1, 9)]


class Door:
    """The router of validator 0, among peers that are not there."""

    def __init__(self, router: Router, members: list[bytes]) -> None:
        self.router = router
        self.members = members
        """Keys of the other validators."""
        self.peers = Peers(*STRANGERS, *members)
        self.delivered: list[tuple[bytes, Any]] = []
        self.blamed: list[tuple[bytes, str]] = []
        router._deliver = lambda peer, message: self.delivered.append((peer, message))

    def hear(self, peer: bytes, channel: str, message: Any) -> None:
        """Let a message come."""
        data = message if isinstance(message, bytes) else encode(message)
        if channel.endswith("?"):
            self.router.on_request(peer, channel, 1, data)
        else:
            self.router.on_message(peer, channel, data)


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    machine = StateMachine(SimulatedStore(), GENESIS, REGISTRY)
    workers, clock = SignatureWorkers(0), VirtualClock()
    application = application_above(machine, clock)
    settings = Settings(machine.genesis_hash, machine.params, KEYS[0].public_key)
    core = Core(settings, KEYS[0].sign, verify_signature)
    start, head = application.where()
    core.handle(Started(now_ms=0, wall_ms=START_MS, epoch=start, head=head, journal=(),
                        journal_lost=False))  # fmt: skip
    router = Router(KEYS[0], core, application, workers, clock, Gate(), P2pSection())
    door = Door(router, [key.public_key for key in KEYS[1:]])
    monkeypatch.setattr(Network, "peers", property(lambda net: door.peers.peers))
    monkeypatch.setattr(router.net, "send", door.peers.send)
    monkeypatch.setattr(router.net, "answer", door.peers.answer)
    monkeypatch.setattr(router.net, "ban", lambda peer, code, why: door.blamed.append((peer, code)))
    return door


def test_the_member_is_asked_first_then_members_then_strangers(door: Door) -> None:
    asked = []
    for attempt in range(len(door.peers.peers)):
        door.router.request(ViewRequest(0, 1), 3, attempt)
        asked.append(door.peers.sent[-1][0])

    first, second, third = door.members
    assert asked == [third, first, second, *STRANGERS]
    door.router.request(ViewRequest(0, 1), 3, len(asked))
    assert door.peers.sent[-1][0] == third


def test_with_nobody_there_nobody_is_asked(door: Door) -> None:
    door.peers.peers_there.clear()

    door.router.request(ViewRequest(0, 1), 3, 0)
    door.router.request(BlockRequest(bytes(32)), None, 0)

    assert door.peers.sent == []


def test_look_back_answers_count_only_from_members(door: Door) -> None:
    answer = LookbackAnswer(0, [], None, True)

    door.hear(STRANGERS[0], CONSENSUS, answer)
    door.hear(door.members[0], CONSENSUS, answer)
    door.hear(STRANGERS[0], CONSENSUS, LookbackQuestion(0, 0, 1))

    assert door.delivered == [
        (door.members[0], answer),
        (STRANGERS[0], LookbackQuestion(0, 0, 1)),
    ]
    assert door.blamed == []


def test_of_the_next_epochs_proposals_the_newest_of_each_member_is_kept(door: Door) -> None:
    """Nothing of them can be checked yet, so strangers could fill the memory with them."""
    door.router._exchange.moved()
    header = Driver().block(1).header
    early = [
        CompactProposal(msgspec.structs.replace(header, epoch=1, view=view), None, [], [],
                        bytes(64), [])
        for view in (1, 2)
    ]  # fmt: skip

    for peer in (*STRANGERS, *door.members):
        for proposal in early:
            door.hear(peer, PROPOSALS, proposal)

    assert door.router._exchange._early == dict.fromkeys(door.members, early[1])


def proposal_of(door: Door, view: int, raw: bytes) -> tuple[ProposalMessage, bytes]:
    """Return the proposal of a view's leader that has one transaction, and that one's id."""
    envelope = ENVELOPE.decode(raw)
    tx_id = transaction_id(envelope.body, envelope.signatures)
    leader = door.router._core.shared.leader(view)
    header = header_with(view=view, proposer_index=leader, tx_root=transaction_root([tx_id]))
    message = vote_message(NOTARIZE, GENESIS.hash(), header.epoch, view, header.id())
    members = door.router._core.shared.committee.members
    key = next(key for key in KEYS if key.public_key == members[leader].public_key)
    body = Body(None, [SignedBody(envelope.body, envelope.signatures)], [])
    proposal = Proposal(header, body, [envelope.attachments], key.sign(message), [])
    return ProposalMessage(proposal), tx_id


def test_a_proposal_of_what_nobody_has_read_is_whole_at_once(door: Door) -> None:
    """Under load much of a block is still on its way into the pool; asking would cost a trip."""
    draft = Draft(messages=[Send(b"\0" * 21, b"", encode_amount(1))])
    raw = Wallet(KEYS[1], GENESIS.hash()).sign(draft, seq=0, base_fee=10**7).envelope
    whole, tx_id = proposal_of(door, 1, raw)
    compact = shrink(whole, [tx_id])

    async def play() -> None:
        door.router._exchange.moved()
        door.hear(door.members[0], TRANSACTIONS, TransactionsBatch([raw]))
        door.hear(door.members[1], PROPOSALS, compact)

    asyncio.run(play())

    assert door.delivered == [(door.members[1], whole)]
    assert (door.blamed, door.peers.asked) == ([], [])


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (CONSENSUS, BlockRequest(bytes(32))),
        (CONSENSUS, RangeRequest(1, 1)),
        (PROPOSALS, ViewRequest(0, 1)),
        (BLOCKS_ASKED, ViewRequest(0, 1)),
        (MISSING_ASKED, ViewRequest(0, 1)),
        (RANGES_ASKED, ViewRequest(0, 1)),
    ],
)
def test_a_message_on_a_channel_of_others_is_a_fault(
    door: Door, channel: str, message: Any
) -> None:
    door.hear(STRANGERS[0], channel, message)

    assert door.blamed == [(STRANGERS[0], "channel/WrongMessage")]
    assert door.delivered == []


@pytest.mark.parametrize(
    "channel", [CONSENSUS, PROPOSALS, TRANSACTIONS, BLOCKS_ASKED, MISSING_ASKED, RANGES_ASKED]
)
@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91" * 100_000], ids=["none", "bad", "deep"])
def test_what_does_not_decode_is_a_fault(door: Door, channel: str, data: bytes) -> None:
    door.hear(STRANGERS[0], channel, data)

    assert [peer for peer, _ in door.blamed] == [STRANGERS[0]]
    assert door.delivered == []


def test_every_question_is_answered_if_only_with_nothing(door: Door) -> None:
    door.hear(STRANGERS[0], BLOCKS_ASKED, BlockRequest(bytes(32)))
    door.hear(STRANGERS[0], RANGES_ASKED, RangeRequest(1, 100))

    assert door.peers.answered == [
        (STRANGERS[0], BLOCKS_ASKED, 1, b""),
        (STRANGERS[0], RANGES_ASKED, 1, b""),
    ]
    assert door.blamed == []


def test_a_vote_tells_who_holds_a_block_only_if_it_is_the_peers_own(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[bytes, bytes]] = []
    exchange = door.router._exchange
    monkeypatch.setattr(exchange, "holds", lambda peer, block_id: held.append((peer, block_id)))
    vote = VoteMessage(Vote(NOTARIZE, 0, 1, b"\7" * 32, 1, bytes(64)))

    for peer in (STRANGERS[0], door.members[1], door.members[0]):
        door.hear(peer, CONSENSUS, vote)

    assert held == [(door.members[0], b"\7" * 32)]
    assert len(door.delivered) == 3
