"""Everything that can happen to the consensus core.

Each event carries the time it happened at: ``now_ms`` is the host's monotonic clock, for timers;
``wall_ms`` is the wall clock, for block times only. ``now_ms`` never falls from event to event.
"""

from __future__ import annotations

import msgspec

from chain.application import Built as BuiltBlock
from chain.certificate import Certificate
from chain.committee import Committee
from chain.errors import Rejected
from chain.header import Header

from .journal import JournalRecord
from .messages import Message
from .timers import Timer

Peer = bytes
"""A peer's identity as the host knows it; opaque here."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What all events have in common."""

    now_ms: int
    wall_ms: int


class EpochStart(msgspec.Struct, frozen=True, kw_only=True):
    """Where an epoch begins (C11)."""

    epoch: int
    committee: Committee
    base_id: bytes
    """Id of the last block of the epoch before; in epoch 0 the genesis hash."""
    base_height: int
    base_time_ms: int
    seed: bytes
    """``chain.committee.leader_seed`` of this epoch."""
    base_has_transactions: bool = False
    """Whether the base block carried transactions: then its child is not delayed (C13)."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest committed block, unless that is the epoch's base."""

    header: Header
    finalization: Certificate
    """Of this very block: my next block needs a certificate of its parent."""
    has_transactions: bool


class Started(Event, frozen=True, kw_only=True):
    """First event: everything that was known before the process started (C15)."""

    epoch: EpochStart
    head: Head | None
    journal: tuple[JournalRecord, ...]
    """What the journal held, synced again before this event."""
    journal_lost: bool = False
    """The guard or the operator says that promises may be missing: quarantine."""


class MessageReceived(Event, frozen=True, kw_only=True):
    """A peer sent a message that decoded."""

    peer: Peer
    message: Message


class TimerFired(Event, frozen=True, kw_only=True):
    """A timer's deadline has come; early, late and repeated firing is harmless."""

    timer: Timer


class Durable(Event, frozen=True, kw_only=True):
    """The records of ``Persist(token)`` are on disk, with everything persisted before."""

    token: int


class Built(Event, frozen=True, kw_only=True):
    """The block that ``Build`` asked for."""

    view: int
    built: BuiltBlock


class BuildFailed(Event, frozen=True, kw_only=True):
    """The application could not build; ``tx_id`` as in ``CertifyFailed``."""

    view: int
    tx_id: bytes | None


class BlockVerified(Event, frozen=True, kw_only=True):
    """Verdict on ``VerifyBlock``: ``refusal`` is None for a valid block."""

    block_id: bytes
    refusal: Rejected | None


class Certified(Event, frozen=True, kw_only=True):
    """``Certify`` is done: the block is verified and executed."""

    block_id: bytes


class CertifyFailed(Event, frozen=True, kw_only=True):
    """``Certify`` failed and was undone; ``tx_id`` names the transaction at fault, if one is."""

    block_id: bytes
    tx_id: bytes | None


class Committed(Event, frozen=True, kw_only=True):
    """The blocks of a ``Finalize`` up to this one are executed and in the store."""

    block_id: bytes


class EpochOpened(Event, frozen=True, kw_only=True):
    """The last block of an epoch is committed and the next committee known (C11)."""

    epoch: EpochStart


class TransactionsAvailable(Event, frozen=True, kw_only=True):
    """Whether the pool holds a transaction that the next block could take; sent on change."""

    available: bool


class Synced(Event, frozen=True, kw_only=True):
    """Catch-up ended: ``head`` is committed, in ``epoch`` (C18); None if nothing was gained."""

    epoch: EpochStart
    head: Head | None


AnyEvent = (
    Started
    | MessageReceived
    | TimerFired
    | Durable
    | Built
    | BuildFailed
    | BlockVerified
    | Certified
    | CertifyFailed
    | Committed
    | EpochOpened
    | TransactionsAvailable
    | Synced
)
