"""Derived rows: places of transactions, acts of accounts, lists of families (docs/operating.md).

Written in the same batch as the block they come from; nothing under the root depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    joined: dict[bytes, list[bytes]] = {}
    indexers = registry.indexers
    for index, tx in enumerate(transactions):
        sender = tx.body.sender
        yield layout.TX_PLACE + tx.id, layout.encode_place(height, index)
        yield layout.account_tx_key(sender, height, index), tx.id
        refusal = refusals.get(index)
        if refusal is not None:
            yield layout.FAILURE + tx.id, encode_failure(refusal)
        place = None
        for event in events[index]:
            indexer = indexers.get(type(event))
            if indexer is None:
                continue
            place = place or EventPlace(height, time_ms, index, tx.id, sender)
            for key, value in indexer(place, event):
                if value:
                    joined.setdefault(key, []).append(value)
                else:
                    yield layout.INDEX + key, value
    if transactions:
        ids = b"".join(tx.id for tx in transactions)
        yield layout.height_key(layout.BLOCK_TXS, height), ids
    for key, values in joined.items():
        yield layout.INDEX + key, b"".join(values)


def encode_failure(refusal: Rejected) -> bytes:
    """Return the row that explains a failed transaction to people."""
    details = msgspec.json.encode(plain_details(refusal.details)).decode()
    return encode(layout.Failure(refusal.message, details))
