"""A disk in memory that knows what a power cut would leave, and can refuse.

It is as unkind as POSIX allows: bytes are gone unless their file was synced, a file is gone
unless its directory was synced after it was made, and a removal counts at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from colophon.disk import PRIVATE, Disk, File
from state.disk_fault import refusals


@dataclass(slots=True, eq=False)
class _Inode:
    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


class RecordingDisk(Disk):
    """Files by name; ``operations`` tells what was done to which of them."""

    def __init__(self, files: dict[Path, bytes] | None = None) -> None:
        self.operations: list[tuple[str, str]] = []
        """(what, the file's name), in the order in which it was done."""
        self._names = {
            path: _Inode(bytearray(content), content) for path, content in (files or {}).items()
        }
        self._synced_names = dict(self._names)
        self._open: dict[int, _Inode] = {}
        self._refused: tuple[str, str, int] | None = None
        self._allowed = 0

    def refuse(self, what: str, suffix: str, number: int, *, after: int) -> None:
        """Fail with this error of the system at ``what`` on files that end so, after so many."""
        self._refused = (what, suffix, number)
        self._allowed = after

    def after_power_cut(self) -> RecordingDisk:
        """Return what is on the disk when the power comes back."""
        return RecordingDisk({path: node.synced for path, node in self._synced_names.items()})

    def _begin(self, what: str, path: Path) -> None:
        self.operations.append((what, path.name))
        if self._refused is None:
            return
        refused, suffix, number = self._refused
        if what != refused or not path.name.endswith(suffix):
            return
        self._allowed -= 1
        if self._allowed < 0:
            with refusals(path):
                raise OSError(number, os.strerror(number))

    def make_directory(self, path: Path, mode: int = 0o777) -> None:
        """Nothing: directories are there."""

    def files(self, directory: Path, suffix: str) -> list[Path]:
        """See ``Disk``."""
        return sorted(
            path for path in self._names if path.parent == directory and path.suffix == suffix
        )

    def read(self, path: Path) -> bytes:
        """See ``Disk``."""
        self._begin("read", path)
        return bytes(self._names[path].content) if path in self._names else b""

    def open(self, path: Path, mode: int = PRIVATE) -> File:
        """See ``Disk``."""
        self._begin("open", path)
        descriptor = len(self._open)
        self._open[descriptor] = self._names.setdefault(path, _Inode())
        return File(path, descriptor)

    def cut(self, file: File, size: int) -> None:
        """See ``Disk``."""
        self._begin("cut", file.path)
        content = self._open[file.descriptor].content
        content[:] = bytes(content[:size]).ljust(size, b"\0")

    def write(self, file: File, data: bytes, offset: int) -> None:
        """See ``Disk``."""
        self._begin("write", file.path)
        content = self._open[file.descriptor].content
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data

    def sync(self, file: File) -> None:
        """See ``Disk``."""
        self._begin("sync", file.path)
        node = self._open[file.descriptor]
        node.synced = bytes(node.content)

    def sync_directory(self, path: Path) -> None:
        """See ``Disk``."""
        self._begin("sync_directory", path)
        for name, node in self._names.items():
            if name.parent == path:
                self._synced_names[name] = node

    def rename(self, old: Path, new: Path) -> None:
        """See ``Disk``."""
        self._begin("rename", new)
        self._names[new] = self._names.pop(old)
        self._synced_names.pop(old, None)

    def link(self, old: Path, new: Path) -> None:
        """See ``Disk``."""
        self._begin("link", new)
        if new in self._names:
            raise FileExistsError(new)
        self._names[new] = self._names[old]

    def remove(self, path: Path) -> None:
        """See ``Disk``."""
        self._begin("remove", path)
        if path not in self._names:
            raise FileNotFoundError(path)
        del self._names[path]
        self._synced_names.pop(path, None)

    def close(self, file: File) -> None:
        """See ``Disk``."""
