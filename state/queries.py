"""Reading the chain: history, transactions, family queries, proofs (for RPC and the tools).

Everything here reads the finalised state only; nothing here is a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from chain.application import Job
from chain.block import BODY, Block
from chain.codec import Record
from chain.errors import Corruption, Rejected
from chain.finality import FINALITY_PROOF, FinalityProof
from chain.hashing import tagged_hash
from chain.header import HEADER, Header
from chain.merkle import HASH_BYTES, list_proof
from chain.state_proof import StateProof
from chain.transaction import SignedBody
from chain.types import U64_MAX

from . import layout
from .executor import Executed, Receipt
from .headers import Tip
from .machine import StateMachine
from .module import QueryContext
from .registry import Transaction
from .trial import run_transaction
from .view import View

RANGE_MAX = 100
"""Blocks in one answer."""


class NotFound(Rejected):
    """What was asked for is not on this chain (RPC error -32001)."""


class Unavailable(Rejected):
    """It is not there yet, or no longer; ``details`` name the range that is (-32002)."""


class TxView(Record):
    """A final transaction: where it stands, what it said, what it did."""

    tx: Transaction
    height: int
    index: int
    receipt: Receipt[Any]
    message: str
    details: str


class ProvenValue(Record):
    """A value (or its absence) under the state root of one header."""

    height: int
    """Height of the state; the header that names its root is one higher."""
    key: bytes
    value: bytes | None
    proof: StateProof
    finality: FinalityProof
    """Of the block ``height + 1``, whose header carries the root."""


class _Rows:
    """Rows of one letter of the store, read as a ``Scanner``."""

    def __init__(self, view: View, letter: bytes) -> None:
        self._view = view
        self._letter = letter

    def get(self, key: bytes) -> bytes | None:
        """Return the row of a key."""
        return self._view.get(self._letter + key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows in key order."""
        for key, value in self._view.scan(self._letter + start, self._letter + stop):
            yield key[1:], value

    def let_go(self) -> None:
        """Read no more."""
        del self._view


