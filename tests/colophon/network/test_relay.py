"""Transactions of peers: who is at fault for what, and what a flood may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.transaction import ENVELOPE, Attachment, Envelope, transaction_id
from colophon.admission import Admission
from colophon.config import MempoolSection
from colophon.gate import Gate
from colophon.network import intake as intake_module
from colophon.network.relay import Relay
from colophon.pool import NodePool
from colophon.signatures import SignatureWorkers
from colophon.wallet import Draft, Wallet
from consensus.effects import Blame
from consensus.gossip import BATCH_COUNT_MAX, Gossip, TransactionsBatch
from state.families import REGISTRY
from state.machine import StateMachine
from state.modules.bank import Send
from tests.colophon.lonely import SENDER, SimulatedStore, VirtualClock, genesis

from .peers import Peers

PEER = b"peer"
TURNS = 100
"""Turns of the loop: many more than a few batches take, whose signatures are checked inline."""
RICH = Wallet(SENDER, genesis().hash())


class World:
    """A relay, its pool, and whom it blamed."""

    def __init__(self) -> None:
        machine = StateMachine(SimulatedStore(), genesis(), REGISTRY)
        self.workers = workers = SignatureWorkers(0)
        clock = VirtualClock()
        self.pool = NodePool(machine, clock, MempoolSection())
        self.signed: set[bytes] = set()
        self.gate = Gate()
        self.blames: list[Blame] = []
        gossip = Gossip(b"me", self.pool.transactions)
        self.relay = Relay(
            Peers(), gossip, Admission(machine, self.pool), self.pool, workers, self.gate,
            self.blames.append, self.signed.__contains__,
        )  # fmt: skip

    def give(self, *batches: list[bytes]) -> int:
        """Take batches and admit them; return how many transactions wait in the pool."""

        async def play() -> None:
            for batch in batches:
                self.relay.take(PEER, encode(TransactionsBatch(batch)))
            running = asyncio.create_task(self.relay.run())
            for _ in range(TURNS):
                await asyncio.sleep(0)
            running.cancel()

        asyncio.run(play())
        return len(self.pool)


def transaction_of(raw: bytes) -> bytes:
    """Return the id of an envelope's transaction."""
    envelope = ENVELOPE.decode(raw)
    return transaction_id(envelope.body, envelope.signatures)


def transfer(seq: int, wallet: Wallet = RICH) -> bytes:
    draft = Draft(messages=[Send(b"\0" * 21, b"", encode_amount(1))])
    return wallet.sign(draft, seq=seq, base_fee=10**7).envelope


def forged(seq: int) -> bytes:
    good = transfer(seq)
    place = good.index(b"\xc4\x40") + 10
    return good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]


def foreign(seq: int) -> bytes:
    return transfer(seq, Wallet(SENDER, bytes(32)))


def test_good_transactions_come_into_the_pool() -> None:
    world = World()

    assert world.give([transfer(0), transfer(1)], [transfer(1), transfer(2)]) == 3
    assert world.blames == []


@pytest.mark.parametrize(
    ("make", "code"), [(forged, "crypto/BadSignature"), (foreign, "tx/WrongNetwork")]
)
def test_what_never_can_be_valid_is_a_fault(make: Callable[[int], bytes], code: str) -> None:
    world = World()

    assert world.give([make(0)]) == 0
    assert [(blame.peer, blame.code) for blame in world.blames] == [(PEER, code)]


def test_what_the_state_refuses_is_nobodys_fault() -> None:
    world = World()
    poor = Wallet(SigningKey(b"\7" * 32), genesis().hash())

    assert world.give([transfer(64), transfer(0, poor), transfer(0)]) == 1
    assert world.blames == []


@pytest.mark.parametrize("data", [b"", b"\xc1", encode(TransactionsBatch([b"\x93"]))])
def test_what_is_no_batch_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected, match="codec/"):
        World().relay.take(PEER, data)


def test_what_waits_to_be_read_is_bounded_and_what_is_dropped_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intake_module, "INTAKE_MAX", 3)
    monkeypatch.setattr(intake_module, "SAY_S", 3_600)
    world = World()

    async def play() -> None:
        for start in range(0, 8, 2):
            batch = TransactionsBatch([transfer(start), transfer(start + 1)])
            world.relay.take(PEER, encode(batch))

    asyncio.run(play())

    assert (len(world.relay.intake), world.relay.intake.overflowed) == (3, 5)
    assert [record.getMessage() for record in caplog.records] == [
        "transactions_overflowed count=1 waiting=2"
    ]


