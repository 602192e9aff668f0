"""From messages to knowledge: proposals, votes, certificates, blocks (protocol.md C3–C8).

What is learnt here is verified here. Nothing is decided: the rules look at the knowledge after
every event.
"""

from __future__ import annotations

from chain.block import Block, Body, Proposal, require_header_form
from chain.certificate import Certificate, Evidence, verify_certificate
from chain.errors import Rejected
from chain.header import Header
from chain.vote import FINALIZE, NOTARIZE, NULLIFY, Vote

from .effects import Blame, Broadcast, ReportEvidence, Stop
from .events import Peer
from .journal import CertificateRecord
from .messages import CertificateMessage
from .round import Entry, Round
from .shared import PROPOSALS_AHEAD, VIEWS_KEPT, Mode, Shared
from .timers import Timer


def on_proposal(shared: Shared, peer: Peer, proposal: Proposal) -> None:
    """Take in the first proposal of a view's leader (C3); its signature comes before its body."""
    header = proposal.header
    view = header.view
    lowest = max(shared.head.view + 1, shared.floor)
    if not lowest <= view <= shared.view + PROPOSALS_AHEAD:
        return
    round_ = shared.round(view)
    block_id = header.id()
    if round_.block is not None and round_.block.id == block_id:
        return
    shared.changed = True
    if header.proposer_index != shared.leader(view):
        shared.emit(Blame(peer, "consensus/NotLeader", f"a proposal of a stranger, view {view}"))
        return
    try:
        _count_from(shared, peer, proposal.vote(block_id))
        if round_.proposal is not None or round_.refusal is not None:
            return  # A second proposal: its vote has just become evidence.
        block = Block(header, proposal.body, block_id)
    except Rejected as refusal:
        shared.emit(Blame(peer, refusal.code, refusal.message))
        return
    try:
        require_header_form(header, shared.genesis_hash)
        require_parent_certificate(shared, header, proposal.body)
    except Rejected as refusal:
        shared.refuse(round_, refusal)
        return
    keep_proposal(shared, round_, proposal, block)
    for nullification in proposal.nullifications:
        # An old epoch's would verify: the committee may be the same, and views begin anew.
        if (nullification.kind, nullification.epoch) != (NULLIFY, shared.epoch):
            reason = "a proposal carries what is no nullification of its epoch"
            shared.emit(Blame(peer, "consensus/Nullification", reason))
            return
        on_certificate(shared, peer, nullification)


def keep_proposal(shared: Shared, round_: Round, proposal: Proposal, block: Block) -> None:
    """Store a checked proposal: the leader's own, or one received."""
    round_.proposal = proposal
    round_.block = block
    round_.seen_ms = shared.now_ms
    round_.seen_wall_ms = shared.wall_ms
    keep_block(shared, block)
    if round_.view == shared.view:
        shared.cancel_timer(Timer.LEADER)


def keep_block(shared: Shared, block: Block) -> None:
    """Store a block by its id and stop asking for it."""
    entry = shared.entries.get(block.id)
    if entry is None:
        shared.entries[block.id] = Entry(block.header, block)
    elif entry.block is None:
        entry.block = block
    shared.wants.pop(block.id, None)


def require_parent_certificate(shared: Shared, header: Header, body: Body) -> None:
    """Check and learn the certificate in a body (B11): it must be of the parent the header names.

    The first block of an epoch has none, and extends the epoch's base.
    """
    certificate = body.parent_certificate
    if certificate is None:
        if header.parent_view != 0 or header.parent_id != shared.start.base_id:
            raise Rejected("block/ParentCertificate", "a parent without a certificate")
        return
    if (certificate.epoch, certificate.view, certificate.block_id) != (
        shared.epoch,
        header.parent_view,
        header.parent_id,
    ):
        raise Rejected("block/ParentCertificate", "the certificate is of another block")
    if certificate.kind == NULLIFY:
        raise Rejected("block/ParentCertificate", "the certificate is no notarization")
    if certificate.view < shared.head.view - VIEWS_KEPT:
        raise Rejected("block/Stale", "the parent lies far below what is final")
    if certificate.view < shared.floor:
        verify_certificate(certificate, shared.committee, shared.genesis_hash, shared.verifier)
        return
    learn_certificate(shared, certificate)


def on_vote(shared: Shared, peer: Peer, vote: Vote) -> None:
    """Take in a vote of a view in reach: [fin - 20, view + W] (C4, C5, C7)."""
    lowest, highest = shared.finalised_view - VIEWS_KEPT, shared.view + shared.views_ahead
    if vote.view < 1 or not lowest <= vote.view <= highest:
        return
    try:
        _count_from(shared, peer, vote)
    except Rejected as refusal:
        shared.emit(Blame(peer, refusal.code, refusal.message))


def on_late_vote(shared: Shared, peer: Peer, vote: Vote) -> None:
    """Note who sent a vote of its own of an epoch that is just over: it is not silent (C6)."""
    if vote.epoch == shared.epoch and shared.committee.index_of(peer) == vote.signer:
        shared.hearing.hear(vote.signer, vote.view)
    elif vote.epoch == shared.epoch - 1:
        shared.hearing.hear_late(peer, vote.signer, vote.view)


