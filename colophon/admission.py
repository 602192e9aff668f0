"""What a transaction must pass before it waits in this node's pool (protocol.md T2–T6, C16).

One place for clients and peers: they differ only in who is told, and who is to blame.
"""

from __future__ import annotations

from typing import NamedTuple

from chain.application import Standing
from chain.errors import Rejected
from chain.transaction import ENVELOPE, Envelope, check_attachments, transaction_id
from consensus.waiting import Waiting
from state.headers import Tip
from state.machine import StateMachine
from state.modules.account import Account, require_keys
from state.registry import Transaction

from .pool import NodePool

NO_FUNDS = "the sender's account has no balance to pay fees"


class Hope(NamedTuple):
    """A transaction that may enter the pool once its signatures are verified."""

    tx: Transaction
    waiting: Waiting
    standing: Standing
    head: Tip
    """The finalised state that let it pass: above another it is asked about again."""


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

    def require_hope(self, tx: Transaction, raw: bytes, source: bytes | None) -> Hope:
        """Refuse what the pool would refuse now, and keys that may not act (C16, T4).

        For before the signatures are verified: they cost ten times as much. ``source`` is the
        peer it came from, None for a client.
        """
        waiting = self._pool.waiting(tx, raw)
        account, standing = self._ask(waiting)
        self._pool.require_hope(waiting, standing, source)
        _require_keys(tx, account)
        return Hope(tx, waiting, standing, self._machine.head)

    def add(self, hope: Hope, source: bytes | None) -> None:
        """Put a verified transaction into the pool.

        Raises ``Rejected``; then the pool is as it was.
        """
        standing = hope.standing
        if hope.head is not self._machine.head:
            account, standing = self._ask(hope.waiting)
            _require_keys(hope.tx, account)
        self._pool.add(hope.tx, hope.waiting, standing, source)

    def _ask(self, waiting: Waiting) -> tuple[Account | None, Standing]:
        """Return what the finalised state says of a transaction's sender and payer."""
        sender = waiting.sender
        account = self._machine.account(sender)
        return account, self._machine.standing(account, sender, waiting.lane, waiting.payer)


def _require_keys(tx: Transaction, account: Account | None) -> None:
    if account is None:
        raise Rejected("tx/FeeUnpaid", NO_FUNDS)
    require_keys(tx.body.sender, account, tx.body.keys)
