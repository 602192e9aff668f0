"""What users say about interactions and logs: payloads and events (docs/anchor.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from chain.anchored import Writer
from chain.codec import U32, U64, Hash, Record
from chain.fields import Amount, Denom, listing, text
from chain.ids import Holder, LogId, LotId, RecordId
from chain.record import BATCH_LEAVES_MAX, FIELDS_MAX, Facets
from chain.types import DURATION_MAX_MS

from ...module import Event, Message

WRITERS_MAX = 16
"""Accounts that may append beside the owner: as many as one account has keys."""
PARENTS_MAX = 64
"""Records one record may name as what it came from."""
SCHEMA_BYTES_MAX = 64


class Payment(Record):
    """What an interaction's model is paid, as royalty."""

    denom: Denom
    amount: Amount


class RecordInteraction(Message, tag="anchor.record"):
    """Anchor one interaction; its facets are public for ever (N-anchor.1)."""

    content_root: Hash
    fields: Annotated[int, msgspec.Meta(ge=1, le=FIELDS_MAX)]
    facets: Facets
    parents: Annotated[list[Hash], listing(PARENTS_MAX)] = msgspec.field(default_factory=list)
    license: LotId | None = None
    payment: Payment | None = None

    WEIGHT = 25
    WRITES = 1

    def weight(self) -> int:
        """A licence is two reads, a payment costs what ``royalty.pay`` does."""
        return self.WEIGHT + (5 if self.license else 0) + (25 if self.payment else 0)

    def writes(self) -> int:
        """The record; with a payment a vault and a balance."""
        return self.WRITES + (2 if self.payment else 0)


Writers = Annotated[list[Writer], listing(WRITERS_MAX, ascending=True)]
DurationMs = Annotated[int, msgspec.Meta(ge=1, le=DURATION_MAX_MS)]


class OpenLog(Message, tag="anchor.open_log"):
    """Open a log of interactions (N-anchor.2); durations are milliseconds."""

    schema: Annotated[str, text(SCHEMA_BYTES_MAX)]
    writers: Writers
    retention: DurationMs
    """How long the writer keeps records, to answer for them."""
    max_merge_delay: DurationMs
    """Longest time from taking a record to anchoring it."""
    bond: Amount = b""
    penalty_per_leaf: Amount = b""

    WEIGHT = 40
    WRITES = 1


class UpdateLog(Message, tag="anchor.update_log"):
    """Change a log's writers or owner; what is absent stays (N-anchor.3)."""

    log: LogId
    writers: Writers | None = None
    owner: Holder | None = None
    bond_add: Amount = b""

    WEIGHT = 40
    WRITES = 1


class CloseLog(Message, tag="anchor.close_log"):
    """End a log: what it holds stays provable, nothing is added (N-anchor.4)."""

    log: LogId

    WRITES = 1


class Append(Message, tag="anchor.append"):
    """Anchor a batch of up to 2^24 records (N-anchor.5)."""

    log: LogId
    batch_no: U64
    first_index: U64
    count: Annotated[int, msgspec.Meta(ge=1, le=BATCH_LEAVES_MAX)]
    root: Hash
    from_: U64 = msgspec.field(name="from")
    to: U64

    WEIGHT = 30
    WRITES = 1


class Recorded(Event, tag="anchor.recorded"):
    """One interaction stands on chain."""

    record: RecordId
    actor: Holder
    leaf: Hash
    facets: Facets
    parents: list[Hash]
    license: LotId | None


class LogOpened(Event, tag="anchor.log_opened"):
    """A log exists."""

    log: LogId
    owner: Holder
    schema: str


class LogUpdated(Event, tag="anchor.log_updated"):
    """A log has other writers or another owner."""

    log: LogId
    old_owner: Holder
    owner: Holder
    writers: list[Writer]


class LogClosed(Event, tag="anchor.log_closed"):
    """A log takes nothing more."""

    log: LogId


class Appended(Event, tag="anchor.appended"):
    """A batch stands in its log; ``peaks`` are the log's checkpoint with it."""

    log: LogId
    writer: Holder
    batch_no: U64
    first_index: U64
    count: U32
    root: Hash
    from_: U64 = msgspec.field(name="from")
    to: U64
    peaks: list[Hash]
