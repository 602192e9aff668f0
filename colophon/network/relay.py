"""Transactions between nodes: gossip out, admission in (protocol.md C16, C20).

What comes is read, verified and admitted in steps of a few milliseconds, so that votes are heard
in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator

from chain.codec import encode
from chain.errors import Rejected
from chain.transaction import Envelope
from consensus.effects import Blame
from consensus.gossip import TRANSACTIONS_BATCH, Gossip, TransactionsBatch
from consensus.waiting import Waiting
from p2p.network import Network
from state.registry import Transaction

from ..admission import Admission
from ..gate import Gate
from ..pool import NodePool
from ..signatures import SignatureWorkers, items_of
from .channels import TRANSACTIONS

log = logging.getLogger("colophon.network")

STEP = 32
"""Transactions per step: some 4 ms of work where signatures are verified inline."""
INTAKE_MAX = 8_192
"""Transactions that wait to be read; what comes beyond comes again with a proposal (C17)."""
INTAKE_BYTES_MAX = 16 * 1024 * 1024
"""Their bytes, give or take a batch: the largest have 64 KiB, and take twice as much decoded."""
FLUSH_S = 0.05
"""Least pause between two batches to the same peers. The first after a pause goes at once."""
SAY_S = 5.0
"""Least pause between two lines about what was dropped."""

Given = tuple[bytes, bytes, Envelope]
"""Id, bytes and envelope of a transaction."""


class Relay:
    """The transactions of one node on their way to and from its peers."""

    def __init__(
        self,
        network: Network,
        gossip: Gossip,
        admission: Admission,
        pool: NodePool,
        workers: SignatureWorkers,
        gate: Gate,
        blame: Callable[[Blame], None],
    ) -> None:
        self.overflowed = 0
        """Transactions of peers that were dropped unread: this node is too slow for them."""
        self._network = network
        self._gossip = gossip
        self._relays = gossip.relays
        self._admission = admission
        self._pool = pool
        self._workers = workers
        self._gate = gate
        self._blame = blame
        self._intake: deque[tuple[bytes, list[Given]]] = deque()
        self._waiting = 0
        self._waiting_bytes = 0
        self._has_intake = asyncio.Event()
        self._flush_timer: asyncio.Handle | None = None
        self._flushed_s = 0.0
        self._said = 0
        """What of ``overflowed`` the log has."""
        self._said_s = -SAY_S

    def joined(self, peer: bytes, *, is_validator: bool) -> None:
        """A peer is connected: it is given what waits in the pool, too."""
        self._gossip.joined(peer, self._pooled(), is_validator=is_validator)
        self._plan_flush()

    def left(self, peer: bytes) -> None:
        """A peer is gone."""
        self._gossip.left(peer)

    def close(self) -> None:
        """Send nothing more."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()

    def _pooled(self) -> Iterator[tuple[bytes, bytes]]:
        for tx_id in list(self._pool.transactions):
            waiting = self._pool.mempool.get(tx_id)
            if waiting is not None:
                yield tx_id, waiting.raw

    # --- out ----------------------------------------------------------------------------------

    def admitted(self, tx: Transaction, raw: bytes, source: bytes | None) -> None:
        """A transaction entered the pool: spread it soon."""
        # A second copy is for senders that die half way; under load it costs more than it saves.
        self._gossip.relays = self._relays if self._pool.is_easy else 0
        self._gossip.admitted(tx.id, raw, source)
        self._plan_flush()

    def _plan_flush(self) -> None:
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            delay_s = max(0.0, self._flushed_s + FLUSH_S - loop.time())
            self._flush_timer = loop.call_later(delay_s, self.flush)

    def flush(self) -> None:
        """Send every peer what waits for it, a batch each; the rest goes with the next turn."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        more = False
        for peer in self._network.peers:
            chosen = self._gossip.flush(peer)
            if chosen:
                self._network.send(peer, TRANSACTIONS, encode(TransactionsBatch(chosen)))
            more = more or self._gossip.has_more(peer)
        self._flushed_s = asyncio.get_running_loop().time()
        if more:
            self._plan_flush()

    # --- in -----------------------------------------------------------------------------------

    def take(self, peer: bytes, data: bytes) -> None:
        """Queue a batch of a peer; raises ``Rejected`` if it is none: then the peer is at fault."""
        batch = TRANSACTIONS_BATCH.decode(data)
        room = INTAKE_MAX - self._waiting
        # A flood must not cost more than its bytes.
        if room <= 0 or self._waiting_bytes >= INTAKE_BYTES_MAX:
            self._overflow(len(batch.transactions))
            return
        given = self._gossip.receive(peer, batch)
        if len(given) > room:
            self._overflow(len(given) - room)
        kept = given[:room]
        if kept:
            self._intake.append((peer, kept))
            self._waiting += len(kept)
            self._waiting_bytes += _size(kept)
            self._has_intake.set()

    def _overflow(self, count: int) -> None:
        """Count what is dropped; say so now and then, each time all that came since the last."""
        self.overflowed += count
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_s >= SAY_S:
            count = self.overflowed - self._said
            log.warning("transactions_overflowed count=%d waiting=%d", count, self._waiting)
            self._said, self._said_s = self.overflowed, now_s

    async def run(self) -> None:
        """Admit what comes, until cancelled."""
        while True:
            await self._has_intake.wait()
            self._has_intake.clear()
            while self._intake:
                peer, given = self._intake.popleft()
                for start in range(0, len(given), STEP):
                    chunk = given[start : start + STEP]
                    self._waiting -= len(chunk)
                    self._waiting_bytes -= _size(chunk)
                    await self._gate.wait()
                    await self._admit(peer, chunk)
                    await asyncio.sleep(0)

    async def _admit(self, peer: bytes, given: list[Given]) -> None:
        """Admit a few transactions; a peer that relays what never can be valid is at fault."""
        hopeful: list[tuple[Transaction, Waiting]] = []
        for _, raw, envelope in given:
            try:
                tx = self._admission.inspect(envelope, len(raw))
            except Rejected as refusal:
                self._blame(Blame(peer, refusal.code, refusal.message))
                return
            try:
                hopeful.append((tx, self._admission.require_hope(tx, raw, peer)))
            except Rejected:
                continue  # What the state refuses is nobody's fault (C16).
        if not hopeful:
            return
        items = [item for tx, _ in hopeful for item in items_of(tx)]
        good = await asyncio.wrap_future(self._workers.submit(items))
        if not all(good):
            self._blame(Blame(peer, "crypto/BadSignature", "it relayed a forged transaction"))
            return
        for tx, waiting in hopeful:
            try:
                self._admission.add(tx, waiting, peer)
            except Rejected as refusal:
                log.debug("not_admitted tx=%s reason=%s", tx.id.hex(), refusal)


def _size(given: list[Given]) -> int:
    return sum(len(raw) for _, raw, _ in given)
