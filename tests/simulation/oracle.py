"""The rule oracle: it sees a whole run from outside and says which rule was broken first.

It is written from the rules alone and shares no decision with the consensus core: quorums,
leaders, placements and proofs are worked out here a second time, from the votes that exist.

What the simulator owes it: records of a node are reported ``persisted`` in the order in which
they are written and ``synced`` in the same order, before anything that waits for them is sent;
the beginning of an unsynced tail that survives a crash is reported ``synced`` before ``crashed``;
what a journal holds at a start is not reported again. A message is reported before it is
delivered, a commit before the core hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chain.block import Block, Body
from chain.certificate import Certificate, Evidence
from chain.committee import Committee
from chain.finality import FinalityProof
from chain.header import KIND_FILLER, Header
from chain.params import Params
from chain.vote import Verifier, Vote
from consensus.journal import (
    BlockRecord,
    CertificateRecord,
    FinalisedRecord,
    JournalRecord,
    VoteRecord,
)
from consensus.messages import (
    BlockAnswer,
    CertificateMessage,
    EpochEnded,
    LookbackAnswer,
    Message,
    ProposalMessage,
    VoteMessage,
)

from .block_tree import BlockTree
from .clocks import Clocks
from .history import History
from .honest_node import HonestNode
from .ledger_of_votes import FINALIZE, NOTARIZE, NULLIFY, VoteLedger
from .light import LightReader, refusal_of
from .violation import Violation, short
from .witnesses import Witnesses

__all__ = ["Oracle", "Violation"]

GAP_MAX = 8
"""Nullifications that a proposal carries (B10)."""


class Oracle:
    """Judges a run as it is reported; every method raises ``Violation`` at the first fault."""

    def __init__(
        self,
        genesis_hash: bytes,
        committee: Committee,
        honest: frozenset[int],
        verifier: Verifier,
        *,
        params: Params,
        precision_ms: int,
        max_clock_error_ms: int = 0,
        genesis_time_ms: int | None = None,
    ) -> None:
        """``genesis_time_ms``: time of genesis, when the simulated clock reads 0.

        Without it block times are compared with each other only, not with clocks (Q16).
        """
        self._genesis_hash = genesis_hash
        self._params = params
        length = params.epoch_length
        self._ledger = VoteLedger(genesis_hash, committee, honest, verifier)
        self._tree = BlockTree(
            genesis_hash,
            committee,
            self._ledger,
            epoch_length=length,
            genesis_time_ms=genesis_time_ms,
        )
        self._clocks = Clocks(
            self._tree,
            genesis_time_ms=genesis_time_ms,
            precision_ms=precision_ms,
            max_clock_error_ms=max_clock_error_ms,
        )
        self._history = History(genesis_hash, self._tree)
        self._ledger.on_finalization = self._history.prove
        self._witnesses = Witnesses(self._ledger, honest, length)
        self._reader = LightReader(genesis_hash, committee, verifier, self._tree, self._history)
        self._nodes = {index: HonestNode(index) for index in sorted(honest)}
        self._on_sent: dict[type[Any], Callable[[int, Any, int], None]] = {
            VoteMessage: self._sent_vote,
            ProposalMessage: self._sent_proposal,
            CertificateMessage: self._sent_certificate,
            BlockAnswer: self._sent_block,
            LookbackAnswer: self._sent_lookback,
            EpochEnded: self._sent_epoch_end,
        }

    # The journal

    def persisted(self, node: int, record: JournalRecord) -> None:
        """Take a record that an honest node appended; it is not durable yet."""
        block_id, height = None, 0
        if type(record) is VoteRecord:
            self._signed(self._nodes[node], record.vote)
        elif type(record) is CertificateRecord:
            certificate = record.certificate
            self._ledger.require_certificate(certificate, node, "in its journal")
            if certificate.kind == FINALIZE:
                block_id = certificate.block_id
                header = self._tree.headers.get(block_id or b"")
                height = 0 if header is None else header.height
        elif type(record) is BlockRecord:
            block_id = self._tree.add(record.header)
            self._require_body(node, record.header, record.body, "in its journal")
        elif type(record) is FinalisedRecord:
            self._history.require_committed(self._nodes[node], record.height, record.block_id)
        self._nodes[node].append(record, block_id, height)

    def synced(self, node: int, record: JournalRecord) -> None:
        """Take the oldest record that was not durable as durable; its vote exists from now on."""
        vote = self._nodes[node].sync(record)
        if vote is not None:
            self._ledger.record(vote)

    def crashed(self, node: int, *, journal_lost: bool = False, height: int | None = None) -> None:
        """Take back what was not durable; durable promises stay.

        ``journal_lost``: the whole journal went as well. ``height``: what the store still holds,
        if that is less than was committed.
        """
        self._nodes[node].crash(journal_lost=journal_lost, height=height)
        self._witnesses.crash(node)

    def _signed(self, node: HonestNode, vote: Vote) -> None:
        """Judge a vote at the moment it is signed, which is when it is written."""
        if vote.signer != node.index:
            raise Violation("J3", f"node {node.index} journals a vote of member {vote.signer}")
        if not self._ledger.verifies(vote):
            raise Violation("Q9", f"node {node.index}, view {vote.view}: a vote of its own is bad")
        if vote.epoch * self._params.epoch_length > node.height:
            raise Violation(
                "C11",
                f"node {node.index}, view {vote.view}: a vote in epoch {vote.epoch} at height "
                f"{node.height}",
            )
        node.require_free(vote)
        block_id = vote.block_id
        if vote.kind == NULLIFY or block_id is None:
            return
        if vote.kind == NOTARIZE:
            self._notarized(node, vote, block_id)
        elif not self._ledger.is_notarized(vote.epoch, vote.view, block_id):
            raise Violation(
                "Q6",
                f"node {node.index}, view {vote.view}: FINALIZE for {short(block_id)}, which no "
                "quorum notarized",
            )

    def _notarized(self, node: HonestNode, vote: Vote, block_id: bytes) -> None:
        """Judge a NOTARIZE (C3); a leader's own block may be shown only after it is signed."""
        where = f"node {node.index}, view {vote.view}: NOTARIZE for {short(block_id)}"
        header = self._tree.headers.get(block_id)
        if header is None:
            if self._tree.leader(vote.epoch, vote.view) != node.index:
                raise Violation("Q5", f"{where}, which nobody proposed")
            return
        if (header.epoch, header.view) != (vote.epoch, vote.view):
            raise Violation("Q5", f"{where}, a block of view {header.view}")
        self._tree.require_placed(block_id, node.index)
        if header.proposer_index != node.index and block_id not in node.verified:
            raise Violation("Q10", f"{where}, which its application did not accept")

    # Messages

    def sent(self, node: int, message: Message, now_ms: int) -> None:
        """Judge a message that an honest node puts on the wire."""
        judge = self._on_sent.get(type(message))
        if judge is not None:
            judge(node, message, now_ms)

    def sent_by_faulty(self, node: int, message: Message) -> None:
        """Take in what a faulty node's message reveals: votes of faulty keys, and headers."""
        ledger = self._ledger
        if isinstance(message, VoteMessage):
            ledger.record_faulty(message.vote)
        elif isinstance(message, CertificateMessage):
            ledger.record_claims(message.certificate)
        elif isinstance(message, ProposalMessage):
            proposal = message.proposal
            block_id = self._tree.add(proposal.header)
            ledger.record_faulty(proposal.vote(block_id))
            for certificate in _certificates(proposal.body, proposal.nullifications):
                ledger.record_claims(certificate)
        elif isinstance(message, BlockAnswer):
            self._tree.add(message.header)
            for certificate in _certificates(message.body, []):
                ledger.record_claims(certificate)
        elif isinstance(message, LookbackAnswer):
            for vote in message.votes:
                ledger.record_faulty(vote)
            if message.finalization is not None:
                ledger.record_claims(message.finalization)
        elif isinstance(message, EpochEnded):
            ledger.record_claims(message.proof.finalization)

    def received(self, node: int, message: Message) -> None:
        """Note a message that an honest node handles; only for completeness of evidence (Q13)."""
        if type(message) is VoteMessage:
            final_height = len(self._history.chain)
            self._witnesses.receive(self._nodes[node], message.vote, final_height)

    def _sent_vote(self, node: int, message: VoteMessage, now_ms: int) -> None:
        vote = message.vote
        if vote.signer != node:
            self._require_existing(node, vote)
            return
        sender = self._nodes[node]
        sender.require_durable(vote)
        block_id = vote.block_id
        if block_id is None:
            return
        if vote.kind == FINALIZE:
            sender.require_bodies(block_id, self._tree, self._history.chain)
        elif (header := self._tree.headers.get(block_id)) is not None:
            sender.require_depth(header)
            self._clocks.judge_sent(node, header, now_ms)

    def _sent_proposal(self, node: int, message: ProposalMessage, now_ms: int) -> None:
        proposal = message.proposal
        header = proposal.header
        block_id = self._tree.add(header)
        vote = proposal.vote(block_id)
        if header.proposer_index == node:
            sender = self._nodes[node]
            sender.require_durable(vote)
            self._tree.require_placed(block_id, node)
            self._history.vouched.add(block_id)
            sender.require_depth(header)
            self._clocks.judge_sent(node, header, now_ms)
            for item in proposal.body.evidence:
                self._witnesses.accuse(node, item)
        else:
            self._require_existing(node, vote)
        self._require_body(node, header, proposal.body, "of a proposal's parent")
        self._require_gap(node, header, proposal.nullifications)

    def _sent_certificate(self, node: int, message: CertificateMessage, now_ms: int) -> None:
        self._ledger.require_certificate(message.certificate, node, "that it sent")

    def _sent_block(self, node: int, message: BlockAnswer, now_ms: int) -> None:
        self._tree.add(message.header)
        self._require_body(node, message.header, message.body, "of a block that it sent")

    def _sent_lookback(self, node: int, message: LookbackAnswer, now_ms: int) -> None:
        for vote in message.votes:
            self._require_existing(node, vote)
        if message.finalization is not None:
            where = "in a look-back answer"
            self._ledger.require_certificate(message.finalization, node, where)

    def _sent_epoch_end(self, node: int, message: EpochEnded, now_ms: int) -> None:
        proof = message.proof
        self._require_proof(node, proof)
        if proof.target.height % self._params.epoch_length:
            raise Violation("Q17", f"node {node}: height {proof.target.height} ends no epoch")

    # The application

    def proposed_time(self, node: int, header: Header, wall_ms: int) -> None:
        """Judge a block's time when an honest node signs NOTARIZE and its clock shows this (Q16).

        Sharper than what ``sent`` can judge, which knows the clocks only up to their error.
        """
        self._tree.add(header)
        self._clocks.judge_signed(node, header, wall_ms)

    def verified(self, node: int, block: Block) -> None:
        """Note that an honest node's application accepted a block."""
        self._tree.add_block(block)
        self._nodes[node].verified.add(block.id)
        self._history.vouched.add(block.id)

    def executed(self, node: int, block: Block, state_root: bytes) -> None:
        """Note the state root after a block at an honest node."""
        self._tree.add_block(block)
        self._history.execute(node, block.id, state_root)

    def finalised(
        self, node: int, blocks: Sequence[Block], proof: FinalityProof, now_ms: int
    ) -> None:
        """Judge blocks that an honest node committed, in order, with the proof of the last."""
        committer = self._nodes[node]
        for block in blocks:
            self._tree.add_block(block)
            self._history.commit(committer, block)
            self._clocks.judge_committed(node, block.header, now_ms)
            for item in block.body.evidence:
                self._witnesses.accuse(node, item)
        if proof.target != blocks[-1].header:
            raise Violation("Q17", f"node {node}: the proof is not of {short(blocks[-1].id)}")
        height = blocks[-1].header.height
        known = self._history.proofs.get(height)
        if known is not proof and known != proof:
            self._require_proof(node, proof)
            self._history.proofs.setdefault(height, proof)
        committer.final_view = (proof.finalization.epoch, proof.finalization.view)

    def fetches(self, node: int, *, begins: bool) -> None:
        """Note that an honest node begins to fetch ranges, or that its core is told of them."""
        self._nodes[node].is_fetching = begins

    def evidence(self, node: int, evidence: Evidence) -> None:
        """Judge evidence that an honest node reported."""
        self._witnesses.accuse(node, evidence)

    def blamed(self, node: int, peer: int, code: str) -> None:
        """Judge whom an honest node blames: never an honest one."""
        self._witnesses.blame(node, peer, code)

    def at_end(self) -> None:
        """Judge the run as a whole: votes against commits, light client, evidence."""
        self._history.require_proved()
        self._reader.require_exact()
        self._witnesses.require_complete()

    # What several reports have in common

    def _require_existing(self, node: int, vote: Vote) -> None:
        """Raise ``Q9`` unless another's vote that an honest node passes on was really signed."""
        if not self._ledger.holds(vote) and not self._ledger.record_faulty(vote):
            raise Violation(
                "Q9",
                f"node {node}, view {vote.view}: it sent a vote of member {vote.signer} that does "
                "not exist",
            )

    def _require_body(self, node: int, header: Header, body: Body, where: str) -> None:
        """Raise unless a body names a real certificate of exactly the parent (B6, Q9)."""
        certificate = body.parent_certificate
        if header.kind == KIND_FILLER and (body.transactions or body.evidence):
            raise Violation("B8", f"node {node}, view {header.view}: a filler carries something")
        if certificate is None:
            if header.parent_view:
                raise Violation("Q9", f"node {node}, view {header.view}: a body has no certificate")
            return
        named = (certificate.epoch, certificate.view, certificate.block_id)
        expected = (header.epoch, header.parent_view, header.parent_id)
        if named != expected or header.parent_view == 0 or certificate.kind == NULLIFY:
            raise Violation(
                "Q9",
                f"node {node}, view {header.view}: a body has the certificate of another block, "
                f"{short(certificate.block_id)} of view {certificate.view}",
            )
        self._ledger.require_certificate(certificate, node, where)

    def _require_gap(self, node: int, header: Header, nullifications: list[Certificate]) -> None:
        """Raise unless a proposal carries only nullifications of its gap, newest first (B10)."""
        newest = header.view
        for certificate in nullifications:
            inside = header.parent_view < certificate.view < newest
            if not inside or certificate.kind != NULLIFY or certificate.epoch != header.epoch:
                raise Violation(
                    "B10",
                    f"node {node}, view {header.view}: a certificate of kind {certificate.kind} "
                    f"and view {certificate.view} among the nullifications",
                )
            newest = certificate.view
            self._ledger.require_certificate(certificate, node, "in a proposal's gap")
        if len(nullifications) > GAP_MAX:
            raise Violation("B10", f"node {node}, view {header.view}: too many nullifications")

    def _require_proof(self, node: int, proof: FinalityProof) -> None:
        """Raise ``Q17`` or ``Q9`` unless a proof stands by an independent check (V13)."""
        length = self._params.epoch_length
        refusal = refusal_of(proof, self._tree, self._genesis_hash, length)
        if refusal is not None:
            raise Violation("Q17", f"node {node}: a finality proof does not stand: {refusal}")
        self._ledger.require_certificate(proof.finalization, node, "of a finality proof")


def _certificates(body: Body, nullifications: list[Certificate]) -> list[Certificate]:
    """Return every certificate in a proposal or a block."""
    if body.parent_certificate is None:
        return nullifications
    return [body.parent_certificate, *nullifications]
