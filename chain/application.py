"""What consensus and the pool ask of the state machine (protocol.md B6–B9).

Consensus decides *where* a block stands (``Placement``), the application decides *what* is in it
and what follows from it (``Derived``). Both sides make the header with ``make_header``, so a
verifier compares one object instead of six fields.

The methods that run long are generators that yield every few milliseconds (protocol.md C19) and
return their result; ``finish`` runs one to its end.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from .block import Block, Body, certificate_hash, evidence_root, ids_of, transaction_root
from .certificate import Certificate, Evidence
from .committee import Member
from .errors import ColophonError
from .finality import FinalityProof
from .header import KIND_FILLER, VERSION, Header
from .transaction import Attachment

T = TypeVar("T")
Job = Generator[None, None, T]
"""Work in steps: yields to let consensus be served, returns its result."""


def finish(job: Job[T]) -> T:
    """Run a job to its end without pausing, where nobody else waits."""
    while True:
        try:
            next(job)
        except StopIteration as stop:
            result: T = stop.value
            return result


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a block stands: everything about its header that consensus decides (B6)."""

    epoch: int
    view: int
    height: int
    kind: int
    parent_view: int
    parent_id: bytes
    parent_certificate: Certificate | None
    """Goes into the body; None in the first block of an epoch."""
    time_ms: int
    proposer_index: int


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from the executed parent and the chosen transactions (B7)."""

    base_fee: int
    units_limit_used: int
    parent_state_root: bytes
    parent_receipts_root: bytes
    params_hash: bytes
    next_committee_hash: bytes


class Built(msgspec.Struct, frozen=True):
    """A block ready to propose and the attachments of its transactions, in their order."""

    block: Block
    attachments: list[list[Attachment]]


class CertifyFault(ColophonError):
    """A rule raised something that is no typed refusal while a block was executed (B9).

    ``tx_id`` names the transaction, None where a block rule broke.
    """

    def __init__(self, tx_id: bytes | None, message: str) -> None:
        super().__init__(message)
        self.tx_id = tx_id


class Application(Protocol):
    """The state machine as the host of consensus drives it.

    Blocks are named by id. A block may be verified and executed only after its parent was
    executed; un-finalised blocks live in overlays until ``commit`` or ``discard``.
    """

    def build(self, placement: Placement, *, empty: bool) -> Job[Built]:
        """Make a block there; ``empty`` (and any filler) has no transactions and no evidence."""
        ...

    def verify(self, block: Block, attachments: list[list[Attachment]]) -> Job[None]:
        """Check structure and authorise (B4); raises ``Rejected`` if the block is invalid.

        What consensus checks itself (placement, leader, certificate, time) is not repeated.
        """
        ...

    def execute(self, block: Block) -> Job[None]:
        """Verify if that was not done (attachments excepted), run the block, keep its overlay.

        Raises ``Rejected`` if the block is invalid and ``CertifyFault`` if a rule breaks; either
        way the block is undone.
        """
        ...

    def commit(self, blocks: list[Block], proof: FinalityProof) -> None:
        """Make finalised, executed blocks durable, ascending; ``proof`` is of the last one.

        Overlays that do not descend from the last block are dropped.
        """
        ...

    def discard(self, block_id: bytes) -> None:
        """Drop the overlay of a block that will not be needed; unknown ids are ignored."""
        ...

    def next_committee(self, block_id: bytes) -> list[Member]:
        """Return the committee of the next epoch; the block ends an epoch and is executed."""
        ...


class Standing(NamedTuple):
    """What the finalised state says of who sends a transaction and who pays for it."""

    following: int
    """The sequence number the next transaction of the lane must have."""
    spendable: int
    """Ncolo the payer has for fees; 0 for an account that does not exist."""


class PoolView(Protocol):
    """What the pool asks about the finalised state (C16); answers change only at a commit."""

    def spendable(self, payer: bytes) -> int:
        """Return the ncolo a payer has for fees; 0 for an account that does not exist."""
        ...

    def base_fee(self) -> int:
        """Return the base fee in µncolo per unit that the next block would have now."""
        ...


def make_header(
    genesis_hash: bytes,
    placement: Placement,
    derived: Derived,
    body: Body,
    transaction_ids: list[bytes] | None = None,
) -> Header:
    """Return the one header that fits placement, consequences and body (B1).

    ``transaction_ids`` are the body's, where the caller knows them.
    """
    return Header(
        version=VERSION,
        genesis_hash=genesis_hash,
        epoch=placement.epoch,
        view=placement.view,
        height=placement.height,
        kind=placement.kind,
        parent_view=placement.parent_view,
        parent_id=placement.parent_id,
        time_ms=placement.time_ms,
        proposer_index=placement.proposer_index,
        tx_root=transaction_root(ids_of(body) if transaction_ids is None else transaction_ids),
        evidence_root=evidence_root(body.evidence),
        parent_certificate_hash=certificate_hash(body.parent_certificate),
        base_fee=derived.base_fee,
        units_limit_used=derived.units_limit_used,
        parent_state_root=derived.parent_state_root,
        parent_receipts_root=derived.parent_receipts_root,
        params_hash=derived.params_hash,
        next_committee_hash=derived.next_committee_hash,
    )


def placement_of(block: Block) -> Placement:
    """Return the placement that a block claims."""
    header = block.header
    return Placement(
        epoch=header.epoch,
        view=header.view,
        height=header.height,
        kind=header.kind,
        parent_view=header.parent_view,
        parent_id=header.parent_id,
        parent_certificate=block.body.parent_certificate,
        time_ms=header.time_ms,
        proposer_index=header.proposer_index,
    )


def make_filler(
    genesis_hash: bytes,
    placement: Placement,
    boundary: Header,
    state_root: bytes,
    receipts_root: bytes,
) -> Block:
    """Return a boundary filler (B8): nothing in it, everything else copied from ``boundary``.

    ``state_root`` and ``receipts_root`` are those after the epoch's last block, whose header is
    ``boundary`` (or any filler above it, which repeats it).
    """
    assert placement.kind == KIND_FILLER
    no_evidence: list[Evidence] = []
    body = Body(placement.parent_certificate, [], no_evidence)
    derived = Derived(
        base_fee=boundary.base_fee,
        units_limit_used=boundary.units_limit_used,
        parent_state_root=state_root,
        parent_receipts_root=receipts_root,
        params_hash=boundary.params_hash,
        next_committee_hash=boundary.next_committee_hash,
    )
    return Block(make_header(genesis_hash, placement, derived, body), body)
