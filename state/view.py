"""What is read from LevelDB, now or as it was at one moment, checksums and all."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from threading import Condition
from typing import Any, Protocol

try:
    import plyvel
except ImportError:
    plyvel = None

Pair = tuple[bytes, bytes]


class View(Protocol):
    """Keys and values, ordered by their keys as bytes."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""

    def scan(self, start: bytes, stop: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        """Yield keys and values with ``start`` ≤ key < ``stop`` (None: the end), ascending.

        It shows what was there at the call, whatever is written meanwhile.
        """


class LevelView:
    """A LevelDB database, or a snapshot of one; LevelDB frees that with its last reference."""

    __slots__ = ("__weakref__", "_failure", "_get", "_iterator")

    def __init__(self, handle: Any, failure: Callable[[str, Exception], Exception]) -> None:
        """``failure("reading", error)`` returns what to raise for an error of LevelDB's."""
        self._get = handle.get
        self._iterator = handle.iterator
        self._failure = failure

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""
        try:
            value: bytes | None = self._get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise self._failure("reading", error) from error
        return value

    def scan(self, start: bytes, stop: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        """Yield a range of keys and values; see ``View.scan``."""
        return self._checked(
            self._iterator(
                start=start, stop=stop, reverse=reverse, verify_checksums=True, fill_cache=False
            )
        )

    def _checked(self, iterator: Any) -> Iterator[Pair]:
        with iterator:
            try:
                yield from iterator
            except plyvel.Error as error:
                raise self._failure("reading", error) from error


class OpenViews:
    """The snapshots that somebody still holds; LevelDB keeps for them what has been deleted."""

    def __init__(self) -> None:
        self._open: set[weakref.ref[LevelView]] = set()
        self._one_gone = Condition()

    def keep(self, view: LevelView) -> LevelView:
        """Watch a snapshot until its last reference is gone; return it."""
        self._open.add(weakref.ref(view, self._forget))
        return view

    def _forget(self, view: weakref.ref[LevelView]) -> None:
        with self._one_gone:
            self._open.discard(view)
            self._one_gone.notify_all()

    def wait(self) -> None:
        """Return when all that are open now are gone; in a thread that holds none of them.

        An answer holds one for as long as it is being made, and all its work is bounded.
        """
        older = self._open.copy()
        with self._one_gone:
            self._one_gone.wait_for(lambda: older.isdisjoint(self._open))
