"""What the state keeps of logs and interactions: two rows a proof ends at (protocol.md N-anchor).

They stand here and not with the family that writes them, because whoever checks a bundle without
a node must read them too.
"""

from __future__ import annotations

from .codec import U8, U64, Decoder, Hash, Record
from .fields import Amount
from .ids import AccountId, Holder
from .merkle import Peaks
from .transaction import PublicKey

FAMILY = "anchor"
LOG_TABLE, RECORD_TABLE = 1, 2
LOG_BYTES_MAX = 3_000
"""More than a log's longest value, with all its writers and peaks; its deposit is priced by it,
because these grow after the log is opened."""
ANCHORED_BYTES_MAX = 64


class Writer(Record, order=True):
    """An account that may append, and the key its promises are signed with."""

    account: AccountId
    promise_key: PublicKey


class Log(Record):
    """A log of batches: who may append, by which rules, and the checkpoint."""

    version: U8
    owner: Holder
    writers: list[Writer]
    schema: str
    retention: U64
    """Milliseconds, as all durations."""
    max_merge_delay: U64
    bond: Amount
    penalty_per_leaf: Amount
    closed_at: U64
    """Unix ms; 0 while the log is open."""
    batches: U64
    leaves: U64
    last_to: U64
    """End of the last batch's time range, Unix ms."""
    peaks: list[Hash]
    """Peaks of the tree over the batches' leaf hashes (M7)."""

    def checkpoint(self) -> Peaks:
        """Return size and peaks of the tree of batches."""
        return Peaks(self.batches, tuple(self.peaks))


class Anchored(Record):
    """An interaction anchored by itself."""

    version: U8
    leaf: Hash
    height: U64


LOG = Decoder(Log, bytes_max=LOG_BYTES_MAX, what="log")
ANCHORED = Decoder(Anchored, bytes_max=ANCHORED_BYTES_MAX, what="anchored record")


def log_key(log: bytes) -> bytes:
    """Return the state key of a log (A2)."""
    return FAMILY.encode("ascii") + bytes((0, LOG_TABLE)) + log


def anchored_key(record: bytes) -> bytes:
    """Return the state key of an interaction anchored by itself (A2)."""
    return FAMILY.encode("ascii") + bytes((0, RECORD_TABLE)) + record
