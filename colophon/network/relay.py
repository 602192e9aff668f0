"""Transactions between nodes: gossip out, admission in (protocol.md C16, C20).

What comes is read, verified and admitted in steps of a few milliseconds, so that votes are heard
in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from chain.codec import encode
from chain.errors import Rejected
from consensus.effects import Blame
from consensus.gossip import TRANSACTIONS_BATCH, Gossip, TransactionsBatch
from p2p.network import Network
from state.registry import Transaction

from ..admission import Admission, Hope
from ..gate import Gate
from ..pool import NodePool
from ..signatures import SignatureWorkers, items_of
from .channels import TRANSACTIONS
from .intake import Arrival, Intake

log = logging.getLogger("colophon.network")

STEP = 32
"""Transactions per step: some 4 ms of work where signatures are verified inline."""
FLUSH_S = 0.05
"""Least pause between two batches to the same peers. The first after a pause goes at once."""


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
        is_signed: Callable[[bytes], bool],
    ) -> None:
        """``is_signed`` tells of a transaction, by id, whether its signatures were verified here
        with a block."""
        self.intake = Intake(gossip)
        self._network = network
        self._gossip = gossip
        self._relays = gossip.relays
        self._admission = admission
        self._pool = pool
        self._workers = workers
        self._gate = gate
        self._blame = blame
        self._is_signed = is_signed
        self._flush_timer: asyncio.Handle | None = None
        self._flushed_s = 0.0

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
        self.intake.put(peer, TRANSACTIONS_BATCH.decode(data))

    def unread(self, short_id: bytes) -> Arrival | None:
        """Return a well-formed transaction that waits to be read, for a proposal that names it."""
        arrival = self.intake.with_short_id(short_id)
        if arrival is not None:
            try:
                self._inspect(arrival)
            except Rejected:
                return None  # Its peer is blamed when its turn comes.
        return arrival

    async def run(self) -> None:
        """Admit what comes, until cancelled."""
        while True:
            await self.intake.wait()
            await self._gate.wait()
            await self._admit(self.intake.take(STEP))
            await asyncio.sleep(0)

    async def _admit(self, arrivals: list[Arrival]) -> None:
        """Admit a few transactions of a peer; if one never can be valid, the peer is at fault."""
        hopeful: list[Hope] = []
        peer = arrivals[0].peer
        for arrival in arrivals:
            try:
                tx = self._inspect(arrival)
            except Rejected as refusal:
                self._blame(Blame(peer, refusal.code, refusal.message))
                return
            try:
                hopeful.append(self._admission.require_hope(tx, arrival.raw, peer))
            except Rejected:
                continue  # What the state refuses is nobody's fault (C16).
        unsigned = [hope.tx for hope in hopeful if not self._is_signed(hope.tx.id)]
        items = [item for tx in unsigned for item in items_of(tx)]
        if items and not all(await self._workers.verify(items)):
            self._blame(Blame(peer, "crypto/BadSignature", "it relayed a forged transaction"))
            return
        for hope in hopeful:
            try:
                self._admission.add(hope, peer)
            except Rejected as refusal:
                log.debug("not_admitted tx=%s reason=%s", hope.tx.id.hex(), refusal)

    def _inspect(self, arrival: Arrival) -> Transaction:
        """Return the transaction of an arrival; raises ``Rejected`` unless it is well formed."""
        if arrival.tx is None:
            envelope, size = arrival.envelope, len(arrival.raw)
            arrival.tx = self._admission.inspect(envelope, size, arrival.id)
        return arrival.tx
