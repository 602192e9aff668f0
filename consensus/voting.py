"""Voting for a proposal, and giving a view up (protocol.md C3, C6, C12)."""

from __future__ import annotations

from chain.errors import Rejected
from chain.header import KIND_BLOCK, KIND_FILLER, Header
from chain.vote import FINALIZE, NOTARIZE, NULLIFY

from .effects import Broadcast, VerifyBlock
from .messages import VoteMessage
from .promises import cast
from .proposing import finalised_height
from .retry import want_block, want_view
from .round import ASKED, VALID, Anchor, Round
from .shared import DEPTH_MAX, Shared
from .timers import Timer
from .views import find_parent, is_boundary, is_certifying

GAP_REQUESTS_MAX = 8
"""Views of a gap asked for at a time."""
FUTURE_PRECISIONS = 2
"""A block time less than 2·PRECISION ahead is waited for, not nullified (C3)."""
DAY_MS = 86_400_000
"""MSGDELAY never grows past a day, however slow the network got."""


def vote(shared: Shared) -> bool:
    """C3: vote for the leader's first proposal of this view once everything about it is known."""
    round_ = shared.rounds.get(shared.view)
    if round_ is None or round_.block is None or not shared.may_sign:
        return False
    if round_.promised or round_.refusal is not None or round_.verdict is ASKED:
        return False
    if round_.verdict is VALID:
        cast_vote = cast(shared, NOTARIZE, shared.view, round_.block.id)
        shared.emit_durable(Broadcast(VoteMessage(cast_vote)))
        return True
    if shared.syncing:
        return False
    try:
        ready = _is_ready(shared, round_, round_.block.header)
    except Rejected as refusal:
        shared.refuse(round_, refusal)
        return True
    if ready:
        assert round_.proposal is not None
        round_.verdict = ASKED
        shared.emit(VerifyBlock(round_.block, round_.proposal.attachments))
    return ready


def on_verified(shared: Shared, block_id: bytes, refusal: Rejected | None) -> None:
    """Take in the application's verdict on a proposal."""
    for round_ in shared.rounds.values():
        if round_.block is not None and round_.block.id == block_id:
            if refusal is None:
                round_.verdict = VALID
            else:
                shared.refuse(round_, refusal)


def nullify(shared: Shared) -> bool:
    """C6: give the view up if a timer, the leader, its silence, or its proposal says so."""
    round_ = shared.rounds.get(shared.view)
    if round_ is None or not shared.may_sign:
        return False
    if NULLIFY in round_.promised or FINALIZE in round_.promised:
        return False
    hopeless = (
        round_.refusal is not None
        or round_.build_failed
        or round_.leader in round_.book.votes[NULLIFY]
        or (not _may_be_voted_for(shared, round_) and not shared.is_waited_for(round_.leader))
    )
    if not hopeless and not (round_.timed_out and not _is_suspended(shared, round_)):
        return False
    nullification = cast(shared, NULLIFY, shared.view, None)
    if not hopeless and shared.turns.is_slow_for_all(round_.leader):
        shared.pace.timer_nullified()
    shared.emit_durable(Broadcast(VoteMessage(nullification)))
    return True


def clear_way(shared: Shared) -> bool:
    """C6: when my view has timed out, give up the view below that no proposal can get past.

    It is neither certified here nor nullified, so nobody like me can extend it or skip it: its
    block may be lost for ever. NULLIFY of a view I left is as safe as of my own, as long as I
    promised no FINALIZE there; if more than a third did, they hold the block.
    """
    round_ = shared.rounds.get(shared.view)
    if round_ is None or not round_.timed_out or not shared.may_sign:
        return False
    if NULLIFY not in round_.promised:
        return False
    parent, obstacle = find_parent(shared, shared.view)
    if parent is not None or obstacle <= shared.finalised_view:
        return False
    below = shared.round(obstacle)
    promised = below.promised
    if below.notarized_id is not None and is_certifying(shared, below.notarized_id):
        return False
    if NULLIFY in promised or FINALIZE in promised:
        return False
    nullification = cast(shared, NULLIFY, obstacle, None)
    shared.emit_durable(Broadcast(VoteMessage(nullification)))
    return True


def on_view_timer(shared: Shared, timer: Timer) -> None:
    """LEADER, ADVANCE or CERTIFY fired in this view."""
    round_ = shared.round(shared.view)
    if timer is Timer.CERTIFY:
        round_.certify_expired = True
    elif timer is Timer.ADVANCE or round_.proposal is None:
        round_.timed_out = True


def _may_be_voted_for(shared: Shared, round_: Round) -> bool:
    """Tell whether the proposal of my view is here, and its time not ahead of my clock (C6)."""
    return round_.proposal is not None and Timer.VERIFY not in shared.deadlines


