"""Entering views and keeping their time (protocol.md C1, C13)."""

from __future__ import annotations

from chain.committee import Committee
from chain.header import KIND_FILLER

from .hearing import SILENT_VIEWS, Hearing
from .retry import forget_view_wants
from .round import Anchor, Execution, Round
from .shared import DEPTH_MAX, VIEWS_KEPT, Shared
from .timers import Timer

VIEW_TIMERS = (Timer.LEADER, Timer.ADVANCE, Timer.PROPOSE, Timer.CERTIFY, Timer.VERIFY)


def enter_view(shared: Shared) -> bool:
    """C1: enter the highest view a certificate allows, start its timers, drop older ones."""
    if shared.open_view <= shared.view or shared.end_proof is not None:
        return False
    _forget_bodies(shared, shared.view, shared.open_view)
    _judge_turns(shared, shared.view, shared.open_view)
    forget_view_wants(shared)
    shared.hearing.enter(shared.view, shared.open_view)
    if shared.view > 0:
        due_ms = shared.pace.propose_at_ms(shared.parent_seen_ms, shared.waits_for_heartbeat)
        shared.pace.view_left(shared.now_ms - max(shared.entered_ms, due_ms))
    shared.view = shared.open_view
    shared.entered_ms = shared.now_ms
    shared.retries = 0
    for timer in VIEW_TIMERS:
        shared.cancel_timer(timer)
    shared.parent_seen_ms = _parent_seen_ms(shared)
    shared.idle, shared.deep = _pauses(shared)
    _set_timers(shared, shared.now_ms)
    retry_ms = shared.pace.retry_ms(0, shared.idle)
    shared.set_timer(Timer.RETRY, shared.now_ms + retry_ms)
    return True


def hearing_after(shared: Shared, committee: Committee) -> Hearing:
    """Return what the next epoch's members were heard, now that this epoch is over (C6).

    The view that certificates let this node enter was not passed. If they let it leap there, it
    was not here when the epoch ended.
    """
    if shared.open_view > shared.view + SILENT_VIEWS:
        return Hearing(committee)
    return shared.hearing.next_epoch(committee, shared.open_view - 1)


def follow_pace(shared: Shared) -> bool:
    """C13: move the view's timers when the network turns idle or deep, or stops being so.

    The first transaction restarts them from now, but never moves them further away.
    """
    if shared.view == 0 or shared.end_proof is not None:
        return False
    pauses = _pauses(shared)
    if pauses == (shared.idle, shared.deep):
        return False
    waited = shared.waits_for_heartbeat
    shared.idle, shared.deep = pauses
    if shared.waits_for_heartbeat == waited:
        return False
    _set_timers(shared, shared.now_ms if waited else shared.entered_ms)
    return True


def _judge_turns(shared: Shared, left: int, entered: int) -> None:
    """Note how the turns ended that are over now (C6).

    One in which I timed out has failed even if it was notarized in the end: where all time out in
    every view, each may be notarized and none is ever finalised. Turns of the silent do not count:
    who comes back is not to be judged by the time it was away.
    """
    for view in range(max(left, entered - VIEWS_KEPT, 1), entered):
        round_ = shared.rounds.get(view)
        if round_ is None or shared.hearing.is_silent(round_.leader, view):
            continue
        if round_.timed_out or (round_.nullified and round_.notarized_id is None):
            shared.turn_failed(round_.leader, view)
        elif round_.notarized_id is not None:
            shared.turns.went_well(round_.leader, view)


def _set_timers(shared: Shared, from_ms: int) -> None:
    left_ms = shared.pace.interval_left_ms(from_ms, shared.parent_seen_ms)
    pauses = shared.waits_for_heartbeat
    leader_ms = from_ms + shared.pace.leader_ms(left_ms, pauses)
    advance_ms = from_ms + shared.pace.advance_ms(left_ms, pauses)
    round_ = shared.round(shared.view)
    for timer, deadline_ms in ((Timer.LEADER, leader_ms), (Timer.ADVANCE, advance_ms)):
        if round_.timed_out or (timer is Timer.LEADER and round_.proposal is not None):
            continue
        current = shared.deadlines.get(timer)
        if current is not None and not pauses:
            deadline_ms = min(deadline_ms, current)
        shared.set_timer(timer, deadline_ms)


