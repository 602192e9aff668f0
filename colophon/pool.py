"""The transactions that wait at this node (protocol.md C16).

``consensus.mempool`` decides what is worth keeping; here is what a node knows beyond that: the
decoded transactions, whose clients brought them, and who is told when they come and go.
"""

from __future__ import annotations

from collections.abc import Callable

from chain.application import Standing
from chain.block import Block
from chain.errors import Rejected
from consensus.mempool import Mempool
from consensus.waiting import Used, Waiting
from state.machine import StateMachine
from state.registry import Transaction

from .clock import Clock
from .config import MempoolSection

CLIENTS_MIN = 1_000
"""In a large committee the share of one node's clients does not fall below this."""

Admitted = Callable[[Transaction, bytes, bytes | None], None]
"""Takes a transaction, its envelope, and the peer it came from (None: a client)."""


class NodePool:
    """One node's pool; fills in ``chain.application.PoolView``."""

    def __init__(self, machine: StateMachine, clock: Clock, limits: MempoolSection) -> None:
        self.transactions: dict[bytes, Transaction] = {}
        """Decoded transactions by id: their signatures are known to fit."""
        self.mempool = Mempool(
            self,
            machine.params,
            count_max=limits.transactions_max,
            bytes_max=limits.bytes_max,
        )
        self.on_admitted: list[Admitted] = []
        """Told of transactions that entered."""
        self.on_left: Callable[[bytes, str], None] = lambda tx_id, how: None
        """Told of what left unused: ``expired``, ``replaced`` or ``dropped``."""
        self._machine = machine
        self._clock = clock
        self._of_clients: set[bytes] = set()
        """Ids of the transactions that clients brought to this node."""
        self._clients_max = share_of_clients(limits.transactions_max, len(machine.committee))
        self._fee_ms, self._fee_head, self._fee = -1, machine.head, 0
        # The base fee is asked for twice per transaction, many times a millisecond.
        self._easy_max = limits.transactions_max // 4

    def __len__(self) -> int:
        return len(self.mempool)

    def __contains__(self, tx_id: bytes) -> bool:
        return tx_id in self.mempool

    @property
    def is_easy(self) -> bool:
        """Whether less than a quarter is taken."""
        return len(self.transactions) < self._easy_max

    @property
    def has_ready(self) -> bool:
        """Whether a block of now could take anything."""
        return self.mempool.has_ready(self._clock.wall_ms())

    # --- what the mempool asks ----------------------------------------------------------------

    def spendable(self, payer: bytes) -> int:
        """Return the ncolo a payer has for fees."""
        return self._machine.balance(payer)

    def base_fee(self) -> int:
        """Return the base fee the next block would have now."""
        now_ms, head = self._clock.wall_ms(), self._machine.head
        if now_ms != self._fee_ms or head is not self._fee_head:
            self._fee_ms, self._fee_head = now_ms, head
            self._fee = self._machine.base_fee_at(now_ms)
        return self._fee

    # --- coming -------------------------------------------------------------------------------

    def waiting(self, tx: Transaction, envelope: bytes) -> Waiting:
        """Return what the mempool sees of a transaction."""
        body = tx.body
        return Waiting(
            id=tx.id,
            raw=envelope,
            sender=body.sender,
            sponsor=body.sponsor,
            lane=body.lane,
            seq=body.seq,
            units=tx.units,
            max_fee=int.from_bytes(body.max_fee, "big"),
            tip=int.from_bytes(body.tip, "big"),
            valid_until=body.valid_until,
        )

    def require_room(self) -> None:
        """Refuse a client, with ``pool/Full``, while this node has its share of transactions.

        So clients of one node cannot fill the pools of all.
        """
        if len(self._of_clients) >= self._clients_max:
            raise Rejected("pool/Full", f"{self._clients_max} transactions of clients wait here")

    def require_hope(self, waiting: Waiting, standing: Standing, source: bytes | None) -> None:
        """Refuse what ``add`` would refuse now, before its signatures cost anything."""
        if source is None:
            self.require_room()
        self.mempool.require_hope(waiting, standing, self._clock.wall_ms())

    def add(
        self, tx: Transaction, waiting: Waiting, standing: Standing, source: bytes | None
    ) -> None:
        """Keep a transaction, its signatures verified, and tell who listens.

        ``standing`` is that of its lane and payer in the finalised state, ``source`` the peer it
        came from, None for a client. Raises ``Rejected`` with a
        ``pool/…`` code; then the pool is as it was.
        """
        now_ms, wall_ms = self._clock.now_ms(), self._clock.wall_ms()
        leaving = self.mempool.add(waiting, standing, now_ms, wall_ms)
        self.transactions[tx.id] = tx
        if source is None:
            self._of_clients.add(tx.id)
        for tx_id in leaving:
            self._forget(tx_id)
            self.on_left(tx_id, "replaced")
        for admitted in self.on_admitted:
            admitted(tx, waiting.raw, source)

    # --- leaving ------------------------------------------------------------------------------

    def committed(self, block: Block, transactions: list[Transaction]) -> None:
        """Drop what a final block used, and what can never follow it."""
        used = [Used(tx.body.sender, tx.body.lane, tx.body.seq) for tx in transactions]
        included = set(block.transaction_ids)
        for tx_id in self.mempool.committed(used, block.header.time_ms):
            tx = self._forget(tx_id)
            if tx is not None and tx_id not in included:
                self.on_left(tx_id, self._how_left(tx, block.header.time_ms))

    def sweep(self) -> None:
        """Drop what will not be paid for; call it about once per second."""
        for tx_id in self.mempool.sweep(self._clock.now_ms()):
            self._forget(tx_id)
            self.on_left(tx_id, "dropped")

    def _how_left(self, tx: Transaction, time_ms: int) -> str:
        """Tell why a transaction that is not in the newest block left the pool with it."""
        body = tx.body
        if 0 < body.valid_until < time_ms:
            return "expired"
        return (
            "replaced" if body.seq < self._machine.next_seq(body.sender, body.lane) else "dropped"
        )

    def _forget(self, tx_id: bytes) -> Transaction | None:
        self._of_clients.discard(tx_id)
        return self.transactions.pop(tx_id, None)


def share_of_clients(transactions_max: int, validators: int) -> int:
    """Return how many transactions of a pool may come from this node's own clients.

    If every validator's clients keep to their share, every pool is half empty, what all the others
    have fits into the intake of a node that is behind (by default and up to five validators), and
    a block brings nobody anything new: its signatures were verified before.
    """
    if validators == 1:
        return transactions_max
    share = transactions_max // (2 * validators)
    return min(max(share, CLIENTS_MIN), transactions_max)
