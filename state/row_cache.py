"""Rows that rules read again and again, kept in memory (docs/decisions/0011).

Two generations: what is fetched or written enters the young one; when that is full, the old one is
dropped and the young one becomes old. So whatever came in lately is there, nothing is kept in
order, and the memory is bounded. A dropped generation is freed a few rows at a time: all at once
would hold up the loop for 50 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ROW_BYTES = 150
"""What a row takes in memory besides its key and value."""

FREED_PER_ROW = 4
"""Rows freed per row that comes in, so an old generation is gone before the next one."""


class RowCache:
    """Encoded rows by key."""

    __slots__ = ("_generation_bytes", "_leaving", "_old", "_young", "_young_bytes")

    def __init__(self, generation_bytes: int) -> None:
        """Keep rows of at most twice so many bytes, with what they take besides."""
        self._generation_bytes = generation_bytes
        self._young: dict[bytes, bytes] = {}
        self._young_bytes = 0
        self._old: dict[bytes, bytes] = {}
        self._leaving: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the row of ``key`` if it is here."""
        row = self._young.get(key)
        return self._old.get(key) if row is None else row

    def put(self, rows: Mapping[bytes, bytes]) -> None:
        """Keep rows, in place of older ones of the same keys."""
        young, size = self._young, self._young_bytes
        for key, row in rows.items():
            before = young.get(key)
            size += len(row) + (ROW_BYTES + len(key) if before is None else -len(before))
            young[key] = row
        self._young_bytes = size
        for _ in range(min(FREED_PER_ROW * len(rows), len(self._leaving))):
            self._leaving.popitem()
        if size >= self._generation_bytes:
            self._leaving, self._old, self._young = self._old, young, {}
            self._young_bytes = 0

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows that are no more."""
        for key in keys:
            self._old.pop(key, None)
            row = self._young.pop(key, None)
            if row is not None:
                self._young_bytes -= ROW_BYTES + len(key) + len(row)
