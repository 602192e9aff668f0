"""The key-value store under the state: LevelDB behind a small interface (docs/architecture.md).

(Written by the lead so that the state machine can build on it; keep this interface.)
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import plyvel

from chain.errors import Corruption, Rejected

Rows = Iterable[tuple[bytes, bytes | None]]
"""Keys with their new values; None deletes."""

WRITE_BUFFER_BYTES = 16 * 1024 * 1024
"""LevelDB's default of 4 MiB stalls for seconds at two million keys (measured)."""
CACHE_BYTES = 64 * 1024 * 1024
FILE_BYTES = 16 * 1024 * 1024
BLOOM_BITS = 10

MARKER = "COLOPHON"
"""File that says a directory holds our database and nothing else."""


class KeyValueStore(Protocol):
    """Ordered keys and values; a write is one batch, all or nothing."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""

    def write(self, rows: Rows, *, sync: bool) -> None:
        """Write all rows or none; with ``sync`` they survive a machine's crash."""

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``, ascending."""

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``, descending."""

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Return a reader of the store as it is now, whatever is written later."""

    def close(self) -> None:
        """Release the store; further calls are bugs."""


class Store:
    """A LevelDB directory, opened by one process at a time."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the database in ``path``.

        Raises ``Rejected`` (``store/NotWritable``, ``store/NotADatabase``, ``store/Locked``) or
        ``Corruption``.
        """
        _require_directory(path, create)
        try:
            self._db = plyvel.DB(
                str(path),
                create_if_missing=create,
                write_buffer_size=WRITE_BUFFER_BYTES,
                lru_cache_size=CACHE_BYTES,
                max_file_size=FILE_BYTES,
                bloom_filter_bits=BLOOM_BITS,
            )
        except plyvel.IOError as error:
            raise _explain(path, error) from None
        except plyvel.CorruptionError as error:
            raise Corruption(f"the database in {path} is damaged: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        value: bytes | None = self._db.get(key)
        return value

    def write(self, rows: Rows, *, sync: bool) -> None:
        """Write all rows or none; with ``sync`` they survive a machine's crash."""
        with self._db.write_batch(sync=sync) as batch:
            for key, value in rows:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``, ascending."""
        with self._db.iterator(start=start, stop=stop) as rows:
            yield from rows

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``, descending."""
        with self._db.iterator(start=start, stop=stop, reverse=True) as rows:
            yield from rows

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Return a reader of the store as it is now, whatever is written later."""
        reader: Callable[[bytes], bytes | None] = self._db.snapshot().get
        return reader

    def compact(self) -> None:
        """Rewrite the files without deleted rows."""
        self._db.compact_range()

    def close(self) -> None:
        """Release the database; further calls are bugs."""
        self._db.close()


class MemoryStore:
    """The same in a dict, for tests and throw-away networks."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self.rows.get(key)

    def write(self, rows: Rows, *, sync: bool) -> None:
        """Write all rows."""
        for key, value in rows:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``, ascending."""
        keys = sorted(self.rows)
        for key in keys[bisect_left(keys, start) : bisect_left(keys, stop)]:
            yield key, self.rows[key]

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``, descending."""
        yield from reversed(list(self.scan(start, stop)))

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Return a reader of the store as it is now."""
        return dict(self.rows).get

    def close(self) -> None:
        """Do nothing."""


def _require_directory(path: Path, create: bool) -> None:
    """Make sure ``path`` is, or can become, a directory of ours."""
    marker = path / MARKER
    if path.exists() and not path.is_dir():
        raise Rejected("store/NotADatabase", f"{path} is a file, a directory is needed")
    if marker.exists():
        return
    if path.is_dir() and any(path.iterdir()):
        raise Rejected(
            "store/NotADatabase",
            f"{path} holds other files and no Colophon database; choose an empty directory",
        )
    if not create:
        raise Rejected("store/NotADatabase", f"there is no Colophon database in {path}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        marker.write_text("This directory belongs to a Colophon node.\n")
    except OSError as error:
        raise Rejected(
            "store/NotWritable", f"cannot write to {path}: {os.strerror(error.errno or 0)}"
        ) from None


def _explain(path: Path, error: Exception) -> Rejected:
    text = str(error)
    if "lock" in text.lower():
        return Rejected(
            "store/Locked", f"another process uses the database in {path}; stop that node first"
        )
    return Rejected("store/NotWritable", f"cannot open the database in {path}: {text}")
