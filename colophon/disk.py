"""The disk below journal, guard and keys: the few operations that promises rest on (J3–J8).

Nothing here is retried: after a refusal the page cache may have dropped what it was given. A test
gives its own ``Disk``, which records what was written and what was synced, and when.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from chain.errors import DiskFault
from state.disk_fault import refusals

PRIVATE = 0o600
"""Mode of files that nobody but their owner reads."""
PUBLIC = 0o644
"""Mode of files that hold nothing secret."""


class File(NamedTuple):
    """An open file."""

    path: Path
    descriptor: int


class Disk:
    """Files of this machine. Every method raises ``DiskFault`` if the disk says no."""

    def make_directory(self, path: Path, mode: int = 0o777) -> None:
        """Make a directory and those above it, durably; one that is there stays as it is."""
        if path.is_dir():
            return
        self.make_directory(path.parent)
        with refusals(path):
            path.mkdir(mode, exist_ok=True)
        self.sync_directory(path.parent)

    def files(self, directory: Path, suffix: str) -> list[Path]:
        """Return the files of a directory whose names end so, by name."""
        with refusals(directory):
            return sorted(directory.glob("*" + suffix))

    def read(self, path: Path) -> bytes:
        """Return a file's bytes; none if it is not there."""
        with refusals(path):
            return path.read_bytes() if path.exists() else b""

    def open(self, path: Path, mode: int = PRIVATE) -> File:
        """Open a file to be written, and make it if it is not there; its name is not durable."""
        with refusals(path):
            return File(path, os.open(path, os.O_RDWR | os.O_CREAT, mode))

    def cut(self, file: File, size: int) -> None:
        """Drop what a file has above ``size`` bytes."""
        with refusals(file.path):
            os.ftruncate(file.descriptor, size)

    def write(self, file: File, data: bytes, offset: int) -> None:
        """Write all of ``data``; it is durable after ``sync``."""
        view = memoryview(data)
        with refusals(file.path):
            while view:
                written = os.pwrite(file.descriptor, view, offset)
                view, offset = view[written:], offset + written

    def sync(self, file: File) -> None:
        """Return when a file's bytes are durable; its name needs ``sync_directory``."""
        with refusals(file.path):
            os.fdatasync(file.descriptor)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory are durable."""
        with refusals(path):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, which nothing else has afterwards; not durable."""
        with refusals(new):
            os.replace(old, new)

    def link(self, old: Path, new: Path) -> None:
        """Give a file a second name; ``FileExistsError`` if something has it. Not durable."""
        with refusals(new):
            os.link(old, new)

    def put(self, path: Path, data: bytes, mode: int = PRIVATE) -> None:
        """Make ``data`` all that a file holds, durably: a crash leaves the old or the new."""
        with self._aside(path, data, mode) as fresh:
            self.rename(fresh, path)
            self.sync_directory(path.parent)

    def put_new(self, path: Path, data: bytes) -> None:
        """Make a file that holds ``data``, durably: a crash leaves nothing or the whole.

        ``FileExistsError`` if there is one; it stays as it is.
        """
        with self._aside(path, data, PRIVATE) as fresh:
            self.link(fresh, path)
            try:
                self.sync_directory(path.parent)
            except DiskFault:
                self.remove(path)  # whoever tries again shall not find what nobody was told of
                raise

    @contextmanager
    def _aside(self, path: Path, data: bytes, mode: int) -> Iterator[Path]:
        """Yield the name of a durable file beside ``path``; it is gone afterwards."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            file = self.open(fresh, mode)
            try:
                self.cut(file, 0)
                self.write(file, data, 0)
                self.sync(file)
            finally:
                self.close(file)
            yield fresh
        finally:
            with suppress(FileNotFoundError, DiskFault):
                self.remove(fresh)

    def remove(self, path: Path) -> None:
        """Remove a file; a crash may bring it back."""
        with refusals(path):
            path.unlink()

    def close(self, file: File) -> None:
        """Let go of a file; what was not synced is nobody's promise."""
        os.close(file.descriptor)
