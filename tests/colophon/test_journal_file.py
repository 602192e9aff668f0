"""The journal's files say of themselves whether they are the whole journal (protocol.md J6, C15).

A real directory; what a crash leaves is made by cutting and removing files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.vote import Vote, VoteKind
from colophon.journal_file import JournalFile, begin_journal
from consensus.journal import (
    BegunRecord,
    FinalisedRecord,
    JournalRecord,
    QuarantineRecord,
    VoteRecord,
    intact_after,
)

SEGMENT_BYTES = 400
"""Holds two votes, or four marks."""


def vote(view: int) -> VoteRecord:
    return VoteRecord(Vote(VoteKind.NULLIFY, 0, view, None, 1, bytes(64)))


def mark(view: int) -> FinalisedRecord:
    return FinalisedRecord(0, view, view, bytes(32))


def write(directory: Path, *records: JournalRecord, forget: bool = True) -> None:
    """Write records, each in a sync of its own, as somebody to whom all views are final."""
    journal = JournalFile(directory, segment_bytes=SEGMENT_BYTES)
    for view, record in enumerate(records, 1):
        journal.append([record])
        journal.sync()
        if forget:
            journal.forget(0, view)
    journal.close()


def reopened(directory: Path) -> tuple[JournalRecord, ...]:
    journal = JournalFile(directory, segment_bytes=SEGMENT_BYTES)
    journal.close()
    return journal.records


def is_intact(directory: Path) -> bool:
    intact = False
    for record in reopened(directory):
        intact = intact_after(intact, record)
    return intact


def test_a_begun_journal_says_that_nothing_was_signed(tmp_path: Path) -> None:
    begin_journal(tmp_path / "journal")

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
