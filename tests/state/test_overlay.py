"""What a transaction sees of the state below it, and how often the store is asked."""

from __future__ import annotations

from state.overlay import Overlay


class Store:
    """A store that notes what it was asked."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows
        self.asked: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        return self.rows.get(key)


def test_a_transaction_asks_the_store_for_a_row_once_and_then_remembers_it() -> None:
    store = Store({b"row": b"1"})
    overlay = Overlay(store.get)

    assert [overlay.get(key) for key in (b"row", b"none", b"row", b"none")] == [
        b"1", None, b"1", None,
    ]  # fmt: skip
    assert store.asked == [b"row", b"none"]


def test_what_was_read_is_forgotten_with_the_transaction() -> None:
    store = Store({b"row": b"1"})
    overlay = Overlay(store.get)

    overlay.get(b"row")
    overlay.commit()
    overlay.get(b"row")
    overlay.rollback()
    overlay.get(b"row")

    assert store.asked == [b"row"] * 3


def test_own_writes_hide_what_was_read_until_they_are_undone() -> None:
    overlay = Overlay(Store({b"row": b"1"}).get)
    overlay.get(b"row")

    overlay.put(b"row", b"2")
    assert overlay.get(b"row") == b"2"
    overlay.rollback()
    assert overlay.get(b"row") == b"1"
    overlay.delete(b"row")
    overlay.commit()
    assert overlay.get(b"row") is None and overlay.child().get(b"row") is None
