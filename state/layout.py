"""Where everything lies in the database: one letter per kind of row (docs/architecture.md).

Only ``s`` rows are under the state root. ``b``, ``p``, ``r`` and ``h`` are the chain's history;
``i``, ``t`` and ``a`` are derived and can be rebuilt; ``f`` rows explain failures to people; ``x``
rows are erasable; ``m`` rows say what database this is and where it stands.
"""

from __future__ import annotations

from chain.codec import U8, U32, U64, Decoder, Hash, Record, encode

SCHEMA = 1
"""Version of this layout. A node refuses a database of a later one."""

STATE = b"s"
BLOCK = b"b"
PROOF = b"p"
RECEIPTS = b"r"
HEIGHT_OF = b"h"
INDEX = b"i"
TX_PLACE = b"t"
ACCOUNT_TX = b"a"
FAILURE = b"f"
BLOB = b"x"
META = b"m"

BLOCK_TXS = INDEX + b"tx\0"
"""u64 height → the ids of the block's transactions, joined; blocks without any have no row."""

META_HEAD = META + b"head"
META_GENESIS = META + b"genesis"
META_SCHEMA = META + b"schema"


class Head(Record):
    """The last finalised block and what it left behind."""

    height: U64
    block_id: Hash
    time_ms: U64
    base_fee: U64
    units: U64
    state_root: Hash
    receipts_root: Hash


class StoredBlock(Record):
    """A block as it is kept: the encoded header and body."""

    header: bytes
    body: bytes


class StoredReceipts(Record):
    """The encoded receipts of a block, in order."""

    receipts: list[bytes]


class TxPlace(Record):
    """Where a transaction stands."""

    height: U64
    index: U32


class Failure(Record):
    """Why a transaction failed, for people: never under a root."""

    message: str
    details: str
    """JSON object of the values that broke the rule."""


class SchemaRow(Record):
    """The layout's version."""

    version: U8


_CAP = 64 * 1024 * 1024
HEAD = Decoder(Head, bytes_max=_CAP, what="head row")
STORED_BLOCK = Decoder(StoredBlock, bytes_max=_CAP, what="block row")
STORED_RECEIPTS = Decoder(StoredReceipts, bytes_max=_CAP, what="receipts row")
TX_PLACE_ROW = Decoder(TxPlace, bytes_max=64, what="transaction row")
FAILURE_ROW = Decoder(Failure, bytes_max=_CAP, what="failure row")
SCHEMA_ROW = Decoder(SchemaRow, bytes_max=16, what="schema row")


def height_key(letter: bytes, height: int) -> bytes:
    """Return the key of a row kept per height."""
    return letter + height.to_bytes(8, "big")


def account_tx_key(address: bytes, height: int, index: int) -> bytes:
    """Return the key of an account's transaction, in the order of the chain."""
    return ACCOUNT_TX + address + (height << 32 | index).to_bytes(12, "big")


def encode_place(height: int, index: int) -> bytes:
    """Return the row of a transaction's place."""
    return encode((height, index))


def after(prefix: bytes) -> bytes:
    """Return the first key after all keys that begin with ``prefix``."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))
