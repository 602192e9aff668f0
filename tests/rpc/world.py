"""A node without network or consensus: a real chain in memory behind the ``Backend`` protocol.

One validator signs every certificate, so finality proofs verify. ``World.block`` makes a block of
what waits in the pool; ``make_world`` tells a short story in which every family has something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import aiohttp

from chain.application import Job, Placement, finish
from chain.certificate import Certificate, assemble_certificate
from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.finality import FinalityProof
from chain.genesis import Genesis, GenesisAccount, GenesisValidator
from chain.ids import NCOLO, Kind, address_of, derive_id
from chain.params import ModuleVersion, Params
from chain.record import Facets
from chain.transaction import ENVELOPE, Attachment, Body, check_attachments, make_blob, sign_body
from chain.types import COLO
from chain.vote import VoteKind, vote_message
from rpc.backend import (
    Busy,
    FeeView,
    Figure,
    FinalBlock,
    Labelled,
    PendingPage,
    PendingTx,
    Simulated,
    Status,
    TimedOut,
    TxState,
)
from rpc.limits import Limits
from rpc.server import RpcServer
from state.families import MODULES, REGISTRY
from state.machine import StateMachine
from state.module import Message
from state.modules.anchor.messages import Append, OpenLog, RecordInteraction
from state.modules.bank import Send
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Register
from state.modules.license.messages import Attach, Mint, Parent, RegisterDerivative, RegisterTerms
from state.modules.license.messages import Terms as LicenseTerms
from state.modules.royalty.messages import Pay
from state.modules.royalty.shares import Policy
from state.queries import ChainReader, NotFound
from state.registry import Transaction
from tests.state.memory_store import MemoryStore

START_MS = 1_700_000_000_000
POOL_MAX = 50


def key_of(number: int) -> SigningKey:
    return SigningKey(number.to_bytes(32, "big"))


class World:
    """A chain of one validator, and a ``Backend`` over it."""

    def __init__(self, *, dev: bool = True) -> None:
        self.validator = key_of(99)
        self.keys = [key_of(number) for number in (1, 2, 3)]
        self.addresses = [address_of(key.public_key) for key in self.keys]
        params = Params(modules=sorted(ModuleVersion(m.name, m.version) for m in MODULES), dev=dev)
        accounts = [GenesisAccount(a, encode_amount(10**15)) for a in sorted(self.addresses)]
        validators = [GenesisValidator(self.validator.public_key, 1)]
        self.genesis = Genesis(1, "rpc-test", START_MS, bytes(16), params, validators, accounts, [])
        self.machine = StateMachine(MemoryStore(), self.genesis, REGISTRY)
        self.reader = ChainReader(self.machine, lambda: START_MS + self.clock_ms)
        self.pool: list[tuple[Transaction, list[Attachment]]] = []
        self.listeners: list[Callable[[FinalBlock], None]] = []
        self.finalised = asyncio.Event()
        self.healthy = True
        self.busy = False
        self.clock_ms = 0
        self.counted = {"height": 0.0, "blocks_total": 0.0}

    # --- making transactions ------------------------------------------------------------------

    def next_seq(self, who: int) -> int:
        waiting = sum(tx.body.sender == self.addresses[who] for tx, _ in self.pool)
        return self.machine.next_seq(self.addresses[who], 0) + waiting

    def next_id(self, kind: Kind, who: int) -> bytes:
        address, seq = self.addresses[who], self.next_seq(who)
        return derive_id(kind, self.machine.genesis_hash, address, 0, seq, [0], 0)

    def sign(self, who: int, *messages: Message, attachments: tuple[Attachment, ...] = (),
             **changes: Any) -> bytes:  # fmt: skip
        key = self.keys[who]
        fields: dict[str, Any] = {
            "version": 1, "genesis_hash": self.machine.genesis_hash,
            "sender": self.addresses[who], "keys": [key.public_key], "lane": 0,
            "seq": self.next_seq(who), "valid_until": 0, "max_fee": encode_amount(10**12),
            "tip": b"", "sponsor": None, "messages": list(messages),
        }  # fmt: skip
        return sign_body(Body(**{**fields, **changes}), [key], list(attachments))

    def send(self, who: int, *messages: Message, attachments: tuple[Attachment, ...] = ()) -> bytes:
        """Put a transaction into the pool and return its id."""
        return self.admit(self.sign(who, *messages, attachments=attachments))

    def pay(self, amount: int = 1_000) -> bytes:
        return self.send(0, Send(self.addresses[1], NCOLO, encode_amount(amount)))

    # --- making blocks ------------------------------------------------------------------------

    def block(self) -> FinalBlock:
        """Make everything in the pool final."""
        head = self.machine.head
        parent = None if head.height == 0 else self.certify(head.block_id, head.height)
        placement = Placement(
            epoch=0, view=head.height + 1, height=head.height + 1, kind=0,
            parent_view=head.height, parent_id=head.block_id, parent_certificate=parent,
            time_ms=head.time_ms + 1_000, proposer_index=0,
        )  # fmt: skip
        chosen, self.pool = self.pool, []
        transactions = [tx for tx, _ in chosen]
        block = self.machine.make_block(placement, transactions, [])
        finish(self.machine.authorise(block, transactions))
        finish(self.machine.execute(block.id))
        certificate = self.certify(block.id, block.header.height)
        blobs = [
            (blob.hash, item.salt + item.data)
            for tx, attachments in chosen
            for blob, item in zip(dict.fromkeys(tx.blobs), attachments, strict=True)
        ]
        proof = FinalityProof(certificate, [block.header])
        self.machine.write(finish(self.machine.commit_batch(block.id, proof, blobs)))
        executed = finish(self.machine.adopt(block.id))
        header = block.header
        final = FinalBlock(
            header.height, block.id, header.time_ms, block.transaction_ids, executed.events
        )
        self.counted["height"] = float(header.height)
        self.counted["blocks_total"] += 1
        for listener in list(self.listeners):
            listener(final)
        self.finalised.set()
        return final

    def certify(self, block_id: bytes, view: int) -> Certificate:
        message = vote_message(VoteKind.FINALIZE, self.machine.genesis_hash, 0, view, block_id)
        signature = self.validator.sign(message)
        return assemble_certificate(
            self.machine.committee, VoteKind.FINALIZE, 0, view, block_id, {0: signature}
        )

    # --- the backend --------------------------------------------------------------------------

    def status(self) -> Status:
        head = self.machine.head
        return Status(
            name="test", chain_id="rpc-test", genesis_hash=self.machine.genesis_hash,
            version="0.1.0", height=head.height, block_id=head.block_id,
            block_time_ms=head.time_ms, state_root=head.state_root, view=head.height,
            validators=1, validator_index=0, peers=0, pending=len(self.pool),
            base_fee=head.base_fee, healthy=self.healthy,
            reason="" if self.healthy else "no block for 60 s", dev=self.machine.params.dev,
        )  # fmt: skip

    def admit(self, raw: bytes) -> bytes:
        envelope = ENVELOPE.decode(raw)
        tx = REGISTRY.read(
            envelope.body, envelope.signatures, self.machine.genesis_hash, self.machine.params
        )
        check_attachments(tx.blobs, envelope.attachments)
        if self.tx_state(tx.id) is not TxState.UNKNOWN:
            return tx.id
        if tx.body.seq != self.machine.next_seq(tx.body.sender, tx.body.lane) + sum(
            other.body.sender == tx.body.sender for other, _ in self.pool
        ):
            raise Rejected("tx/WrongSeq", "not the next", found=tx.body.seq, message_index=0)
        self.pool.append((tx, envelope.attachments))
        return tx.id

    async def give_way(self) -> None:
        await asyncio.sleep(0)

    def require_room(self) -> None:
        if self.busy:
            raise Busy("tx/Busy", "the node is busy", retry_after_ms=500)

    async def submit(self, envelope: bytes) -> bytes:
        if self.busy or len(self.pool) >= POOL_MAX:
            raise Busy("tx/Busy", "the pool is full", retry_after_ms=500)
        return self.admit(envelope)

    async def submit_all(self, envelopes: list[bytes]) -> list[bytes | Rejected]:
        outcomes: list[bytes | Rejected] = []
        for envelope in envelopes:
            try:
                outcomes.append(await self.submit(envelope))
            except Rejected as refusal:
                outcomes.append(refusal)
        return outcomes

    async def wait_final(self, tx_id: bytes, timeout_ms: int) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                while self.tx_state(tx_id) is TxState.PENDING:
                    self.finalised.clear()
                    await self.finalised.wait()
        except TimeoutError:
            raise TimedOut("tx/TimedOut", "not final yet", timeout_ms=timeout_ms) from None

    def tx_state(self, tx_id: bytes) -> TxState:
        if any(tx.id == tx_id for tx, _ in self.pool):
            return TxState.PENDING
        try:
            self.reader.place_of(tx_id)
        except NotFound:
            return TxState.UNKNOWN
        return TxState.FINAL

    def pending(self, cursor: int, limit: int) -> PendingPage:
        end = cursor + limit
        items = [
            PendingTx(tx.id, tx.body.sender, tx.body.lane, tx.body.seq, tx.units)
            for tx, _ in self.pool[cursor:end]
        ]
        return PendingPage(items, end if len(self.pool) > end else None)

    def fee(self, horizon: int) -> FeeView:
        base = self.machine.head.base_fee
        return FeeView(base, base * 2, b"")

    def simulate(self, body: bytes) -> Job[Simulated]:
        yield
        tx = REGISTRY.read(body, [bytes(64)], self.machine.genesis_hash, self.machine.params)
        return Simulated(tx.units, encode_amount(tx.units), "", "", 0, [])

    def listen(self, listener: Callable[[FinalBlock], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def counters(self) -> dict[str, Figure]:
        given_up = Labelled("leader", {"ab": 2.0, "cd": 1.0})
        return {**self.counted, "views_given_up_total": given_up}

    async def faucet(self, address: bytes, amount: int) -> bytes:
        return self.send(2, Send(address, NCOLO, encode_amount(amount)))

    def advance(self, duration_ms: int) -> int:
        self.clock_ms += duration_ms
        return START_MS + self.clock_ms


def make_world(*, dev: bool = True) -> World:
    """Return a chain of eight blocks in which every family has done something."""
    world = World(dev=dev)
    title, attachment = make_blob(bytes(16), "Théâtre".encode())
    work = world.next_id(Kind.IP, 0)
    content = sha256(b"a play").digest()
    world.send(0, Register(IpKind.TEXT, content, title=title), attachments=(attachment,))
    terms = LicenseTerms(
        royalty_policy=Policy.LAP, commercial_use=True, rev_share=10_000_000,
        derivatives_allowed=True, derivatives_reciprocal=True, currency=NCOLO,
    )  # fmt: skip
    world.send(1, RegisterTerms(terms))
    registered = world.block()
    terms_id = registered.events[1][0].terms
    world.send(0, Attach(work, terms_id))
    log = world.next_id(Kind.LOG, 1)
    world.send(1, OpenLog("colophon/interaction/1", [], 86_400_000, 60_000))
    world.block()
    model = world.next_id(Kind.IP, 1)
    world.send(1, Register(IpKind.MODEL, sha256(b"a model").digest()))
    world.block()
    world.send(1, RegisterDerivative(model, [Parent(work, terms_id)]))
    world.block()
    world.send(0, Mint(work, terms_id, 5, world.addresses[1]))
    now = world.machine.head.time_ms
    world.send(1, Append(log, 0, 0, 3, sha256(b"batch").digest(), now - 10, now))
    world.block()
    world.send(0, RecordInteraction(sha256(b"root").digest(), 1, Facets(model=model)))
    world.send(1, Pay(model, NCOLO, encode_amount(5 * COLO)))
    world.block()
    world.pay()
    world.pay(0)
    world.block()
    world.pay(7)
    world.block()
    return world


# --- talking to a server over this world ------------------------------------------------------


def call(name: str, identity: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": name, "params": params}


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


class Serving:
    """A server over a world, and a session to it; use with ``async with``."""

    def __init__(self, world: World, limits: Limits | None = None, **options: Any) -> None:
        self.world = world
        self.server = RpcServer(world, limits or Limits(), **options)

    async def __aenter__(self) -> Serving:
        host, port = await self.server.start("127.0.0.1", 0)
        self.url = f"http://{host}:{port}"
        self.session = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.session.close()
        await self.server.stop()

    async def call(self, name: str, **params: Any) -> dict[str, Any]:
        async with self.session.post("/", json=call(name, **params)) as response:
            assert response.status == 200
            answer: dict[str, Any] = await response.json()
            return answer

    async def result(self, name: str, **params: Any) -> Any:
        answer = await self.call(name, **params)
        assert "result" in answer, answer
        return answer["result"]
