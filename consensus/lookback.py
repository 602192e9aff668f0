"""Before a validator may sign: what others know of its votes; quarantine (protocol.md C15).

Whoever signs must know all it promised. The journal says that, unless it is an old one or lost:
then others may know better. How much of their silence means that there is nothing to know depends
on what the journal is: intact, new, or lost.
"""

from __future__ import annotations

from chain.certificate import Certificate
from chain.errors import Rejected
from chain.vote import Vote, VoteKind, verify_vote

from .effects import Broadcast, Send, Stop
from .events import Peer
from .journal import BegunRecord
from .learning import learn_certificate
from .messages import LOOKBACK_VOTES_MAX, LookbackAnswer, LookbackQuestion
from .retry import answer_old_epoch
from .shared import Mode, Shared
from .timers import LOOKBACK_ASK_MS, LOOKBACK_MS, Timer


def begin_lookback(shared: Shared) -> None:
    """Ask everybody, unless I am no member or hold a quorum alone: then nobody can know more."""
    shared.lookback_since_ms = None
    _ask_anew(shared)


def on_lookback_timer(shared: Shared) -> None:
    """See whether silence has lasted; else ask once more."""
    if shared.mode is not Mode.LOOKBACK:
        return
    _judge(shared)
    if shared.mode is Mode.LOOKBACK:
        _ask(shared)


def on_question(shared: Shared, peer: Peer, question: LookbackQuestion) -> None:
    """Answer in every mode with the asker's votes from its journal's newest view on (C15).

    Who has just started has forgotten votes that are in no certificate, and may not have heard
    yet what became final meanwhile; it says so. Who asks in an older epoch is told how that ended.
    """
    if question.epoch < shared.epoch:
        answer_old_epoch(shared, peer, question.epoch)
    # Counted by epoch: who follows short ones asks anew in each, and must not wait for a second.
    if not shared.answered.allow((peer, "lookback", shared.epoch), shared.now_ms):
        return
    votes: list[Vote] = []
    if question.epoch == shared.epoch:
        views = sorted(view for view in shared.rounds if view >= question.view)
        for view in views:
            votes += shared.rounds[view].book.votes_shown_of(question.signer)
    settled = shared.now_ms >= shared.started_ms + LOOKBACK_MS
    votes = votes[-LOOKBACK_VOTES_MAX:]
    shared.emit(Send(peer, LookbackAnswer(shared.epoch, votes, shared.finalization, settled)))
    member = shared.committee.index_of(peer)
    if shared.mode is Mode.LOOKBACK and (
        member is None or not shared.lookback_answered >> member & 1
    ):
        shared.emit(Send(peer, _question(shared)))  # It was not there when I asked everybody.


def on_answer(shared: Shared, peer: Peer, answer: LookbackAnswer) -> None:
    """Stop if a peer knows a vote of mine that my journal does not; else count the answer.

    Only answers of members in my epoch are looked at. Raises ``Rejected`` if one holds something
    forged.
    """
    member = shared.committee.index_of(peer)
    if shared.mode is not Mode.LOOKBACK or answer.epoch != shared.epoch or member is None:
        return
    if answer.finalization is not None:
        _learn(shared, answer.finalization)
    if not shared.journal_intact and (shared.finalised_view > 0 or shared.start.base_height > 0):
        lose_journal(shared)  # The chain has begun; whoever may vote has a journal.
    for vote in answer.votes:
        _require_known(shared, vote)
        if shared.mode is not Mode.LOOKBACK:
            return
    shared.lookback_answered |= 1 << member
    if answer.settled:
        shared.lookback_settled |= 1 << member
    _judge(shared)


def release(shared: Shared) -> bool:
    """Leave quarantine once enough views were finalised that I cannot have signed in (C15)."""
    if shared.mode is not Mode.QUARANTINE or shared.finalised_view < shared.quarantine_until:
        return False
    shared.own_from = shared.quarantine_until
    _activate(shared)
    return True


def on_epoch_opened(shared: Shared, *, synced: bool, was_member: bool) -> None:
    """See what an epoch that opens means for who may sign (C15).

    Who did not see the epoch before end, or was no member of it, may have signed in this one and
    forgotten it: its home may be an old copy. A quarantine ends with an epoch that this node saw
    to its end.
    """
    shared.journal_view = shared.own_from = 0
    if shared.mode is Mode.STOPPED:
        return
    if synced or (shared.me is not None and not was_member):
        begin_lookback(shared)
    elif shared.mode is Mode.LOOKBACK:
        _ask_anew(shared)
    elif shared.mode is Mode.QUARANTINE:
        _activate(shared)


