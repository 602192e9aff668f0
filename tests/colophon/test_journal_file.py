"""The journal's files say of themselves whether they are the whole journal (protocol.md J6, C15).

What a crash leaves is made by cutting and removing files of a real directory, or by cutting the
power of a disk in memory.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.vote import Vote, VoteKind
from colophon.disk import Disk
from colophon.journal_file import JournalFile, begin_journal
from consensus.journal import (
    BegunRecord,
    FinalisedRecord,
    JournalRecord,
    QuarantineRecord,
    VoteRecord,
    intact_after,
    read_journal,
)

from .recording_disk import RecordingDisk

PLACE = Path("/journal")
SEGMENT_BYTES = 400
"""Holds two votes, or four marks."""


def vote(view: int) -> VoteRecord:
    return VoteRecord(Vote(VoteKind.NULLIFY, 0, view, None, 1, bytes(64)))


def mark(view: int) -> FinalisedRecord:
    return FinalisedRecord(0, view, view, bytes(32))


def write(directory: Path, *records: JournalRecord, forget: bool = True) -> None:
    """Write records, each in a sync of its own, as somebody to whom all views are final."""
    journal = JournalFile(directory, Disk(), segment_bytes=SEGMENT_BYTES)
    for view, record in enumerate(records, 1):
        journal.append([record])
        journal.sync()
        if forget:
            journal.forget(0, view)
    journal.close()


def reopened(directory: Path) -> tuple[JournalRecord, ...]:
    journal = JournalFile(directory, Disk(), segment_bytes=SEGMENT_BYTES)
    journal.close()
    return journal.records


def is_intact(directory: Path) -> bool:
    intact = False
    for record in reopened(directory):
        intact = intact_after(intact, record)
    return intact


def test_a_begun_journal_says_that_nothing_was_signed(tmp_path: Path) -> None:
    begin_journal(tmp_path / "journal", Disk())

    assert reopened(tmp_path / "journal") == (BegunRecord(),)


def test_an_empty_directory_is_no_intact_journal(tmp_path: Path) -> None:
    assert reopened(tmp_path) == ()
    assert reopened(tmp_path) == (), "opening it does not begin it"


@pytest.mark.parametrize("first", [BegunRecord(), vote(1)], ids=["begun", "voted"])
def test_removing_old_files_does_not_make_an_intact_journal_look_lost(
    tmp_path: Path, first: JournalRecord
) -> None:
    """Who has not voted for long has only marks and certificates of others in its files."""
    write(tmp_path, first, *(mark(view) for view in range(2, 40)))

    assert len(list(tmp_path.glob("*.journal"))) < 3
    assert is_intact(tmp_path)


def test_files_after_a_quarantine_do_not_say_that_they_are_intact(tmp_path: Path) -> None:
    write(tmp_path, vote(1), QuarantineRecord(0), *(mark(view) for view in range(3, 40)))

    assert not is_intact(tmp_path)
    assert BegunRecord() not in reopened(tmp_path)


def test_a_lost_journal_stays_lost_over_many_files(tmp_path: Path) -> None:
    write(tmp_path, *(mark(view) for view in range(1, 40)))

    assert not is_intact(tmp_path)


@pytest.mark.parametrize("left", [0, 5])
def test_a_crash_while_a_file_begins_leaves_it_to_the_next_start(tmp_path: Path, left: int) -> None:
    write(tmp_path, vote(1), vote(2), vote(3), vote(4), vote(5), vote(6), forget=False)
    newest = sorted(tmp_path.glob("*.journal"))[-1]
    newest.write_bytes(newest.read_bytes()[:left])

    write(tmp_path, mark(7), mark(8))

    assert BegunRecord() in reopened(tmp_path)
    for path in sorted(tmp_path.glob("*.journal"))[:-1]:
        path.unlink()
    assert is_intact(tmp_path)


def test_whatever_file_goes_the_rest_would_survive_a_power_cut_as_an_intact_journal() -> None:
    class Watched(RecordingDisk):
        def remove(self, path: Path) -> None:
            super().remove(path)
            left = JournalFile(PLACE, self.after_power_cut(), segment_bytes=SEGMENT_BYTES).records
            intact.append(BegunRecord() in left)

    intact: list[bool] = []
    journal = JournalFile(PLACE, Watched(), segment_bytes=SEGMENT_BYTES)
    for view, record in enumerate((vote(1), *(mark(view) for view in range(2, 40))), 1):
        journal.append([record])
        journal.sync()
        journal.forget(0, view)

    assert len(intact) > 3
    assert all(intact)


def test_a_new_file_says_durably_that_it_is_intact_before_anything_else_is_written() -> None:
    disk = RecordingDisk()
    journal = JournalFile(PLACE, disk, segment_bytes=SEGMENT_BYTES)
    journal.append([vote(view) for view in range(1, 7)])
    journal.sync()

    newest = disk.files(PLACE, ".journal")[-1]

    left = disk.after_power_cut().read(newest)
    assert read_journal(left).records == (BegunRecord(),)


def test_what_is_kept_of_a_torn_file_is_durable_before_anything_is_written() -> None:
    """A crash may show bytes that were written but never synced: they must not get lost later."""
    disk = RecordingDisk()
    journal = JournalFile(PLACE, disk, segment_bytes=SEGMENT_BYTES)
    journal.append([vote(1)])
    data, _ = journal.take()
    disk.write(disk.open(disk.files(PLACE, ".journal")[0]), data + b"torn", 0)

    found = JournalFile(PLACE, disk, segment_bytes=SEGMENT_BYTES).records

    left = JournalFile(PLACE, disk.after_power_cut(), segment_bytes=SEGMENT_BYTES).records
    assert found == left == (vote(1),)


def test_a_closed_file_stays_while_a_promise_in_it_binds() -> None:
    disk = RecordingDisk()
    journal = JournalFile(PLACE, disk, segment_bytes=SEGMENT_BYTES)
    for view in range(1, 30):
        journal.append([vote(view)])
        journal.sync()

    journal.forget(0, 9)

    left = JournalFile(PLACE, disk.after_power_cut(), segment_bytes=SEGMENT_BYTES).records
    assert {vote(view) for view in range(10, 30)} <= {*left}
    assert vote(1) not in left


def test_a_quarantine_is_remembered_until_its_epoch_is_over() -> None:
    disk = RecordingDisk()
    journal = JournalFile(PLACE, disk, segment_bytes=SEGMENT_BYTES)
    journal.append([vote(1), QuarantineRecord(0)])
    for view in range(3, 20):
        journal.append([mark(view)])
        journal.sync()

    journal.forget(0, 100)
    kept = JournalFile(PLACE, disk.after_power_cut(), segment_bytes=SEGMENT_BYTES).records
    journal.forget(1, 1)
    over = JournalFile(PLACE, disk.after_power_cut(), segment_bytes=SEGMENT_BYTES).records

    assert QuarantineRecord(0) in kept
    assert QuarantineRecord(0) not in over
