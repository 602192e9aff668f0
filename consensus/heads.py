"""Each lane's next transaction, best payers first (protocol.md C16)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from .waiting import Kept, Lane


class Heads:
    """Lanes by the rank of their next transaction; of equal ranks the first that came is first.

    Kept in order while transactions come and go, so that a leader looks at what it takes and not
    at the whole pool.
    """

    def __init__(self) -> None:
        self._by_rank: dict[int, dict[Lane, Kept]] = {}

    def put(self, kept: Kept) -> None:
        """A transaction has become the next of its lane: behind all others of its rank."""
        lanes, lane = self._by_rank.setdefault(kept.rank, {}), (kept.tx.sender, kept.tx.lane)
        lanes.pop(lane, None)  # The used one would leave its place in the row to this one.
        lanes[lane] = kept

    def remove(self, kept: Kept) -> None:
        """A transaction leaves, or has been used; nothing happens if it was not the next."""
        lanes = self._by_rank.get(kept.rank, {})
        lane = (kept.tx.sender, kept.tx.lane)
        if lanes.get(lane) is kept:
            del lanes[lane]
            if not lanes:
                del self._by_rank[kept.rank]

    def __iter__(self) -> Iterator[Kept]:
        """Yield all of them, the best first; they must not change meanwhile."""
        ranks = sorted(self._by_rank, reverse=True)
        return chain.from_iterable(self._by_rank[rank].values() for rank in ranks)
