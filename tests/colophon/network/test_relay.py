"""Transactions of peers: who is at fault for what, and what a flood may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from colophon.admission import Admission
from colophon.application import NodeApplication
from colophon.config import MempoolSection
from colophon.gate import Gate
from colophon.network import relay as relay_module
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
        workers = SignatureWorkers(0)
        clock = VirtualClock()
        self.pool = NodePool(machine, clock, MempoolSection())
        application = NodeApplication(machine, workers, clock, self.pool)
        self.blames: list[Blame] = []
        gossip = Gossip(b"me", self.pool.transactions)
        self.relay = Relay(
            Peers(), gossip, Admission(machine, self.pool), application, workers, Gate(),
            self.blames.append,
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
    monkeypatch.setattr(relay_module, "INTAKE_MAX", 3)
    monkeypatch.setattr(relay_module, "SAY_S", 3_600)
    world = World()

    async def play() -> None:
        for start in range(0, 8, 2):
            batch = TransactionsBatch([transfer(start), transfer(start + 1)])
            world.relay.take(PEER, encode(batch))

    asyncio.run(play())

    assert (world.relay._waiting, world.relay.overflowed) == (3, 5)
    assert [record.getMessage() for record in caplog.records] == [
        "transactions_overflowed count=1 waiting=2"
    ]


def test_what_waits_to_be_read_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "INTAKE_BYTES_MAX", 1)
    world = World()

    assert world.give([transfer(0), transfer(1)], [transfer(2)]) == 2
    assert world.relay.overflowed == 1
    assert world.give([transfer(2)]) == 3


def test_the_next_line_has_all_that_was_dropped_since_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_module, "INTAKE_MAX", 0)
    monkeypatch.setattr(relay_module, "SAY_S", 3_600)
    world = World()
    batch = encode(TransactionsBatch([transfer(0)]))

    async def play() -> None:
        for _ in range(3):
            world.relay.take(PEER, batch)
        monkeypatch.setattr(relay_module, "SAY_S", 0)
        world.relay.take(PEER, batch)

    asyncio.run(play())

    assert [record.getMessage() for record in caplog.records] == [
        "transactions_overflowed count=1 waiting=0",
        "transactions_overflowed count=3 waiting=0",
    ]


def test_a_flood_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the intake is full, a batch costs its own decoding and nothing per transaction."""
    monkeypatch.setattr(relay_module, "INTAKE_MAX", 0)
    world = World()

    async def play() -> None:
        world.relay.take(PEER, encode(TransactionsBatch([b"no transaction"] * BATCH_COUNT_MAX)))

    asyncio.run(play())

    assert world.relay.overflowed == BATCH_COUNT_MAX