def _count_from(shared: Shared, peer: Peer, vote: Vote) -> None:
    count_vote(shared, vote, from_signer=shared.committee.index_of(peer) == vote.signer)


def count_vote(shared: Shared, vote: Vote, *, from_signer: bool) -> None:
    """Verify and count a vote; announce the certificate it completes, report what it proves.

    Its signer is heard: the vote is verified, or came on the signer's own connection (C6).
    """
    round_ = shared.round(vote.view)
    certificate, evidence = round_.book.add(vote, from_signer=from_signer)
    _require_own(shared, round_, vote)
    shared.hearing.hear(vote.signer, vote.view)
    if vote.kind == NULLIFY:
        shared.changed = True  # It may be the leader's (C6).
    if evidence is not None:
        _report(shared, round_, evidence)
    if certificate is not None:
        _announce(shared, certificate)


def on_certificate(shared: Shared, peer: Peer, certificate: Certificate) -> None:
    """Take in a certificate, unless one of its kind and view is known."""
    if certificate.kind <= FINALIZE:
        known = shared.rounds.get(certificate.view)
        if known is not None and known.book.certificates[certificate.kind] is not None:
            return
    if certificate.view < max(shared.finalised_view - VIEWS_KEPT, 1):
        return
    try:
        learn_certificate(shared, certificate)
    except Rejected as refusal:
        shared.emit(Blame(peer, refusal.code, refusal.message))


def learn_certificate(shared: Shared, certificate: Certificate) -> None:
    """Verify a certificate of this epoch; announce it if it is new.

    Raises ``Rejected`` as ``verify_certificate`` does; then nothing has changed.
    """
    is_known_view = certificate.view in shared.rounds
    round_ = shared.round(certificate.view)
    kind = certificate.kind
    if is_known_view and round_.book.is_stored(certificate):
        return
    is_new = kind > FINALIZE or round_.book.certificates[kind] is None
    try:
        evidence_found = round_.book.add_certificate(certificate)
    except Rejected:
        if not is_known_view:
            del shared.rounds[certificate.view]
        raise
    for evidence in evidence_found:
        _report(shared, round_, evidence)
    if shared.me is not None and certificate.signers >> shared.me & 1:
        for vote in certificate.votes():
            _require_own(shared, round_, vote)
    if is_new:
        _announce(shared, certificate)


def _announce(shared: Shared, certificate: Certificate) -> None:
    """Journal a new certificate, broadcast it once, and note what it opens (C4, C5, C7)."""
    if certificate.view >= shared.head.view:
        shared.note(CertificateRecord(certificate))
        shared.emit(Broadcast(CertificateMessage(certificate)))
    take_certificate(shared, certificate)


def take_certificate(shared: Shared, certificate: Certificate) -> None:
    """Note what a verified certificate means for this node's view and work."""
    view = certificate.view
    shared.changed = True
    shared.wants.pop(view, None)
    if certificate.kind == NULLIFY:
        shared.allow_view(view + 1)
        return
    if view > shared.head.view:
        shared.candidates[view] = None
    if certificate.kind == FINALIZE:
        shared.allow_view(view + 1)
        if view > shared.finalised_view:
            shared.finalization = certificate
            shared.pace.view_finalised()


def learn_block(shared: Shared, peer: Peer, header: Header, body: Body) -> None:
    """Take in a block this node asked for by id; anything else is dropped (C9)."""
    block_id = header.id()
    if block_id not in shared.wants:
        return
    try:
        require_header_form(header, shared.genesis_hash)
        block = Block(header, body, block_id)
        if header.parent_view > shared.head.view:
            require_parent_certificate(shared, header, body)
    except Rejected as refusal:
        shared.emit(Blame(peer, refusal.code, refusal.message))
        return
    keep_block(shared, block)


def _require_own(shared: Shared, round_: Round, vote: Vote) -> None:
    """Stop if a verified vote of this key is none that this node signed (C15).

    In quarantine it signs nothing, so any vote of a view that it saw begin is one.
    """
    if vote.signer != shared.me or shared.mode not in (Mode.ACTIVE, Mode.QUARANTINE):
        return
    if vote.view < max(shared.own_from, shared.floor):
        return
    mine = round_.promised.get(vote.kind)
    if mine is not None and mine.block_id == vote.block_id:
        return
    shared.mode = Mode.STOPPED
    shared.emit(
        Stop(
            f"this key signs elsewhere: a vote for view {vote.view} of epoch {vote.epoch} is none "
            "of this node's; stop the other node that runs with this key, then start this one "
            "with --quarantine"
        )
    )


def _report(shared: Shared, round_: Round, evidence: Evidence) -> None:
    shared.emit(ReportEvidence(evidence))
    first = evidence.first
    shared.turns.convict(first.signer)
    if first.kind == NOTARIZE and first.signer == round_.leader:
        round_.equivocated = True
