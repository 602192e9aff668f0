"""A small ledger and transactions for the tests of the pool."""

from __future__ import annotations

from hashlib import sha256

from chain.application import Standing
from chain.codec import encode
from chain.params import Params
from chain.transaction import Attachment, Envelope, transaction_id
from consensus.mempool import Mempool
from consensus.waiting import Waiting

PARAMS = Params(modules=[])
ALICE, BOB, SPONSOR = b"\0" + b"a" * 20, b"\0" + b"b" * 20, b"\0" + b"s" * 20


class Ledger:
    """What the application would answer."""

    def __init__(self) -> None:
        self.seqs: dict[tuple[bytes, int], int] = {}
        self.balances = {ALICE: 10**9, BOB: 10**9, SPONSOR: 10**9}
        self.fee = 1_000_000
        self.asked = 0

    def standing(self, tx: Waiting) -> Standing:
        return Standing(self.seqs.get((tx.sender, tx.lane), 0), self.spendable(tx.payer))

    def spendable(self, payer: bytes) -> int:
        self.asked += 1
        return self.balances.get(payer, 0)

    def base_fee(self) -> int:
        return self.fee


def admit(pool: Mempool, tx: Waiting, now_ms: int = 0, *, wall_ms: int = 0) -> list[bytes]:
    """Add a transaction that stands where the pool's own ledger says."""
    ledger = pool._view
    assert isinstance(ledger, Ledger)
    return pool.add(tx, ledger.standing(tx), now_ms, wall_ms)


def envelope_of(label: bytes) -> Envelope:
    attachments = [Attachment(bytes(16), label)] if label.endswith(b"+") else []
    return Envelope(label, [sha256(label).digest() * 2], attachments)


def waiting(
    seq: int = 0,
    *,
    sender: bytes = ALICE,
    lane: int = 0,
    tip: int = 0,
    units: int = 100,
    max_fee: int = 10_000,
    sponsor: bytes | None = None,
    valid_until: int = 0,
    label: bytes = b"",
) -> Waiting:
    body = label or sender[1:2] + b"/%d/%d/%d" % (lane, seq, tip)
    envelope = envelope_of(body)
    return Waiting(
        id=transaction_id(envelope.body, envelope.signatures),
        raw=encode(envelope),
        sender=sender,
        sponsor=sponsor,
        lane=lane,
        seq=seq,
        units=units,
        max_fee=max_fee,
        tip=tip,
        valid_until=valid_until,
    )
