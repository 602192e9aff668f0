"""What keeps slow peers and lossy links going: asking, answering, re-sending (C8–C10)."""

from __future__ import annotations

import msgspec

from chain.block import GAP_NULLIFICATIONS_MAX, Proposal
from chain.certificate import Certificate
from chain.header import Header
from chain.vote import FINALIZE, NOTARIZE, NULLIFY

from .effects import Broadcast, ProveEpochEnd, Request, Send, Sync
from .events import Peer
from .messages import (
    BlockAnswer,
    BlockRequest,
    CertificateMessage,
    ProposalMessage,
    ViewRequest,
    VoteMessage,
)
from .promises import durable_votes
from .shared import Shared, Want
from .timers import Timer

WANTS_MAX = 64
"""Things asked for at once; more are asked for when these have come."""
RESEND_VIEWS = 3
"""Votes of so many views below mine are re-sent with those of my view."""
SYNC_ATTEMPTS = 4
"""After every so many peers without a block that is final, ranges are asked for instead."""


def want_view(shared: Shared, view: int, member: int | None = None) -> None:
    """Ask for every certificate of a view, the given member first, then anybody."""
    _want(shared, view, ViewRequest(shared.epoch, view), member, 0)


def want_block(
    shared: Shared, block_id: bytes, member: int | None = None, *, delay_ms: int = 0
) -> None:
    """Ask for a block by id; with a delay if it is probably on its way."""
    _want(shared, block_id, BlockRequest(block_id), member, delay_ms)


def _want(
    shared: Shared,
    key: object,
    message: ViewRequest | BlockRequest,
    member: int | None,
    delay_ms: int,
) -> None:
    if key in shared.wants or len(shared.wants) >= WANTS_MAX:
        return
    first = None if member == shared.me else member
    shared.wants[key] = Want(message, first, 0, shared.now_ms + delay_ms)
    on_request_timer(shared)


def forget_view_wants(shared: Shared) -> None:
    """Stop asking for certificates: what a proposal of my new view needs is asked for anew.

    A faulty leader can name gaps that nobody will ever have nullified. While nothing becomes final
    these would fill the places of what is really missing.
    """
    for key in [key for key in shared.wants if isinstance(key, int)]:
        del shared.wants[key]


def on_request_timer(shared: Shared) -> None:
    """Ask for everything that is due, and once more for what did not come in time."""
    for want in list(shared.wants.values()):  # Asking for ranges drops all that is for blocks.
        if want.due_ms <= shared.now_ms:
            shared.emit(Request(want.message, want.member, want.attempt))
            want.attempt += 1
            want.due_ms = shared.now_ms + shared.pace.request_ms()
            if want.attempt % SYNC_ATTEMPTS == 0:
                _sync_if_final(shared, want)
    if shared.wants:
        due_ms = min(want.due_ms for want in shared.wants.values())
        shared.set_timer(Timer.REQUEST, due_ms)


def _sync_if_final(shared: Shared, want: Want) -> None:
    """Nobody seems to hold a block that is final any more: it is in their stores."""
    if isinstance(want.message, BlockRequest) and shared.finalised_view > shared.head.view:
        request_sync(shared, shared.head.height + 1)


def request_sync(shared: Shared, height: int) -> None:
    """Ask the host to catch up, unless it is at it; until then single blocks are of no use."""
    if not shared.syncing:
        shared.syncing = True
        for key in [key for key in shared.wants if not isinstance(key, int)]:
            del shared.wants[key]
        shared.emit(Sync(height))


def on_retry_timer(shared: Shared) -> None:
    """C8: send again what others may lack, and ask for what I may lack myself."""
    shared.retries += 1
    delay_ms = shared.pace.retry_ms(shared.retries, shared.idle)
    shared.set_timer(Timer.RETRY, shared.now_ms + delay_ms)
    entering = entering_certificate(shared)
    newest = shared.finalization
    for certificate in (newest, None if entering is newest else entering):
        if certificate is not None:
            shared.emit(Broadcast(CertificateMessage(certificate)))
    round_ = shared.rounds.get(shared.view)
    if round_ is not None and round_.proposal is not None and _may_relay(shared):
        shared.emit(Broadcast(ProposalMessage(_sound(shared, round_.proposal))))
    for view in range(max(1, shared.view - RESEND_VIEWS), shared.view + 1):
        for vote in durable_votes(shared, view):
            shared.emit(Broadcast(VoteMessage(vote)))
    for certificate in _unfinished_notarizations(shared):
        shared.emit(Broadcast(CertificateMessage(certificate)))
    leader = shared.leader(shared.view)
    member = None if leader == shared.me else leader
    shared.emit(Request(ViewRequest(shared.epoch, shared.view), member, shared.retries - 1))


