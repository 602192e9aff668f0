"""Hand-made runs for the tests of the oracle: who signs, writes, syncs, sends and commits what.

A story has no consensus in it. Each step is told to the oracle as a simulator would tell it, and
a test tells one of them wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pytest

from chain.block import (
    Block,
    Body,
    Proposal,
    certificate_hash,
    evidence_root,
    ids_of,
    transaction_root,
)
from chain.certificate import Certificate, Evidence, assemble_certificate, make_evidence
from chain.committee import EPOCH_ZERO_ID, LeaderSchedule, leader_seed
from chain.finality import FinalityProof
from chain.hashing import EMPTY_ROOT, tagged_hash
from chain.header import KIND_BLOCK, KIND_FILLER, ZERO_HASH, Header
from chain.params import Params
from chain.transaction import SignedBody
from chain.vote import Vote, VoteKind, vote_message
from consensus.journal import BlockRecord, JournalRecord, VoteRecord
from consensus.messages import Message, ProposalMessage, VoteMessage

from .application import GENESIS_HASH, GENESIS_TIME_MS, PARAMS
from .keys import fake_sign, fake_verify, key_of, make_committee
from .oracle import Oracle, Violation

NOTARIZE, NULLIFY, FINALIZE = int(VoteKind.NOTARIZE), int(VoteKind.NULLIFY), int(VoteKind.FINALIZE)
TRANSACTION = SignedBody(b"pay", [])
STEP_MS = 100
"""Between the times of neighbouring blocks, and of the simulated clock."""


def root_after(block_id: bytes) -> bytes:
    """Return the state root after a block; the state is a hash of its history."""
    return tagged_hash("state-value", block_id)


class Story:
    """One oracle and the steps reported to it; the last member is faulty unless told otherwise."""

    def __init__(
        self,
        powers: Sequence[int] = (1, 1, 1, 1),
        *,
        faulty: Iterable[int] = (3,),
        epoch_length: int = 1_000,
    ) -> None:
        self.committee = make_committee(powers)
        self.honest = frozenset(range(len(powers))) - frozenset(faulty)
        self.params: Params = msgspec.structs.replace(PARAMS, epoch_length=epoch_length)
        self.oracle = Oracle(
            GENESIS_HASH,
            self.committee,
            self.honest,
            fake_verify,
            params=self.params,
            precision_ms=self.params.precision_ms,
            genesis_time_ms=GENESIS_TIME_MS,
        )
        self.now_ms = 0
        self.seeds = {0: leader_seed(GENESIS_HASH, 0, EPOCH_ZERO_ID)}

    # Things

    def leader(self, view: int, epoch: int = 0) -> int:
        """Return whose turn a view is, by the product's schedule."""
        return LeaderSchedule(self.committee, self.seeds[epoch]).leader(view)

    def view_of(self, member: int, after: int = 0) -> int:
        """Return the first view above ``after`` that a member leads."""
        return next(view for view in range(after + 1, after + 1_000) if self.leader(view) == member)

    def vote(
        self, signer: int, kind: int, view: int, block_id: bytes | None = None, epoch: int = 0
    ) -> Vote:
        message = vote_message(kind, GENESIS_HASH, epoch, view, block_id)
        return Vote(kind, epoch, view, block_id, signer, fake_sign(key_of(signer), message))

    def vote_for(self, signer: int, kind: int, block: Block) -> Vote:
        return self.vote(signer, kind, block.header.view, block.id, block.header.epoch)

    def certificate(
        self,
        kind: int,
        view: int,
        block_id: bytes | None = None,
        *,
        epoch: int = 0,
        signers: Sequence[int] = (0, 1, 2),
    ) -> Certificate:
        signatures = {i: self.vote(i, kind, view, block_id, epoch).signature for i in signers}
        return assemble_certificate(self.committee, kind, epoch, view, block_id, signatures)

    def notarization(self, block: Block) -> Certificate:
        header = block.header
        return self.certificate(NOTARIZE, header.view, block.id, epoch=header.epoch)

    def finalization(self, block: Block) -> Certificate:
        header = block.header
        return self.certificate(FINALIZE, header.view, block.id, epoch=header.epoch)

    def proof(self, *descending: Block) -> FinalityProof:
        headers = [block.header for block in descending]
        return FinalityProof(self.finalization(descending[0]), headers)

    def evidence(self, signer: int, view: int = 1) -> Evidence:
        """Return evidence of a second NOTARIZE."""
        return make_evidence(
            self.vote(signer, NOTARIZE, view, b"\1" * 32),
            self.vote(signer, NOTARIZE, view, b"\2" * 32),
        )

    def block(
        self,
        parent: Block | None,
        view: int | None = None,
        *,
        base: Block | None = None,
        full: bool = False,
        evidence: Sequence[Evidence] = (),
        **changes: object,
    ) -> Block:
        """Return a block over ``parent``; over ``base`` (genesis: None) if it is an epoch's first.

        What must follow from the parent does, unless ``changes`` to the header say otherwise.
        """
        certificate = None if parent is None else self.notarization(parent)
        body = Body(certificate, [TRANSACTION] if full else [], list(evidence))
        header = msgspec.structs.replace(
            self._header(parent or base, parent is None, view),
            tx_root=transaction_root(ids_of(body)),
            evidence_root=evidence_root(body.evidence),
            parent_certificate_hash=certificate_hash(certificate),
        )
        return Block.made(msgspec.structs.replace(header, **changes), body, [])

    def _header(self, below: Block | None, first: bool, view: int | None) -> Header:
        length = self.params.epoch_length
        old = None if below is None else below.header
        epoch = 0 if old is None else old.epoch + int(first)
        parent_view = 0 if first or old is None else old.view
        view = parent_view + 1 if view is None else view
        ends = old is not None and not first and old.height == (epoch + 1) * length
        height = (0 if old is None else old.height) + (0 if ends else 1)
        time_ms = GENESIS_TIME_MS if old is None else old.time_ms
        return Header(
            version=1,
            genesis_hash=GENESIS_HASH,
            epoch=epoch,
            view=view,
            height=height,
            kind=KIND_FILLER if ends else KIND_BLOCK,
            parent_view=parent_view,
            parent_id=GENESIS_HASH if below is None else below.id,
            time_ms=time_ms if ends else time_ms + STEP_MS,
            proposer_index=self.leader(view, epoch),
            tx_root=EMPTY_ROOT,
            evidence_root=EMPTY_ROOT,
            parent_certificate_hash=ZERO_HASH,
            base_fee=1,
            units_limit_used=0,
            parent_state_root=root_after(GENESIS_HASH if below is None else below.id),
            parent_receipts_root=EMPTY_ROOT,
            params_hash=self.params.hash(),
            next_committee_hash=(
                self.committee.hash if height == (epoch + 1) * length else ZERO_HASH
            ),
        )

    # Steps

    def write(self, node: int, *records: JournalRecord, sync: bool = True) -> None:
        """Let an honest node journal records."""
        for record in records:
            self.oracle.persisted(node, record)
        if sync:
            self.sync(node, *records)

    def sync(self, node: int, *records: JournalRecord) -> None:
        for record in records:
            self.oracle.synced(node, record)

    def send(self, node: int, message: Message) -> None:
        if node in self.honest:
            self.oracle.sent(node, message, self.now_ms)
        else:
            self.oracle.sent_by_faulty(node, message)

    def cast(self, vote: Vote) -> None:
        """Let the signer write, sync and send a vote."""
        if vote.signer in self.honest:
            self.write(vote.signer, VoteRecord(vote))
        self.send(vote.signer, VoteMessage(vote))

    def nullify(self, view: int, signers: Iterable[int] = (0, 1, 2), epoch: int = 0) -> None:
        for signer in signers:
            self.cast(self.vote(signer, NULLIFY, view, epoch=epoch))

    def reach(self, member: int) -> int:
        """Nullify views until a member leads one; return that."""
        view = self.view_of(member)
        for passed in range(1, view):
            self.nullify(passed)
        return view

    def proposal(self, block: Block, *nullifications: Certificate) -> ProposalMessage:
        leader = block.header.proposer_index
        signature = self.vote_for(leader, NOTARIZE, block).signature
        return ProposalMessage(
            Proposal(block.header, block.body, [], signature, list(nullifications))
        )

    def propose(self, block: Block, *nullifications: Certificate) -> None:
        """Let the leader that the block names sign and broadcast it."""
        self.now_ms = max(self.now_ms, block.header.time_ms - GENESIS_TIME_MS)
        leader = block.header.proposer_index
        if leader in self.honest:
            self.write(leader, VoteRecord(self.vote_for(leader, NOTARIZE, block)))
        self.send(leader, self.proposal(block, *nullifications))

    def notarize(self, block: Block, signers: Iterable[int] = (0, 1, 2)) -> None:
        """Let members accept a proposed block and vote for it."""
        for signer in signers:
            if signer == block.header.proposer_index:
                continue
            if signer in self.honest:
                self.oracle.verified(signer, block)
            self.cast(self.vote_for(signer, NOTARIZE, block))

    def finalize(self, block: Block, signers: Iterable[int] = (0, 1, 2)) -> None:
        """Let members journal a notarized block with their FINALIZE, and send that."""
        for signer in signers:
            vote = self.vote_for(signer, FINALIZE, block)
            if signer in self.honest:
                self.write(signer, BlockRecord(block.header, block.body))
            self.cast(vote)

    def make(self, block: Block) -> Block:
        """Propose, notarize and finalize a block; nobody commits it yet."""
        self.propose(block)
        self.notarize(block)
        self.finalize(block)
        return block

    def commit(
        self, *blocks: Block, proof: FinalityProof | None = None, nodes: Iterable[int] = (0, 1, 2)
    ) -> None:
        """Let honest nodes execute and commit blocks, ascending, the last by its own proof."""
        for node in nodes:
            for block in blocks:
                self.oracle.executed(node, block, root_after(block.id))
            self.oracle.finalised(node, blocks, proof or self.proof(blocks[-1]), self.now_ms)
        last = blocks[-1].header
        if last.height % self.params.epoch_length == 0:
            seed = leader_seed(GENESIS_HASH, last.epoch + 1, last.parent_id)
            self.seeds[last.epoch + 1] = seed

    def grow(self, heights: int, parent: Block | None = None) -> list[Block]:
        """Make blocks one above the other, through the ends of epochs, and commit each."""
        blocks: list[Block] = []
        for _ in range(heights):
            ended = parent is not None and parent.header.height % self.params.epoch_length == 0
            child = self.block(None, base=parent) if ended else self.block(parent)
            parent = self.make(child)
            self.commit(parent)
            blocks.append(parent)
        return blocks


@contextmanager
def breaks(rule: str, sentence: str = "") -> Iterator[None]:
    """Expect a violation of a rule whose sentence has this in it."""
    with pytest.raises(Violation) as found:
        yield
    assert found.value.rule == rule, str(found.value)
    assert sentence in found.value.sentence


def twins(story: Story) -> tuple[Block, Block]:
    """Let the faulty last member propose two blocks in one view, accepted by everybody."""
    view = story.reach(3)
    one = story.block(None, view)
    other = story.block(None, view, time_ms=one.header.time_ms + 1)
    for block in (one, other):
        story.propose(block)
        for node in story.honest:
            story.oracle.verified(node, block)
    return one, other


def voter(block: Block) -> int:
    """Return an honest member that does not lead the block's view."""
    return 1 if block.header.proposer_index == 0 else 0


def proposed(story: Story) -> Block:
    """Let the first block of the chain be proposed."""
    block = story.block(None)
    story.propose(block)
    return block


def notarized(story: Story) -> Block:
    """Let the first block of the chain be proposed and notarized."""
    block = proposed(story)
    story.notarize(block)
    return block
