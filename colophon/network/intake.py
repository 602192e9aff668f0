"""Transactions of peers that wait to be read (protocol.md C16).

A flood must not cost more than its bytes, so both are bounded, and what does not fit is dropped
unread: it comes again with a proposal (C17).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from chain.transaction import Envelope
from consensus.compact import SHORT_ID_BYTES
from consensus.gossip import Gossip, TransactionsBatch
from state.registry import Transaction

log = logging.getLogger("colophon.network")

INTAKE_MAX = 8_192
"""Transactions that wait."""
INTAKE_BYTES_MAX = 16 * 1024 * 1024
"""Their bytes, give or take a batch: the largest have 64 KiB, and take twice as much decoded."""
SAY_S = 5.0
"""Least pause between two lines about what was dropped."""


@dataclass(slots=True, eq=False)
class Arrival:
    """A transaction of a peer; its envelope is canonical, nothing else is known of it."""

    peer: bytes
    id: bytes
    raw: bytes
    envelope: Envelope
    tx: Transaction | None = None
    """Once it has been found well formed."""


class Intake:
    """What peers have sent and nobody has looked at, in the order it came."""

    def __init__(self, gossip: Gossip) -> None:
        self.overflowed = 0
        """Transactions that were dropped unread: this node is too slow for them."""
        self._gossip = gossip
        self._queue: deque[Arrival] = deque()
        self._by_short_id: dict[bytes, Arrival] = {}
        self._bytes = 0
        self._has_some = asyncio.Event()
        self._said = 0
        """What of ``overflowed`` the log has."""
        self._said_s = -SAY_S

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, peer: bytes, batch: TransactionsBatch) -> None:
        """Queue a batch of a peer; raises ``Rejected`` if it is at fault."""
        room = INTAKE_MAX - len(self._queue)
        if room <= 0 or self._bytes >= INTAKE_BYTES_MAX:
            self._overflow(len(batch.transactions))
            return
        given = self._gossip.receive(peer, batch)
        if len(given) > room:
            self._overflow(len(given) - room)
        for tx_id, raw, envelope in given[:room]:
            arrival = Arrival(peer, tx_id, raw, envelope)
            self._queue.append(arrival)
            self._by_short_id[tx_id[:SHORT_ID_BYTES]] = arrival
            self._bytes += len(raw)
        if self._queue:
            self._has_some.set()

    def with_short_id(self, short_id: bytes) -> Arrival | None:
        """Return a transaction whose id begins with these 8 bytes; it goes on waiting."""
        return self._by_short_id.get(short_id)

    async def wait(self) -> None:
        """Return when something is there; it stays, so that proposals go on finding it."""
        await self._has_some.wait()

    def take(self, count_max: int) -> list[Arrival]:
        """Return the first few, all of one peer; something must be there."""
        peer = self._queue[0].peer
        taken: list[Arrival] = []
        while self._queue and len(taken) < count_max and self._queue[0].peer == peer:
            taken.append(self._leave())
        if not self._queue:
            self._has_some.clear()
        return taken

    def _leave(self) -> Arrival:
        arrival = self._queue.popleft()
        self._bytes -= len(arrival.raw)
        short_id = arrival.id[:SHORT_ID_BYTES]
        if self._by_short_id.get(short_id) is arrival:
            del self._by_short_id[short_id]
        return arrival

    def _overflow(self, count: int) -> None:
        """Count what is dropped; say so now and then, each time all that came since the last."""
        self.overflowed += count
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_s >= SAY_S:
            count = self.overflowed - self._said
            log.warning("transactions_overflowed count=%d waiting=%d", count, len(self._queue))
            self._said, self._said_s = self.overflowed, now_s
