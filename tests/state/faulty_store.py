"""A store on a simulated disk that can lose power at any chosen write.

It records every batch. ``Crash(write=n)`` stops the n-th write (counted from 1) before anything
of it happened or after it was applied, with ``SimulatedCrash``; from then on every call raises
it, as if the process were gone. ``reopen`` gives what the disk held: all batches up to the last
synced one, and as many of the unsynced ones after it as the test says, never one with a gap
before it (LevelDB's log is one file, written in order).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from state.store import Batch as StoreBatch
from state.store import Put
from state.view import Pair, View
from tests.state.memory_store import CollectedBatch, MemoryStore


class SimulatedCrash(Exception):
    """The machine lost power; only ``FaultyStore.reopen`` makes sense now."""


@dataclass(frozen=True, slots=True)
class Crash:
    """When to lose power: at the ``write``-th write of a store, from 1."""

    write: int
    after: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """One recorded write."""

    puts: tuple[Put, ...]
    sync: bool


class FaultyStore:
    """A ``KeyValueStore`` that fails as planned."""

    def __init__(self, crash: Crash | None = None, batches: Iterable[Batch] = ()) -> None:
        """``batches`` are on the disk already; they do not count as writes."""
        self.batches: list[Batch] = []
        self.crashed = False
        self._crash: Crash | None = None
        self._values = MemoryStore()
        for batch in batches:
            self.write(batch.puts, sync=True)
        self._before = len(self.batches)
        self._crash = crash

    @property
    def writes(self) -> int:
        """How many writes were applied since this store was opened."""
        return len(self.batches) - self._before

    @property
    def syncs(self) -> int:
        """How many of these were synced."""
        return sum(batch.sync for batch in self.batches[self._before :])

    @property
    def unsynced(self) -> int:
        """How many of the newest batches a crash can take away."""
        synced = [number for number, batch in enumerate(self.batches, 1) if batch.sync]
        return len(self.batches) - max(synced, default=0)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        self._require_power()
        return self._values.get(key)

    def batch(self, *, sync: bool) -> StoreBatch:
        """Return an empty batch."""
        return CollectedBatch(partial(self.write, sync=sync))

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Record and apply one batch, or crash as planned."""
        self._require_power()
        batch = Batch(tuple(puts), sync)
        crash = self._crash if self._crash and self._crash.write == self.writes + 1 else None
        if crash is not None and not crash.after:
            self._lose_power()
        self.batches.append(batch)
        self._values.write(batch.puts, sync=sync)
        if crash is not None:
            self._lose_power()

    def scan(self, start: bytes, stop: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        """Yield a range of keys and values as they are at the call."""
        self._require_power()
        return self._values.scan(start, stop, reverse=reverse)

    def snapshot(self) -> View:
        """Return the store as it is now."""
        self._require_power()
        return self._values.snapshot()

    def erase(self, key: bytes) -> None:
        """Delete ``key``."""
        self.write([(key, None)], sync=True)

    def compact(self) -> None:
        """Do nothing."""
        self._require_power()

    def close(self) -> None:
        """Close in good order: what was not synced is still only in the cache."""

    def crash(self) -> None:
        """Lose power now, without an exception in the caller's hands."""
        self.crashed = True

    def reopen(self, *, kept: int = 0, crash: Crash | None = None) -> FaultyStore:
        """Return the store after a restart, with ``kept`` unsynced batches (0: none) left."""
        survivors = len(self.batches) - self.unsynced + min(kept, self.unsynced)
        return FaultyStore(crash, self.batches[:survivors])

    def _require_power(self) -> None:
        if self.crashed:
            raise SimulatedCrash

    def _lose_power(self) -> None:
        self.crashed = True
        raise SimulatedCrash
