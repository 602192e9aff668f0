"""Before a validator may sign: replay, look-back, quarantine (protocol.md C15)."""

from __future__ import annotations

from collections.abc import Iterable

from chain.block import Block
from chain.certificate import Certificate
from chain.errors import Rejected
from chain.vote import Vote, VoteKind, verify_vote

from .effects import Broadcast, Send, Stop
from .events import Peer, Started
from .finalising import open_epoch
from .hearing import Hearing
from .journal import (
    BegunRecord,
    BlockRecord,
    CertificateRecord,
    JournalRecord,
    QuarantineRecord,
    VoteRecord,
    intact_after,
)
from .learning import keep_block, learn_certificate, take_certificate
from .messages import LOOKBACK_VOTES_MAX, LookbackAnswer, LookbackQuestion
from .shared import Mode, Shared
from .timers import LOOKBACK_ASK_MS, LOOKBACK_MS, Timer
from .turns import Turns

LOOKBACK_PEERS_MAX = 256
"""Peers whose answers are remembered; a third of the largest committee is 34."""


def on_started(shared: Shared, event: Started) -> None:
    """Take over what the store and the journal hold, then look back if others could know more."""
    shared.started_ms = shared.now_ms
    start = event.epoch
    turns = Turns(start.committee, start.base_height)
    open_epoch(shared, start, event.head, Hearing(start.committee), turns)
    replay(shared, event.journal)
    begin_lookback(shared)
    if event.journal_lost and shared.mode is Mode.LOOKBACK and not shared.journal_lost:
        shared.persist(QuarantineRecord(shared.epoch))
    if event.journal_lost:
        _lose(shared)


def replay(shared: Shared, records: Iterable[JournalRecord]) -> None:
    """Restore promises, certificates and bodies of this epoch; nothing is sent (J3)."""
    for record in records:
        shared.journal_intact = intact_after(shared.journal_intact, record)
        shared.journal_lost = not shared.journal_intact and (
            shared.journal_lost or isinstance(record, QuarantineRecord)
        )
        match record:
            case VoteRecord() if record.vote.epoch == shared.epoch:
                _restore_vote(shared, record.vote)
            case BlockRecord() if record.header.epoch == shared.epoch:
                if record.header.view > shared.head.view:
                    block = Block(record.header, record.body)
                    keep_block(shared, block)
                    shared.entries[block.id].is_journalled = True
            case CertificateRecord() if record.certificate.epoch == shared.epoch:
                certificate = record.certificate
                if certificate.view > shared.head.view:
                    shared.round(certificate.view).book.restore(certificate)
                    take_certificate(shared, certificate)
            case _:
                pass  # Of another epoch, of the journal itself, or the host's.


def _restore_vote(shared: Shared, vote: Vote) -> None:
    """A promise binds for ever; it is looked at again only above the head."""
    if vote.signer != shared.me:
        return
    if vote.view > shared.journal_view:
        shared.journal_view = vote.view
        shared.journal_votes = []
    if vote.view == shared.journal_view:
        shared.journal_votes.append(vote)
    if vote.view < shared.floor:
        return
    round_ = shared.round(vote.view)
    round_.promised[vote.kind] = vote
    certificate, _ = round_.book.add(vote, from_signer=True)
    if certificate is not None:
        take_certificate(shared, certificate)
    shared.allow_view(vote.view)


def begin_lookback(shared: Shared) -> None:
    """Ask everybody, unless I am no member or hold a quorum alone: then nobody can know more."""
    shared.lookback_peers.clear()
    shared.lookback_heard.clear()
    shared.lookback_view = 0
    if shared.me is None or _is_quorum_alone(shared):
        shared.mode = Mode.ACTIVE
        return
    shared.mode = Mode.LOOKBACK
    shared.lookback_since_ms = shared.now_ms
    shared.lookback_floor = max(shared.journal_view, shared.finalised_view)
    _ask(shared)


def on_lookback_timer(shared: Shared) -> None:
    """With an intact journal silence is clean; otherwise ask until enough have answered."""
    if shared.mode is not Mode.LOOKBACK:
        return
    if shared.journal_intact and shared.now_ms >= shared.lookback_since_ms + LOOKBACK_MS:
        _activate(shared)
    else:
        _ask(shared)


def on_question(shared: Shared, peer: Peer, question: LookbackQuestion) -> None:
    """Answer in every mode with the asker's votes from its journal's newest view on (C15).

    Who has just started has forgotten votes that are in no certificate, and may not have heard
    yet what became final meanwhile; it says so.
    """
    if not shared.answered.allow((peer, "lookback"), shared.now_ms):
        return
    votes: list[Vote] = []
    if question.epoch == shared.epoch:
        views = sorted(view for view in shared.rounds if view >= question.view)
        for view in views:
            votes += shared.rounds[view].book.votes_shown_of(question.signer)
    settled = shared.now_ms >= shared.started_ms + LOOKBACK_MS
    votes = votes[-LOOKBACK_VOTES_MAX:]
    shared.emit(Send(peer, LookbackAnswer(shared.epoch, votes, shared.finalization, settled)))
    if shared.mode is Mode.LOOKBACK and peer not in shared.lookback_peers:
        shared.emit(Send(peer, _question(shared)))  # It was not there when I asked everybody.


