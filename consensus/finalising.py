"""From a finalization to finalised blocks, and from epoch to epoch (protocol.md C7, C11)."""

from __future__ import annotations

from chain.block import Block
from chain.errors import Rejected
from chain.finality import FinalityProof, verify_finality
from chain.header import KIND_BLOCK, Header

from .effects import Finalize, Forget, Stop
from .events import EpochStart, Head, Peer
from .hearing import Hearing
from .journal import FinalisedRecord
from .learning import learn_certificate
from .retry import request_sync, want_block
from .round import DONE, Anchor, Entry
from .shared import VIEWS_KEPT, Mode, Shared
from .timers import Timer
from .turns import Turns

SYNC_GAP = 16
"""Up to so many heights behind, blocks are asked for one by one; beyond, ranges are."""


def finalise(shared: Shared) -> bool:
    """C7: finalise the newest finalization's block and its ancestors, once all are here."""
    certificate = shared.finalization
    if certificate is None or certificate.view <= shared.head.view:
        return False
    if shared.end_proof is not None or shared.mode is Mode.STOPPED:
        return False
    assert certificate.block_id is not None
    chain = None if shared.syncing else _chain_to_head(shared, certificate.block_id)
    if shared.syncing:  # Perhaps only now: the walk asks for ranges if too much is missing.
        if certificate.view - VIEWS_KEPT > shared.floor:
            forget_below(shared, certificate.view - VIEWS_KEPT)
        return False
    if chain is None:
        return False
    blocks = [entry.block for entry in chain if entry.block and entry.header.kind == KIND_BLOCK]
    headers = [entry.header for entry in chain]
    above = [header for header in headers if header.kind != KIND_BLOCK]
    proof = FinalityProof(certificate, [*reversed(above), blocks[-1].header])
    shared.emit(Finalize(tuple(blocks), proof))
    _move_head(shared, blocks[-1])
    if blocks[-1].header.height == shared.last_height:
        _end_epoch(shared, proof)
    return True


def _chain_to_head(shared: Shared, block_id: bytes) -> list[Entry] | None:
    """Return the entries above the head up to a block, ascending; ask for what is missing."""
    chain: list[Entry] = []
    while block_id != shared.head.id:
        entry = shared.entries.get(block_id)
        view = chain[-1].header.parent_view if chain else shared.finalised_view
        if entry is None or (entry.block is None and entry.header.kind == KIND_BLOCK):
            if view > shared.head.view:
                want_block(shared, block_id, shared.holder(view))
            else:
                _stop_forked(shared)
            return None
        if entry.header.view <= shared.head.view:
            _stop_forked(shared)
            return None
        chain.append(entry)
        if _is_far(shared, entry.header):
            request_sync(shared, entry.header.height)
            return None
        block_id = entry.header.parent_id
    chain.reverse()
    return chain


def _is_far(shared: Shared, header: Header) -> bool:
    if header.parent_id in shared.entries or header.parent_id == shared.head.id:
        return False
    return header.height - shared.head.height > SYNC_GAP


def _stop_forked(shared: Shared) -> None:
    """More than a third of the power signed two histories: a human has to look."""
    shared.mode = Mode.STOPPED
    shared.emit(
        Stop(
            f"epoch {shared.epoch}: the finalization of view {shared.finalised_view} does not "
            f"extend the finalised block of view {shared.head.view}"
        )
    )


def _move_head(shared: Shared, last: Block) -> None:
    entry = shared.entries[last.id]
    shared.head = entry.anchor(last.id)
    prune(shared)


def prune(shared: Shared) -> None:
    """Forget what lies more than 20 views below the head, and work on what lost (C7)."""
    head_view = shared.head.view
    forget_below(shared, head_view - VIEWS_KEPT)
    for view in [view for view in shared.candidates if view <= head_view]:
        del shared.candidates[view]
    for key in [key for key in shared.wants if not isinstance(key, int) or key <= head_view]:
        del shared.wants[key]


def forget_below(shared: Shared, floor: int) -> None:
    """Forget the views below ``floor``: at most those 20 below what is known to be final (C7).

    While ranges are fetched the head stands still, and the network does not: all that passes
    will come once more, with the ranges.
    """
    floor = shared.floor = max(floor, shared.floor)
    for view in [view for view in shared.rounds if view < floor]:
        del shared.rounds[view]
    for view in [view for view in shared.candidates if view < floor]:
        del shared.candidates[view]
    for block_id in [i for i, entry in shared.entries.items() if entry.header.view < floor]:
        if block_id != shared.head.id:
            del shared.entries[block_id]


def on_committed(shared: Shared, block_id: bytes) -> None:
    """The store has the block: it is executed, and older promises may be forgotten (J6)."""
    entry = shared.entries.get(block_id)
    if entry is None:
        return
    header = entry.header
    below: Entry | None = entry
    while below is not None and below.execution is not DONE:
        below.execution = DONE
        shared.changed = True
        below = shared.entries.get(below.header.parent_id)
    shared.note(FinalisedRecord(shared.epoch, header.view, header.height, block_id))
    shared.emit(Forget(shared.epoch, header.view))


def _end_epoch(shared: Shared, proof: FinalityProof) -> None:
    """C11: the last block is final; nothing of this epoch matters any more."""
    shared.end_proof = proof
    for timer in Timer:
        shared.cancel_timer(timer)


def on_epoch_ended(shared: Shared, peer: Peer, proof: FinalityProof) -> None:
    """A peer proves that my epoch is over: learn its finalization, fetch what I lack (C10).

    Raises ``Rejected`` if the proof is no proof.
    """
    if proof.finalization.epoch != shared.epoch or shared.end_proof is not None:
        return
    if proof.target.height != shared.last_height:
        raise Rejected("consensus/NotTheEnd", "the proof is not of the last block of the epoch")
    verify_finality(proof, shared.committee, shared.genesis_hash, shared.verifier)
    for header in proof.headers[:-1]:
        shared.entries.setdefault(header.id(), Entry(header, None))
    learn_certificate(shared, proof.finalization)
    assert shared.finalization is not None and shared.finalization.block_id is not None
    if _chain_to_head(shared, shared.finalization.block_id) is None:
        # Nobody keeps single blocks of an epoch that is over.
        request_sync(shared, proof.target.height)


def open_epoch(
    shared: Shared, start: EpochStart, head: Head | None, hearing: Hearing, turns: Turns
) -> None:
    """Begin an epoch, at its base or at a block of it that the store has (C11, C15, C18)."""
    shared.open_epoch(start, hearing, turns)
    if head is not None:
        move_to(shared, head)


def move_to(shared: Shared, head: Head) -> None:
    """Take a committed block of this epoch as the head, unless the head is there already."""
    if head.header.view <= shared.head.view:
        return
    block_id = head.header.id()
    entry = shared.entries.setdefault(block_id, Entry(head.header, None))
    entry.execution = DONE
    shared.head = Anchor(
        block_id,
        head.header.view,
        head.header.height,
        head.header.time_ms,
        head.header.kind,
        head.header,
        head.has_transactions,
    )
    certificate = head.finalization
    shared.round(certificate.view).book.restore(certificate)
    if certificate.view > shared.finalised_view or shared.finalization is None:
        shared.finalization = certificate
    shared.allow_view(certificate.view + 1)
    prune(shared)
