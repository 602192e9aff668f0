"""The leader's part: from a parent to a proposal (protocol.md C2, C12)."""

from __future__ import annotations

from chain.application import Built as BuiltBlock
from chain.application import Placement, placement_of
from chain.block import Proposal
from chain.header import KIND_BLOCK, KIND_FILLER
from chain.vote import NOTARIZE

from .effects import Broadcast, Build, SetAside
from .learning import keep_proposal
from .messages import ProposalMessage
from .promises import cast, parent_certificate
from .retry import gap, want_view
from .round import Anchor, Verdict
from .shared import DEPTH_MAX, Shared
from .timers import Timer
from .views import find_parent, is_boundary, is_certifying


def propose(shared: Shared) -> bool:
    """C2: when it is my turn and time, have the block of this view built."""
    view = shared.view
    round_ = shared.rounds.get(view)
    if round_ is None or round_.leader != shared.me or not shared.may_sign:
        return False
    if round_.building or round_.promised or round_.timed_out or round_.build_failed:
        return False
    if shared.syncing:
        return False
    parent, missing = find_parent(shared, view)
    if parent is None:
        if missing > shared.head.view and not _is_on_its_way(shared, missing):
            want_view(shared, missing)
        return False
    due_ms = shared.pace.propose_at_ms(shared.parent_seen_ms, shared.waits_for_heartbeat)
    if shared.now_ms < due_ms:
        shared.set_timer(Timer.PROPOSE, due_ms)
        return False
    placement = _place(shared, parent)
    empty = placement.kind == KIND_FILLER or (
        placement.height - shared.start.base_height > DEPTH_MAX
        and placement.height - finalised_height(shared) > DEPTH_MAX
    )
    round_.building = True
    shared.emit(Build(placement, empty))
    return True


def finalised_height(shared: Shared) -> int:
    """Return the height of the newest finalization whose block is known (C12)."""
    certificate = shared.finalization
    if certificate is not None and certificate.block_id is not None:
        entry = shared.entries.get(certificate.block_id)
        if entry is not None:
            return max(entry.header.height, shared.head.height)
    return shared.head.height


def on_built(shared: Shared, view: int, built: BuiltBlock) -> None:
    """Sign and send the block I asked for, if its view is still mine to propose in."""
    round_ = shared.rounds.get(view)
    if view != shared.view or round_ is None or round_.promised or not shared.may_sign:
        return
    header = built.block.header
    placement = placement_of(built.block)
    parent = shared.anchor(header.parent_id)
    if parent is None:
        return  # Finalization passed by while the block was built.
    assert placement.proposer_index == shared.me
    assert (placement.epoch, placement.view) == (shared.epoch, view)
    vote = cast(shared, NOTARIZE, view, built.block.id)
    proposal = Proposal(
        header,
        built.block.body,
        built.attachments,
        vote.signature,
        gap(shared, header),
    )
    keep_proposal(shared, round_, proposal, built.block)
    round_.verdict = Verdict.VALID
    shared.emit_durable(Broadcast(ProposalMessage(proposal)))


def on_build_failed(shared: Shared, view: int, tx_id: bytes | None) -> None:
    """C6: without a block the view is better given up at once."""
    if tx_id is not None:
        shared.emit(SetAside(tx_id))
    round_ = shared.rounds.get(view)
    if round_ is not None and not round_.promised:
        round_.build_failed = True


def _is_on_its_way(shared: Shared, view: int) -> bool:
    """Tell whether the block of a view only has to be certified here."""
    round_ = shared.rounds.get(view)
    block_id = None if round_ is None else round_.notarized_id
    return block_id is not None and is_certifying(shared, block_id)


def _place(shared: Shared, parent: Anchor) -> Placement:
    """Return where my block stands: above ``parent``, or beside it as a filler (C11)."""
    filler = is_boundary(shared, parent)
    time_ms = parent.time_ms if filler else max(shared.wall_ms, parent.time_ms + 1)
    certificate = parent_certificate(shared, parent.view, parent.id)
    assert certificate is not None or parent.view == 0
    assert shared.me is not None
    return Placement(
        epoch=shared.epoch,
        view=shared.view,
        height=parent.height if filler else parent.height + 1,
        kind=KIND_FILLER if filler else KIND_BLOCK,
        parent_view=parent.view,
        parent_id=parent.id,
        parent_certificate=certificate,
        time_ms=time_ms,
        proposer_index=shared.me,
    )
