"""The header of a block: what is hashed, voted for and shown to light clients (protocol.md B1)."""

from __future__ import annotations

from .codec import U8, U16, U64, Decoder, Hash, Record, encode
from .hashing import tagged_hash

VERSION = 1
KIND_BLOCK = 0
KIND_FILLER = 1
"""A boundary filler: no block of the chain, it only gathers a finalization (B8)."""

ZERO_HASH = bytes(32)

HEADER_BYTES_MAX = 512
"""All 19 fields at their widest take 379 bytes."""


class Header(Record, kw_only=True):
    """Field order is wire order."""

    version: U8
    genesis_hash: Hash
    epoch: U64
    view: U64
    height: U64
    """The first block of a chain has 1; a filler has the height of the epoch's last block."""
    kind: U8
    parent_view: U64
    """View of the parent in this epoch; 0 if the parent is the last block of the epoch before."""
    parent_id: Hash
    """Id of the parent's header; of the first block of a chain: the genesis hash."""
    time_ms: U64
    proposer_index: U16
    tx_root: Hash
    evidence_root: Hash
    parent_certificate_hash: Hash
    """``H("certificate", certificate)`` of the body's parent certificate, zero without one."""
    base_fee: U64
    """µncolo per unit, for the transactions of this block."""
    units_limit_used: U64
    """Declared units of this block's transactions."""
    parent_state_root: Hash
    """State root after the parent was executed."""
    parent_receipts_root: Hash
    """Receipts root of the parent."""
    params_hash: Hash
    next_committee_hash: Hash
    """Committee of the next epoch in the last block of an epoch and its fillers, else zero."""

    def id(self) -> bytes:
        """Return the block id ``H("block", header)`` (B1)."""
        return tagged_hash("block", encode(self))


HEADER = Decoder(Header, bytes_max=HEADER_BYTES_MAX, what="header")


def epoch_of(height: int, epoch_length: int) -> int:
    """Return the epoch of a height: epoch e holds heights e·L+1 .. (e+1)·L (C11)."""
    return max(height - 1, 0) // epoch_length


def last_height(epoch: int, epoch_length: int) -> int:
    """Return the height at which an epoch ends (C11)."""
    return (epoch + 1) * epoch_length
