"""Where keys and values lie on disk: LevelDB behind eight calls.

Nobody else sees LevelDB. A write is one atomic batch; with ``sync`` it survives a power cut, and
so does every write before it. Everything read is checked against its checksum: a damaged
database stops the node with ``Corruption`` instead of answering something else.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from chain.errors import ColophonError, Corruption, Rejected

from .disk_fault import disk_fault, number_in
from .store_faults import damaged, no_access, not_a_database, words_of
from .view import LevelView, OpenViews, Pair, View

try:
    import plyvel
except ImportError:
    plyvel = None

Put = tuple[bytes, bytes | None]
"""A key and its new value; None deletes the key."""

MARKER_NAME = "COLOPHON"
"""A file beside LevelDB's own: it says that the directory is ours, and it is what is locked."""

MARKER = b"colophon store 1\n"
MARKER_FORM = re.compile(rb"colophon store [1-9][0-9]{0,8}\n")
"""What the marker of any release looks like."""
MARKER_BYTES_MAX = 64
"""Read of it; none is as long."""

NICENESS = 10
"""Of LevelDB's own thread: it gets what the loop and the signature workers leave."""

_BEHIND_ALL = b"\xff" * 64
"""No key lies here: to compact this range only begins the thread that compacts."""

_MIB = 1 << 20
_OPTIONS = {
    "max_file_size": 16 * _MIB,
    "lru_cache_size": 32 * _MIB,
    "bloom_filter_bits": 10,
    "paranoid_checks": True,
    "block_size": 1024,
    "compression": None,
}
"""Measured with 5 000-key batches: LevelDB's defaults stall for seconds at two million keys.

State is read by random keys and is mostly hashes: small blocks without compression answer such a
read in 5.7 µs instead of 9.9 (700 k keys, checksums on).

State keys are random, so every full write buffer rewrites the whole level below: twice the buffer
halves that (24 to 10 µs of the background thread for an ip.register), for 32 MiB at most.

Without paranoid checks LevelDB drops the damaged part of its log and carries on without it.
"""

_BUFFER_MIB = range(20, 33)
"""Each store has a write buffer of its own size, by lot. Validators write the same rows: with equal
buffers all of them would rewrite their files in the same seconds, and the network be slow; so one
does while the others have a quorum.
"""


class Batch(Protocol):
    """Puts on their way to the store; none counts before ``write``."""

    def add(self, puts: Iterable[Put]) -> int:
        """Add puts after those already here; returns how many.

        Not in a thread beside a busy one: plyvel lets go of the interpreter lock at every put, so
        such a thread gets on by one put a turn (13 641 rows: 2.5 s instead of 5 ms, measured).
        """

    def write(self) -> None:
        """Apply all puts in order, or none of them; in any thread, once."""


class KeyValueStore(View, Protocol):
    """What the rest of the node knows of a store."""

    def batch(self, *, sync: bool) -> Batch:
        """Return an empty batch.

        With ``sync`` it and all earlier writes are on the disk when its ``write`` returns; else
        the newest writes may be lost in a crash, never one without all that came after it.
        """

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Apply all of ``puts`` as one batch."""

    def snapshot(self) -> View:
        """Return the store as it is now; it costs disk space while it is kept."""

    def erase(self, key: bytes) -> None:
        """Delete ``key`` so that its value is in no file either; waits for older snapshots."""

    def compact(self) -> None:
        """Rewrite the files so that what was deleted takes no room; may take minutes."""

    def close(self) -> None:
        """Release the store; closing twice is allowed."""


def _open_calmly(path: Path) -> Any:
    """Open LevelDB so that its own thread gives way to everybody else's; in a thread of its own.

    That thread writes full buffers out and merges files, for seconds every twenty thousand
    transactions. There is one in a process; it begins when it is first needed, with the priority
    of the thread that needs it. Four validators on two cores that all merged at once missed
    each other's turns for two seconds (measured).
    """
    if sys.platform == "linux":
        os.nice(NICENESS)  # of this thread alone, there
    buffer_bytes = secrets.choice(_BUFFER_MIB) * _MIB
    database = plyvel.DB(
        str(path), create_if_missing=True, write_buffer_size=buffer_bytes, **_OPTIONS
    )
    database.compact_range(start=_BEHIND_ALL, stop=_BEHIND_ALL)
    return database


class Store:
    """A LevelDB directory, open in this process only. A context manager."""

    def __init__(self, path: Path, database: Any, lock: int) -> None:
        """Not for callers: ``Store.open`` makes it."""
        self.path = path
        self._database = database
        self._lock = lock
        self._now = LevelView(database, self._failure)
        self._views = OpenViews()

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Store:
        """Open the store in directory ``path``; with ``create``, make it if it is not there.

        Raises ``Rejected`` with ``store/NotADatabase``, ``store/NotWritable``, ``store/Locked``
        or ``store/PlyvelMissing``, and ``Corruption`` for a damaged one; then nothing is open.
        """
        if plyvel is None:
            raise Rejected(
                "store/PlyvelMissing",
                "the database needs the plyvel package: `pip install plyvel` has it ready for "
                "Python 3.11 and 3.12 on x86-64 Linux, elsewhere install LevelDB's headers first "
                "(Debian: `apt install libleveldb-dev g++`)",
            )
        lock = _claim(path, create)
        try:
            _require_whole(path)
            with ThreadPoolExecutor(max_workers=1) as calm:
                database = calm.submit(_open_calmly, path).result()
        except (plyvel.Error, OSError) as error:
            os.close(lock)
            raise _open_failure(path, error) from error
        except ColophonError:
            os.close(lock)
            raise
        return cls(path, database, lock)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        return self._now.get(key)

    def scan(self, start: bytes, stop: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        """Yield a range of keys and values; see ``View.scan``."""
        return self._now.scan(start, stop, reverse=reverse)

    def snapshot(self) -> View:
        """Return the store as it is now."""
        return self._views.keep(LevelView(self._database.snapshot(), self._failure))

    def batch(self, *, sync: bool) -> Batch:
        """Return an empty batch; see ``KeyValueStore.batch``."""
        return _LevelBatch(self, self._database.write_batch(sync=sync))

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Apply all of ``puts`` as one batch."""
        batch = self.batch(sync=sync)
        batch.add(puts)
        batch.write()

    def erase(self, key: bytes) -> None:
        """Delete ``key`` and rewrite the files it is in; in a thread that holds no snapshot.

        A value and its deletion that lie in memory together would go into one file together, and
        stay there: the value has to be in a file before it is deleted. It would also stay for a
        snapshot from before: when that is let go of, nobody would rewrite the file.
        """
        only_key = {"start": key, "stop": key + b"\0"}
        self._database.compact_range(**only_key)
        self.write([(key, None)], sync=True)
        self._views.wait()
        self._database.compact_range(**only_key)

    def compact(self) -> None:
        """Rewrite all files."""
        self._database.compact_range(start=b"", stop=_BEHIND_ALL)

    def close(self) -> None:
        """Close the files and let go of the lock."""
        if not self._database.closed:
            self._database.close()
            os.close(self._lock)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _failure(self, doing: str, error: Exception) -> ColophonError:
        words = words_of(error)
        if isinstance(error, plyvel.IOError) and not isinstance(error, plyvel.CorruptionError):
            return disk_fault(self.path, number_in(words), f"{doing} the database: {words}")
        return Corruption(
            f"{doing} the database in {self.path} failed ({words}); nothing of this call "
            "counts; look at the disk before the next start"
        )