def _is_suspended(shared: Shared, round_: Round) -> bool:
    """C6: giving up waits while I certify a block whose notarization and body I hold."""
    block_id = round_.notarized_id
    if block_id is None or round_.certify_expired or not is_certifying(shared, block_id):
        return False
    if Timer.CERTIFY not in shared.deadlines:
        shared.set_timer(Timer.CERTIFY, shared.now_ms + shared.params.certify_ms_max)
    return True


def _is_ready(shared: Shared, round_: Round, header: Header) -> bool:
    """Tell whether the application can be asked; asks for what is missing, waits for the rest.

    Raises ``Rejected`` if this proposal can never be voted for.
    """
    extends_head = header.parent_view > shared.head.view or header.parent_id == shared.head.id
    if not extends_head:
        raise Rejected("block/Stale", "the proposal does not extend what is final")
    if not _gap_is_nullified(shared, header):
        return False
    parent = shared.anchor(header.parent_id)
    if parent is None:
        want_block(shared, header.parent_id, header.proposer_index)
        return False
    require_placement(shared, header, parent)
    if not shared.is_executed(parent.id):
        return False
    if _is_too_deep(shared, round_, header):
        # The answer to a view above mine carries the leader's newest finalization (C9).
        want_view(shared, shared.finalised_view + 1, header.proposer_index)
        return False
    return _time_has_come(shared, round_, header, parent)


def _gap_is_nullified(shared: Shared, header: Header) -> bool:
    missing = 0
    for view in range(header.view - 1, header.parent_view, -1):
        round_ = shared.rounds.get(view)
        if round_ is None or not round_.nullified:
            want_view(shared, view, header.proposer_index)
            missing += 1
            if missing == GAP_REQUESTS_MAX:
                break
    return missing == 0


def require_placement(shared: Shared, header: Header, parent: Anchor) -> None:
    """Check what a header says about its place against its parent (B6, C11)."""
    filler = is_boundary(shared, parent)
    if header.kind != (KIND_FILLER if filler else KIND_BLOCK):
        raise Rejected("block/Kind", "exactly the end of an epoch is extended by fillers")
    height = parent.height if filler else parent.height + 1
    if header.height != height or header.parent_view != parent.view:
        raise Rejected(
            "block/Height",
            f"height {header.height} in view {header.view}, expected {height}",
            found=header.height,
            expected=height,
        )
    if not filler:
        if header.time_ms <= parent.time_ms:
            raise Rejected(
                "block/Time",
                f"the block's time lies {parent.time_ms - header.time_ms} ms before its parent's, "
                "it must be later: its leader goes by a wrong clock",
            )
        return
    above = parent.header
    assert above is not None, "the epoch's base is no boundary of its own epoch"
    copied = ("time_ms", "base_fee", "units_limit_used", "params_hash", "next_committee_hash")
    for name in copied:
        if getattr(header, name) != getattr(above, name):
            raise Rejected("block/Filler", f"a filler must repeat {name} of the block below it")


def _is_too_deep(shared: Shared, round_: Round, header: Header) -> bool:
    """C12: no work for a full block far above what I know to be final; never a reason to refuse."""
    assert round_.block is not None
    body = round_.block.body
    carries = bool(body.transactions or body.evidence)
    return carries and header.height - finalised_height(shared) > DEPTH_MAX


def _time_has_come(shared: Shared, round_: Round, header: Header, parent: Anchor) -> bool:
    """C3: accept a time near my clock at the proposal's arrival, wait for one just ahead of it."""
    if header.kind == KIND_FILLER:
        return True
    precision_ms = shared.params.precision_ms
    delay_ms = min(shared.pace.message_delay_ms(shared.params.message_delay_ms), DAY_MS)
    if header.time_ms < round_.seen_wall_ms - delay_ms - precision_ms:
        raise _wrong_time(header.time_ms - round_.seen_wall_ms)
    slow_clock = parent.time_ms > shared.wall_ms + precision_ms
    ahead_ms = header.time_ms - shared.wall_ms - precision_ms
    if ahead_ms <= 0:
        return True
    too_far = header.time_ms - round_.seen_wall_ms >= FUTURE_PRECISIONS * precision_ms
    if too_far and not slow_clock:
        raise _wrong_time(header.time_ms - round_.seen_wall_ms)
    shared.set_timer(Timer.VERIFY, shared.now_ms + ahead_ms)
    if header.time_ms > parent.time_ms + 1 and not slow_clock:
        shared.turn_failed(round_.leader, round_.view)  # Its parent did not force this time.
    return False


def _wrong_time(ahead_ms: int) -> Rejected:
    where = "ahead of" if ahead_ms > 0 else "behind"
    return Rejected(
        "block/Time",
        f"the block's time lies {abs(ahead_ms)} ms {where} this machine's clock: "
        "its leader's clock is wrong, or this one",
        ahead_ms=ahead_ms,
    )
