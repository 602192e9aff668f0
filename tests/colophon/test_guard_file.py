"""The guard's file is made whole, survives crashes, forgets when told to (protocol.md J7–J9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.errors import Corruption
from chain.vote import FINALIZE, NOTARIZE, NULLIFY, Vote
from colophon.guard_file import GuardFile
from consensus.guard import GUARD_BYTES
from consensus.journal import QuarantineRecord, VoteRecord

from .recording_disk import RecordingDisk

PATH = Path("/journal/guard")


def promise(view: int, kind: int = FINALIZE) -> VoteRecord:
    block_id = None if kind == NULLIFY else bytes([view]) * 32
    return VoteRecord(Vote(kind, 0, view, block_id, 1, bytes(64)))


def written(disk: RecordingDisk, *batches: list[VoteRecord | QuarantineRecord]) -> None:
    guard = GuardFile(PATH, disk, quarantine=False)
    for batch in batches:
        assert guard.note(batch)
        guard.write()


def view_in(disk: RecordingDisk) -> int | None:
    entry = GuardFile(PATH, disk, quarantine=False).entry
    return None if entry is None else entry.view


def test_the_newest_of_several_promises_survives_a_power_cut() -> None:
    disk = RecordingDisk()

    written(disk, [promise(1)], [promise(2), promise(3, NULLIFY)])

    assert view_in(disk.after_power_cut()) == 3


def test_a_notarize_is_remembered_while_the_machine_goes_on() -> None:
    disk = RecordingDisk()

    written(disk, [promise(1)], [promise(2, NOTARIZE)])

    assert view_in(disk) == 2
    assert view_in(disk.after_power_cut()) == 1


def test_a_new_guard_survives_a_power_cut_before_anything_is_promised() -> None:
    disk = RecordingDisk()
    GuardFile(PATH, disk, quarantine=False)

    assert disk.after_power_cut().read(PATH) == bytes(GUARD_BYTES)


def test_a_quarantine_empties_both_slots() -> None:
    disk = RecordingDisk()

    written(disk, [promise(1)], [promise(2)], [QuarantineRecord(0)])

    assert view_in(disk.after_power_cut()) is None


@pytest.mark.parametrize("size", [0, 1, 512, GUARD_BYTES - 1])
def test_what_a_crash_leaves_while_a_guard_is_made_is_made_anew(size: int) -> None:
    disk = RecordingDisk({PATH: bytes(size)})

    written(disk, [promise(1)])

    assert view_in(disk.after_power_cut()) == 1
    assert len(disk.read(PATH)) == GUARD_BYTES


DAMAGED = {
    "short": b"\1" * 100,
    "long": bytes(GUARD_BYTES + 1),
    "both slots": b"\1" * GUARD_BYTES,
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_guard_stops_the_start_and_stays_as_it_is(data: bytes) -> None:
    disk = RecordingDisk({PATH: data})

    with pytest.raises(Corruption, match="--quarantine"):
        GuardFile(PATH, disk, quarantine=False)

    assert disk.read(PATH) == data


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("record", [promise(7), QuarantineRecord(0)])
def test_a_quarantine_passes_a_damaged_guard_and_mends_it_with_the_first_write(
    data: bytes, record: VoteRecord | QuarantineRecord
) -> None:
    disk = RecordingDisk({PATH: data})

    guard = GuardFile(PATH, disk, quarantine=True)
    assert guard.entry is None
    assert disk.read(PATH) == data, "nothing is forgotten before the journal says quarantine"
    guard.note([record])
    guard.write()

    assert view_in(disk.after_power_cut()) == (7 if isinstance(record, VoteRecord) else None)
    assert len(disk.read(PATH)) == GUARD_BYTES
