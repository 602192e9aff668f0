"""Every header of a run, where blocks may stand, and whose turn it is (B6, B8, B11, V4, C11).

Nothing here is told by the nodes: a header counts for what it hashes to, its parent for the votes
that exist, a leader for what the rules draw from the final chain.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.block import Block
from chain.committee import EPOCH_ZERO_ID, Committee, leader_seed
from chain.hashing import EMPTY_ROOT, tagged_hash
from chain.header import KIND_BLOCK, KIND_FILLER, ZERO_HASH, Header

from .ledger_of_votes import NULLIFY, VoteLedger
from .violation import Violation, short


@dataclass(frozen=True, slots=True)
class Epoch:
    """Where an epoch begins and ends (C11)."""

    number: int
    base_id: bytes
    base_height: int
    base_time_ms: int
    last_height: int
    seed: bytes


class BlockTree:
    """All headers by id, and the rules about their places."""

    def __init__(
        self,
        genesis_hash: bytes,
        committee: Committee,
        ledger: VoteLedger,
        *,
        epoch_length: int,
        genesis_time_ms: int | None,
    ) -> None:
        self._genesis_hash = genesis_hash
        self._committee = committee
        self._ledger = ledger
        self.epoch_length = epoch_length
        self.headers: dict[bytes, Header] = {}
        self._ids: dict[int, bytes] = {}
        """Ids by the identity of the objects in ``headers``, which live as long as this."""
        self._placed: set[bytes] = set()
        """Blocks whose places were found right; votes only come, so they stay right."""
        self._epochs: dict[int, Epoch] = {}
        self._open_epoch(0, genesis_hash, genesis_time_ms or 0, EPOCH_ZERO_ID)

    # Headers

    def add(self, header: Header) -> bytes:
        """Take in a header that somebody showed; return its id."""
        block_id = self._ids.get(id(header))
        if block_id is None:
            block_id = header.id()
            self._keep(block_id, header)
        return block_id

    def add_block(self, block: Block) -> None:
        """Take in a block's header; its id was made from it."""
        if block.id not in self.headers:
            self._keep(block.id, block.header)

    def _keep(self, block_id: bytes, header: Header) -> None:
        if block_id not in self.headers:
            self.headers[block_id] = header
            self._ids[id(header)] = block_id

    # Epochs and leaders

    def close_epoch(self, last: Header, last_id: bytes) -> None:
        """Open the epoch after the one that this final block ends."""
        self._open_epoch(last.epoch + 1, last_id, last.time_ms, last.parent_id)

    def _open_epoch(
        self, number: int, base_id: bytes, base_time_ms: int, boundary_parent_id: bytes
    ) -> None:
        base_height = number * self.epoch_length
        self._epochs[number] = Epoch(
            number=number,
            base_id=base_id,
            base_height=base_height,
            base_time_ms=base_time_ms,
            last_height=base_height + self.epoch_length,
            seed=leader_seed(self._genesis_hash, number, boundary_parent_id),
        )

    def leader(self, epoch: int, view: int) -> int | None:
        """Return the member whose turn a view is (V4), None in an epoch nobody reached."""
        known = self._epochs.get(epoch)
        if known is None:
            return None
        powers = self._committee.powers
        if min(powers) == max(powers):
            return (int.from_bytes(known.seed, "big") + view) % len(powers)
        draw = tagged_hash("leader", known.seed + view.to_bytes(8, "big"))
        point = int.from_bytes(draw, "big") % sum(powers)
        for member, power in enumerate(powers):
            point -= power
            if point < 0:
                return member
        return None

    # Places

    def require_placed(self, block_id: bytes, node: int) -> Header:
        """Raise ``Q5`` unless a block may stand where it says; return its header.

        ``node`` is the honest node that voted for it. The parent must be notarized and every view
        between nullified by votes that exist, whoever holds them.
        """
        header = self.headers[block_id]
        if block_id not in self._placed:
            fault = self._misplacement(header)
            if fault is not None:
                raise Violation(
                    "Q5",
                    f"node {node}, view {header.view}: NOTARIZE for {short(block_id)}, but {fault}",
                )
            self._placed.add(block_id)
        return header

    def parent_time_ms(self, header: Header) -> int:
        """Return the time of a placed block's parent."""
        parent = self.headers.get(header.parent_id)
        return self._epochs[0].base_time_ms if parent is None else parent.time_ms

    def _misplacement(self, header: Header) -> str | None:
        epoch = self._epochs.get(header.epoch)
        if epoch is None:
            return f"nobody finalised the base of epoch {header.epoch}"
        leader = self.leader(header.epoch, header.view)
        if header.proposer_index != leader:
            return f"it is of member {header.proposer_index}, the leader is {leader}"
        fault = self._bad_form(header)
        if fault is not None:
            return fault
        for view in range(header.parent_view + 1, header.view):
            if not self._ledger.has_quorum(header.epoch, view, NULLIFY, None):
                return f"view {view} above its parent's is not nullified"
        if header.parent_view == 0:
            if header.parent_id != epoch.base_id:
                return f"its parent {short(header.parent_id)} is not the epoch's base"
            return _misfit(header, None, epoch)
        if not self._ledger.is_notarized(header.epoch, header.parent_view, header.parent_id):
            return f"its parent {short(header.parent_id)} is not notarized"
        parent = self.headers.get(header.parent_id)
        if parent is None or parent.epoch != header.epoch or parent.view != header.parent_view:
            return f"its parent {short(header.parent_id)} is of no or of another view"
        return _misfit(header, parent, epoch)

    def _bad_form(self, header: Header) -> str | None:
        """Return what a header alone shows to be wrong (B11)."""
        if header.version != 1 or header.genesis_hash != self._genesis_hash:
            return "it is of another version or network"
        if header.parent_view >= header.view:
            return f"its parent's view {header.parent_view} is not below its own"
        if (header.parent_certificate_hash == ZERO_HASH) != (header.parent_view == 0):
            return "it has a parent certificate exactly where it must not"
        if header.kind == KIND_FILLER:
            if header.tx_root != EMPTY_ROOT or header.evidence_root != EMPTY_ROOT:
                return "it is a filler that carries something"
        elif header.kind != KIND_BLOCK:
            return f"it is of kind {header.kind}"
        return None


def _misfit(header: Header, parent: Header | None, epoch: Epoch) -> str | None:
    """Return how a block does not follow from its parent (B6, B8); None: the base's child."""
    if parent is not None and (parent.kind == KIND_FILLER or parent.height == epoch.last_height):
        return _filler_misfit(header, parent)
    if header.kind != KIND_BLOCK:
        return "it is a filler below the end of the epoch"
    height = epoch.base_height if parent is None else parent.height
    if header.height != height + 1:
        return f"it has height {header.height} above height {height}"
    time_ms = epoch.base_time_ms if parent is None else parent.time_ms
    if header.time_ms <= time_ms:
        return f"its time {header.time_ms} is not after its parent's {time_ms}"
    if (header.next_committee_hash == ZERO_HASH) == (header.height == epoch.last_height):
        return "it names a next committee exactly where it must not"
    return None


def _filler_misfit(header: Header, parent: Header) -> str | None:
    """Return how a block above the end of an epoch is no proper filler (B8)."""
    if header.kind != KIND_FILLER:
        return "it is a block above the end of the epoch"
    for name in (
        "height",
        "time_ms",
        "base_fee",
        "units_limit_used",
        "params_hash",
        "next_committee_hash",
    ):
        if getattr(header, name) != getattr(parent, name):
            return f"it is a filler that does not copy {name}"
    return None
