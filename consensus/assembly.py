"""From the pool to a block, and blocks on the wire as short ids (protocol.md C16, C17)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chain.block import Body, Proposal, transaction_root
from chain.codec import encode
from chain.errors import Rejected
from chain.hashing import tagged_hash
from chain.params import Params
from chain.transaction import ENVELOPE, Envelope, SignedBody

from .mempool import Lane, Mempool, Waiting
from .messages import CompactProposal

SHORT_ID_BYTES = 8
MISFITS_MAX = 32
"""Transactions in a row that do not fit before a block counts as full."""
EXECUTE_MS_MAX = 1_000
"""A leader proposes at most what it executed in a second lately: others may be no faster."""
UNITS_MIN = 10_000
"""It proposes so much in any case, so that one slow block does not stop the measuring."""


class Assembly:
    """Offers a block's transactions one by one: best tip per unit first, lanes in order.

    The caller authorises each offer and says whether it went in; a lane whose transaction did
    not is left out of this block.
    """

    def __init__(
        self,
        pool: Mempool,
        *,
        following: dict[Lane, int],
        time_ms: int,
        units_max: int,
        bytes_max: int,
    ) -> None:
        """``following``: next sequence numbers where un-finalised blocks have used some."""
        self._pool = pool
        self._time_ms = time_ms
        self.units_left = units_max
        self.bytes_left = bytes_max
        self._misfits = 0
        self._order = 0
        self._heap: list[tuple[int, int, Waiting]] = []
        for tx in pool.heads(following, time_ms):
            self._offer(tx)

    def next(self) -> Waiting | None:
        """Return the best transaction that fits, None when the block is full or the pool empty."""
        while self._heap and self._misfits < MISFITS_MAX:
            _, _, tx = heapq.heappop(self._heap)
            if tx.units <= self.units_left and tx.size <= self.bytes_left:
                return tx
            self._misfits += 1
        return None

    def included(self, tx: Waiting) -> None:
        """The offered transaction is in the block: the next of its lane may follow."""
        self.units_left -= tx.units
        self.bytes_left -= tx.size
        self._misfits = 0
        successor = self._pool.next_of((tx.sender, tx.lane), tx.seq + 1, self._time_ms)
        if successor is not None:
            self._offer(successor)

    def _offer(self, tx: Waiting) -> None:
        # The running number breaks ties by arrival order and keeps transactions uncompared.
        self._order += 1
        heapq.heappush(self._heap, (-tx.rank, self._order, tx))


class ExecutionRate:
    """How fast this node executes, to size its own blocks by (C16)."""

    def __init__(self, params: Params) -> None:
        self._units_max = params.block_units_max
        self._units_per_s = params.block_units_max

    def executed(self, units: int, elapsed_ms: int) -> None:
        """Note a block that was executed here; small ones say little and are not counted."""
        if units >= UNITS_MIN:
            measured = units * 1_000 // max(elapsed_ms, 1)
            self._units_per_s = (3 * self._units_per_s + measured) // 4

    def units_max(self) -> int:
        """Return the units of the largest block this node should propose now."""
        affordable = self._units_per_s * EXECUTE_MS_MAX // 1_000
        return min(self._units_max, max(affordable, UNITS_MIN))


def compact(proposal: Proposal, transaction_ids: Sequence[bytes]) -> CompactProposal:
    """Return a proposal as it travels: transactions as the first 8 bytes of their ids."""
    return CompactProposal(
        proposal.header,
        proposal.body.parent_certificate,
        [tx_id[:SHORT_ID_BYTES] for tx_id in transaction_ids],
        proposal.body.evidence,
        proposal.signature,
        proposal.nullifications,
    )


def envelopes(proposal: Proposal, indexes: Iterable[int]) -> list[Envelope]:
    """Return the transactions of a proposal that a peer asked for (none for a bad index)."""
    chosen = list(indexes)
    count = len(proposal.body.transactions)
    if any(index >= count for index in chosen) or len(proposal.attachments) != count:
        return []
    return [
        Envelope(
            proposal.body.transactions[index].body,
            proposal.body.transactions[index].signatures,
            proposal.attachments[index],
        )
        for index in chosen
    ]


@dataclass(frozen=True, slots=True)
class Missing:
    """What to ask for: these indexes, or (``ids``) once the list of full ids."""

    indexes: tuple[int, ...]
    ids: bool


class Reassembly:
    """Turns a compact proposal back into a whole one (C17).

    The caller has checked the leader's signature. ``missing`` says what to ask for; nothing is
    missing once ``proposal`` returns. Only the full ids, if they hash to ``tx_root``, decide what
    the block is; a wrong guess from short ids is never held against the leader.
    """

    def __init__(self, message: CompactProposal, find: Callable[[bytes], list[Waiting]]) -> None:
        """``find`` returns the known transactions with a short id (``Mempool.with_short_id``)."""
        self._message = message
        self._find = find
        self._ids: list[bytes] | None = None
        self._envelopes: list[Envelope | None] = []
        for short_id in message.short_ids:
            found = find(short_id)
            one = found[0] if len(found) == 1 else None
            self._envelopes.append(None if one is None else ENVELOPE.decode_own(one.raw))

    def missing(self) -> Missing | None:
        """Return what has to be asked for, None if the proposal is whole."""
        indexes = tuple(i for i, envelope in enumerate(self._envelopes) if envelope is None)
        if indexes:
            return Missing(indexes, False)
        if self._ids is None and self._root() != self._message.header.tx_root:
            return Missing((), True)
        return None

    def take_ids(self, ids: Sequence[bytes]) -> None:
        """Take the full ids; transactions that are not theirs are missing again.

        Raises ``Rejected`` with ``compact/Ids`` if the list is not the one under ``tx_root``.
        """
        fits = len(ids) == len(self._envelopes) and transaction_root(list(ids)) == (
            self._message.header.tx_root
        )
        if not fits:
            raise Rejected("compact/Ids", "the ids do not hash to the header's tx_root")
        self._ids = list(ids)
        for index, tx_id in enumerate(ids):
            envelope = self._envelopes[index]
            if envelope is None or _id_of(envelope) != tx_id:
                known = [tx for tx in self._find(tx_id[:SHORT_ID_BYTES]) if tx.id == tx_id]
                found = ENVELOPE.decode_own(known[0].raw) if known else None
                self._envelopes[index] = found

    def take_transactions(self, indexes: Sequence[int], answer: Sequence[Envelope]) -> None:
        """Take transactions that were asked for by index.

        Raises ``Rejected`` with ``compact/Transactions`` if they are not what was asked for.
        """
        if len(indexes) != len(answer):
            raise Rejected("compact/Transactions", "not as many transactions as asked for")
        for index, envelope in zip(indexes, answer, strict=True):
            tx_id = _id_of(envelope)
            expected = self._message.short_ids[index] if self._ids is None else self._ids[index]
            if tx_id[: len(expected)] != expected:
                raise Rejected("compact/Transactions", f"transaction {index} has another id")
        for index, envelope in zip(indexes, answer, strict=True):
            self._envelopes[index] = envelope

    def proposal(self) -> Proposal:
        """Return the whole proposal; nothing may be missing."""
        whole = [envelope for envelope in self._envelopes if envelope is not None]
        assert len(whole) == len(self._envelopes)
        message = self._message
        transactions = [SignedBody(envelope.body, envelope.signatures) for envelope in whole]
        return Proposal(
            message.header,
            Body(message.parent_certificate, transactions, message.evidence),
            [envelope.attachments for envelope in whole],
            message.signature,
            message.nullifications,
        )

    def _root(self) -> bytes:
        return transaction_root([_id_of(e) for e in self._envelopes if e is not None])


def _id_of(envelope: Envelope) -> bytes:
    return tagged_hash("tx", encode((envelope.body, envelope.signatures)))
