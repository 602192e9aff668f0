"""Proposals in hand: whom to ask for what is missing, and answering others (protocol.md C17)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from chain.block import BLOCK_BYTES_CAP, Proposal, certificate_hash, evidence_root
from chain.committee import LeaderSchedule
from chain.errors import Rejected
from chain.transaction import Envelope
from chain.vote import NOTARIZE, Verifier, Vote, verify_vote

from .compact import Check, Find, Rebuild, block_bytes
from .effects import Blame
from .events import EpochStart, Peer
from .messages import (
    CompactProposal,
    IdsAnswer,
    ProposalMessage,
    TransactionsAnswer,
    TransactionsRequest,
)
from .shared import PROPOSALS_AHEAD

ANSWER_BYTES_MAX = 1_048_576
"""Where an answer is cut: a block of the usual limit that nobody gossiped fits one answer."""
SERVED_TIMES = 4
"""A peer is served a proposal so many times over; who asks for more is not rebuilding it."""
AGAIN_MS = 1_000
"""A peer that owes an answer about a block is asked about it again after so long."""
PER_VIEW_MAX = 2
"""Blocks of one view that are taken up: two already prove that its leader lies."""
HANDS_MAX = 8
HANDS_BYTES_MAX = 2 * BLOCK_BYTES_CAP
"""Proposals in hand, and bytes received for them: see ``Proposals._make_room``."""
KEPT_MAX = 32
KEPT_BYTES_MAX = 4 * BLOCK_BYTES_CAP
"""Whole proposals kept to answer from; beyond, the oldest views leave."""
HOLDS_MAX = 4
"""Blocks that a peer is remembered to hold: it votes in one view after the other."""
NEVER_MS = 2**63


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the question to the peer."""

    peer: Peer
    request: TransactionsRequest


@dataclass(frozen=True, slots=True)
class Deliver:
    """A whole proposal for the core; ``peer`` sent its short ids and nullifications."""

    peer: Peer
    message: ProposalMessage


Action = Ask | Deliver | Blame


@dataclass(slots=True)
class _Debt:
    """What a peer was asked about a block."""

    transactions: int = 0
    """Asked for and not answered yet."""
    again_ms: int = 0


@dataclass(slots=True, kw_only=True)
class _Hand:
    """A proposal in hand, and who is asked for it."""

    rebuild: Rebuild
    view: int
    leader: Peer | None
    since_ms: int
    next_ms: int
    asked: dict[Peer, _Debt] = field(default_factory=dict)
    faulty: set[Peer] = field(default_factory=set)
    proven: Peer | None = None
    """Gave something useful: it holds the block."""


@dataclass(slots=True)
class _Kept:
    """A whole proposal that peers may ask for."""

    proposal: Proposal
    ids: list[bytes]
    bytes: int
    served: dict[Peer, int] = field(default_factory=dict)
    """Bytes each peer was given."""

    def envelope(self, index: int) -> Envelope:
        """Return one of its transactions."""
        signed = self.proposal.body.transactions[index]
        return Envelope(signed.body, signed.signatures, self.proposal.attachments[index])


