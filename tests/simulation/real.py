"""The same cluster over the real state machine, with real keys, accounts and transactions."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from chain.application import Built, Placement, finish
from chain.block import Block
from chain.codec import encode_amount
from chain.committee import Committee
from chain.crypto import SigningKey, verify_signature
from chain.errors import Rejected
from chain.finality import FinalityProof
from chain.genesis import Genesis
from chain.header import Header
from chain.ids import NCOLO, address_of
from chain.params import Params
from chain.transaction import Attachment
from chain.vote import Verifier
from colophon.application import NodeApplication
from colophon.clock import Clock
from colophon.maintenance import check as node_check
from colophon.testnet.make import new_genesis
from colophon.wallet import Draft, Wallet
from state.families import REGISTRY
from state.machine import StateMachine
from state.modules.bank import Send
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Register
from tests.colophon.applications import admit, application_above
from tests.state.memory_store import MemoryStore

from .application import GENESIS_TIME_MS
from .cluster import Cluster
from .node import Delays
from .oracle import Oracle
from .weather import Weather

SENDERS = 6
BASE_FEE = 10**7
"""What senders reckon with; ten times the genesis fee."""


def validator_key(index: int) -> SigningKey:
    """Return the consensus key of a member."""
    return SigningKey(index.to_bytes(32, "big"))


def sender_key(index: int) -> SigningKey:
    """Return the key of an account with money."""
    return SigningKey((1_000 + index).to_bytes(32, "big"))


class VirtualClock(Clock):
    """The cluster's time, for what asks a clock instead of being told."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = 0

    def now_ms(self) -> int:
        return self.ms

    def wall_ms(self) -> int:
        return GENESIS_TIME_MS + self.ms


class RealApplication:
    """What ``application.Application`` does, by the node's own application over memory."""

    endless = False

    def __init__(self, genesis: Genesis, clock: Clock) -> None:
        self._genesis = genesis
        self._clock = clock
        self._store = MemoryStore()
        self._node = self._open()
        self.blocks: list[Block] = []
        self.headers: dict[bytes, Header] = {}
        self.proofs: dict[int, FinalityProof] = {}
        self.faulty: set[bytes] = set()

    def _open(self) -> NodeApplication:
        machine = StateMachine(self._store, self._genesis, REGISTRY)
        return application_above(machine, self._clock)

    @property
    def machine(self) -> StateMachine:
        """The state machine inside."""
        return self._node.machine

    def build(self, placement: Placement, *, empty: bool) -> Built:
        return finish(self._node.build(placement, empty=empty))

    def verify(self, block: Block, attachments: Sequence[Sequence[Attachment]] = ()) -> None:
        finish(self._node.verify(block, [list(each) for each in attachments]))

    def execute(self, block: Block) -> None:
        finish(self._node.execute(block))
        self.headers[block.id] = block.header

    def is_executed(self, block_id: bytes) -> bool:
        return self.machine.is_executed(block_id)

    def root_after(self, block_id: bytes) -> bytes:
        return self.machine.tip(block_id).state_root

    def commit(self, blocks: Sequence[Block], proof: FinalityProof) -> None:
        self._node.commit(list(blocks), proof)
        self.blocks += blocks
        self.proofs[blocks[-1].header.height] = proof

    def submit(self, raw: bytes) -> None:
        """Put an envelope into the pool; one that is no longer welcome is left out."""
        try:
            admit(self.machine, self._node.pool, raw)
        except Rejected as refusal:
            assert refusal.code.startswith("pool/"), refusal

    @property
    def has_transactions(self) -> bool:
        return self._node.pool.has_ready

    def crash(self) -> None:
        """Come back with what is in the store; the pool is empty."""
        self._node = self._open()

    def check(self) -> None:
        """Run `node check`: roots, money, invariants, every block and its proof."""
        found = node_check(self.machine, {})
        assert found["ok"], found["problems"]


class RealCluster(Cluster):
    """A cluster of real nodes; slow, so runs are short."""

    verifier: Verifier = staticmethod(verify_signature)

    def __init__(
        self, size: int, params: Params, delays: Delays, chance: Random, weather: Weather,
        nonce: int = 0,
    ) -> None:  # fmt: skip
        keys = [validator_key(index) for index in range(size)]
        rich = [address_of(sender_key(index).public_key) for index in range(SENDERS)]
        genesis = new_genesis("simulated", GENESIS_TIME_MS, keys, rich, params)
        # Else every run would be another one.
        self.genesis = msgspec.structs.replace(genesis, nonce=nonce.to_bytes(16, "big"))
        self.genesis_hash = self.genesis.hash()
        self._clock = VirtualClock()
        self._chance = chance
        self.applications: list[RealApplication] = []
        self._wallets = [Wallet(sender_key(index), self.genesis_hash) for index in range(SENDERS)]
        self._sent = [0] * SENDERS
        members = self.make_committee([1] * size)
        oracle = Oracle(
            self.genesis_hash, members, frozenset(range(size)), verify_signature,
            params=params, precision_ms=params.precision_ms,
            genesis_time_ms=GENESIS_TIME_MS,
        )  # fmt: skip
        super().__init__([1] * size, params, delays, weather=weather, oracle=oracle)

    def make_committee(self, powers: Sequence[int]) -> Committee:
        """Return the genesis committee."""
        return StateMachine(MemoryStore(), self.genesis, REGISTRY).committee

    def make_application(self, index: int) -> RealApplication:  # type: ignore[override]  # same calls
        """Return a real application."""
        app = RealApplication(self.genesis, self._clock)
        self.applications.append(app)
        return app

    def sign(self, index: int, message: bytes) -> bytes:
        """Sign with the member's real key."""
        return validator_key(self.member_key(index)).sign(message)

    def member_key(self, index: int) -> int:
        """Return the number of the key of a member: committees are ordered by power and key."""
        public_key = self.setting.committee.members[index].public_key
        keys = [validator_key(number).public_key for number in range(len(self.setting.committee))]
        return keys.index(public_key)

    def next(self) -> None:
        """Let the clock follow."""
        self._clock.ms = self.next_ms
        super().next()

    def spend(self, count: int) -> None:
        """Let random senders make transactions and hand each to every node."""
        for _ in range(count):
            who = self._chance.randrange(SENDERS)
            to = address_of(sender_key(self._chance.randrange(SENDERS)).public_key)
            number = self._sent[who]
            message = Send(to, NCOLO, encode_amount(1 + number))
            if self._chance.randrange(3) == 0 or to == self._wallets[who].address:
                content = bytes([who]) * 28 + number.to_bytes(4, "big")
                message = Register(IpKind.TEXT, content)  # type: ignore[assignment]  # either
            signed = self._wallets[who].sign(
                Draft(messages=[message]), seq=number, base_fee=BASE_FEE
            )
            self._sent[who] += 1
            for node in self.nodes:
                node.app.submit(signed.envelope)
        for node in self.nodes:
            self.host.note_pool(node)