class _LevelBatch:
    """A batch of LevelDB's."""

    __slots__ = ("_batch", "_store")

    def __init__(self, store: Store, batch: Any) -> None:
        self._store = store
        self._batch = batch

    def add(self, puts: Iterable[Put]) -> int:
        put, delete = self._batch.put, self._batch.delete
        count = 0
        for key, value in puts:
            count += 1
            if value is None:
                delete(key)
            else:
                put(key, value)
        return count

    def write(self) -> None:
        try:
            self._batch.write()
        except plyvel.Error as error:
            raise self._store._failure("writing", error) from error


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first key after all that begin with ``prefix``: the ``stop`` of their scan."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes((head[-1] + 1,)) if head else None


def _claim(path: Path, create: bool) -> int:
    """Return a locked handle on our marker in ``path``; make both if allowed.

    The lock is ours, not LevelDB's: a second attempt to open LevelDB in one process releases the
    first one's lock on the files (POSIX locks go with any close), and a third writes into them.
    """
    try:
        if create:
            path.mkdir(parents=True, exist_ok=True)
        if not path.is_dir() or not _is_ours_or_empty(path, create):
            raise not_a_database(path, create)
        handle = os.open(path / MARKER_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except (NotADirectoryError, FileExistsError):
        raise not_a_database(path, create) from None
    except OSError as error:
        raise no_access(path, error) from error
    try:
        _lock_and_mark(path, handle)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_ours_or_empty(path: Path, create: bool) -> bool:
    if (path / MARKER_NAME).exists():
        return True
    return create and not any(path.iterdir())


def _lock_and_mark(path: Path, handle: int) -> None:
    """Lock the marker, write it if it is new, and refuse one that is not ours."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Rejected(
            "store/Locked",
            f"the database in {path} is in use by another process: stop that node first, or ask "
            "it over its RPC",
            path=str(path),
        ) from None
    found = os.pread(handle, MARKER_BYTES_MAX, 0)
    if found == MARKER:
        return
    if not MARKER.startswith(found) or _names(path) != [MARKER_NAME]:
        raise _foreign(path, found)
    try:  # it is new, or a crash came while it was made
        os.pwrite(handle, MARKER, 0)
        os.fsync(handle)
    except OSError as error:
        raise no_access(path, error) from error


def _foreign(path: Path, found: bytes) -> ColophonError:
    """Return what a marker that is not ours says: another release, damage, or nothing of ours.

    One bit beside ours is damage: numbers of releases that follow each other differ in more.
    """
    bits = (int.from_bytes(found) ^ int.from_bytes(MARKER)).bit_count()
    if MARKER_FORM.fullmatch(found) and bits > 1:
        return Rejected(
            "store/NotADatabase",
            f"{path / MARKER_NAME} says {found!r}, expected {MARKER!r}: the database was written "
            "by another release",
            path=str(path),
        )
    if "CURRENT" in _names(path):
        return damaged(path, f"its file {MARKER_NAME} says {found[:40]!r}, expected {MARKER!r}")
    return not_a_database(path, create=True)


def _names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def _require_whole(path: Path) -> None:
    """Refuse files without LevelDB's table of contents: it would begin an empty database."""
    names = _names(path)
    data = [name for name in names if name.endswith((".ldb", ".sst", ".log"))]
    if data and "CURRENT" not in names:
        raise Corruption(
            f"the database in {path} has lost its file CURRENT, while {data[0]} is there: restore "
            "the directory or start from a snapshot"
        )


def _open_failure(path: Path, error: Exception) -> ColophonError:
    if isinstance(error, plyvel.CorruptionError):
        return damaged(path, words_of(error))
    return no_access(path, error)
