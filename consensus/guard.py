"""The sign-state guard: a second memory of the newest promise, beside the journal (J7–J9).

A journal can be lost, or an old one put in its place; then a validator would sign twice. The
guard is one small file with two slots, written in turn after every sync of the journal that held
a vote of mine. At the start, what the newest good slot names must be in the journal. The
order journal, guard, effects means that an ordinary crash never leaves the guard ahead.

A NOTARIZE is written and not synced: it is for journals that are put back while the machine goes
on, and a block needs no sync more. What is not synced yet is overwritten in its own slot, so that
a power cut damages one slot at most.

This file makes and checks the bytes; the host writes and syncs them.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable
from struct import Struct

import msgspec

from chain.errors import Corruption
from chain.vote import NOTARIZE, Vote

from .journal import JournalRecord, VoteRecord

SLOT_DISTANCE = 512
"""A slot per disk sector, so that a torn write damages one of them at most."""
GUARD_BYTES = 2 * SLOT_DISTANCE
"""The file is preallocated with zeros."""

_FIELDS = Struct(">QQQB32s")
_CHECKSUM_BYTES = 4
SLOT_BYTES = _CHECKSUM_BYTES + _FIELDS.size
"""``u32 crc32 ‖ u64 counter ‖ u64 epoch ‖ u64 view ‖ u8 kind ‖ 32 bytes block id`` (J7)."""


class GuardEntry(msgspec.Struct, frozen=True):
    """The newest vote that was signed."""

    counter: int
    """Rises with every write; its parity is the slot."""
    epoch: int
    view: int
    kind: int
    block_id: bytes
    """32 zero bytes for NULLIFY."""

    def names(self, vote: Vote) -> bool:
        """Tell whether this is the vote the guard remembers."""
        return (self.epoch, self.view, self.kind, self.block_id) == (
            vote.epoch,
            vote.view,
            vote.kind,
            vote.block_id or bytes(32),
        )


def next_entry(last: GuardEntry | None, records: Iterable[JournalRecord]) -> GuardEntry | None:
    """Return what to write after these records were synced; None if they need no guarding."""
    guarded = [record.vote for record in records if isinstance(record, VoteRecord)]
    if not guarded:
        return None
    vote = guarded[-1]
    if last is None:
        counter = 1
    else:
        counter = last.counter + (2 if last.kind == NOTARIZE else 1)
    return GuardEntry(counter, vote.epoch, vote.view, vote.kind, vote.block_id or bytes(32))


def must_sync(records: Iterable[JournalRecord]) -> bool:
    """Tell whether the guard's file is to be synced after what these records make it write (J8)."""
    return any(
        not isinstance(record, VoteRecord) or record.vote.kind != NOTARIZE for record in records
    )


def encode_slot(entry: GuardEntry) -> tuple[int, bytes]:
    """Return the offset in the file and the bytes to write there (J7)."""
    fields = _FIELDS.pack(entry.counter, entry.epoch, entry.view, entry.kind, entry.block_id)
    return entry.counter % 2 * SLOT_DISTANCE, crc32(fields).to_bytes(4, "big") + fields


def read_guard(data: bytes) -> GuardEntry | None:
    """Return the newest entry of a guard file, None if nothing was ever written to it.

    One damaged slot is what a crash leaves; two damaged slots, or another length, are
    ``Corruption``.
    """
    if len(data) != GUARD_BYTES:
        raise Corruption(
            f"the sign-state guard has {len(data)} bytes, expected {GUARD_BYTES}: bring it back "
            "with its journal, or start with --quarantine"
        )
    if not any(data):
        return None
    entries = [entry for entry in map(_read_slot, _slots(data)) if entry is not None]
    if not entries and all(any(slot) for slot in _slots(data)):
        raise Corruption(
            "both slots of the sign-state guard are damaged: bring it back with its journal, or "
            "start with --quarantine"
        )
    return max(entries, key=lambda entry: entry.counter, default=None)


def check_guard(
    entry: GuardEntry | None,
    journal: Iterable[JournalRecord],
    finalised_epoch: int,
    finalised_view: int,
) -> None:
    """Raise ``Corruption`` if the guard remembers a promise that the journal does not (J9).

    A promise about a view that the store knows to be finalised binds nobody any more; the
    journal may have dropped it.
    """
    if entry is None or (entry.epoch, entry.view) <= (finalised_epoch, finalised_view):
        return
    newest = (0, 0)
    for record in journal:
        if isinstance(record, VoteRecord):
            newest = max(newest, (record.vote.epoch, record.vote.view))
            if entry.names(record.vote):
                return
    raise Corruption(
        f"this validator signed in view {entry.view} of epoch {entry.epoch}, but its journal ends "
        f"at view {newest[1]} of epoch {newest[0]}: it is not the newest journal of this key. "
        "Bring that back, or start with --quarantine"
    )


def _slots(data: bytes) -> list[bytes]:
    return [data[start : start + SLOT_BYTES] for start in (0, SLOT_DISTANCE)]


def _read_slot(slot: bytes) -> GuardEntry | None:
    fields = slot[_CHECKSUM_BYTES:]
    if int.from_bytes(slot[:_CHECKSUM_BYTES], "big") != crc32(fields):
        return None
    return GuardEntry(*_FIELDS.unpack(fields))
