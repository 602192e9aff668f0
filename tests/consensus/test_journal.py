"""The journal tells a torn tail from damage to something durable (protocol.md J1–J5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Corruption, Misuse
from chain.vote import Vote
from consensus.journal import (
    HEAD_BYTES,
    BegunRecord,
    CertificateRecord,
    FinalisedRecord,
    JournalRecord,
    JournalWriter,
    QuarantineRecord,
    VoteRecord,
    intact_after,
    read_journal,
)

from ..chain.votes import FINALIZE, certificate_of, committee_of


def vote(view: int) -> VoteRecord:
    return VoteRecord(Vote(FINALIZE, 0, view, b"b" * 32, 1, bytes([view]) * 64))


RECORDS: list[JournalRecord] = [
    vote(1),
    FinalisedRecord(0, 1, 1, b"b" * 32),
    CertificateRecord(certificate_of(committee_of(1), [0], FINALIZE, 3, b"b" * 32)),
    vote(4),
]


def written(records: list[JournalRecord], *, synced_each: bool = False) -> list[bytes]:
    writer = JournalWriter()
    chunks = []
    for record in records:
        chunks.append(writer.encode(record))
        if synced_each:
            writer.synced(writer.last_seq)
    return chunks


def test_records_come_back_in_order() -> None:
    data = b"".join(written(RECORDS))

    replay = read_journal(data)

    assert list(replay.records) == RECORDS
    assert (replay.next_seq, replay.valid_bytes) == (5, len(data))


def test_a_begun_journal_has_the_documented_bytes() -> None:
    chunk = written([BegunRecord()])[0]

    assert chunk[HEAD_BYTES:] == b"\x92\x00\x91\xa5begun"


@pytest.mark.parametrize(
    ("records", "intact"),
    [
        ([], False),
        ([BegunRecord()], True),
        ([vote(1)], True),
        ([RECORDS[1], RECORDS[2]], False),
        ([BegunRecord(), RECORDS[1]], True),
        ([BegunRecord(), vote(1), QuarantineRecord(0), RECORDS[2]], False),
        ([QuarantineRecord(0), vote(9)], True),
        ([QuarantineRecord(0), BegunRecord()], True),
    ],
)
def test_a_journal_is_intact_from_its_beginning_on(
    records: list[JournalRecord], intact: bool
) -> None:
    found = False
    for record in records:
        found = intact_after(found, record)

    assert found == intact


def test_an_empty_journal_is_fine() -> None:
    assert read_journal(b"").records == ()


def test_a_stream_goes_on_after_a_restart() -> None:
    first = b"".join(written(RECORDS[:2]))
    writer = JournalWriter(read_journal(first).next_seq)

    replay = read_journal(first + writer.encode(RECORDS[2]))

    assert list(replay.records) == RECORDS[:3]


def test_a_stream_may_begin_after_dropped_segments() -> None:
    chunks = written(RECORDS)

    assert list(read_journal(b"".join(chunks[2:])).records) == RECORDS[2:]


@given(cut=st.integers(min_value=0))
def test_any_torn_tail_is_cut(cut: int) -> None:
    chunks = written(RECORDS)
    data = b"".join(chunks)
    cut %= len(data)

    replay = read_journal(data[:cut])

    whole = sum(1 for i in range(4) if len(b"".join(chunks[: i + 1])) <= cut)
    assert list(replay.records) == RECORDS[:whole]
    assert replay.valid_bytes == len(b"".join(chunks[:whole]))


def test_zeros_of_a_preallocated_file_are_a_torn_tail() -> None:
    data = b"".join(written(RECORDS))

    replay = read_journal(data + bytes(5_000))

    assert (len(replay.records), replay.valid_bytes) == (4, len(data))


@given(position=st.integers(min_value=0), flip=st.integers(1, 255))
def test_damage_to_what_was_durable_stops_the_start(position: int, flip: int) -> None:
    chunks = written(RECORDS, synced_each=True)
    data = bytearray(b"".join(chunks))
    data[position % (len(data) - len(chunks[-1]))] ^= flip

    with pytest.raises(Corruption):
        read_journal(bytes(data))


@given(position=st.integers(min_value=0), flip=st.integers(1, 255))
def test_damage_among_what_was_never_synced_is_a_torn_tail(position: int, flip: int) -> None:
    data = bytearray(b"".join(written(RECORDS)))
    data[position % len(data)] ^= flip

    replay = read_journal(bytes(data))

    assert list(replay.records) == RECORDS[: len(replay.records)]
    assert len(replay.records) < 4


def test_a_missing_record_stops_the_start() -> None:
    chunks = written(RECORDS)

    with pytest.raises(Corruption, match="from record 1 to 3"):
        read_journal(chunks[0] + chunks[2])


def test_the_head_has_the_documented_layout() -> None:
    chunk = written(RECORDS)[0]

    assert int.from_bytes(chunk[:4], "big") == len(chunk) - HEAD_BYTES
    assert int.from_bytes(chunk[8:16], "big") == 1


def test_a_sync_is_reported_only_of_what_was_written() -> None:
    with pytest.raises(Misuse):
        JournalWriter().synced(1)
