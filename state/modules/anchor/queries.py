"""What can be asked about logs and interactions, and the derived rows lists are read from.

Batches live only in events and in the index. Each of its rows holds the batch's leaf hash and the
log's peaks with it, and from these any head of the log's tree follows by a few hashes. So a proof
about a log of a million batches reads some forty rows, not a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from chain.anchored import Log
from chain.application import Job
from chain.codec import U32, U64, Hash, Record, encode
from chain.errors import Rejected
from chain.ids import ID_BYTES, Holder, IpId, LogId, LotId, RecordId, format_id
from chain.merkle import Peaks, log_consistency_path, log_inclusion_path
from chain.record import Batch, Facets

from ...module import Event, EventPlace, IndexRow, QueryContext
from ...paging import Limit, page
from . import messages as m
from .rows import LOGS
from .views import (
    CURSOR_BYTES,
    BatchPage,
    BatchProof,
    BatchView,
    CheckpointView,
    ConsistencyProof,
    Cursor,
    LogPage,
    LogView,
    RecordPage,
    RecordView,
)

_FAMILY = b"anchor\0"
BATCHES = _FAMILY + b"b"
"""log ‖ u64 batch_no → ``BatchRow``"""
RECORD_ROWS = _FAMILY + b"r"
"""record → ``RecordRow``"""
BY_OWNER = _FAMILY + b"o"
"""owner ‖ log → nothing"""
BY_LEAF = _FAMILY + b"l"
BY_PARENT = _FAMILY + b"p"
BY_ACTOR = _FAMILY + b"a"
BY_AGENT = _FAMILY + b"g"
BY_MODEL = _FAMILY + b"m"
BY_HOLDER = _FAMILY + b"h"
"""These: subject ‖ u64 height ‖ record → nothing"""


class BatchRow(Record):
    """A batch in the index."""

    writer: Holder
    first_index: U64
    count: U32
    root: Hash
    begin_ms: U64
    end_ms: U64
    height: U64
    tx_id: Hash
    leaf: Hash
    peaks: list[Hash]
    """Peaks of the log with this batch."""


class RecordRow(Record):
    """An interaction in the index."""

    actor: Holder
    leaf: Hash
    facets: Facets
    parents: list[Hash]
    license: LotId | None
    height: U64
    time_ms: U64
    tx_id: Hash


def get(query: QueryContext, *, log: LogId) -> LogView:
    """Return a log with its present checkpoint."""
    return _log_view(log, _require_log(query, log))


def list_logs(
    query: QueryContext,
    *,
    owner: Holder | None = None,
    cursor: LogId | None = None,
    limit: Limit = 50,
) -> Job[LogPage]:
    """Return logs, all or of one owner, in the order of their ids."""
    candidates = (
        (log, _log_view(log, _require_log(query, log)))
        for log in _logs(query, owner, cursor or b"")
    )
    return LogPage(*(yield from page(query, candidates, limit)))


def get_batch(query: QueryContext, *, log: LogId, batch_no: U64) -> BatchView:
    """Return one batch of a log."""
    _require_size(log, batch_no + 1, _require_log(query, log).batches)
    return _batch_view(log, batch_no, _row(query, log, batch_no))


def list_batches(
    query: QueryContext, *, log: LogId, cursor: U64 = 0, limit: Limit = 50
) -> Job[BatchPage]:
    """Return batches of a log in order, from number ``cursor`` on."""
    candidates = (
        (number, _batch_view(log, number, _row(query, log, number)))
        for number in range(cursor, _require_log(query, log).batches)
    )
    return BatchPage(*(yield from page(query, candidates, limit)))


def get_checkpoint(query: QueryContext, *, log: LogId, size: U64 | None = None) -> CheckpointView:
    """Return the checkpoint of a log after ``size`` batches, by default all."""
    row = _require_log(query, log)
    return _checkpoint(query, log, row, row.batches if size is None else size)


def get_proof(
    query: QueryContext, *, log: LogId, batch_no: U64, size: U64 | None = None
) -> BatchProof:
    """Return a batch with its path to the checkpoint of ``size`` batches, by default all."""
    row = _require_log(query, log)
    checkpoint = _checkpoint(query, log, row, row.batches if size is None else size)
    _require_size(log, batch_no + 1, checkpoint.size)
    path = log_inclusion_path(_heads(query, log), batch_no, checkpoint.size)
    return BatchProof(_batch_view(log, batch_no, _row(query, log, batch_no)), checkpoint, path)


def get_consistency(
    query: QueryContext, *, log: LogId, old_size: U64, new_size: U64 | None = None
) -> ConsistencyProof:
    """Return the proof that the log only grew from ``old_size`` to ``new_size`` batches."""
    row = _require_log(query, log)
    new = _checkpoint(query, log, row, row.batches if new_size is None else new_size)
    _require_size(log, old_size, new.size)
    old = _checkpoint(query, log, row, old_size)
    path = log_consistency_path(_heads(query, log), old_size, new.size)
    return ConsistencyProof(old, new, path)


def get_record(query: QueryContext, *, record: RecordId) -> RecordView:
    """Return an interaction anchored by ``anchor.record``."""
    view = _record_view(query, record)
    if view is None:
        raise Rejected("anchor/UnknownRecord", f"no record {format_id(record)}", record=record)
    return view


def list_records(
    query: QueryContext,
    *,
    actor: Holder | None = None,
    agent: Holder | None = None,
    model: IpId | None = None,
    owner: Holder | None = None,
    leaf: Hash | None = None,
    parent: Hash | None = None,
    cursor: Cursor | None = None,
    limit: Limit = 50,
) -> Job[RecordPage]:
    """Return the interactions of one actor, agent, model, owner, leaf or parent leaf."""
    filters = (
        (BY_ACTOR, actor), (BY_AGENT, agent), (BY_MODEL, model), (BY_HOLDER, owner),
        (BY_LEAF, leaf), (BY_PARENT, parent),
    )  # fmt: skip
    given = [(prefix, subject) for prefix, subject in filters if subject is not None]
    if len(given) != 1:
        raise Rejected(
            "anchor/OneFilter",
            f"give one of actor, agent, model, owner, leaf and parent, not {len(given)} of them",
        )
    prefix = given[0][0] + given[0][1]
    found = query.index.scan(prefix + (cursor or b""), prefix + b"\xff" * CURSOR_BYTES)
    candidates = ((key[len(prefix) :], _record_view(query, key[-ID_BYTES:])) for key, _ in found)
    return RecordPage(*(yield from page(query, candidates, limit)))


def index(place: EventPlace, event: Event) -> Iterator[IndexRow]:
    """Derived rows: batches, logs by owner, interactions by what they name."""
    if isinstance(event, m.Appended):
        yield _batch_key(event.log, event.batch_no), encode(_index_batch(place, event))
    elif isinstance(event, m.Recorded):
        yield from _index_record(place, event)
    elif isinstance(event, m.LogOpened):
        yield BY_OWNER + event.owner + event.log, b""
    elif isinstance(event, m.LogUpdated) and event.owner != event.old_owner:
        yield BY_OWNER + event.old_owner + event.log, None
        yield BY_OWNER + event.owner + event.log, b""


def _index_batch(place: EventPlace, event: m.Appended) -> BatchRow:
    batch = Batch(
        log=event.log,
        batch_no=event.batch_no,
        first_index=event.first_index,
        count=event.count,
        begin_ms=event.from_,
        end_ms=event.to,
        root=event.root,
    )
    return BatchRow(
        event.writer, event.first_index, event.count, event.root, event.from_, event.to,
        place.height, place.tx_id, batch.hash(), event.peaks,
    )  # fmt: skip


def _index_record(place: EventPlace, event: m.Recorded) -> Iterator[IndexRow]:
    row = RecordRow(
        event.actor, event.leaf, event.facets, event.parents, event.license, place.height,
        place.time_ms, place.tx_id,
    )  # fmt: skip
    yield RECORD_ROWS + event.record, encode(row)
    subjects = [
        (BY_ACTOR, event.actor), (BY_AGENT, event.facets.agent), (BY_MODEL, event.facets.model),
        (BY_HOLDER, event.facets.owner), (BY_LEAF, event.leaf),
        *((BY_PARENT, parent) for parent in event.parents),
    ]  # fmt: skip
    for prefix, subject in subjects:
        if subject is not None:
            yield prefix + subject + place.height.to_bytes(8, "big") + event.record, b""


def _heads(query: QueryContext, log: bytes) -> Callable[[int, int], bytes]:
    """Return the function that gives any head of the log's tree from the index."""

    def head(low: int, high: int) -> bytes:
        width = high - low
        if width & (width - 1) == 0:
            return _perfect_head(query, log, high, width.bit_length() - 1)
        peaks = _peaks(query, log, high)
        inside = width.bit_count()  # the peaks that lie at or after ``low``
        return Peaks(width, peaks.hashes[-inside:]).root()

    return head


