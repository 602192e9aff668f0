"""The consensus journal on disk: segments, syncs, rotation (protocol.md J6).

Bytes are made and read by ``consensus.journal``; this file only stores them. ``append`` buffers,
``sync`` writes the buffer and returns when it is durable. An error of the disk is never retried:
the page cache may have dropped what it was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from chain.errors import Corruption
from chain.types import U64_MAX
from consensus.journal import (
    SEGMENT_BYTES,
    AttachmentsRecord,
    BegunRecord,
    BlockRecord,
    CertificateRecord,
    FinalisedRecord,
    JournalRecord,
    JournalWriter,
    QuarantineRecord,
    VoteRecord,
    intact_after,
    read_journal,
)

from .disk import Disk

SUFFIX = ".journal"


class Place(NamedTuple):
    """A point of consensus: epoch, then view."""

    epoch: int
    view: int


class _Segment(NamedTuple):
    path: Path
    newest: Place
    """No record in it is of a later view."""


def place_of(record: JournalRecord) -> Place:
    """Return the view a record belongs to; attachments follow the block they belong to."""
    match record:
        case VoteRecord(vote=vote):
            return Place(vote.epoch, vote.view)
        case BlockRecord(header=header):
            return Place(header.epoch, header.view)
        case CertificateRecord(certificate=certificate):
            return Place(certificate.epoch, certificate.view)
        case FinalisedRecord(epoch=epoch, view=view):
            return Place(epoch, view)
        case QuarantineRecord(epoch=epoch):
            return Place(epoch, U64_MAX)  # stays as long as the epoch's votes may
        case AttachmentsRecord() | BegunRecord():
            return Place(0, 0)


def begin_journal(directory: Path, disk: Disk) -> None:
    """Make the journal of a key that has never signed, and say so in it (J2)."""
    journal = JournalFile(directory, disk, segment_bytes=SEGMENT_BYTES)
    journal.append([BegunRecord()])
    journal.sync()
    journal.close()


class JournalFile:
    """The open journal of one validator; one owner."""

    def __init__(self, directory: Path, disk: Disk, *, segment_bytes: int) -> None:
        """Open the journal in ``directory``, cut a torn tail, and sync what is there.

        Raises ``Corruption`` if something that was durable is damaged or missing.
        """
        disk.make_directory(directory)
        self._disk = disk
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._closed: list[_Segment] = []
        self._buffer = bytearray()
        self._newest = Place(0, 0)
        self._intact = False
        """Whether the records so far are all there is to know; each file has to say so (J6)."""
        self.syncs = 0
        """How often the disk was asked to be durable; a test counts them per block."""
        self.records = self._recover()
        """What the journal held when it was opened."""

    def _recover(self) -> tuple[JournalRecord, ...]:
        paths = self._disk.files(self._directory, SUFFIX)
        parts = [self._disk.read(path) for path in paths]
        replay = read_journal(b"".join(parts))
        if replay.valid_bytes < sum(len(part) for part in parts[:-1]):
            raise Corruption(f"the journal in {self._directory} is damaged before its last file")
        records = list(replay.records)
        self._writer = JournalWriter(replay.next_seq)
        for record in records:
            self._note(record)
        self._closed = [_Segment(path, self._newest) for path in paths[:-1]]
        if paths:
            self._path = paths[-1]
            kept = replay.valid_bytes - sum(len(part) for part in parts[:-1])
            self._open(size=kept)
            if kept == 0:
                self._say_intact()
        else:
            self._begin_segment()
        return tuple(records)

    def _open(self, *, size: int) -> None:
        """Open the newest file and keep its first ``size`` bytes; these and its name are synced."""
        self._file = self._disk.open(self._path)
        self._disk.cut(self._file, size)
        self._size = size
        self._disk.sync(self._file)
        self._disk.sync_directory(self._directory)

    def _begin_segment(self) -> None:
        self._path = self._directory / f"{self._writer.last_seq + 1:020d}{SUFFIX}"
        self._open(size=0)
        self._say_intact()

    def _say_intact(self) -> None:
        """Let a new file of an intact journal say that it is, so that older ones may go (J6)."""
        if self._intact:
            self.append([BegunRecord()])
            self.sync()

    def _note(self, record: JournalRecord) -> None:
        self._newest = max(self._newest, place_of(record))
        self._intact = intact_after(self._intact, record)

    def append(self, records: Iterable[JournalRecord]) -> None:
        """Add records to what the next ``sync`` makes durable."""
        for record in records:
            self._buffer += self._writer.encode(record)
            self._note(record)

    def take(self) -> tuple[bytes, int]:
        """Return the buffered bytes and the number of their last record, and clear the buffer."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data, self._writer.last_seq

    def write(self, data: bytes) -> None:
        """Write bytes from ``take`` and make them durable. May run in a thread: it stays in C."""
        self._disk.write(self._file, data, self._size)
        self._disk.sync(self._file)
        self._size += len(data)
        self.syncs += 1

    def written(self, last_seq: int) -> None:
        """Note a finished ``write``, on the owner's side; begins a new file if this one is full."""
        self._writer.synced(last_seq)
        if self._size >= self._segment_bytes and not self._buffer:
            self._disk.close(self._file)
            self._closed.append(_Segment(self._path, self._newest))
            self._begin_segment()

    def sync(self) -> None:
        """Write and sync at once (start-up, tests)."""
        data, last_seq = self.take()
        self.write(data)
        self.written(last_seq)

    def forget(self, epoch: int, view: int) -> None:
        """Remove closed files that hold nothing above this view: it is final in the store."""
        limit = Place(epoch, view)
        while self._closed and self._closed[0].newest <= limit:
            self._disk.remove(self._closed.pop(0).path)

    def close(self) -> None:
        """Release the file; what is buffered and unsynced is nobody's promise yet."""
        self._disk.close(self._file)
