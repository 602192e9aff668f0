"""The bytes that came and were not looked at yet: one fixed piece of memory for a connection."""

from __future__ import annotations


class ReceiveBuffer:
    """Filled at its end, taken from at its start; never grows.

    The size must be at least twice what is ever taken at once, so that there is always room to
    receive what is missing.
    """

    __slots__ = ("_end", "_size", "_start", "_view")

    def __init__(self, size: int) -> None:
        self._size = size
        self._view = memoryview(bytearray(size))
        self._start = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def room(self) -> memoryview:
        """Return where the next bytes may be put; empty only if the buffer is full."""
        count = len(self)
        if self._start and self._end * 2 > self._size:
            self._view[:count] = self._view[self._start : self._end]
            self._start, self._end = 0, count
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Note that ``count`` bytes were put into ``room()``."""
        self._end += count

    def take(self, count: int) -> memoryview | None:
        """Return the next ``count`` bytes, or None if fewer are here.

        What is returned is overwritten after the next ``room()``: use it or copy it before.
        """
        start = self._start
        after = start + count
        if after > self._end:
            return None
        self._start = after
        return self._view[start:after]

    def peek(self, count: int) -> memoryview | None:
        """Return the next ``count`` bytes without taking them, or None if fewer are here."""
        after = self._start + count
        return None if after > self._end else self._view[self._start : after]