def _forget_bodies(shared: Shared, left: int, entered: int) -> None:
    """Drop proposals that were given up long ago, so that a long stall costs no memory.

    If one is notarized after all, its block can be asked for by id.
    """
    for view in range(max(left - VIEWS_KEPT, 1), entered - VIEWS_KEPT):
        round_ = shared.rounds.get(view)
        if round_ is None or round_.block is None or round_.notarized_id is not None:
            continue
        if round_.nullified:
            shared.entries.pop(round_.block.id, None)
            round_.proposal = round_.block = None


def find_parent(shared: Shared, view: int) -> tuple[Anchor | None, int]:
    """Return the block a proposal of ``view`` extends, or None and the view that is in the way.

    Walks down from ``view - 1`` (C2): a certified block is the parent, a nullified view is
    passed, and anything else has to be learnt first.
    """
    for below in range(view - 1, shared.head.view, -1):
        round_ = shared.rounds.get(below)
        if round_ is None:
            return None, below
        block_id = round_.notarized_id
        if block_id is not None and shared.is_executed(block_id):
            return shared.anchor(block_id), below
        if not round_.nullified:
            return None, below
    if shared.is_executed(shared.head.id):
        return shared.head, shared.head.view
    return None, shared.head.view


def _pauses(shared: Shared) -> tuple[bool, bool]:
    """Tell whether the next block may wait for the heartbeat, and whether it has to (C12, C13).

    It may not while my pool has something for it, while something un-finalised carries
    transactions, if its parent does, or while the end of an epoch waits for its finalization.
    It has to above many blocks or fillers that are not final: else what no proof can reach any
    more piles up while FINALIZE votes are on their way.
    """
    parent, _ = find_parent(shared, shared.view)
    anchor, depth, urgent = parent, 0, shared.pool_available
    while anchor is not None and anchor.id != shared.head.id:
        urgent = urgent or anchor.has_transactions or is_boundary(shared, anchor)
        depth += 1
        assert anchor.header is not None
        anchor = shared.anchor(anchor.header.parent_id)
    if parent is None or anchor is None:
        return False, False
    is_idle = not urgent and (depth > 0 or not parent.has_transactions)
    return is_idle, depth >= DEPTH_MAX


def is_boundary(shared: Shared, anchor: Anchor) -> bool:
    """Tell whether only boundary fillers may extend a block of this epoch (C11)."""
    return anchor.view > 0 and (anchor.kind == KIND_FILLER or anchor.height == shared.last_height)


def is_certifying(shared: Shared, block_id: bytes) -> bool:
    """Tell whether this node works on certifying a block or, first, an ancestor of it."""
    entry = shared.entries.get(block_id)
    while entry is not None and entry.block is not None:
        if entry.execution is Execution.RUNNING:
            return True
        if entry.execution is not Execution.NONE:
            return False
        entry = shared.entries.get(entry.header.parent_id)
    return False


def _parent_seen_ms(shared: Shared) -> int:
    """Return when the likely parent's proposal was seen; if it was not, the view's beginning.

    It need not be executed here yet: a leader that is behind would wait out the interval twice.
    """
    view = shared.view - 1
    round_ = shared.rounds.get(view)
    while view > shared.head.view and round_ is not None and _was_passed(round_):
        view -= 1
        round_ = shared.rounds.get(view)
    if round_ is None or round_.block is None:
        return shared.now_ms
    parent_id = shared.head.id if view == shared.head.view else round_.notarized_id
    return round_.seen_ms if round_.block.id == parent_id else shared.now_ms


def _was_passed(round_: Round) -> bool:
    return round_.nullified and round_.notarized_id is None