def _perfect_head(query: QueryContext, log: bytes, end: int, height: int) -> bytes:
    """Return the head of the perfect subtree of 2^height batches that ends before ``end``."""
    leaf = _row(query, log, end - 1).leaf
    return _peaks(query, log, end - 1).subtree_with(leaf, height)


def _peaks(query: QueryContext, log: bytes, size: int) -> Peaks:
    return Peaks(size, tuple(_row(query, log, size - 1).peaks)) if size else Peaks()


R = TypeVar("R", bound=Record)
_BATCH_ROW = msgspec.msgpack.Decoder(BatchRow)
_RECORD_ROW = msgspec.msgpack.Decoder(RecordRow)


def _row(query: QueryContext, log: bytes, batch_no: int) -> BatchRow:
    raw = query.index.get(_batch_key(log, batch_no))
    if raw is None:
        raise Rejected(
            "anchor/NotIndexed",
            f"this node's index does not hold batch {batch_no} of {format_id(log)}; "
            "ask another node, or run `colophon node reindex`",
            batch_no=batch_no,
        )
    return _BATCH_ROW.decode(raw)


def _batch_key(log: bytes, batch_no: int) -> bytes:
    return BATCHES + log + batch_no.to_bytes(8, "big")


def _record_view(query: QueryContext, record: bytes) -> RecordView | None:
    raw = query.index.get(RECORD_ROWS + record)
    if raw is None:
        return None
    row = _RECORD_ROW.decode(raw)
    return RecordView(record, *msgspec.structs.astuple(row))


