"""Which transactions leave the pool first: the worst payers, and those that expire (C16)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from .waiting import Kept

SPARE = 64
"""Entries of transactions that left, in a heap that is not worth rebuilding."""


class Departures:
    """Two heaps over what is in the pool; entries of transactions that left are skipped."""

    def __init__(self, here: Mapping[bytes, Kept]) -> None:
        """``here`` is the pool by id, which somebody else keeps."""
        self._here = here
        self._worst: list[tuple[int, int, bytes]] = []
        """By (rank, -order, id): of equal payers the youngest leaves first."""
        self._expiring: list[tuple[int, bytes]] = []
        """By (valid_until, id)."""
        self._taken: list[tuple[int, int, bytes]] = []

    def add(self, kept: Kept) -> None:
        """Note a transaction that has come into the pool."""
        tx = kept.tx
        if tx.valid_until:
            heapq.heappush(self._expiring, (tx.valid_until, tx.id))
        heapq.heappush(self._worst, (kept.rank, -kept.order, tx.id))

    def take_worst(self) -> Kept | None:
        """Take out the worst payer of what is left; ``put_back`` must follow."""
        while self._worst:
            entry = heapq.heappop(self._worst)
            kept = self._here.get(entry[2])
            if kept is not None:
                self._taken.append(entry)
                return kept
        return None

    def put_back(self) -> None:
        """Put back what was taken out: whether it leaves is the pool's decision."""
        for entry in self._taken:
            heapq.heappush(self._worst, entry)
        self._taken.clear()

    def take_expired(self, time_ms: int) -> Iterator[bytes]:
        """Forget and return the ids of those that no block of this time may take."""
        while self._expiring and self._expiring[0][0] < time_ms:
            yield heapq.heappop(self._expiring)[1]

    def compact(self) -> None:
        """Rebuild a heap once most of its entries are of transactions that left."""
        bound = 2 * len(self._here) + SPARE
        if len(self._worst) > bound:
            self._worst = [(k.rank, -k.order, tx_id) for tx_id, k in self._here.items()]
            heapq.heapify(self._worst)
        if len(self._expiring) > bound:
            kept = [k.tx for k in self._here.values() if k.tx.valid_until]
            self._expiring = [(tx.valid_until, tx.id) for tx in kept]
            heapq.heapify(self._expiring)
