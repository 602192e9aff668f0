"""The sign-state guard on disk (protocol.md J7–J9): one preallocated file, two slots."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from consensus.guard import GUARD_BYTES, GuardEntry, encode_slot, next_entry, read_guard
from consensus.journal import JournalRecord, QuarantineRecord


class GuardFile:
    """The open guard of one validator; one owner."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises ``Corruption`` if both slots are damaged."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if fresh:
            os.pwrite(self._file, bytes(GUARD_BYTES), 0)
            os.fsync(self._file)
        self.entry: GuardEntry | None = read_guard(path.read_bytes())
        """The newest promise it remembers."""

    def note(self, records: Iterable[JournalRecord]) -> bool:
        """Take in records that were synced; tells whether ``write`` is due.

        A quarantine begins with an empty guard: older promises are unknown in any case.
        """
        synced = list(records)
        if any(isinstance(record, QuarantineRecord) for record in synced):
            self.entry = None
            return True
        entry = next_entry(self.entry, synced)
        if entry is None:
            return False
        self.entry = entry
        return True

    def write(self) -> None:
        """Write the newest entry durably, or zeros. May run in a thread: it stays in C."""
        offset, data = (0, bytes(GUARD_BYTES)) if self.entry is None else encode_slot(self.entry)
        os.pwrite(self._file, data, offset)
        os.fdatasync(self._file)

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)
