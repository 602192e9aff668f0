"""What a running node answers to the outside: the RPC's ``Backend`` over the application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from chain import fees
from chain.application import Job
from chain.block import Block
from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.ids import address_of
from colophon.version import VERSION
from rpc.backend import (
    Busy,
    FeeView,
    Figure,
    FinalBlock,
    Labelled,
    Listener,
    PendingPage,
    PendingTx,
    Simulated,
    Status,
    TimedOut,
    TxState,
)
from state.executor import Executed, Receipt
from state.modules.bank import Send
from state.queries import NotFound
from state.registry import Transaction

from .admission import Admission, Hope
from .application import NodeApplication
from .clock import Clock, may_travel
from .gate import Gate
from .health import Health
from .host import Host
from .network.router import Router
from .signatures import BatchVerifier, items_of
from .wallet import Draft, Wallet

GONE_MAX = 10_000
"""Transactions remembered after they left the pool unused."""
AT_ONCE = 128
"""Transactions of a batch that are looked into in one turn of the loop: about 3 ms."""
RETRY_AFTER_MS = 500
BUSY = ("pool/Full", "pool/Busy")
"""Refusals that say nothing of the transaction: it may be sent again soon."""
PASSED = ("pool/SeqUsed", "pool/Expired")
"""Refusals of what may be final already."""
FAUCET_WAIT_MS = 10_000

_GONE = {"expired": TxState.EXPIRED, "replaced": TxState.REPLACED, "dropped": TxState.DROPPED}


class NodeBackend:
    """One running node, as ``rpc`` sees it."""

    def __init__(
        self,
        name: str,
        application: NodeApplication,
        host: Host,
        router: Router,
        verifier: BatchVerifier,
        gate: Gate,
        clock: Clock,
        faucet: SigningKey | None,
    ) -> None:
        self.reader = application.reader
        self._name = name
        self._application = application
        self._host = host
        self._router = router
        self._pool = application.pool
        self._admission = Admission(application.machine, application.pool)
        self._verifier = verifier
        self._gate = gate
        self._clock = clock
        self._health = Health(application, host, router, clock)
        self._wallet = None
        if faucet is not None and application.machine.params.dev:
            machine = application.machine
            self._wallet = Wallet(faucet, machine.genesis_hash, machine.params)
        self._faucet_seq = 0
        self._listeners: list[Listener] = []
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._gone: dict[bytes, TxState] = {}
        self._final_blocks = 0
        self._final_transactions = 0
        application.listeners.append(self._on_final)
        self._pool.on_left = self._leave
        self._pool.on_admitted.append(self._on_admitted)

    # --- status -------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return what the node says of itself."""
        machine, core = self._application.machine, self._host.core.shared
        reason = self._health.reason()
        return Status(
            name=self._name,
            chain_id=machine.genesis.chain_id,
            genesis_hash=machine.genesis_hash,
            version=VERSION,
            height=machine.head.height,
            block_id=machine.head.block_id,
            block_time_ms=machine.head.time_ms,
            state_root=machine.head.state_root,
            view=core.view,
            validators=len(machine.committee),
            validator_index=core.me,
            peers=len(self._router.net.peers),
            pending=len(self._pool),
            base_fee=self._pool.base_fee(),
            healthy=not reason,
            reason=reason,
            dev=machine.params.dev,
        )

    def counters(self) -> dict[str, Figure]:
        """Return figures for ``/metrics``."""
        head = self._application.machine.head
        return {
            "height": head.height,
            "view": self._host.core.shared.view,
            "pool_transactions": len(self._pool),
            "pool_bytes": self._pool.mempool.bytes,
            "base_fee": head.base_fee,
            "final_blocks_total": self._final_blocks,
            "final_transactions_total": self._final_transactions,
            "journal_syncs_total": self._host.journal_syncs,
            "delta_now_ms": self._host.core.shared.pace.delta_now_ms,
            "peers": len(self._router.net.peers),
            "connected_power": self._router.connected_power,
            "catching_up_target": self._router.catching_up.target,
            "peer_bytes_received_total": self._router.net.counters.bytes_received,
            "peer_bytes_sent_total": self._router.net.counters.bytes_sent,
            "peer_transactions_overflowed_total": self._router.relay.intake.overflowed,
            "bans_total": self._router.net.counters.bans,
            "views_given_up_total": Labelled("leader", self._host.reports.turns_failed),
        }

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every block that becomes final; returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _on_final(self, block: Block, transactions: list[Transaction], executed: Executed) -> None:
        self._final_blocks += 1
        self._final_transactions += len(transactions)
        for tx in transactions:
            for waiter in self._waiters.pop(tx.id, ()):
                if not waiter.done():
                    waiter.set_result(None)
        final = FinalBlock(
            block.header.height,
            block.id,
            block.header.time_ms,
            [tx.id for tx in transactions],
            executed.events,
        )
        for listener in list(self._listeners):
            listener(final)
        self._tell_availability()

    def _tell_availability(self) -> None:
        self._host.set_available(self._pool.has_ready)

    async def give_way(self) -> None:
        """Let consensus go first, between two steps of a long answer."""
        await self._gate.wait()
        await asyncio.sleep(0)

    # --- transactions -------------------------------------------------------------------------

    def require_room(self) -> None:
        """Raise ``Busy`` while this node has its share of clients' transactions."""
        try:
            self._admission.require_room()
        except Rejected as refusal:
            raise _busy(refusal) from None

    async def submit(self, envelope: bytes) -> bytes:
        """Check a transaction and put it into the pool; resubmitting is harmless."""
        (outcome,) = await self._submit_some([envelope])
        if isinstance(outcome, bytes):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # Else it and this frame hold each other, and the envelope.

    async def submit_all(self, envelopes: list[bytes]) -> list[bytes | Rejected]:
        """Do so with many; return id or refusal of each."""
        outcomes: list[bytes | Rejected] = []
        for start in range(0, len(envelopes), AT_ONCE):
            outcomes += await self._submit_some(envelopes[start : start + AT_ONCE])
        return outcomes

    async def _submit_some(self, envelopes: list[bytes]) -> list[bytes | Rejected]:
        """Do so with a few, whose signatures are verified together."""
        looked = [self._look_into(envelope) for envelope in envelopes]
        hopes = [each for each in looked if isinstance(each, Hope)]
        try:
            verdicts = iter(await self._verifier.verify([items_of(hope.tx) for hope in hopes]))
        except Rejected as refusal:
            return [_busy(refusal) if isinstance(each, Hope) else each for each in looked]
        return [
            self._take(each, is_signed=next(verdicts)) if isinstance(each, Hope) else each
            for each in looked
        ]

    def _look_into(self, envelope: bytes) -> Hope | bytes | Rejected:
        """Return what may enter the pool; of anything else its id if it is here, or the refusal."""
        try:
            tx_id, parsed = self._admission.open(envelope)
        except Rejected as refusal:
            return refusal
        if tx_id in self._pool:
            return tx_id
        try:
            self._admission.require_room()
            tx = self._admission.inspect(parsed, len(envelope), tx_id)
            return self._admission.require_hope(tx, envelope, None)
        except Rejected as refusal:
            return self._outcome(tx_id, refusal)

    def _take(self, hope: Hope, *, is_signed: bool) -> bytes | Rejected:
        tx_id = hope.tx.id
        if not is_signed:
            return Rejected("crypto/BadSignature", "a signature does not verify under its key")
        try:
            if tx_id not in self._pool:  # it may have come a second time meanwhile
                self._admission.add(hope, None)
        except Rejected as refusal:
            return self._outcome(tx_id, refusal)
        return tx_id

    def _outcome(self, tx_id: bytes, refusal: Rejected) -> bytes | Rejected:
        """Return what a client is told: what is final already was no mistake to send again."""
        if refusal.code in PASSED and self._is_final(tx_id):
            return tx_id
        return _busy(refusal) if refusal.code in BUSY else refusal

    def _on_admitted(self, tx: Transaction, raw: bytes, source: bytes | None) -> None:
        self._gone.pop(tx.id, None)
        self._host.set_available(True)

    def _leave(self, tx_id: bytes, how: str) -> None:
        """Note a transaction that left the pool unused, and tell who waits for it."""
        self._gone[tx_id] = _GONE[how]
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]
        for waiter in self._waiters.pop(tx_id, ()):
            if not waiter.done():
                waiter.set_exception(Rejected(f"tx/{how.title()}", f"the transaction was {how}"))

    def sweep(self) -> None:
        """Drop what will not be paid for; called about once per second."""
        self._pool.sweep()
        self._tell_availability()

    def _is_final(self, tx_id: bytes) -> bool:
        try:
            self.reader.place_of(tx_id)
        except NotFound:
            return False
        return True

    async def wait_final(self, tx_id: bytes, timeout_ms: int) -> None:
        """Return when a transaction is final; raises ``TimedOut``, or ``Rejected`` if it left."""
        if self._is_final(tx_id):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(tx_id, []).append(waiter)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await waiter
        except TimeoutError:
            raise TimedOut(
                "tx/NotFinalYet", f"not final after {timeout_ms} ms; it may still become final"
            ) from None
        finally:
            waiting = self._waiters.get(tx_id, [])
            if waiter in waiting:
                waiting.remove(waiter)
                if not waiting:
                    del self._waiters[tx_id]

    def tx_state(self, tx_id: bytes) -> TxState:
        """Return where a transaction stands."""
        try:
            place = self.reader.place_of(tx_id)
        except NotFound:
            if tx_id in self._pool:
                return TxState.PENDING
            return self._gone.get(tx_id, TxState.UNKNOWN)
        if self.reader.has_failed(tx_id):
            return TxState.FAILED
        proven = place.height < self._application.machine.head.height
        return TxState.PROVEN if proven else TxState.FINAL

    def pending(self, cursor: int, limit: int) -> PendingPage:
        """Return transactions of the pool that came after ``cursor``, in that order."""
        waiting = self._pool.mempool.arrived_after(cursor, limit + 1)
        items = [
            PendingTx(kept.tx.id, kept.tx.sender, kept.tx.lane, kept.tx.seq, kept.tx.units)
            for kept in waiting[:limit]
        ]
        return PendingPage(items, waiting[limit - 1].order if len(waiting) > limit else None)

    def fee(self, horizon: int) -> FeeView:
        """Return what to offer to be taken within ``horizon`` blocks, however full they are."""
        params = self._application.machine.params
        now = self._pool.base_fee()
        suggested = now
        for _ in range(horizon):
            suggested = fees.next_base_fee(
                params, suggested, params.block_units_max, params.block_interval_ms_min
            )
        return FeeView(now, suggested, b"")

    def simulate(self, body: bytes) -> Job[Simulated]:
        """Run an unsigned body above the finalised state and forget it."""
        machine = self._application.machine
        keys = machine.registry.body.decode(body).keys
        tx = machine.registry.read(
            body, [bytes(64)] * len(keys), machine.genesis_hash, machine.params
        )
        executed = yield from self.reader.simulate(tx)
        events: Any = machine.registry.event_union
        receipt = msgspec.msgpack.Decoder(Receipt[events]).decode(executed.receipts[0])
        refusal = executed.refusals.get(0)
        return Simulated(
            receipt.units,
            receipt.fee,
            receipt.code,
            refusal.message if refusal else "",
            receipt.message_index,
            receipt.events,
        )

    # --- development --------------------------------------------------------------------------

    async def faucet(self, address: bytes, amount: int) -> bytes:
        """Send money of the development faucet and return when it has arrived."""
        if self._wallet is None:
            raise Rejected(
                "dev/NoFaucet",
                "this node has no faucet; in a network of `colophon testnet up` node 0 has it",
            )
        machine = self._application.machine
        sender = address_of(self._wallet.key.public_key)
        seq = max(machine.next_seq(sender, 0), self._faucet_seq)
        draft = Draft(messages=[Send(address, b"", encode_amount(amount))])
        signed = self._wallet.sign(draft, seq=seq, base_fee=self.fee(10).suggested_base_fee)
        tx_id = await self.submit(signed.envelope)
        self._faucet_seq = seq + 1
        await self.wait_final(tx_id, FAUCET_WAIT_MS)
        return tx_id

    def _may_travel(self) -> bool:
        """Tell whether the clock may be moved: this node alone decides what time blocks have."""
        me = self._host.core.shared.me
        return me is not None and may_travel(self._application.machine)

    def advance(self, duration_ms: int) -> int:
        """Move the development clock on; refuses with ``dev/SharedClock`` if others have theirs."""
        if not self._may_travel():
            raise Rejected(
                "dev/SharedClock",
                "a network of several validators has several clocks, and none can be moved; "
                "`colophon testnet dev` runs one validator alone",
            )
        self._clock.offset_ms += duration_ms
        return self._clock.wall_ms()


def _busy(refusal: Rejected) -> Busy:
    return Busy(refusal.code, refusal.message, retry_after_ms=RETRY_AFTER_MS)
