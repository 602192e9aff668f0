"""What a transaction sees of the state below it, and how often the store is asked."""

from __future__ import annotations

from chain.application import finish
from chain.codec import encode
from chain.ids import NCOLO, Kind
from state.executor import Environment
from state.families import REGISTRY
from state.modules.bank import Send
from state.modules.ip.rows import IPS
from state.overlay import Overlay
from tests.state.ledger import Ledger


class Store:
    """A store that notes what it was asked."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows
        self.asked: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        return self.rows.get(key)


def test_a_block_asks_the_store_for_a_row_once_whatever_becomes_of_its_transactions() -> None:
    store = Store({b"row": b"1"})
    overlay = Overlay(store.get)

    first = [overlay.get(b"row"), overlay.get(b"none")]
    overlay.commit()
    second = [overlay.get(b"row"), overlay.get(b"none")]
    overlay.rollback()
    third = [overlay.get(b"row"), overlay.get(b"none")]

    assert first == second == third == [b"1", None]
    assert store.asked == [b"row", b"none"]


def test_what_was_read_is_freed_after_the_block_and_not_shared_with_a_child() -> None:
    store = Store({b"row": b"1"})
    overlay = Overlay(store.get)
    overlay.get(b"row")

    overlay.child().get(b"row")
    overlay.forget_reads()
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


def test_an_executed_block_keeps_nothing_of_what_it_read() -> None:
    net = Ledger()
    unknown = bytes([Kind.IP]) + bytes(20)
    body = net.body(0, (Send(unknown, NCOLO, b"\1"),))
    tx = REGISTRY.read(encode(body), [bytes(64)], net.hash, net.params)
    store = Store(net.state.rows)
    overlay = Overlay(store.get)

    finish(net.executor.execute(overlay, Environment(net.hash, net.params, 1, 1, 1), [tx]))
    overlay.get(IPS.prefix + unknown)

    assert store.asked.count(IPS.prefix + unknown) == 2
