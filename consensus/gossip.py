"""How transactions spread before they stand in a block (protocol.md C20).

Validators form a full mesh, so who has a transaction from a client sends it to every peer, and
nobody would need to pass it on. One copy is passed on all the same, for a first sender that dies
half way or has no line to somebody: each validator sends it to the one ``s`` places before it in
the ring of validators without the first sender, ``s`` drawn from the transaction's id. All draw
the same ``s``, so each is sent one copy by one other. A validator thus receives a transaction
about twice, however many there are; if all passed it on to all, it would n − 1 times. What still
misses it gets it with a proposal (C17).

Who is no validator (followers, nodes behind a validator) stands outside the mesh: it is sent
everything, and what comes from it is spread like a client's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from chain.codec import Decoder, Record
from chain.transaction import ENVELOPE, TX_BYTES_MAX, Envelope, transaction_id

from .events import Peer

BATCH_COUNT_MAX = 1_024
BATCH_BYTES_MAX = 256 * 1024
"""One batch: some 20 ms on a line of 100 Mbit/s, so that votes never wait long behind it. The
largest transaction has a quarter of that."""
BATCH_FRAME_BYTES = 17
"""The batch's own array, name and list header at the widest."""
ITEM_FRAME_BYTES = 5
"""A transaction's bin header at the widest."""
QUEUE_COUNT_MAX = 16_384
QUEUE_BYTES_MAX = 8 * 1024 * 1024
"""What waits for one peer: three seconds of 5 000 transactions per second. Beyond, the oldest is
dropped: a peer so slow gets it with a proposal."""
KNOWN_MAX = 8_192
"""Ids in each of the two generations that a peer is remembered to know; longer than any of them
waits in a queue on the way back."""

RawTransaction = Annotated[bytes, msgspec.Meta(min_length=1, max_length=TX_BYTES_MAX)]


class TransactionsBatch(Record, tag="transactions"):
    """Envelopes whose signatures the sender has verified, in no particular order."""

    transactions: Annotated[
        list[RawTransaction], msgspec.Meta(min_length=1, max_length=BATCH_COUNT_MAX)
    ]


TRANSACTIONS_BATCH = Decoder(
    TransactionsBatch, bytes_max=BATCH_BYTES_MAX, what="batch of transactions"
)

Entry = tuple[bytes, bytes]
"""Id and envelope of a transaction."""


@dataclass(slots=True)
class _Line:
    """What is known about one peer, and what waits for it."""

    is_validator: bool
    pool: Iterator[Entry] | None
    """The rest of what was in the pool when it joined."""
    queue: deque[Entry] = field(default_factory=deque)
    size: int = 0
    """Bytes of what waits."""
    known: set[bytes] = field(default_factory=set)
    known_before: set[bytes] = field(default_factory=set)

    def learn(self, ids: Iterable[bytes]) -> None:
        """Remember what the peer itself sent: at most ``BATCH_COUNT_MAX`` ids."""
        if len(self.known) >= KNOWN_MAX:
            self.known_before, self.known = self.known, set()
        self.known.update(ids)


