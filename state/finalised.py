"""Reading the finalised state: from memory where it can be, else from the store (A1).

Most of what rules ask for is an account, came in lately, or is not there at all. So accounts and
the rows read or written last are kept in memory, and the tree, which is in memory anyway, says
what the store need not be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from . import layout
from .modules.account import ACCOUNTS
from .overlay import Writes
from .row_cache import RowCache
from .store import KeyValueStore
from .tree import View, presence

ACCOUNTS_BYTES = 96 * 1024 * 1024
"""Of one of two generations of accounts: each is half a million."""
OTHERS_BYTES = 16 * 1024 * 1024
"""Of one of two generations of all other rows."""
SLICE_ROWS = 2_000
"""Rows a step of ``settle`` moves: about 1 ms."""


class FinalisedState:
    """The state at the head; ``advance`` moves it on."""

    def __init__(self, store: KeyValueStore) -> None:
        """``load`` and ``advance`` come before the first ``get``."""
        self._store = store
        self._accounts = RowCache(ACCOUNTS_BYTES)
        self._others = RowCache(OTHERS_BYTES)
        self._newest: Writes = {}
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
        if key in self._newest:
            return self._newest[key]
        cache = self._accounts if key.startswith(ACCOUNTS.prefix) else self._others
        row = cache.get(key)
        if row is None and self._is_present(key):
            row = self._store.get(layout.STATE + key)
            if row is not None:
                cache.put({key: row})
        return row

    def advance(self, view: View, writes: Writes) -> None:
        """Read as ``view`` from here on, which differs by ``writes``; the store has them.

        ``settle`` comes before the next one.
        """
        assert not self._newest, "the writes before are in the caches"
        self._is_present = presence(view)
        self._newest = writes

    def settle(self) -> Iterator[None]:
        """Move the newest writes into the caches, in steps."""
        items = iter(self._newest.items())
        while rows := dict(islice(items, SLICE_ROWS)):
            prefix = ACCOUNTS.prefix
            kept = {key: row for key, row in rows.items() if row is not None}
            accounts = {key: kept.pop(key) for key in rows if key.startswith(prefix)}
            self._accounts.put(accounts)  # no rule removes an account
            self._others.put(kept)
            self._others.drop(key for key, row in rows.items() if row is None)
            yield
        self._newest = {}