def on_answer(shared: Shared, peer: Peer, answer: LookbackAnswer) -> None:
    """Stop if a peer knows a vote of mine that my journal does not; else count the answer.

    Raises ``Rejected`` if the answer holds something forged.
    """
    if shared.mode is not Mode.LOOKBACK or answer.epoch != shared.epoch:
        return
    for vote in answer.votes:
        _require_known(shared, vote)
        if shared.mode is not Mode.LOOKBACK:
            return
    if answer.finalization is not None:
        _learn(shared, answer.finalization)
    if not shared.journal_intact and (shared.finalised_view > 0 or shared.start.base_height > 0):
        _lose(shared)  # The chain has begun; whoever may vote has a journal.
    if _is_beginning(shared):
        shared.lookback_heard.add(peer)
        if len(shared.lookback_heard) > _faulty_max(shared):
            _activate(shared)
            return
    if answer.settled and len(shared.lookback_peers) < LOOKBACK_PEERS_MAX:
        shared.lookback_peers.add(peer)
    if len(shared.lookback_peers) > _faulty_max(shared):
        _conclude(shared)


def release(shared: Shared) -> bool:
    """Leave quarantine once enough views were finalised that I cannot have signed in (C15)."""
    if shared.mode is not Mode.QUARANTINE or shared.finalised_view < shared.quarantine_until:
        return False
    _activate(shared)
    return True


def on_epoch_opened(shared: Shared, *, synced: bool) -> None:
    """A quarantine ends with its epoch, unless this node did not see that epoch begin (C15)."""
    shared.journal_view = 0
    if shared.mode is Mode.LOOKBACK or (synced and shared.mode is Mode.QUARANTINE):
        begin_lookback(shared)
    elif shared.mode is Mode.QUARANTINE:
        _activate(shared)


def _ask(shared: Shared) -> None:
    shared.emit(Broadcast(_question(shared)))
    shared.set_timer(Timer.LOOKBACK, shared.now_ms + LOOKBACK_ASK_MS)


def _question(shared: Shared) -> LookbackQuestion:
    assert shared.me is not None
    return LookbackQuestion(shared.epoch, shared.lookback_floor, shared.me)


def _faulty_max(shared: Shared) -> int:
    """Return how many members may be faulty: of more answers, an honest member gave one."""
    return (len(shared.committee) - 1) // 3


def _is_beginning(shared: Shared) -> bool:
    """Tell whether neither journal nor peers know of anything that was ever signed or final."""
    is_first = shared.start.base_height == 0 and shared.finalised_view == 0
    return shared.journal_intact and is_first and shared.journal_view == 0


def _is_quorum_alone(shared: Shared) -> bool:
    assert shared.me is not None
    return shared.committee.is_quorum(shared.committee.powers[shared.me])


def _conclude(shared: Shared) -> None:
    """More than f peers answered, so an honest one did."""
    if shared.journal_intact:
        return  # Three seconds of silence are worth more than an early answer.
    if not shared.journal_lost:
        _activate(shared)
        return
    shared.mode = Mode.QUARANTINE
    newest = max(shared.finalised_view, shared.lookback_view)
    shared.quarantine_until = newest + shared.views_ahead
    shared.cancel_timer(Timer.LOOKBACK)


def _lose(shared: Shared) -> None:
    shared.journal_intact = False
    shared.journal_lost = True


def _activate(shared: Shared) -> None:
    """Sign from now on; a crash before the first vote must not ask the same question again."""
    shared.mode = Mode.ACTIVE
    shared.cancel_timer(Timer.LOOKBACK)
    if not shared.journal_intact:
        shared.persist(BegunRecord())
    shared.journal_intact = True
    shared.journal_lost = False


def _require_known(shared: Shared, vote: Vote) -> None:
    floor = shared.lookback_floor
    if vote.signer != shared.me or vote.epoch != shared.epoch or vote.view < floor:
        return
    if vote.view == floor and (floor > shared.journal_view or vote in shared.journal_votes):
        return  # Final at the start, so I never sign there again; or in the journal.
    verify_vote(vote, shared.committee, shared.genesis_hash, shared.verifier)
    if shared.journal_lost:
        shared.lookback_view = max(shared.lookback_view, vote.view)
        return  # What a quarantine is for.
    shared.mode = Mode.STOPPED
    shared.emit(
        Stop(
            f"a peer holds a vote of this validator for view {vote.view} of epoch {vote.epoch}, "
            f"but its journal ends at view {shared.journal_view}: the journal is not the newest "
            "one; bring that back, or start with --quarantine"
        )
    )


def _learn(shared: Shared, certificate: Certificate) -> None:
    """Learn what an answer proves to be final: a quarantine is counted from there.

    Raises ``Rejected`` if it proves nothing.
    """
    if certificate.epoch != shared.epoch or shared.end_proof is not None:
        return
    if certificate.view <= shared.finalised_view:
        return
    if certificate.kind != VoteKind.FINALIZE:
        raise Rejected("consensus/Lookback", "the answer's certificate is no finalization")
    learn_certificate(shared, certificate)