class Gossip:
    """Queues per peer; the host sends what ``flush`` returns, before a proposal at the latest."""

    def __init__(self, me: Peer, pending: Container[bytes], *, relays: int = 1) -> None:
        """``pending`` tells by id what the pool holds; peers are named alike on all nodes.

        ``relays`` is 0 on a node that is no validator itself.
        """
        self._me = me
        self._pending = pending
        self.relays = relays
        """To how many other validators a validator's transaction is passed on."""
        self._lines: dict[Peer, _Line] = {}
        self._arrange()
        self.dropped = 0
        """Transactions that left a full queue unsent, for all peers together."""

    def joined(self, peer: Peer, pool: Iterable[Entry], *, is_validator: bool) -> None:
        """A peer is connected; ``pool`` gives id and envelope of what is in the pool now.

        It is read bit by bit in ``flush`` and must stand the pool's changes in the meantime.
        A peer whose role changes joins again.
        """
        self._lines[peer] = _Line(is_validator, iter(pool))
        self._arrange()

    def left(self, peer: Peer) -> None:
        """A peer is gone, with everything that waits for it."""
        if self._lines.pop(peer, None) is not None:
            self._arrange()

    def admitted(self, tx_id: bytes, raw: bytes, source: Peer | None) -> None:
        """Queue a transaction that entered the pool: its signatures are verified (C16).

        ``source`` is the peer it came from, None for a client. A source that left in the
        meantime counts as a client: it may not have sent everything.
        """
        entry = (tx_id, raw)
        if source is None or source not in self._places:
            for peer, other in self._lines.items():
                if peer != source:
                    self._queue(other, entry)
            return
        for peer in self._relayed_to(tx_id, source):
            self._queue(self._lines[peer], entry)
        for other in self._outside:
            self._queue(other, entry)

    def receive(self, peer: Peer, batch: TransactionsBatch) -> list[tuple[bytes, bytes, Envelope]]:
        """Return id, bytes and envelope of each transaction that the pool does not hold.

        Raises ``Rejected`` with a ``codec/…`` code if one is no envelope: the peer is at fault,
        and nothing was taken. The peer is remembered to know all of them.
        """
        given: dict[bytes, tuple[bytes, bytes, Envelope]] = {}
        for raw in batch.transactions:
            envelope = ENVELOPE.decode(raw)
            tx_id = transaction_id(envelope.body, envelope.signatures)
            given[tx_id] = (tx_id, raw, envelope)
        line = self._lines.get(peer)
        if line is not None:
            line.learn(given)
        return [item for tx_id, item in given.items() if tx_id not in self._pending]

    def has_more(self, peer: Peer) -> bool:
        """Tell whether another ``flush`` may return something."""
        line = self._lines.get(peer)
        return line is not None and (bool(line.queue) or line.pool is not None)

    def flush(self, peer: Peer, bytes_max: int = BATCH_BYTES_MAX) -> list[bytes]:
        """Return the envelopes of the next batch to a peer: at most ``bytes_max`` when encoded.

        One envelope is returned even if it is larger. New transactions come first, then the pool
        as it was when the peer joined. What the peer knows or what left the pool is passed over,
        so nothing may be returned although ``has_more``.
        """
        line = self._lines.get(peer)
        if line is None:
            return []
        self._refill(line)
        chosen: list[bytes] = []
        room = min(bytes_max, BATCH_BYTES_MAX) - BATCH_FRAME_BYTES
        queue, pending = line.queue, self._pending
        known, known_before = line.known, line.known_before
        while queue and len(chosen) < BATCH_COUNT_MAX:
            tx_id, raw = queue[0]
            size = len(raw) + ITEM_FRAME_BYTES
            is_known = tx_id in known or tx_id in known_before
            is_wanted = not is_known and tx_id in pending
            if is_wanted and chosen and size > room:
                break
            queue.popleft()
            line.size -= len(raw)
            if is_wanted:
                room -= size
                chosen.append(raw)
        return chosen

    def _refill(self, line: _Line) -> None:
        """Move about one batch from the rest of the pool behind what waits."""
        while line.pool is not None and len(line.queue) < BATCH_COUNT_MAX:
            if line.size >= BATCH_BYTES_MAX:
                return
            entry = next(line.pool, None)
            if entry is None:
                line.pool = None
            else:
                self._queue(line, entry)

    def _queue(self, line: _Line, entry: Entry) -> None:
        line.queue.append(entry)
        line.size += len(entry[1])
        while line.size > QUEUE_BYTES_MAX or len(line.queue) > QUEUE_COUNT_MAX:
            line.size -= len(line.queue.popleft()[1])
            self.dropped += 1

    def _relayed_to(self, tx_id: bytes, source: Peer) -> list[Peer]:
        """Return the validators that are sent a copy of what another one has spread."""
        others = len(self._ring) - 1  # The ring without the source, me among them.
        gap = self._places[source]
        place = self._places[self._me]
        place -= place > gap
        draw = int.from_bytes(tx_id[:2], "big")
        targets = []
        for copy in range(min(self.relays, others - 1)):
            target = (place - 1 - (draw + copy) % (others - 1)) % others
            targets.append(self._ring[target + (target >= gap)])
        return targets

    def _arrange(self) -> None:
        """Put the validators in the order that all of them see, me among them."""
        validators = [peer for peer, line in self._lines.items() if line.is_validator]
        self._ring = sorted([self._me, *validators])
        self._places = {peer: place for place, peer in enumerate(self._ring)}
        self._outside = [line for line in self._lines.values() if not line.is_validator]
