"""The sign-state guard on disk (protocol.md J7–J9): one preallocated file, two slots."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chain.errors import Corruption
from consensus.guard import (
    GUARD_BYTES,
    GuardEntry,
    encode_slot,
    must_sync,
    next_entry,
    read_guard,
)
from consensus.journal import JournalRecord, QuarantineRecord

from .disk import Disk


class GuardFile:
    """The open guard of one validator; one owner."""

    def __init__(self, path: Path, disk: Disk, *, quarantine: bool) -> None:
        """Open or make the file.

        Raises ``Corruption`` if it is damaged; with ``quarantine`` a damaged one remembers
        nothing, and is whole again with the first write.
        """
        disk.make_directory(path.parent)
        self._disk = disk
        data = disk.read(path)
        self._file = disk.open(path)
        self._is_damaged = False
        self._must_sync = False
        if len(data) < GUARD_BYTES and not any(data):  # new, or a crash came while it was made
            data = bytes(GUARD_BYTES)
            disk.write(self._file, data, 0)
            disk.sync(self._file)
            disk.sync_directory(path.parent)
        self.entry: GuardEntry | None = None
        """The newest promise it remembers."""
        try:
            self.entry = read_guard(data)
        except Corruption:
            if not quarantine:
                raise
            self._is_damaged = True

    def note(self, records: Iterable[JournalRecord]) -> bool:
        """Take in records that were synced; tells whether ``write`` is due.

        A quarantine begins with an empty guard: older promises are unknown in any case.
        """
        synced = list(records)
        self._must_sync = must_sync(synced)
        if any(isinstance(record, QuarantineRecord) for record in synced):
            self.entry = None
            return True
        entry = next_entry(self.entry, synced)
        if entry is None:
            return False
        self.entry = entry
        return True

    def write(self) -> None:
        """Write the newest entry, or zeros; durably but for a NOTARIZE (J8). Runs in a thread."""
        if self.entry is None or self._is_damaged:
            self._disk.write(self._file, bytes(GUARD_BYTES), 0)
            self._disk.cut(self._file, GUARD_BYTES)
            self._is_damaged = False
        if self.entry is not None:
            offset, data = encode_slot(self.entry)
            self._disk.write(self._file, data, offset)
        if self._must_sync:
            self._disk.sync(self._file)

    def close(self) -> None:
        """Release the file."""
        self._disk.close(self._file)
