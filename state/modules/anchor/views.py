"""What RPC shows of logs and interactions: views, their pages, and proofs (docs/anchor.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from chain.anchored import Writer
from chain.codec import U32, U64, Hash, Record
from chain.fields import Amount, data
from chain.ids import ID_BYTES, Holder, LogId, LotId, RecordId
from chain.record import Facets

CURSOR_BYTES = 8 + ID_BYTES
"""A cursor in a list of records: height and id of the next one."""

Cursor = Annotated[bytes, data(CURSOR_BYTES)]


class LogView(Record):
    """A log as RPC shows it."""

    log: LogId
    owner: Holder
    writers: list[Writer]
    schema: str
    retention: U64
    max_merge_delay: U64
    bond: Amount
    penalty_per_leaf: Amount
    closed_at: U64
    """Unix ms; 0 while the log is open."""
    batches: U64
    leaves: U64
    last_to: U64
    root: Hash
    """Checkpoint over all batches."""


class LogPage(Record):
    """Some logs and where the next page begins (absent at the end)."""

    items: list[LogView]
    cursor: LogId | None


class BatchView(Record):
    """A batch as RPC shows it; ``leaf`` is its hash in the log's tree."""

    log: LogId
    batch_no: U64
    first_index: U64
    count: U32
    root: Hash
    from_: U64 = msgspec.field(name="from")
    to: U64
    leaf: Hash
    writer: Holder
    height: U64
    tx_id: Hash


class CheckpointView(Record):
    """The head of a log's tree of batches at a size."""

    log: LogId
    size: U64
    root: Hash
    leaves: U64
    """Records in these batches together."""


class BatchProof(Record):
    """A batch, and its path to a checkpoint (RFC 9162 §2.1.3)."""

    batch: BatchView
    checkpoint: CheckpointView
    path: list[Hash]


class ConsistencyProof(Record):
    """That a later checkpoint begins with an earlier one (RFC 9162 §2.1.4)."""

    old: CheckpointView
    new: CheckpointView
    path: list[Hash]


class RecordView(Record):
    """An interaction as RPC shows it; only ``agent`` among the facets is checked by the chain."""

    record: RecordId
    actor: Holder
    leaf: Hash
    facets: Facets
    parents: list[Hash]
    license: LotId | None
    height: U64
    time_ms: U64
    tx_id: Hash


class RecordPage(Record):
    """Some interactions, oldest first, and where the next page begins (absent at the end)."""

    items: list[RecordView]
    cursor: Cursor | None


class BatchPage(Record):
    """Some batches, and the number of the next page's first one (absent at the end)."""

    items: list[BatchView]
    cursor: U64 | None
