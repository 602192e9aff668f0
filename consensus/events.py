"""Everything that can happen to the consensus core.

Each event carries the time it happened at: ``now_ms`` is the host's monotonic clock, for timers;
``wall_ms`` is the wall clock, for block times only. ``now_ms`` never falls from event to event.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have in common."""

    now_ms: int
    wall_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStart:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest committed block, unless that is the epoch's base."""

    header: Header
    finalization: Certificate
    """Of this very block: my next block needs a certificate of its parent."""
    has_transactions: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """First event: everything that was known before the process started (C15)."""

    epoch: EpochStart
    head: Head | None
    journal: tuple[JournalRecord, ...]
    """What the journal held, synced again before this event."""
    journal_lost: bool = False
    """The guard or the operator says that promises may be missing: quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived(Event):
    """A peer sent a message that decoded."""

    peer: Peer
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    """A timer's deadline has come; early, late and repeated firing is harmless."""

    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable(Event):
    """The records of ``Persist(token)`` are on disk, with everything persisted before."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Built(Event):
    """The block that ``Build`` asked for."""

    view: int
    built: BuiltBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFailed(Event):
    """The application could not build; ``tx_id`` as in ``CertifyFailed``."""

    view: int
    tx_id: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockVerified(Event):
    """Verdict on ``VerifyBlock``: ``refusal`` is None for a valid block."""

    block_id: bytes
    refusal: Rejected | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified(Event):
    """``Certify`` is done: the block is verified and executed."""

    block_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifyFailed(Event):
    """``Certify`` failed and was undone; ``tx_id`` names the transaction at fault, if one is."""

    block_id: bytes
    tx_id: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Event):
    """The blocks of a ``Finalize`` up to this one are executed and in the store."""

    block_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOpened(Event):
    """The last block of an epoch is committed and the next committee known (C11)."""

    epoch: EpochStart


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionsAvailable(Event):
    """Whether the pool holds a transaction that the next block could take; sent on change."""

    available: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced(Event):
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