class Proposals:
    """The proposals of an epoch: those in hand, whom to ask for them, and those to answer from.

    Times are of the host's monotonic clock. After every call that returns actions, and when
    ``next_ms`` has come, the host calls ``due``, which asks.
    """

    def __init__(
        self,
        epoch: EpochStart,
        genesis_hash: bytes,
        verifier: Verifier,
        *,
        find: Find,
        check: Check,
        bytes_max: int,
    ) -> None:
        """``verifier`` checks leaders' signatures; the rest is ``Rebuild``'s."""
        self._genesis_hash = genesis_hash
        self._verifier = verifier
        self._find = find
        self._check = check
        self._bytes_max = bytes_max
        self._holds: dict[Peer, deque[bytes]] = {}
        """Connected peers, and the blocks they seem to hold."""
        self.open(epoch)

    def open(self, epoch: EpochStart) -> None:
        """An epoch begins: nothing of the one before is asked for any more (C11)."""
        self._epoch = epoch.epoch
        self._committee = epoch.committee
        self._schedule = LeaderSchedule(epoch.committee, epoch.seed)
        self._view = 1
        self._finalised = 0
        self._hands: dict[bytes, _Hand] = {}
        self._kept: dict[bytes, _Kept] = {}

    def moved(self, view: int, finalised: int) -> None:
        """Note my view and the newest finalised one; what is final is forgotten."""
        self._view = view
        self._finalised = finalised
        for block_id, hand in list(self._hands.items()):
            if hand.view <= finalised:
                del self._hands[block_id]
        for block_id, kept in list(self._kept.items()):
            if kept.proposal.header.view <= finalised:
                del self._kept[block_id]

    def joined(self, peer: Peer) -> None:
        """A peer is connected: it may be asked."""
        self._holds[peer] = deque(maxlen=HOLDS_MAX)

    def left(self, peer: Peer) -> None:
        """A peer is gone; what it owes will not come."""
        self._holds.pop(peer, None)
        for hand in self._hands.values():
            hand.asked.pop(peer, None)
        for kept in self._kept.values():
            kept.served.pop(peer, None)

    def holds(self, peer: Peer, block_id: bytes) -> None:
        """A peer seems to hold a block: it sent it, or its own NOTARIZE for it."""
        blocks = self._holds.get(peer)
        if blocks is not None and block_id not in blocks:
            blocks.append(block_id)

    def keep(self, message: ProposalMessage, ids: Sequence[bytes]) -> None:
        """Answer questions about a proposal from now on, until its view is final.

        It is my own, or one whose verdict was good: bad attachments would be my fault.
        """
        proposal = message.proposal
        block_id = proposal.header.id()
        if block_id in self._kept or proposal.header.view <= self._finalised:
            return
        # A filler has no transactions, whatever attachments somebody put beside it.
        signed = zip(proposal.body.transactions, proposal.attachments, strict=False)
        size = sum(block_bytes(Envelope(tx.body, tx.signatures, given)) for tx, given in signed)
        self._hands.pop(block_id, None)
        self._kept[block_id] = _Kept(proposal, list(ids), size)
        while len(self._kept) > 1 and (
            len(self._kept) > KEPT_MAX
            or sum(kept.bytes for kept in self._kept.values()) > KEPT_BYTES_MAX
        ):
            del self._kept[min(self._kept, key=lambda i: self._kept[i].proposal.header.view)]

    def answer(
        self, peer: Peer, request: TransactionsRequest
    ) -> TransactionsAnswer | IdsAnswer | None:
        """Return the answer to a peer's question, None if the block is not kept here.

        Transactions are cut after ``ANSWER_BYTES_MAX`` but never empty. A peer that asks for an
        index which does not exist was given wrong short ids: the full ids will tell it.
        """
        kept = self._kept.get(request.block_id)
        if kept is None or kept.served.get(peer, 0) > ANSWER_BYTES_MAX + SERVED_TIMES * kept.bytes:
            return None
        if not request.indexes or max(request.indexes) >= len(kept.ids):
            size = sum(map(len, kept.ids))
            reply: TransactionsAnswer | IdsAnswer = IdsAnswer(request.block_id, kept.ids)
        else:
            chosen: list[Envelope] = []
            size = 0
            for index in request.indexes:
                envelope = kept.envelope(index)
                size += block_bytes(envelope)
                if chosen and size > ANSWER_BYTES_MAX:
                    break
                chosen.append(envelope)
            reply = TransactionsAnswer(request.block_id, chosen)
        kept.served[peer] = kept.served.get(peer, 0) + size
        return reply

    def on_compact(
        self, peer: Peer, message: CompactProposal, leader: Peer | None, now_ms: int
    ) -> list[Action]:
        """Take up a proposal; ``leader`` is its leader as a peer, None if not connected.

        Nothing is kept or asked before the leader's signature and the header's other roots are
        checked (C3, B3). One of another epoch or a far view is dropped.
        """
        header = message.header
        view = header.view
        if header.epoch != self._epoch or not (
            self._finalised < view <= self._view + PROPOSALS_AHEAD
        ):
            return []
        block_id = header.id()
        if block_id not in self._kept and block_id not in self._hands:
            if self._blocks_of(view) >= PER_VIEW_MAX:
                return []
            try:
                self._require_leader(message, block_id)
            except Rejected as refusal:
                return [Blame(peer, refusal.code, refusal.message)]
            rebuild = Rebuild(message, peer, self._find, self._check, self._bytes_max)
            self._hands[block_id] = _Hand(
                rebuild=rebuild, view=view, leader=leader, since_ms=now_ms, next_ms=now_ms
            )
        self.holds(peer, block_id)
        return self._settled(block_id)

    def on_answer(
        self, peer: Peer, answer: TransactionsAnswer | IdsAnswer, now_ms: int
    ) -> list[Action]:
        """Take an answer from a peer that was asked; anything else is dropped unread."""
        hand = self._hands.get(answer.block_id)
        debt = None if hand is None else hand.asked.get(peer)
        if hand is None or debt is None or peer in hand.faulty or hand.rebuild.is_abandoned:
            return []
        blames: list[Action] = []
        try:
            if isinstance(answer, IdsAnswer):
                goes_on = hand.rebuild.take_ids(answer.ids)
            elif len(answer.transactions) <= debt.transactions:
                debt.transactions -= len(answer.transactions)
                goes_on = hand.rebuild.take_transactions(peer, answer.transactions)
            else:
                return []
        except Rejected as refusal:
            goes_on = True
            hand.faulty.add(peer)
            blames = [Blame(peer, refusal.code, refusal.message)]
        if goes_on:  # Else a peer that repeats itself would be asked as fast as it answers.
            hand.proven = peer
            debt.again_ms = hand.next_ms = now_ms
        return blames + self._settled(answer.block_id)

    @property
    def next_ms(self) -> int:
        """When ``due`` has something to ask; ``NEVER_MS`` if nothing is missing."""
        return min((hand.next_ms for hand in self._hands.values()), default=NEVER_MS)

    def due(self, now_ms: int, delta_ms: int) -> list[Action]:
        """Look into the pool once more and ask for what is still missing; Δ_now in ms."""
        actions: list[Action] = []
        for block_id, hand in list(self._hands.items()):
            if hand.next_ms <= now_ms:
                hand.rebuild.refresh()
                actions += self._settled(block_id)
                if block_id in self._hands:
                    actions += self._ask(hand, now_ms, delta_ms)
        return actions

    def _ask(self, hand: _Hand, now_ms: int, delta_ms: int) -> list[Action]:
        hand.next_ms = now_ms + delta_ms
        for peer in self._candidates(hand, now_ms, delta_ms):
            debt = hand.asked.setdefault(peer, _Debt())
            if debt.again_ms <= now_ms:
                request = hand.rebuild.question()
                debt.transactions += len(request.indexes)
                debt.again_ms = now_ms + AGAIN_MS
                return [Ask(peer, request)]
        return []

    def _candidates(self, hand: _Hand, now_ms: int, delta_ms: int) -> list[Peer]:
        """Return whom to ask: the leader, after Δ who holds the block, after 2 Δ anybody."""
        order = [peer for peer in (hand.proven, hand.leader) if peer in self._holds]
        waited_ms = now_ms - hand.since_ms
        if not order or waited_ms >= delta_ms:
            order += [p for p, blocks in self._holds.items() if hand.rebuild.block_id in blocks]
        if waited_ms >= 2 * delta_ms:
            order += self._holds
        return [peer for peer in dict.fromkeys(order) if peer not in hand.faulty]

    def _settled(self, block_id: bytes) -> list[Action]:
        """Blame who is convicted, deliver what has become whole, keep within the bounds."""
        hand = self._hands.get(block_id)
        if hand is None:
            return []
        rebuild = hand.rebuild
        actions: list[Action] = [*rebuild.convicted]
        hand.faulty.update(blame.peer for blame in rebuild.convicted)
        rebuild.convicted.clear()
        if rebuild.whole is not None and rebuild.ids is not None:
            self.keep(rebuild.whole, rebuild.ids)
            actions.append(Deliver(rebuild.sender, rebuild.whole))
        elif rebuild.is_abandoned:
            hand.next_ms = NEVER_MS
        self._make_room()
        return actions

    def _make_room(self) -> None:
        """Drop what is behind my view, oldest first, then what is farthest ahead.

        So leaders that sign for views to come cannot push out the proposal of my view.
        """
        while len(self._hands) > HANDS_MAX or (
            len(self._hands) > 1
            and sum(hand.rebuild.bytes for hand in self._hands.values()) > HANDS_BYTES_MAX
        ):
            oldest = min(self._hands.items(), key=_view_of)
            newest = max(self._hands.items(), key=_view_of)
            del self._hands[(oldest if _view_of(oldest) < self._view else newest)[0]]

    def _blocks_of(self, view: int) -> int:
        kept = sum(kept.proposal.header.view == view for kept in self._kept.values())
        return kept + sum(hand.view == view for hand in self._hands.values())

    def _require_leader(self, message: CompactProposal, block_id: bytes) -> None:
        header = message.header
        if header.proposer_index != self._schedule.leader(header.view):
            raise Rejected("consensus/NotLeader", f"a stranger's proposal, view {header.view}")
        vote = Vote(
            NOTARIZE,
            header.epoch,
            header.view,
            block_id,
            header.proposer_index,
            message.signature,
        )
        verify_vote(vote, self._committee, self._genesis_hash, self._verifier)
        if header.evidence_root != evidence_root(message.evidence) or (
            header.parent_certificate_hash != certificate_hash(message.parent_certificate)
        ):
            raise Rejected("block/BodyMismatch", "evidence or certificate is not the header's")


def _view_of(item: tuple[bytes, _Hand]) -> int:
    return item[1].view
