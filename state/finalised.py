"""Reading the finalised state: from memory where it can be, else from the store (A1).

Most of what rules ask for is an account, or is not there at all. So accounts are kept in memory,
and the tree, which is in memory anyway, says what the store need not be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import layout
from .modules.account import ACCOUNTS
from .overlay import Writes
from .row_cache import RowCache
from .store import KeyValueStore
from .tree import View, presence


class FinalisedState:
    """The state at the head; ``advance`` moves it on."""

    def __init__(self, store: KeyValueStore) -> None:
        """``load`` and ``advance`` come before the first ``get``."""
        self._store = store
        self._accounts = RowCache()
        self._is_present: Callable[[bytes], bool] = lambda key: True

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and value under the root, in key order."""
        for key, value in self._store.scan(layout.STATE, layout.after(layout.STATE)):
            yield key[1:], value

    def load(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the same, and keep what accounts there is room for."""
        for key, value in self.pairs():
            if key.startswith(ACCOUNTS.prefix):
                self._accounts.put({key: value})
            yield key, value

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        if not key.startswith(ACCOUNTS.prefix):
            return self._store.get(layout.STATE + key) if self._is_present(key) else None
        row = self._accounts.get(key)
        if row is None:
            row = self._store.get(layout.STATE + key)
            if row is not None:
                self._accounts.put({key: row})
        return row

    def advance(self, view: View, writes: Writes) -> None:
        """Read as ``view`` from here on, which differs by ``writes``; the store has them."""
        self._is_present = presence(view)
        prefix = ACCOUNTS.prefix
        changed = {k: row for k, row in writes.items() if row is not None and k.startswith(prefix)}
        self._accounts.put(changed)  # no rule removes an account
