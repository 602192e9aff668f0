"""The sign-state guard survives a torn write and notices a lost journal (protocol.md J7–J9)."""

from __future__ import annotations

import pytest

from chain.errors import Corruption
from chain.vote import Vote
from consensus.guard import (
    GUARD_BYTES,
    SLOT_BYTES,
    SLOT_DISTANCE,
    GuardEntry,
    check_guard,
    encode_slot,
    must_sync,
    next_entry,
    read_guard,
)
from consensus.journal import JournalRecord, QuarantineRecord, VoteRecord

from ..chain.votes import FINALIZE, NOTARIZE, NULLIFY


def record(kind: int, view: int, epoch: int = 0) -> VoteRecord:
    block_id = None if kind == NULLIFY else bytes([view]) * 32
    return VoteRecord(Vote(kind, epoch, view, block_id, 1, bytes(64)))


def file_after(*batches: list[JournalRecord]) -> tuple[bytearray, GuardEntry | None]:
    data = bytearray(GUARD_BYTES)
    entry = None
    for batch in batches:
        following = next_entry(entry, batch)
        if following is not None:
            entry = following
            offset, slot = encode_slot(entry)
            data[offset : offset + len(slot)] = slot
    return data, entry


def test_a_fresh_file_says_nothing() -> None:
    assert read_guard(bytes(GUARD_BYTES)) is None


def test_the_newest_promise_is_read_back() -> None:
    data, entry = file_after([record(FINALIZE, 1)], [record(NULLIFY, 2)], [record(FINALIZE, 3)])

    assert read_guard(bytes(data)) == entry == GuardEntry(3, 0, 3, FINALIZE, bytes([3]) * 32)


def test_a_notarize_is_guarded_without_a_sync() -> None:
    assert next_entry(None, [record(NOTARIZE, 1)]) == GuardEntry(1, 0, 1, NOTARIZE, bytes([1]) * 32)
    assert not must_sync([record(NOTARIZE, 1)])
    assert must_sync([record(NOTARIZE, 1), record(NULLIFY, 1)])
    assert must_sync([QuarantineRecord(0)])


def test_what_is_not_synced_is_overwritten_in_its_own_slot() -> None:
    """Else a power cut could damage both slots."""
    kinds = [FINALIZE, NOTARIZE, NOTARIZE, NULLIFY, NOTARIZE, FINALIZE]
    entry, slots = None, []
    for view, kind in enumerate(kinds, 1):
        entry = next_entry(entry, [record(kind, view)])
        assert entry is not None
        slots.append(encode_slot(entry)[0] // SLOT_DISTANCE)

    assert slots == [1, 0, 0, 0, 1, 1]


def test_a_journal_without_the_newest_notarize_stops_the_start() -> None:
    _, entry = file_after([record(FINALIZE, 1)], [record(NOTARIZE, 2)])

    with pytest.raises(Corruption, match="signed in view 2 of epoch 0"):
        check_guard(entry, [record(FINALIZE, 1)], 0, 1)


@pytest.mark.parametrize("length", range(0, SLOT_BYTES, 7))
def test_a_torn_write_leaves_the_entry_before(length: int) -> None:
    data, before = file_after([record(FINALIZE, 1)], [record(FINALIZE, 2)])
    following = next_entry(before, [record(FINALIZE, 3)])
    assert following is not None
    offset, slot = encode_slot(following)

    data[offset : offset + length] = slot[:length]

    assert read_guard(bytes(data)) == before


def test_two_damaged_slots_stop_the_start() -> None:
    data, _ = file_after([record(FINALIZE, 1)], [record(FINALIZE, 2)])
    data[10] ^= 1
    data[SLOT_DISTANCE + 10] ^= 1

    with pytest.raises(Corruption, match="both slots"):
        read_guard(bytes(data))


def test_another_length_stops_the_start() -> None:
    with pytest.raises(Corruption, match="expected 1024"):
        read_guard(bytes(GUARD_BYTES - 1))


def test_a_journal_with_the_named_vote_is_good() -> None:
    journal = [record(NOTARIZE, 5), record(FINALIZE, 5)]
    _, entry = file_after([*journal])

    check_guard(entry, [*journal, record(NOTARIZE, 6)], 0, 3)


@pytest.mark.parametrize(
    "journal", [[], [record(NOTARIZE, 5)], [record(NULLIFY, 5)], [record(FINALIZE, 5, epoch=1)]]
)
def test_a_journal_without_it_stops_the_start(journal: list[JournalRecord]) -> None:
    _, entry = file_after([record(FINALIZE, 5)])

    with pytest.raises(Corruption, match=r"view 5 of epoch 0.*--quarantine"):
        check_guard(entry, journal, 0, 4)


@pytest.mark.parametrize("finalised", [(0, 5), (0, 6), (1, 0)])
def test_a_promise_about_a_finalised_view_binds_nobody(finalised: tuple[int, int]) -> None:
    _, entry = file_after([record(FINALIZE, 5)])

    check_guard(entry, [], *finalised)