def lose_journal(shared: Shared) -> None:
    """Note that the journal does not tell everything I promised."""
    shared.journal_intact = False
    shared.journal_lost = True


def _ask_anew(shared: Shared) -> None:
    """Begin to ask in an epoch; what was answered in the one before says nothing of this."""
    shared.lookback_answered = shared.lookback_settled = shared.lookback_view = 0
    shared.own_from = shared.finalised_view + 1
    if shared.me is None or _is_quorum_alone(shared):
        shared.mode = Mode.ACTIVE
        return
    shared.mode = Mode.LOOKBACK
    shared.lookback_floor = max(shared.journal_view, shared.finalised_view)
    _ask(shared)


def _ask(shared: Shared) -> None:
    shared.emit(Broadcast(_question(shared)))
    due_ms = shared.now_ms + LOOKBACK_ASK_MS
    if shared.lookback_since_ms is not None and not _has_lasted(shared):
        due_ms = min(due_ms, shared.lookback_since_ms + LOOKBACK_MS)
    shared.set_timer(Timer.LOOKBACK, due_ms)


def _question(shared: Shared) -> LookbackQuestion:
    assert shared.me is not None
    return LookbackQuestion(shared.epoch, shared.lookback_floor, shared.me)


def _is_beginning(shared: Shared) -> bool:
    """Tell whether neither journal nor peers know of anything that was ever signed or final."""
    is_first = shared.start.base_height == 0 and shared.finalised_view == 0
    return shared.journal_intact and is_first and shared.journal_view == 0


def _is_quorum_alone(shared: Shared) -> bool:
    assert shared.me is not None
    return shared.committee.is_quorum(shared.committee.powers[shared.me])


def _judge(shared: Shared) -> None:
    """End the look-back if enough members have answered in this epoch (C15)."""
    committee = shared.committee
    assert shared.me is not None
    answered = committee.power_of(shared.lookback_answered | 1 << shared.me)
    if committee.is_quorum(answered) and shared.lookback_since_ms is None:
        shared.lookback_since_ms = shared.now_ms
    if shared.journal_intact:
        heard = committee.power_of(shared.lookback_answered)
        if (_is_beginning(shared) and committee.has_honest(heard)) or (
            committee.is_quorum(answered) and _has_lasted(shared)
        ):
            _activate(shared)
    elif committee.has_honest(committee.power_of(shared.lookback_settled)):
        if shared.journal_lost:
            _quarantine(shared)
        else:
            _activate(shared)


def _has_lasted(shared: Shared) -> bool:
    since_ms = shared.lookback_since_ms
    return since_ms is not None and shared.now_ms >= since_ms + LOOKBACK_MS


def _quarantine(shared: Shared) -> None:
    shared.mode = Mode.QUARANTINE
    newest = max(shared.finalised_view, shared.lookback_view)
    shared.quarantine_until = newest + shared.views_ahead
    shared.own_from = max(newest, shared.view) + 1
    shared.cancel_timer(Timer.LOOKBACK)


def _activate(shared: Shared) -> None:
    """Sign from now on; a crash before the first vote must not ask the same question again."""
    shared.mode = Mode.ACTIVE
    shared.cancel_timer(Timer.LOOKBACK)
    if not shared.journal_intact:
        shared.persist(BegunRecord())
    shared.journal_intact = True
    shared.journal_lost = False


def _require_known(shared: Shared, vote: Vote) -> None:
    """Stop, or count the journal as lost, if a vote of mine is none that I know of.

    A journal that was never begun cannot be an old one: it is none (C15).
    """
    floor = shared.lookback_floor
    if vote.signer != shared.me or vote.epoch != shared.epoch or vote.view < floor:
        return
    if vote.view == floor and (floor > shared.journal_view or vote in shared.journal_votes):
        return  # Final at the start, so I never sign there again; or in the journal.
    verify_vote(vote, shared.committee, shared.genesis_hash, shared.verifier)
    if not shared.journal_intact:
        lose_journal(shared)
        shared.lookback_view = max(shared.lookback_view, vote.view)
        return  # What a quarantine is for.
    shared.mode = Mode.STOPPED
    shared.emit(
        Stop(
            f"a peer holds a vote of this validator for view {vote.view} of epoch {vote.epoch}, "
            f"but its journal ends at view {shared.journal_view}: make sure that no other node "
            "runs with this key; then bring the newest journal back, or start with --quarantine"
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