class ChainReader:
    """Answers questions about one node's finalised chain."""

    def __init__(self, machine: StateMachine, wall_ms: Callable[[], int] = lambda: 0) -> None:
        """``wall_ms``: the node's clock, for those who ask what would happen now."""
        self.machine = machine
        self._wall_ms = wall_ms
        self._store = machine.store
        events: Any = machine.registry.event_union
        self._receipts = msgspec.msgpack.Decoder(Receipt[events])

    @contextmanager
    def context(self) -> Iterator[QueryContext]:
        """Give a family query what it is asked with: the newest state, the same until it ends."""
        with self._newest() as (tip, state, index):
            yield QueryContext(
                state,
                index,
                self.machine.genesis_hash,
                tip.height,
                self._time_above(tip),
                self.machine.params,
            )

    def simulate(self, tx: Transaction) -> Job[Executed]:
        """Return what a transaction would do in a block made now; raises ``Rejected`` (B4)."""
        with self._newest() as (tip, state, _):
            environment = self.machine.environment(tip, self._time_above(tip))
            return (yield from run_transaction(self.machine.executor, state, environment, tx))

    @contextmanager
    def _newest(self) -> Iterator[tuple[Tip, _Rows, _Rows]]:
        """Give the newest final block, with its state and its indexes.

        The store keeps for a view what is deleted meanwhile, and erasing waits for it: so it ends
        here, whoever still holds the rows.
        """
        tip, view = self.machine.newest()
        state, index = _Rows(view, layout.STATE), _Rows(view, layout.INDEX)
        del view
        try:
            yield tip, state, index
        finally:
            state.let_go()
            index.let_go()

    def _time_above(self, tip: Tip) -> int:
        """Return the time that a block made now would have above ``tip`` (B6)."""
        return max(self._wall_ms(), tip.time_ms + 1)

    # --- blocks -------------------------------------------------------------------------------

    def height_of(self, block_id: bytes) -> int:
        """Return the height of a final block; ``NotFound`` otherwise."""
        raw = self._store.get(layout.HEIGHT_OF + block_id)
        if raw is None:
            raise NotFound("chain/BlockNotFound", f"no final block {block_id.hex()}")
        return int.from_bytes(raw, "big")

    def block(self, height: int) -> Block:
        """Return a final block; ``Unavailable`` beyond the head."""
        raw = self._row(layout.BLOCK, height)
        stored = layout.STORED_BLOCK.decode_own(raw)
        return Block(HEADER.decode_own(stored.header), BODY.decode_own(stored.body))

    def encoded_block(self, height: int) -> tuple[bytes, bytes]:
        """Return header and body of a final block as a range carries them, looking at neither."""
        stored = layout.STORED_BLOCK.decode_own(self._row(layout.BLOCK, height))
        return stored.header, stored.body

    def header(self, height: int) -> Header:
        """Return the header of a final block, without reading its transactions."""
        raw = self._row(layout.BLOCK, height)
        return HEADER.decode_own(layout.STORED_BLOCK.decode_own(raw).header)

    def signed_body(self, height: int, index: int) -> SignedBody:
        """Return a transaction as it stands in its block, without hashing the whole block."""
        raw = self._row(layout.BLOCK, height)
        body = BODY.decode_own(layout.STORED_BLOCK.decode_own(raw).body)
        return body.transactions[index]

    def finality(self, height: int) -> FinalityProof:
        """Return the stored finality proof of a block."""
        return FINALITY_PROOF.decode_own(self._row(layout.PROOF, height))

    def receipts(self, height: int) -> list[Receipt[Any]]:
        """Return the receipts of a block, in order."""
        return [self._receipts.decode(raw) for raw in self.raw_receipts(height)]

    def raw_receipts(self, height: int) -> list[bytes]:
        """Return the encoded receipts of a block, in order."""
        return layout.STORED_RECEIPTS.decode_own(self._row(layout.RECEIPTS, height)).receipts

    def _row(self, letter: bytes, height: int) -> bytes:
        head = self.machine.head.height
        if not 1 <= height <= head:
            raise Unavailable(
                "chain/NoSuchHeight",
                f"no block {height}; heights 1 to {head} are there",
                first=1,
                last=head,
            )
        raw = self._store.get(layout.height_key(letter, height))
        if raw is None:
            raise Corruption(f"the database lacks its row {letter!r} of height {height}")
        return raw

    # --- transactions -------------------------------------------------------------------------

    def place_of(self, tx_id: bytes) -> layout.TxPlace:
        """Return where a final transaction stands; ``NotFound`` otherwise."""
        raw = self._store.get(layout.TX_PLACE + tx_id)
        if raw is None:
            raise NotFound("tx/NotFound", f"no final transaction {tx_id.hex()}")
        return layout.TX_PLACE_ROW.decode_own(raw)

    def transaction(self, tx_id: bytes) -> TxView:
        """Return a final transaction with its receipt; ``NotFound`` otherwise."""
        place = self.place_of(tx_id)
        signed = self.signed_body(place.height, place.index)
        receipt = self._receipts.decode(self.raw_receipts(place.height)[place.index])
        failure = self._store.get(layout.FAILURE + tx_id)
        row = layout.FAILURE_ROW.decode_own(failure) if failure else layout.Failure("", "{}")
        return TxView(
            self.machine.read_transaction(signed),
            place.height,
            place.index,
            receipt,
            row.message,
            row.details,
        )

    def has_failed(self, tx_id: bytes) -> bool:
        """Tell whether a final transaction's messages were undone."""
        return self._store.get(layout.FAILURE + tx_id) is not None

    def receipt_proof(self, height: int, index: int) -> list[bytes]:
        """Return the path of a receipt under the receipts root of its block (R2)."""
        leaves = [tagged_hash("receipt", raw) for raw in self.raw_receipts(height)]
        return list_proof(leaves, index)

    def account_transactions(
        self, address: bytes, before: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Return (cursor, tx id) of an account's transactions, newest first."""
        prefix = layout.ACCOUNT_TX + address
        stop = prefix + before if before is not None else layout.after(prefix)
        rows: list[tuple[bytes, bytes]] = []
        for key, tx_id in self._store.scan(prefix, stop, reverse=True):
            rows.append((key[len(prefix) :], tx_id))
            if len(rows) == limit:
                break
        return rows

    def recent_transactions(self, before: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Return (cursor, tx id) of the chain's transactions, newest first."""
        height, index = self.machine.head.height, None
        if before is not None:
            height, index = int.from_bytes(before[:8], "big"), int.from_bytes(before[8:], "big")
        stop = layout.height_key(layout.BLOCK_TXS, min(height, U64_MAX - 1) + 1)
        rows: list[tuple[bytes, bytes]] = []
        for key, joined in self._store.scan(layout.BLOCK_TXS, stop, reverse=True):
            place = key[len(layout.BLOCK_TXS) :]
            count = len(joined) // HASH_BYTES
            if index is not None and int.from_bytes(place, "big") == height:
                count = min(count, index)
            for at in reversed(range(count)):
                tx_id = joined[at * HASH_BYTES : (at + 1) * HASH_BYTES]
                rows.append((place + at.to_bytes(4, "big"), tx_id))
                if len(rows) == limit:
                    return rows
        return rows

    # --- state --------------------------------------------------------------------------------

    def prove(self, key: bytes) -> ProvenValue:
        """Prove what a key holds after the head's parent: the head's header names that root.

        ``Unavailable`` right after a start, until the next block is final.
        """
        value, proof = self.machine.prove_before_head(key)
        head = self.machine.head.height
        return ProvenValue(head - 1, key, value, proof, self.finality(head))

    def blob(self, digest: bytes) -> bytes | None:
        """Return the content behind a blob's hash, or None if erased or unknown."""
        raw = self._store.get(layout.BLOB + digest)
        return None if raw is None else raw[16:]