def gap(shared: Shared, header: Header) -> list[Certificate]:
    """Return the nullifications between parent and proposal, newest first, at most 8 (B10)."""
    found: list[Certificate] = []
    for skipped in range(header.view - 1, header.parent_view, -1):
        round_ = shared.rounds.get(skipped)
        certificate = None if round_ is None else round_.book.certificates[NULLIFY]
        if certificate is None or len(found) == GAP_NULLIFICATIONS_MAX:
            break
        found.append(certificate)
    return found


def _sound(shared: Shared, proposal: Proposal) -> Proposal:
    """Return a proposal with nullifications that were verified here.

    Those it came with are its sender's word, and are not looked at if their views are nullified
    here; whoever lacks one of them would take a forged one for mine.
    """
    return msgspec.structs.replace(proposal, nullifications=gap(shared, proposal.header))


def _may_relay(shared: Shared) -> bool:
    """A leader's own proposal may be re-sent once its NOTARIZE is durable."""
    if shared.leader(shared.view) != shared.me:
        return True
    return any(vote.kind == NOTARIZE for vote in durable_votes(shared, shared.view))


def _unfinished_notarizations(shared: Shared) -> list[Certificate]:
    """Return notarizations above the head that I voted to finalize, within the re-sent views."""
    found = []
    for view in range(max(1, shared.view - RESEND_VIEWS), shared.view):
        round_ = shared.rounds.get(view)
        if round_ is not None and view > shared.finalised_view and round_.promised:
            certificate = round_.book.certificates[NOTARIZE]
            if certificate is not None and view != shared.view - 1:
                found.append(certificate)
    return found


def entering_certificate(shared: Shared) -> Certificate | None:
    """Return the best certificate that lets a peer enter my view (C8)."""
    round_ = shared.rounds.get(shared.view - 1)
    if round_ is None:
        return None
    for kind in (FINALIZE, NULLIFY, NOTARIZE):
        certificate = round_.book.certificates[kind]
        if certificate is not None:
            return certificate
    return None


def on_view_request(shared: Shared, peer: Peer, view: int) -> None:
    """C9: answer with every certificate of the view and, if none decides it, with my votes."""
    if not shared.answered.allow((peer, "view", view), shared.now_ms):
        return
    round_ = shared.rounds.get(view)
    certificates = [] if round_ is None else [c for c in round_.book.certificates if c is not None]
    for certificate in certificates:
        shared.emit(Send(peer, CertificateMessage(certificate)))
    # A notarization alone does not decide: my NULLIFY may be what a nullification lacks.
    if all(certificate.kind == NOTARIZE for certificate in certificates):
        for vote in durable_votes(shared, view):
            shared.emit(Send(peer, VoteMessage(vote)))
    if shared.finalization is not None and shared.finalization.view > view:
        answer_stale(shared, peer)


def on_block_request(shared: Shared, peer: Peer, block_id: bytes) -> None:
    """C9: serve a body by its id while it may still be missing somewhere."""
    entry = shared.entries.get(block_id)
    if entry is None or entry.block is None:
        return
    if shared.answered.allow((peer, block_id), shared.now_ms):
        shared.emit(Send(peer, BlockAnswer(entry.block.header, entry.block.body)))


def answer_stale(shared: Shared, peer: Peer) -> None:
    """C10: tell a peer that speaks of views below the newest finalised one, once per second."""
    if shared.finalization is not None and shared.answered.allow(peer, shared.now_ms):
        shared.emit(Send(peer, CertificateMessage(shared.finalization)))


def ask_how_it_ended(shared: Shared, peer: Peer) -> None:
    """C10: ask a peer of a later epoch for a view of mine, once per second: it tells the end."""
    if shared.end_proof is not None or shared.syncing:
        return
    if shared.answered.allow((peer, "later"), shared.now_ms):
        shared.emit(Send(peer, ViewRequest(shared.epoch, shared.view)))


def answer_old_epoch(shared: Shared, peer: Peer, epoch: int) -> None:
    """C10: tell a peer of an older epoch how that ended, once per second."""
    if shared.answered.allow((peer, "epoch"), shared.now_ms):
        shared.emit(ProveEpochEnd(peer, epoch))
