"""One core, driven by hand: the test plays its peers, its disk, its clock and its application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from chain.application import Built as BuiltBlock
from chain.application import Placement
from chain.block import Block, Proposal
from chain.certificate import Certificate, assemble_certificate
from chain.committee import EPOCH_ZERO_ID, Committee, LeaderSchedule, leader_seed
from chain.header import KIND_BLOCK
from chain.params import Params
from chain.vote import Vote, VoteKind, vote_message
from consensus.core import Core
from consensus.effects import Broadcast, Effect, Persist
from consensus.events import (
    AnyEvent,
    BlockVerified,
    Built,
    Certified,
    Durable,
    EpochOpened,
    EpochStart,
    MessageReceived,
    Started,
    Synced,
    TimerFired,
)
from consensus.journal import JournalRecord
from consensus.messages import (
    CertificateMessage,
    LookbackAnswer,
    Message,
    ProposalMessage,
    VoteMessage,
)
from consensus.shared import Mode, Settings
from consensus.timers import Timer
from tests.simulation.application import GENESIS_HASH, GENESIS_TIME_MS, PARAMS, Application
from tests.simulation.keys import fake_sign, fake_verify, key_of, make_committee

E = TypeVar("E")
PEER = b"peer"


class Driver:
    """Member ``me`` of a committee of ``size``; everything it asks for is kept in ``effects``."""

    def __init__(
        self,
        *,
        size: int = 4,
        powers: Sequence[int] | None = None,
        me: int = 0,
        params: Params = PARAMS,
        journal: tuple[JournalRecord, ...] = (),
        journal_lost: bool = False,
        look_back: bool = True,
        has_pool: bool = True,
    ) -> None:
        self.committee = make_committee(powers or [1] * size)
        self.me = me
        self.epoch = 0
        self.now_ms = 0
        self.wall_lag_ms = 0
        """How far my wall clock is behind everybody else's."""
        self.effects: list[Effect] = []
        key = key_of(me)
        settings = Settings(GENESIS_HASH, params, key)
        self.core = Core(settings, lambda message: fake_sign(key, message), fake_verify)
        self.app = Application(params, self.committee)
        seed = leader_seed(GENESIS_HASH, 0, EPOCH_ZERO_ID)
        self.schedule = LeaderSchedule(self.committee, seed)
        start = EpochStart(
            epoch=0,
            committee=self.committee,
            base_id=GENESIS_HASH,
            base_height=0,
            base_time_ms=GENESIS_TIME_MS,
            seed=seed,
            base_has_transactions=has_pool,
        )
        self._handle(Started, epoch=start, head=None, journal=journal, journal_lost=journal_lost)
        if look_back:
            for number in range(1, (size + 2) // 3 + 1):
                self.receive(LookbackAnswer(0, [], None, True), peer=self.other(number))

    @property
    def shared(self) -> object:
        return self.core.shared

    # Events

    def _handle(self, kind: type[AnyEvent], **fields: object) -> list[Effect]:
        wall_ms = GENESIS_TIME_MS + self.now_ms - self.wall_lag_ms
        event = kind(now_ms=self.now_ms, wall_ms=wall_ms, **fields)
        effects = self.core.handle(event)
        self.effects += effects
        return effects

    def receive(self, message: Message, *, peer: bytes | None = None) -> list[Effect]:
        """Let a message come from a peer; without one a vote comes from its signer."""
        if peer is None:
            peer = PEER
            if isinstance(message, VoteMessage) and message.vote.signer < len(self.committee):
                peer = self.committee.members[message.vote.signer].public_key
        return self._handle(MessageReceived, peer=peer, message=message)

    def fire(self, timer: Timer) -> list[Effect]:
        """Let the time of a timer come."""
        self.now_ms = max(self.now_ms, self.core.shared.deadlines[timer])
        return self._handle(TimerFired, timer=timer)

    def durable(self) -> list[Effect]:
        """Report every sync that was asked for."""
        tokens = list(self.core.shared.pending_votes)
        return [e for token in tokens for e in self._handle(Durable, token=token)]

    def verified(self, block: Block) -> list[Effect]:
        return self._handle(BlockVerified, block_id=block.id, refusal=None)

    def certified(self, block: Block) -> list[Effect]:
        self.app.execute(block)
        return self._handle(Certified, block_id=block.id)

    def built(self, built: BuiltBlock) -> list[Effect]:
        return self._handle(Built, view=built.block.header.view, built=built)

    def end_epoch(self) -> Block:
        """Have an epoch of two heights end in the next view; return its last block."""
        view = self.core.shared.view
        first = self.block(view)
        self.receive(self.proposal(first))
        self.learn(VoteKind.NOTARIZE, view, first.id)
        self.certified(first)
        notarization = self.certificate(VoteKind.NOTARIZE, view, first.id)
        last = self.block(view + 1, parent=first, certificate=notarization)
        self.receive(self.proposal(last))
        self.learn(VoteKind.FINALIZE, view + 1, last.id)
        assert self.core.shared.end_proof is not None
        return last

    def open_epoch(self, last: Block, committee: Committee, *, synced: bool = False) -> None:
        """Open the next epoch upon the last block of the one before, as a host does."""
        self.epoch += 1
        self.committee = committee
        self.me = committee.index_of(self.core.shared.settings.public_key or b"") or 0
        seed = leader_seed(GENESIS_HASH, self.epoch, last.header.parent_id)
        self.schedule = LeaderSchedule(committee, seed)
        start = EpochStart(
            epoch=self.epoch,
            committee=committee,
            base_id=last.id,
            base_height=last.header.height,
            base_time_ms=last.header.time_ms,
            seed=seed,
        )
        if synced:
            self._handle(Synced, epoch=start, head=None)
        else:
            self._handle(EpochOpened, epoch=start)

    def look_back(self) -> None:
        """Have all others answer that they know of nothing, and the time of silence pass."""
        for number in range(1, len(self.committee)):
            self.receive(LookbackAnswer(self.epoch, [], None, True), peer=self.other(number))
        while self.core.shared.mode is Mode.LOOKBACK:
            self.fire(Timer.LOOKBACK)

    # What peers would say

    def other(self, number: int) -> bytes:
        """Return the key of another member: 1 is the one after me."""
        return self.committee.members[(self.me + number) % len(self.committee)].public_key

    def leader(self, view: int) -> int:
        return self.schedule.leader(view)

    def view_led_by(self, member: int) -> int:
        return next(view for view in range(1, 9) if self.leader(view) == member)

    def block(
        self,
        view: int,
        *,
        parent: Block | None = None,
        certificate: Certificate | None = None,
        time_ms: int | None = None,
        busy: bool = False,
        salt: int = 0,
    ) -> Block:
        """Build what the leader of a view would, over genesis or an executed parent."""
        header = None if parent is None else parent.header
        parent_ms = GENESIS_TIME_MS if header is None else header.time_ms
        later_ms = max(GENESIS_TIME_MS + self.now_ms, parent_ms) + 1 + salt
        placement = Placement(
            epoch=self.epoch,
            view=view,
            height=1 if header is None else header.height + 1,
            kind=KIND_BLOCK,
            parent_view=0 if header is None else header.view,
            parent_id=GENESIS_HASH if parent is None else parent.id,
            parent_certificate=certificate,
            time_ms=later_ms if time_ms is None else time_ms,
            proposer_index=self.leader(view),
        )
        self.app.endless = busy
        return self.app.build(placement, empty=False).block

    def proposal(
        self, block: Block, *, nullifications: list[Certificate] | None = None
    ) -> ProposalMessage:
        vote = self.vote(
            block.header.proposer_index, VoteKind.NOTARIZE, block.header.view, block.id
        )
        attachments = [[] for _ in block.body.transactions]
        return ProposalMessage(
            Proposal(block.header, block.body, attachments, vote.signature, nullifications or [])
        )

    def vote(self, signer: int, kind: int, view: int, block_id: bytes | None) -> Vote:
        message = vote_message(kind, GENESIS_HASH, self.epoch, view, block_id)
        key = self.committee.members[signer].public_key
        return Vote(kind, self.epoch, view, block_id, signer, fake_sign(key, message))

    def certificate(self, kind: int, view: int, block_id: bytes | None = None) -> Certificate:
        """Return a certificate signed by everybody but me."""
        others = [i for i in range(len(self.committee)) if i != self.me]
        votes = {i: self.vote(i, kind, view, block_id).signature for i in others}
        return assemble_certificate(self.committee, kind, self.epoch, view, block_id, votes)

    def learn(self, kind: int, view: int, block_id: bytes | None = None) -> list[Effect]:
        return self.receive(CertificateMessage(self.certificate(kind, view, block_id)))

    # Looking

    def votes_sent(self) -> list[tuple[VoteKind, int]]:
        """Return (kind, view) of every vote of mine that was broadcast, in order."""
        sent = [e.message.vote for e in of(self.effects, Broadcast) if _is_vote(e)]
        return [(VoteKind(vote.kind), vote.view) for vote in sent]


def _is_vote(effect: Broadcast) -> bool:
    return isinstance(effect.message, VoteMessage)


def of(effects: list[Effect], kind: type[E]) -> list[E]:
    """Return the effects of a kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def synced(effects: list[Effect]) -> list[JournalRecord]:
    """Return the records these effects want synced."""
    return [record for e in of(effects, Persist) if e.sync for record in e.records]


def spoil(certificate: Certificate) -> Certificate:
    """Return the certificate with one garbage signature."""
    signatures = [*certificate.signatures[:-1], bytes(64)]
    return msgspec.structs.replace(certificate, signatures=signatures)
