"""One validator without asyncio, time or luck: every disk operation can be where it dies.

The core, the application, the journal, the guard and the state machine are the real ones; the
driver does effects by the contract of ``consensus/effects.py``. A ``Disk`` counts operations and
raises ``Died`` at a chosen one: before it, in the middle of it, or after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chain.application import finish
from chain.codec import encode_amount
from chain.crypto import SigningKey, verify_signature
from chain.errors import Rejected
from chain.genesis import Genesis
from chain.ids import address_of
from chain.vote import Vote
from colophon.clock import Clock
from colophon.disk import Disk as RealDisk
from colophon.guard_file import GuardFile
from colophon.journal_file import JournalFile
from colophon.testnet.make import local_params, new_genesis
from colophon.wallet import Draft, Wallet
from consensus import effects as fx
from consensus import events as ev
from consensus.core import Core
from consensus.guard import check_guard
from consensus.journal import VoteRecord
from consensus.shared import Settings
from consensus.timers import Timer
from state.families import REGISTRY
from state.machine import StateMachine
from state.modules.bank import Send
from state.store import Put
from tests.state.memory_store import MemoryStore

from .applications import admit, application_above

VALIDATOR = SigningKey(b"\1" * 32)
SENDER = SigningKey(b"\2" * 32)
START_MS = 1_700_000_000_000

BEFORE, MIDDLE, AFTER = "before", "middle", "after"


class Died(Exception):
    """The process died here."""


class Disk:
    """Counts disk operations and dies at one of them."""

    def __init__(self, at: int | None = None, how: str = BEFORE) -> None:
        self.operations: list[str] = []
        self._at = at
        self._how = how

    def begin(self, name: str) -> bool:
        """Note an operation; raises ``Died`` before it; tells whether to die in its middle."""
        self.operations.append(name)
        if len(self.operations) - 1 != self._at:
            return False
        if self._how == BEFORE:
            raise Died
        return self._how == MIDDLE

    def end(self) -> None:
        """Raise ``Died`` if the operation was the last one."""
        if len(self.operations) - 1 == self._at:
            raise Died


class SimulatedStore(MemoryStore):
    """A store whose batches are whole or absent."""

    disk = Disk()

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        torn = self.disk.begin("store")
        if torn:
            raise Died  # an atomic batch has no middle
        super().write(puts, sync=sync)
        self.disk.end()


class SimulatedJournal(JournalFile):
    """A journal whose last write may be torn."""

    disk = Disk()

    def write(self, data: bytes) -> None:
        if self.disk.begin("journal"):
            super().write(data[: len(data) // 2])
            raise Died
        super().write(data)
        self.disk.end()


class SimulatedGuard(GuardFile):
    """A guard whose slot may be torn."""

    def __init__(self, path: Path, deaths: Disk) -> None:
        self._deaths = deaths
        self._path = path
        super().__init__(path, RealDisk(), quarantine=False)

    def write(self) -> None:
        torn = self._deaths.begin("guard")
        before = self._path.read_bytes()
        super().write()
        if torn:
            after = self._path.read_bytes()
            cut = next(i for i in range(len(after)) if before[i] != after[i])
            half = after[: cut + 20] + before[cut + 20 :]
            self._path.write_bytes(half)
            raise Died
        self._deaths.end()


class VirtualClock(Clock):
    """Time that passes when the driver says so."""

    def __init__(self) -> None:
        super().__init__()
        self.time_ms = 0

    def now_ms(self) -> int:
        return self.time_ms

    def wall_ms(self) -> int:
        return START_MS + self.time_ms


class Lonely:
    """A validator that is alone, from one start to one death."""

    def __init__(self, root: Path, store: SimulatedStore, clock: VirtualClock, disk: Disk,
                 sent: list[Vote]) -> None:  # fmt: skip
        self.clock = clock
        self.sent = sent
        """Votes that were released: what the world may have seen."""
        store.disk = disk
        machine = StateMachine(store, genesis(), REGISTRY)
        self.application = application_above(machine, clock)
        self.journal = SimulatedJournal(root / "journal", RealDisk(), segment_bytes=4_096)
        self.journal.disk = disk
        self.guard = SimulatedGuard(root / "guard", disk)
        start, head = self.application.where()
        view = head.finalization.view if head else 0
        check_guard(self.guard.entry, self.journal.records, start.epoch, view)
        settings = Settings(machine.genesis_hash, machine.params, VALIDATOR.public_key)
        self.core = Core(settings, VALIDATOR.sign, verify_signature)
        self.final: dict[bytes, int] = {}
        self._timers: dict[Timer, int] = {}
        self._events: deque[Any] = deque()
        self._available = False
        self.application.listeners.append(self._on_final)
        self._post(ev.Started, epoch=start, head=head, journal=self.journal.records,
                   journal_lost=False)  # fmt: skip

    def close(self) -> None:
        """Release the files, as the system does when a process dies."""
        self.journal.close()
        self.guard.close()

    def _on_final(self, block: Any, transactions: list[Any], executed: Any) -> None:
        for tx in transactions:
            self.final[tx.id] = block.header.height

    # --- driving ------------------------------------------------------------------------------

    def run_to(self, height: int) -> None:
        """Run until this height is final."""
        while self.application.machine.head.height < height:
            self.step()

    def step(self) -> None:
        """Handle what has happened, or let time pass to the next timer."""
        ready = self.application.pool.has_ready
        if ready != self._available:
            self._available = ready
            self._post(ev.TransactionsAvailable, available=ready)
        if self._events:
            self._perform(self.core.handle(self._events.popleft()))
            return
        timer = min(self._timers, key=lambda each: self._timers[each])
        self.clock.time_ms = max(self.clock.time_ms, self._timers.pop(timer))
        self._post(ev.TimerFired, timer=timer)

    def _post(self, kind: Any, **fields: Any) -> None:
        now, wall = self.clock.now_ms(), self.clock.wall_ms()
        self._events.append(kind(now_ms=now, wall_ms=wall, **fields))

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Persist():
                    self.journal.append(effect.records)
                    if effect.sync:
                        self._sync(effect)
                case fx.SetTimer():
                    self._timers[effect.timer] = effect.deadline_ms
                case fx.CancelTimer():
                    self._timers.pop(effect.timer, None)
                case fx.Build():
                    built = finish(self.application.build(effect.placement, empty=effect.empty))
                    self._post(ev.Built, view=effect.placement.view, built=built)
                case fx.VerifyBlock():
                    finish(self.application.verify(effect.block, effect.attachments))
                    self._post(ev.BlockVerified, block_id=effect.block.id, refusal=None)
                case fx.Certify():
                    finish(self.application.execute(effect.block))
                    self._post(ev.Certified, block_id=effect.block.id)
                case fx.Finalize():
                    self._finalize(effect)
                case fx.Forget():
                    self.journal.forget(effect.epoch, effect.view)
                case fx.Stop():
                    raise AssertionError(effect.reason)
                case _:
                    pass  # nobody is there to be told

    def _sync(self, effect: fx.Persist) -> None:
        data, last_seq = self.journal.take()
        self.journal.write(data)
        self.journal.written(last_seq)
        if self.guard.note(effect.records):
            self.guard.write()
        self.sent += [item.vote for item in effect.records if isinstance(item, VoteRecord)]
        self._post(ev.Durable, token=effect.token)

    def _finalize(self, effect: fx.Finalize) -> None:
        for block in effect.blocks:
            finish(self.application.execute(block))
        self.application.commit(list(effect.blocks), effect.proof)
        last = effect.blocks[-1]
        self._post(ev.Committed, block_id=last.id)
        if last.header.height % self.application.machine.params.epoch_length == 0:
            start = self.application.epoch_start(last.header.epoch + 1)
            self._post(ev.EpochOpened, epoch=start)

    # --- load ---------------------------------------------------------------------------------

    def submit(self, count: int) -> None:
        """Put transactions into the pool."""
        machine = self.application.machine
        wallet = Wallet(SENDER, machine.genesis_hash)
        seq = machine.next_seq(wallet.address, 0)
        for number in range(seq, seq + count):
            target = b"\0" + number.to_bytes(20, "big")
            draft = Draft(messages=[Send(target, b"", encode_amount(3))])
            signed = wallet.sign(draft, seq=number, base_fee=10**7)
            try:
                admit(machine, self.application.pool, signed.envelope)
            except Rejected as refusal:
                assert refusal.code == "pool/Known"


_GENESIS: list[Genesis] = []


def genesis() -> Genesis:
    """Return the one genesis of these tests."""
    if not _GENESIS:
        rich = [address_of(SENDER.public_key)]
        made = new_genesis("lonely", START_MS, [VALIDATOR], rich, local_params(dev=False))
        _GENESIS.append(made)
    return _GENESIS[0]
