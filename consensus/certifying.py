"""From a notarization to my FINALIZE (protocol.md C4)."""

from __future__ import annotations

from chain.vote import FINALIZE, NOTARIZE, NULLIFY

from .effects import Broadcast, Certify, SetAside, StopCertify
from .journal import AttachmentsRecord, BlockRecord, JournalRecord
from .messages import VoteMessage
from .promises import cast
from .retry import want_block
from .round import DONE, Entry, Execution, Round
from .shared import Shared


def certify(shared: Shared) -> bool:
    """C4: execute Notarized blocks in order, finalize and pass on what is executed."""
    if not shared.candidates or shared.syncing:
        return False
    progress = False
    for view in sorted(shared.candidates):
        round_ = shared.rounds[view]
        block_id = round_.notarized_id
        assert block_id is not None
        entry = shared.entries.get(block_id)
        if entry is None or (entry.block is None and entry.execution is Execution.NONE):
            if _is_abandoned(shared, round_, block_id):
                shared.wants.pop(block_id, None)
                continue
            want_block(shared, block_id, shared.holder(view), delay_ms=shared.pace.body_ms())
        elif entry.execution is DONE:
            progress = _pass_on(shared, round_, entry, block_id) or progress
        elif _is_abandoned(shared, round_, block_id):
            progress = _stop(shared, entry, block_id) or progress
        elif entry.execution is Execution.NONE:
            progress = _begin(shared, entry) or progress
    return progress


def on_certified(shared: Shared, block_id: bytes) -> None:
    """The block is verified and executed."""
    entry = shared.entries.get(block_id)
    if entry is not None:
        entry.execution = DONE


def on_certify_failed(shared: Shared, block_id: bytes, tx_id: bytes | None) -> None:
    """The block was undone: I never FINALIZE it, and nullify its view when a timer says so."""
    if tx_id is not None:
        shared.emit(SetAside(tx_id))
    entry = shared.entries.get(block_id)
    if entry is not None and entry.execution is Execution.RUNNING:
        entry.execution = Execution.FAILED


def _begin(shared: Shared, entry: Entry) -> bool:
    block = entry.block
    assert block is not None
    parent_id = entry.header.parent_id
    if parent_id not in shared.entries and parent_id != shared.head.id:
        parent_view = entry.header.parent_view
        if parent_view > shared.head.view:
            want_block(shared, parent_id, shared.holder(parent_view))
        return False
    if not shared.is_executed(parent_id):
        return False
    entry.execution = Execution.RUNNING
    shared.emit(Certify(block))
    return True


def _stop(shared: Shared, entry: Entry, block_id: bytes) -> bool:
    """Stop work on a nullified block; a newer Notarized descendant would start it again."""
    if entry.execution is not Execution.RUNNING:
        return False
    entry.execution = Execution.NONE
    shared.emit(StopCertify(block_id))
    return True


def _is_abandoned(shared: Shared, round_: Round, block_id: bytes) -> bool:
    """Tell whether a block's view is nullified and nothing that may still be decided needs it.

    What needs it is a newer Notarized block, or the proposal of the present view: it is voted for
    only when its parent is executed here, and if the votes for two rival parents are divided,
    nothing above either of them ever becomes Notarized.
    """
    if not round_.nullified or round_.view <= shared.finalised_view:
        return False
    heirs = [shared.rounds[view].notarized_id for view in shared.candidates if view > round_.view]
    present = shared.rounds.get(shared.view)
    if present is not None and present.block is not None and present.refusal is None:
        heirs.append(present.block.header.parent_id)
    return not any(_descends(shared, heir, block_id) for heir in heirs)


def _descends(shared: Shared, block_id: bytes | None, ancestor_id: bytes) -> bool:
    while block_id is not None and block_id != ancestor_id:
        entry = shared.entries.get(block_id)
        block_id = None if entry is None else entry.header.parent_id
    return block_id == ancestor_id


def _pass_on(shared: Shared, round_: Round, entry: Entry, block_id: bytes) -> bool:
    """Vote FINALIZE if my promises allow, and enter the next view."""
    del shared.candidates[round_.view]
    shared.allow_view(round_.view + 1)
    notarization = round_.book.certificates[NOTARIZE]
    may_finalize = (
        shared.may_sign
        and notarization is not None
        and not round_.equivocated
        and NULLIFY not in round_.promised
        and FINALIZE not in round_.promised
    )
    if may_finalize and entry.block is not None:
        bodies = _bodies_to_journal(shared, entry)
        vote = cast(shared, FINALIZE, round_.view, block_id, beside=bodies)
        shared.emit_durable(Broadcast(VoteMessage(vote)))
        _note_attachments(shared, round_, block_id)
    return True


def _bodies_to_journal(shared: Shared, entry: Entry) -> list[JournalRecord]:
    """Return records of the block and of every un-finalised ancestor that has none yet.

    Whoever signs FINALIZE makes a view unskippable, so it must be able to serve all that is
    needed to finalise it after a crash of everybody. An ancestor lacks a record if this node
    gave its view up before it was notarized.
    """
    records: list[JournalRecord] = []
    below: Entry | None = entry
    while below is not None and below.header.view > shared.head.view:
        if below.block is not None and not below.is_journalled:
            below.is_journalled = True
            records.append(BlockRecord(below.block.header, below.block.body))
        below = shared.entries.get(below.header.parent_id)
    return records


def _note_attachments(shared: Shared, round_: Round, block_id: bytes) -> None:
    proposal = round_.proposal
    if proposal is None or round_.block is None or round_.block.id != block_id:
        return
    if any(proposal.attachments):
        shared.note_after(AttachmentsRecord(block_id, proposal.attachments))
