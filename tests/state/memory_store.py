"""The store's interface on a dict, for tests; nothing survives the process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from state.store import Batch, Put
from state.view import Pair, View


class CollectedBatch:
    """A batch that calls a store's ``write`` with all its puts."""

    def __init__(self, write: Callable[[list[Put]], None]) -> None:
        self._write = write
        self._puts: list[Put] = []

    def add(self, puts: Iterable[Put]) -> int:
        """Collect them."""
        before = len(self._puts)
        self._puts.extend(puts)
        return len(self._puts) - before

    def write(self) -> None:
        """Hand them over."""
        self._write(self._puts)


class MemoryStore:
    """The same interface on a dict, for tests and tools; nothing survives the process."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._order: list[bytes] | None = []
        # The sorted keys, made again when they are needed after the set of keys has changed.

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        return self._values.get(key)

    def batch(self, *, sync: bool) -> Batch:
        """Return an empty batch."""
        return CollectedBatch(partial(self.write, sync=sync))

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Apply all of ``puts``; ``sync`` makes no difference."""
        for key, value in list(puts):
            if (value is None) == (key in self._values):
                self._order = None
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value

    def scan(self, start: bytes, stop: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        """Yield a range of keys and values as they are at the call."""
        if self._order is None:
            self._order = sorted(self._values)
        first = bisect_left(self._order, start)
        last = len(self._order) if stop is None else bisect_left(self._order, stop)
        pairs = [(key, self._values[key]) for key in self._order[first:last]]
        return reversed(pairs) if reverse else iter(pairs)

    def snapshot(self) -> View:
        """Return a copy."""
        copy = MemoryStore()
        copy._values, copy._order = self._values.copy(), self._order
        return copy

    def erase(self, key: bytes) -> None:
        """Delete ``key``."""
        self.write([(key, None)], sync=True)

    def compact(self) -> None:
        """Do nothing: memory has no files."""

    def close(self) -> None:
        """Keep everything: whoever holds the object can still read it."""
