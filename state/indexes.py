"""Derived rows: where transactions are, what accounts did, what the families list (A10).

Written in the same batch as the block they come from; nothing under the root depends on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from chain.codec import encode
from chain.errors import Rejected
from chain.json_form import plain_details

from . import layout
from .module import Event, EventPlace
from .registry import Registry, Transaction

Row = tuple[bytes, bytes | None]


def block_rows(
    registry: Registry,
    height: int,
    time_ms: int,
    transactions: list[Transaction],
    events: list[list[Event]],
    refusals: Mapping[int, Rejected],
) -> Iterator[Row]:
    """Yield every derived row of a block: from its transactions, their events and refusals."""
    indexers = [module.index for module in registry.modules if module.index is not None]
    for index, tx in enumerate(transactions):
        sender = tx.body.sender
        yield layout.TX_PLACE + tx.id, layout.encode_place(height, index)
        yield layout.account_tx_key(sender, height, index), tx.id
        refusal = refusals.get(index)
        if refusal is not None:
            yield layout.FAILURE + tx.id, encode_failure(refusal)
        place = EventPlace(height, time_ms, index, tx.id, sender)
        for event in events[index]:
            for indexer in indexers:
                yield from _prefixed(indexer(place, event))


def _prefixed(rows: Iterable[Row]) -> Iterator[Row]:
    for key, value in rows:
        yield layout.INDEX + key, value


def encode_failure(refusal: Rejected) -> bytes:
    """Return the row that explains a failed transaction to people."""
    details = msgspec.json.encode(plain_details(refusal.details)).decode()
    return encode(layout.Failure(refusal.message, details))
