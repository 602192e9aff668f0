"""What a transaction must pass before it waits in this node's pool (protocol.md T2–T6, C16).

One place for clients and peers: they differ only in who is told, and who is to blame.
"""

from __future__ import annotations

from chain.errors import Rejected
from chain.transaction import ENVELOPE, Envelope, check_attachments, transaction_id
from consensus.waiting import Waiting
from state.machine import StateMachine
from state.modules.account import require_keys
from state.registry import Transaction

from .pool import NodePool

NO_FUNDS = "the sender's account has no balance to pay fees"


class Admission:
    """The checks in the order of their cost; signatures are verified between the last two."""

    def __init__(self, machine: StateMachine, pool: NodePool) -> None:
        self._machine = machine
        self._pool = pool

    def open(self, raw: bytes) -> tuple[bytes, Envelope]:
        """Return id and envelope (T2, T3); raises ``Rejected`` with a ``codec/…`` code."""
        envelope = ENVELOPE.decode(raw)
        return transaction_id(envelope.body, envelope.signatures), envelope

    def inspect(self, envelope: Envelope, size: int, tx_id: bytes | None = None) -> Transaction:
        """Return the transaction of a decoded envelope of ``size`` bytes; raises ``Rejected``.

        ``tx_id`` is its id where that has been made already.
        What is refused here would be refused by every node of this network, at any time.
        """
        machine = self._machine
        tx = machine.read_transaction(envelope, tx_id)
        params = machine.params
        if size > params.tx_bytes_max:
            raise Rejected("tx/TooManyBytes", f"{size} bytes, at most {params.tx_bytes_max}")
        if tx.units > params.tx_units_max:
            raise Rejected("tx/TooManyUnits", f"{tx.units} units, at most {params.tx_units_max}")
        check_attachments(tx.blobs, envelope.attachments)
        return tx

    def require_room(self) -> None:
        """Refuse a client while this node can take no more, before anything costs much."""
        self._pool.require_room()

    def require_hope(self, tx: Transaction, raw: bytes, source: bytes | None) -> Waiting:
        """Return what the pool will see; refuse what it would refuse now (C16).

        For before the signatures are verified: they cost ten times as much.
        """
        waiting = self._pool.waiting(tx, raw)
        self._pool.require_hope(waiting, source)
        return waiting

    def require_keys(self, tx: Transaction) -> None:
        """Check that the keys may act for the sender, on the finalised state."""
        account = self._machine.account(tx.body.sender)
        if account is None:
            raise Rejected("tx/FeeUnpaid", NO_FUNDS)
        require_keys(tx.body.sender, account, tx.body.keys)

    def add(self, tx: Transaction, waiting: Waiting, source: bytes | None) -> None:
        """Put a verified transaction into the pool; ``source`` is the peer, None for a client.

        Raises ``Rejected``; then the pool is as it was.
        """
        self.require_keys(tx)
        self._pool.add(tx, waiting, source)
