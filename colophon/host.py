"""The asyncio host of the consensus core: does what the core asks, in the order it must.

The contract stands in ``consensus/effects.py``. Three tasks share the work: ``_feed`` feeds the
core, ``_write`` makes records durable, ``_work`` does the application's long jobs in steps.
Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from chain.application import CertifyFault, Job
from chain.block import Block
from chain.errors import Rejected
from consensus import effects as fx
from consensus import events as ev
from consensus.core import Core
from consensus.journal import JournalRecord
from consensus.messages import BlockRequest, EpochEnded, Message, ViewRequest
from consensus.timers import Timer

from .application import NodeApplication
from .clock import Clock
from .gate import Gate
from .guard_file import GuardFile
from .journal_file import JournalFile
from .reports import Reports
from .steps import run_steps

log = logging.getLogger("colophon.consensus")

SYNC_PAUSE_S = 0.5
"""Before peers that had no range are asked again."""

T = TypeVar("T")


class Network(Protocol):
    """Where messages go."""

    def moved(self) -> None:
        """The core has handled events: its view or epoch may be another."""
        ...

    def send(self, peer: bytes, message: Message) -> None:
        """Send to one peer."""
        ...

    def broadcast(self, message: Message) -> None:
        """Send to everybody."""
        ...

    def request(
        self, message: ViewRequest | BlockRequest, member: int | None, attempt: int
    ) -> None:
        """Ask one peer; contract 7."""
        ...

    def blame(self, peer: bytes, code: str, message: str) -> None:
        """Keep a peer away that did what no honest node does."""
        ...

    async def catch_up(self, height: int) -> None:
        """Fetch and commit final blocks up to ``height``, as far as peers have them (C18).

        Raises ``Rejected`` or ``CertifyFault`` if one cannot be executed here.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Effects that wait for a sync."""

    token: int
    records: tuple[JournalRecord, ...]
    effects: list[fx.Effect]


class _Discarded(Exception):
    """The block of the running job is no longer wanted."""


class Host:
    """Runs one core; made and ended by the node."""

    def __init__(
        self,
        core: Core,
        application: NodeApplication,
        journal: JournalFile,
        guard: GuardFile,
        clock: Clock,
        network: Network,
        gate: Gate,
    ) -> None:
        self.core = core
        self.stop_reason = ""
        """Why consensus ended by itself; empty while it runs."""
        self.reports = Reports(clock)
        application.listeners.append(lambda *_: self.reports.block_final())
        self._application = application
        self._journal = journal
        self._guard = guard
        self._clock = clock
        self._network = network
        self._gate = gate
        self._events: deque[ev.AnyEvent] = deque()
        self._waiting: list[_Waiting] = []
        self._jobs: asyncio.Queue[fx.Effect] = asyncio.Queue()
        self._discarded: set[bytes] = set()
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._has_events = asyncio.Event()
        self._wants_sync = asyncio.Event()
        self._stopped = asyncio.Event()
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")
        self._available = False
        self._ahead: Block | None = None
        """A valid block that nobody has asked to execute yet."""

    def begin(self, start: ev.EpochStart, head: ev.Head | None, *, journal_lost: bool) -> None:
        """Hand the core what was known before the process started; once, before anything else."""
        self._journal.sync()
        started = ev.Started(
            now_ms=self._clock.now_ms(),
            wall_ms=self._clock.wall_ms(),
            epoch=start,
            head=head,
            journal=self._journal.records,
            journal_lost=journal_lost,
        )
        self._perform(self.core.handle(started))
        self._journal.records = ()

    async def run(self) -> None:
        """Run consensus until it stops or the task is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._feed(), name="consensus"),
                    tasks.create_task(self._write(), name="journal"),
                    tasks.create_task(self._work(), name="jobs"),
                ]
                await self._stopped.wait()
                for task in running:
                    task.cancel()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._disk.shutdown(wait=True)

    def post(self, kind: type[Any], **fields: Any) -> None:
        """Hand the core an event of now."""
        now_ms, wall_ms = self._clock.now_ms(), self._clock.wall_ms()
        self._events.append(kind(now_ms=now_ms, wall_ms=wall_ms, **fields))
        self._has_events.set()

    @property
    def journal_syncs(self) -> int:
        """How often the journal was synced since the start."""
        return self._journal.syncs

    def deliver(self, peer: bytes, message: Message) -> None:
        """Hand the core a message of a peer."""
        self.post(ev.MessageReceived, peer=peer, message=message)

    def set_available(self, available: bool) -> None:
        """Tell the core whether a block would have something to carry."""
        if available != self._available:
            self._available = available
            self.post(ev.TransactionsAvailable, available=available)

    async def _feed(self) -> None:
        while True:
            await self._has_events.wait()
            self._has_events.clear()
            while self._events:
                self._perform(self.core.handle(self._events.popleft()))
            self._network.moved()

    # --- effects ------------------------------------------------------------------------------

    def _perform(self, effects: list[fx.Effect]) -> None:
        """Do effects in order; what follows a synced Persist waits for the disk (contract 1)."""
        for index, effect in enumerate(effects):
            if isinstance(effect, fx.Persist):
                self._journal.append(effect.records)
                if effect.sync:
                    rest = effects[index + 1 :]
                    self._waiting.append(_Waiting(effect.token, effect.records, rest))
                    self._wants_sync.set()
                    return
            else:
                self._do(effect)

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Send():
                self._network.send(effect.peer, effect.message)
            case fx.Broadcast():
                self._network.broadcast(effect.message)
            case fx.SetTimer():
                self._set_timer(effect.timer, effect.deadline_ms)
            case fx.CancelTimer():
                self._cancel_timer(effect.timer)
            case fx.Build() | fx.VerifyBlock() | fx.Certify() | fx.Finalize() | fx.Sync():
                self._jobs.put_nowait(effect)
            case fx.StopCertify():
                self._discarded.add(effect.block_id)
                self._jobs.put_nowait(effect)
            case fx.SetAside():
                log.error("transaction_set_aside tx=%s", effect.tx_id.hex())
                self._application.pool.mempool.set_aside(effect.tx_id)
            case fx.ReportEvidence():
                self.reports.equivocation(effect)
            case fx.ProposalRefused():
                self.reports.proposal_refused(effect)
            case fx.TurnFailed():
                members = self._application.machine.committee.members
                self.reports.turn_failed(effect, members[effect.leader].public_key)
            case fx.Forget():
                self._journal.forget(effect.epoch, effect.view)
            case fx.Stop():
                self.stop(effect.reason)
            case fx.ProveEpochEnd():
                self._prove_epoch_end(effect)
            case fx.Request():
                self._network.request(effect.message, effect.member, effect.attempt)
            case fx.Blame():
                self._network.blame(effect.peer, effect.code, effect.message)

    def _prove_epoch_end(self, effect: fx.ProveEpochEnd) -> None:
        """Show a peer of an older epoch that it is over, if the store can by now (C10)."""
        proof = self._application.epoch_end(effect.epoch)
        if proof is not None:
            self._network.send(effect.peer, EpochEnded(proof))

    def stop(self, reason: str) -> None:
        """End consensus with one sentence; data stays as it is."""
        log.error("consensus_stopped reason=%s", reason)
        self.stop_reason = reason
        self._stopped.set()

    def _set_timer(self, timer: Timer, deadline_ms: int) -> None:
        self._cancel_timer(timer)
        delay_s = max(deadline_ms - self._clock.now_ms(), 0) / 1000
        loop = asyncio.get_running_loop()
        self._timers[timer] = loop.call_later(delay_s, self._fire, timer)

    def _cancel_timer(self, timer: Timer) -> None:
        handle = self._timers.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _fire(self, timer: Timer) -> None:
        self._timers.pop(timer, None)
        self.post(ev.TimerFired, timer=timer)

    # --- the disk -----------------------------------------------------------------------------

    async def _write(self) -> None:
        """Sync everything that waits, together; then the guard, then the effects (J8)."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wants_sync.wait()
            self._wants_sync.clear()
            waiting, self._waiting = self._waiting, []
            data, last_seq = self._journal.take()
            await loop.run_in_executor(self._disk, self._journal.write, data)
            self._journal.written(last_seq)
            if self._guard.note(record for item in waiting for record in item.records):
                await loop.run_in_executor(self._disk, self._guard.write)
            for item in waiting:
                self._perform(item.effects)
                self.post(ev.Durable, token=item.token)

    # --- jobs ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            if self._jobs.empty() and self._ahead is not None:
                await self._execute_ahead(self._ahead)
                continue
            if self._jobs.empty():
                self._gate.open()
            effect = await self._jobs.get()
            self._gate.close()
            match effect:
                case fx.Build():
                    await self._build(effect)
                case fx.VerifyBlock():
                    await self._verify(effect)
                case fx.Certify():
                    await self._certify(effect)
                case fx.Finalize():
                    await self._finalize(effect)
                case fx.Sync():
                    await self._sync(effect)
                case fx.StopCertify():
                    self._discarded.discard(effect.block_id)

    async def _drive(self, job: Job[T], block_id: bytes) -> T:
        """Run a job about a block that may be discarded meanwhile."""

        async def require_wanted() -> None:
            if block_id in self._discarded:
                raise _Discarded

        return await run_steps(job, require_wanted)

    async def _build(self, effect: fx.Build) -> None:
        view = effect.placement.view
        try:
            built = await run_steps(self._application.build(effect.placement, empty=effect.empty))
        except (Rejected, CertifyFault) as error:
            log.error("build_failed view=%d reason=%s", view, error)
            tx_id = error.tx_id if isinstance(error, CertifyFault) else None
            self.post(ev.BuildFailed, view=view, tx_id=tx_id)
            return
        self._ahead = built.block
        self.post(ev.Built, view=view, built=built)

    async def _verify(self, effect: fx.VerifyBlock) -> None:
        block_id = effect.block.id
        refusal: Rejected | None = None
        try:
            await self._drive(self._application.verify(effect.block, effect.attachments), block_id)
        except Rejected as error:
            refusal = error
        except _Discarded:
            return
        self._ahead = effect.block if refusal is None else None
        self.post(ev.BlockVerified, block_id=block_id, refusal=refusal)

    async def _execute_ahead(self, block: Block) -> None:
        """Execute a block that will probably be notarized while others still verify it.

        A failure is not told: if the block is notarized, certifying it meets the failure again.
        """
        self._ahead = None
        if not self._application.holds(block.id):
            return  # The final chain has passed it meanwhile.
        with contextlib.suppress(Rejected, CertifyFault, _Discarded):
            await self._drive(self._application.execute(block), block.id)

    async def _certify(self, effect: fx.Certify) -> None:
        block_id = effect.block.id
        try:
            await self._drive(self._application.execute(effect.block), block_id)
        except (Rejected, CertifyFault) as error:
            log.error("certify_failed id=%s reason=%s", block_id.hex(), error)
            tx_id = error.tx_id if isinstance(error, CertifyFault) else None
            self.post(ev.CertifyFailed, block_id=block_id, tx_id=tx_id)
            return
        except _Discarded:
            return
        self.post(ev.Certified, block_id=block_id)

    async def _sync(self, effect: fx.Sync) -> None:
        """Catch up by ranges; if nobody had anything, the core will ask again a little later."""
        height = self._application.machine.head.height
        try:
            await self._network.catch_up(effect.height)
        except (Rejected, CertifyFault) as error:
            self.stop(f"a final block cannot be executed here: {error}")
            return
        if self._application.machine.head.height == height:
            await asyncio.sleep(SYNC_PAUSE_S)
        start, head = self._application.where()
        self.post(ev.Synced, epoch=start, head=head)

    async def _finalize(self, effect: fx.Finalize) -> None:
        """Execute what was not, commit in order; a fault under finality stops the node (C7)."""
        for block in effect.blocks:
            try:
                await run_steps(self._application.execute(block))
            except (Rejected, CertifyFault) as error:
                self.stop(
                    f"block {block.header.height} is final but cannot be executed here: {error}"
                )
                return
        start = await self._application.finalise(list(effect.blocks), effect.proof)
        self.post(ev.Committed, block_id=effect.blocks[-1].id)
        if start is not None:
            self.post(ev.EpochOpened, epoch=start)
