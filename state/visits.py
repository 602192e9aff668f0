"""What a query looks at, counted where it is handed out: the view of the chain itself counts.

A query that forgets to stop is stopped here, so no family can hold a node for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chain.errors import Misuse

ROWS_MAX = 2_000
"""Rows after which an answer ends with a cursor, once it has looked at one thing at least."""
ROWS_NEVER = 10_000
"""No answer gets here: what one thing can cost is bounded by the limits of a lineage."""
STEP_ROWS = 200
"""Rows between two pauses: 1 to 4 ms."""

Get = Callable[[bytes], bytes | None]
Scan = Callable[[bytes, bytes], Iterator[tuple[bytes, bytes]]]


class Visits:
    """How much one answer has looked at: rows read, ranges opened, nodes of a lineage walked."""

    __slots__ = ("_paused_at", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._paused_at = 0

    def count(self) -> None:
        """Count one; more than ``ROWS_NEVER`` are a mistake of the query's author."""
        self.rows += 1
        if self.rows > ROWS_NEVER:
            raise Misuse(f"a query looked at more than {ROWS_NEVER} rows")

    def is_spent_since(self, begun: int) -> bool:
        """Tell whether a list that began at so many rows should end with a cursor.

        What has to be known before the first item does not count: else a long lineage, walked for
        each page, would leave room for one item.
        """
        return self.rows - begun >= ROWS_MAX

    def step_is_over(self) -> bool:
        """Tell whether to pause now; counts from the last time it said so."""
        if self.rows - self._paused_at < STEP_ROWS:
            return False
        self._paused_at = self.rows
        return True


class CountedRows:
    """Rows as a ``Scanner`` gives them, each of them counted."""

    __slots__ = ("_get", "_scan", "_visits")

    def __init__(self, get: Get, scan: Scan, visits: Visits) -> None:
        self._get = get
        self._scan = scan
        self._visits = visits

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        self._visits.count()
        return self._get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``; opening the range counts too."""
        self._visits.count()
        for pair in self._scan(start, stop):
            self._visits.count()
            yield pair
