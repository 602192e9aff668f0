"""The state a block sees and changes, laid over its parent's state (protocol.md A1, B7).

Reads fall through: the transaction in hand, the block so far, the un-finalised blocks below it,
the store, which is asked for a row once a block. A transaction's changes stay apart until it
succeeds, so undoing it is forgetting them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chain.errors import Misuse

Writes = dict[bytes, bytes | None]
"""Changed keys; ``None`` deletes."""


class _Missing:
    """Marks a key that a layer says nothing about."""


_MISSING: Final = _Missing()


class Overlay:
    """One block's view of the state; mutable, single owner."""

    __slots__ = ("_base", "_below", "_read", "_transaction", "writes")

    def __init__(
        self, base: Callable[[bytes], bytes | None], below: tuple[Writes, ...] = ()
    ) -> None:
        """``base`` reads the store; ``below``: writes of un-finalised parents, newest first."""
        self._base = base
        self._below = below
        self._transaction: Writes = {}
        self._read: Writes = {}
        """What was read from the store: rules ask for the same rows. The block's units bound it."""
        self.writes: Writes = {}

    def child(self) -> Overlay:
        """Return an overlay whose parent state is this one's; this one must change no more."""
        if self._transaction:
            raise Misuse("an overlay with an open transaction cannot be a parent")
        return Overlay(self._base, (self.writes, *self._below))

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None if there is none."""
        value: bytes | _Missing | None = self._transaction.get(key, _MISSING)
        if value is _MISSING:
            value = self.writes.get(key, _MISSING)
            if value is _MISSING:
                value = self._read.get(key, _MISSING)
                if value is _MISSING:
                    for layer in self._below:
                        if key in layer:
                            return layer[key]
                    value = self._read[key] = self._base(key)
        return value  # type: ignore[return-value]  # _MISSING has been ruled out

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key`` in the transaction in hand."""
        self._transaction[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key`` in the transaction in hand; removing an absent key is allowed."""
        self._transaction[key] = None

    def commit(self) -> None:
        """Make the transaction's changes part of the block."""
        self.writes.update(self._transaction)
        self._transaction = {}

    def rollback(self) -> None:
        """Forget the transaction's changes."""
        self._transaction = {}

    def forget_reads(self) -> None:
        """Free what was read: the block is executed."""
        self._read = {}

    def forget_below(self, layer: Writes) -> None:
        """Stop looking into ``layer``, the deepest one: it has reached the store."""
        self._below = tuple(below for below in self._below if below is not layer)

    @property
    def touched(self) -> int:
        """Number of keys the transaction in hand has written."""
        return len(self._transaction)
