"""From the pool to a block (protocol.md C16)."""

from __future__ import annotations

import heapq

from chain.params import Params

from .mempool import Mempool
from .waiting import Lane, Waiting

MISFITS_MAX = 32
"""Transactions in a row that do not fit before a block counts as full."""
EXECUTE_MS_MAX = 60
"""A leader proposes at most what it executed in so long lately. Building, fetching, verifying and
committing take several times as long, and under load a block should still come every second. On
two cores with four validators 100 and 200 gave no higher rate and longer waits (measured)."""
UNITS_MIN = 10_000
"""It proposes so much in any case, so that one slow block does not stop the measuring."""


class Assembly:
    """Offers a block's transactions one by one: best tip per unit first, lanes in order.

    The caller authorises each offer and says whether it went in; a lane whose transaction did
    not is left out of this block.
    """

    def __init__(
        self,
        pool: Mempool,
        *,
        following: dict[Lane, int],
        time_ms: int,
        units_max: int,
        bytes_max: int,
    ) -> None:
        """``following``: next sequence numbers where un-finalised blocks have used some."""
        self._pool = pool
        self._time_ms = time_ms
        self.units_left = units_max
        self.bytes_left = bytes_max
        self._misfits = 0
        self._is_empty = True
        self._heads = pool.heads(following, time_ms)
        self._head = next(self._heads, None)
        self._successors: list[tuple[int, int, Waiting]] = []
        self._order = 0
        # The running number breaks ties by arrival order and keeps transactions uncompared.

    def next(self) -> Waiting | None:
        """Return the best transaction that fits, None when the block is full or the pool empty."""
        while self._misfits < MISFITS_MAX and (tx := self._best()) is not None:
            # A slow node's blocks may be smaller than what one transaction may have.
            if (self._is_empty or tx.units <= self.units_left) and tx.size <= self.bytes_left:
                return tx
            self._misfits += 1
        return None

    def _best(self) -> Waiting | None:
        """Take the best payer that is left; of equal ones a lane that has nothing in the block."""
        head = self._head
        if self._successors and (head is None or -self._successors[0][0] > head.rank):
            return heapq.heappop(self._successors)[2]
        if head is None:
            return None
        self._head = next(self._heads, None)
        return head.tx

    def included(self, tx: Waiting) -> None:
        """The offered transaction is in the block: the next of its lane may follow."""
        self.units_left -= tx.units
        self.bytes_left -= tx.size
        self._misfits = 0
        self._is_empty = False
        successor = self._pool.next_of((tx.sender, tx.lane), tx.seq + 1, self._time_ms)
        if successor is not None:
            self._order += 1
            heapq.heappush(self._successors, (-successor.rank, self._order, successor.tx))


class ExecutionRate:
    """How fast this node executes, to size its own blocks by (C16)."""

    def __init__(self, params: Params) -> None:
        self._units_max = params.block_units_max
        self._units_per_s = params.block_units_max

    def executed(self, units: int, elapsed_ms: int) -> None:
        """Note a block that was executed here; small ones say little and are not counted."""
        if units >= UNITS_MIN:
            measured = units * 1_000 // max(elapsed_ms, 1)
            self._units_per_s = (3 * self._units_per_s + measured) // 4

    def units_max(self) -> int:
        """Return the units of the largest block this node should propose now."""
        affordable = self._units_per_s * EXECUTE_MS_MAX // 1_000
        return min(self._units_max, max(affordable, UNITS_MIN))
