"""Rows that every transaction reads, kept in memory (docs/decisions/0011).

Two generations: what is fetched or written enters the young one; when that is full, the old one is
dropped and the young one becomes old. So whatever came in lately is there, nothing is kept in
order, and the memory is bounded. A dropped generation is freed a few rows at a time: all at once
would hold up the loop for 50 ms.
"""

from __future__ import annotations

from collections.abc import Mapping

GENERATION_ROWS = 1 << 19
"""Rows of one generation; both together are about 180 MB of accounts."""

FREED_PER_ROW = 2
"""Rows freed per row that comes in, so an old generation is gone before the next one."""


class RowCache:
    """Encoded rows by key."""

    __slots__ = ("_generation_rows", "_leaving", "_old", "_young")

    def __init__(self, generation_rows: int = GENERATION_ROWS) -> None:
        self._generation_rows = generation_rows
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._leaving: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the row of ``key`` if it is here."""
        row = self._young.get(key)
        return self._old.get(key) if row is None else row

    def put(self, rows: Mapping[bytes, bytes]) -> None:
        """Keep rows, in place of older ones of the same keys."""
        self._young.update(rows)
        for _ in range(min(FREED_PER_ROW * len(rows), len(self._leaving))):
            self._leaving.popitem()
        if len(self._young) >= self._generation_rows:
            self._leaving, self._old, self._young = self._old, self._young, {}