def _require_log(query: QueryContext, log: bytes) -> Log:
    row = LOGS.get(query.state, log)
    if row is None:
        raise Rejected("anchor/UnknownLog", f"no log {format_id(log)}", log=log)
    return row


def _require_size(log: bytes, size: int, size_max: int) -> None:
    if size > size_max:
        raise Rejected(
            "anchor/UnknownBatch",
            f"{format_id(log)} has {size_max} batches at that point, asked was for {size}",
            batches=size_max,
        )


def _logs(query: QueryContext, owner: bytes | None, cursor: bytes) -> Iterator[bytes]:
    if owner is None:
        for key, _ in LOGS.scan(query.state, start=cursor):
            yield key
        return
    prefix = BY_OWNER + owner
    for key, _ in query.index.scan(prefix + cursor, prefix + b"\xff" * ID_BYTES):
        yield key[len(prefix) :]


def _log_view(log: bytes, row: Log) -> LogView:
    return LogView(
        log, row.owner, row.writers, row.schema, row.retention, row.max_merge_delay, row.bond,
        row.penalty_per_leaf, row.closed_at, row.batches, row.leaves, row.last_to,
        row.checkpoint().root(),
    )  # fmt: skip


def _batch_view(log: bytes, batch_no: int, row: BatchRow) -> BatchView:
    return BatchView(
        log, batch_no, row.first_index, row.count, row.root, row.begin_ms, row.end_ms, row.leaf,
        row.writer, row.height, row.tx_id,
    )  # fmt: skip


def _checkpoint(query: QueryContext, log: bytes, row: Log, size: int) -> CheckpointView:
    _require_size(log, size, row.batches)
    if size == row.batches:
        root = row.checkpoint().root()
        return CheckpointView(log, size, root, row.leaves)
    if size == 0:
        return CheckpointView(log, 0, Peaks().root(), 0)
    last = _row(query, log, size - 1)
    root = Peaks(size, tuple(last.peaks)).root()
    return CheckpointView(log, size, root, last.first_index + last.count)