def test_what_waits_to_be_read_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "INTAKE_BYTES_MAX", 1)
    world = World()

    assert world.give([transfer(0), transfer(1)], [transfer(2)]) == 2
    assert world.relay.intake.overflowed == 1
    assert world.give([transfer(2)]) == 3


def test_the_next_line_has_all_that_was_dropped_since_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intake_module, "INTAKE_MAX", 0)
    monkeypatch.setattr(intake_module, "SAY_S", 3_600)
    world = World()
    batch = encode(TransactionsBatch([transfer(0)]))

    async def play() -> None:
        for _ in range(3):
            world.relay.take(PEER, batch)
        monkeypatch.setattr(intake_module, "SAY_S", 0)
        world.relay.take(PEER, batch)

    asyncio.run(play())

    assert [record.getMessage() for record in caplog.records] == [
        "transactions_overflowed count=1 waiting=0",
        "transactions_overflowed count=3 waiting=0",
    ]


def test_a_flood_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the intake is full, a batch costs its own decoding and nothing per transaction."""
    monkeypatch.setattr(intake_module, "INTAKE_MAX", 0)
    world = World()

    async def play() -> None:
        world.relay.take(PEER, encode(TransactionsBatch([b"no transaction"] * BATCH_COUNT_MAX)))

    asyncio.run(play())

    assert world.relay.intake.overflowed == BATCH_COUNT_MAX


def test_signatures_that_were_verified_with_a_block_are_not_verified_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    known, new = transfer(0), transfer(1)
    world.signed.add(transaction_of(known))
    verified: list[int] = []
    verify = world.workers.verify
    monkeypatch.setattr(
        world.workers, "verify", lambda items: verified.append(len(items)) or verify(items)
    )

    assert world.give([known]) == 1
    assert verified == []
    assert world.give([new]) == 2
    assert verified == [1]


def test_a_proposal_finds_what_waits_to_be_read() -> None:
    world = World()
    raw = transfer(0)
    short_id = transaction_of(raw)[:8]

    async def play() -> None:
        world.relay.take(PEER, encode(TransactionsBatch([raw, transfer(1)])))
        arrival = world.relay.unread(short_id)
        assert arrival is not None and (arrival.raw, arrival.id[:8]) == (raw, short_id)
        assert world.relay.unread(bytes(8)) is None
        assert len(world.relay.intake) == 2

    asyncio.run(play())

    assert world.give() == 2
    assert world.relay.unread(short_id) is None


def test_a_proposal_finds_what_waits_at_the_gate() -> None:
    """Consensus has work, so nothing is read: least of all then may a proposal have to ask."""
    world = World()
    raw = transfer(0)

    async def play() -> None:
        world.gate.close()
        world.relay.take(PEER, encode(TransactionsBatch([raw])))
        running = asyncio.create_task(world.relay.run())
        for _ in range(3):
            await asyncio.sleep(0)
        assert world.relay.unread(transaction_of(raw)[:8]) is not None
        running.cancel()

    asyncio.run(play())


def test_a_proposal_does_not_find_what_is_not_well_formed() -> None:
    """Wrong attachments would make a good block look bad (T5); their sender is blamed later."""
    world = World()
    good = ENVELOPE.decode(transfer(0))
    padded = encode(Envelope(good.body, good.signatures, [Attachment(bytes(16), b"")]))

    async def play() -> None:
        world.relay.take(PEER, encode(TransactionsBatch([padded])))
        assert world.relay.unread(transaction_of(padded)[:8]) is None

    asyncio.run(play())

    assert world.blames == []
    assert world.give() == 0
    assert [blame.code for blame in world.blames] == ["tx/Attachments"]


def test_a_second_copy_that_leaves_does_not_hide_the_first() -> None:
    world = World()
    raw = transfer(0)
    batch = encode(TransactionsBatch([raw]))

    async def play() -> None:
        world.relay.take(PEER, batch)
        world.relay.take(b"other", batch)
        taken = world.relay.intake.take(2)
        assert [arrival.peer for arrival in taken] == [PEER]
        found = world.relay.unread(transaction_of(raw)[:8])
        assert found is not None and found.peer == b"other"

    asyncio.run(play())
