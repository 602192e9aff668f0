"""What a host does, done for every simulated node: disk, timers, the application, catch-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from chain.block import Block
from chain.errors import Rejected
from chain.finality import FinalityProof
from consensus import effects as fx
from consensus import events as ev
from consensus.catchup import is_own_finalization
from consensus.guard import next_entry
from consensus.journal import VoteRecord
from consensus.messages import EpochEnded, Message
from consensus.timers import Timer

from .memory import require_bounded
from .node import Node
from .ranges import ask_range
from .setting import Setting
from .timeline import Timeline
from .weather import Weather
from .wire import Wire

FEW = 8
"""So few new blocks in an answer: its giver had no more, and consensus asks for the rest (C7)."""
LOOK_EVENTS = 64
"""Every so many events a node's memory is looked at: what grows, grows for long."""
FETCH_TURNS_MAX = 4
"""So often everybody is asked for a range in vain before the core is told."""


class Host:
    """Hands events to the cores and does what they ask, in the order they must have it done."""

    def __init__(
        self,
        timeline: Timeline,
        setting: Setting,
        bodies: Sequence[Sequence[Node]],
        weather: Weather,
    ) -> None:
        self._timeline = timeline
        self._setting = setting
        self._delays = setting.delays
        self._bodies = bodies
        self.wire = Wire(timeline, setting, bodies, weather, self._receive)
        self.events = 0
        self.commits = 0
        self._digest = blake2b(digest_size=16)
        self._actions: dict[type[Any], Callable[[Node, Any], None]] = {
            fx.Broadcast: self.wire.broadcast,
            fx.Send: self.wire.answer,
            fx.Request: self.wire.request,
            fx.SetTimer: self._set_timer,
            fx.CancelTimer: self._cancel_timer,
            fx.Build: self._build,
            fx.VerifyBlock: self._verify,
            fx.Certify: self._certify,
            fx.Finalize: self._finalize,
            fx.ReportEvidence: self._report,
            fx.Blame: self._blame,
            fx.Sync: self._sync_ranges,
            fx.ProveEpochEnd: self._prove_epoch_end,
            fx.Stop: self._stop,
            fx.StopCertify: self._ignore,
            fx.SetAside: self._ignore,
            fx.ProposalRefused: self._ignore,
            fx.Forget: self._ignore,
            fx.TurnFailed: self._ignore,
        }

    @property
    def digest(self) -> str:
        """The run so far in 16 bytes: two runs of one seed must have the same."""
        return self._digest.hexdigest()

    # --- events and effects -------------------------------------------------------------------

    def start(self, node: Node, *, journal_lost: bool) -> None:
        """Start a core from its application and its journal."""
        epoch, head = self._setting.where(node.app)
        event = ev.Started(
            now_ms=self._timeline.now_ms,
            wall_ms=self._wall_ms(node),
            epoch=epoch,
            head=head,
            journal=tuple(node.journal),
            journal_lost=journal_lost,
        )
        self._perform(node, node.core.handle(event))

    def note_pool(self, node: Node) -> None:
        """Tell the core if its pool became empty or is no longer."""
        has_pool = node.app.has_transactions
        if has_pool != node.has_pool and node.alive:
            node.has_pool = has_pool
            self._handle(node, ev.TransactionsAvailable, available=has_pool)

    def _wall_ms(self, node: Node) -> int:
        return self._setting.genesis_time_ms + self._timeline.now_ms + node.clock_error_ms

    def _receive(self, node: Node, peer: bytes, message: Message) -> None:
        if self._setting.oracle is not None and node.index in self._setting.honest:
            self._setting.oracle.received(node.index, message)
        # Two events in three are messages: no dictionary of fields for them.
        now_ms, wall_ms = self._timeline.now_ms, self._wall_ms(node)
        event = ev.MessageReceived(now_ms=now_ms, wall_ms=wall_ms, peer=peer, message=message)
        self._take(node, event, b"MessageReceived")

    def _handle(self, node: Node, kind: type[Any], **fields: object) -> None:
        event = kind(now_ms=self._timeline.now_ms, wall_ms=self._wall_ms(node), **fields)
        self._take(node, event, kind.__name__.encode())

    def _take(self, node: Node, event: ev.AnyEvent, name: bytes) -> None:
        """Give a node an event; note its name, so that no two different runs look the same."""
        self.events += 1
        self._digest.update(b"%d %d %s;" % (self._timeline.now_ms, node.index, name))
        effects = node.core.handle(event)
        if self.events % LOOK_EVENTS == 0 and self._setting.judge(node) is not None:
            require_bounded(node.index, node.core.shared)
        if effects:
            self._perform(node, effects)

    def _perform(self, node: Node, effects: Sequence[fx.Effect]) -> None:
        """Do effects in order; what follows a synced Persist waits for the disk (contract 1)."""
        for position, effect in enumerate(effects):
            if type(effect) is fx.Persist:
                node.journal += effect.records
                oracle = self._setting.judge(node)
                if oracle is not None:
                    for record in effect.records:
                        oracle.persisted(node.index, record)
                if effect.sync:
                    node.syncs += 1
                    rest = effects[position + 1 :]
                    written = len(node.journal)
                    self._timeline.later(
                        node, self._delays.sync, self._journal_synced, effect, written, rest
                    )
                    return
            else:
                self._actions[type(effect)](node, effect)

    def _journal_synced(
        self, node: Node, effect: fx.Persist, written: int, rest: Sequence[fx.Effect]
    ) -> None:
        oracle = self._setting.judge(node)
        for record in node.journal[node.synced : written]:
            if isinstance(record, VoteRecord):
                node.durable.add(record.vote.signature)
            if oracle is not None:
                oracle.synced(node.index, record)
        node.synced = max(node.synced, written)
        if self._delays.guard:
            self._timeline.later(node, self._delays.guard, self._guard_written, effect, rest)
        else:
            self._guard_written(node, effect, rest)

    def _guard_written(self, node: Node, effect: fx.Persist, rest: Sequence[fx.Effect]) -> None:
        node.guard = next_entry(node.guard, effect.records) or node.guard
        self._perform(node, rest)
        self._handle(node, ev.Durable, token=effect.token)

    # --- timers and the application -----------------------------------------------------------

    def _set_timer(self, node: Node, effect: fx.SetTimer) -> None:
        node.timers[effect.timer] = effect.deadline_ms
        delay_ms = max(effect.deadline_ms - self._timeline.now_ms, 0)
        self._timeline.later(node, delay_ms, self._fire, effect.timer, effect.deadline_ms)

    def _cancel_timer(self, node: Node, effect: fx.CancelTimer) -> None:
        del node.timers[effect.timer]

    def _fire(self, node: Node, timer: Timer, deadline_ms: int) -> None:
        if node.timers.get(timer) == deadline_ms:
            del node.timers[timer]
            self._handle(node, ev.TimerFired, timer=timer)

    def _build(self, node: Node, effect: fx.Build) -> None:
        built = node.app.build(effect.placement, empty=effect.empty)
        self._timeline.later(node, 0, self._built, effect.placement.view, built)

    def _built(self, node: Node, view: int, built: Any) -> None:
        self._handle(node, ev.Built, view=view, built=built)

    def _verify(self, node: Node, effect: fx.VerifyBlock) -> None:
        refusal = None
        try:
            node.app.verify(effect.block, effect.attachments)
        except Rejected as found:
            refusal = found
        else:
            oracle = self._setting.judge(node)
            if oracle is not None:
                oracle.verified(node.index, effect.block)
        self._timeline.later(node, 0, self._verified, effect.block.id, refusal)

    def _verified(self, node: Node, block_id: bytes, refusal: Rejected | None) -> None:
        self._handle(node, ev.BlockVerified, block_id=block_id, refusal=refusal)

    def _certify(self, node: Node, effect: fx.Certify) -> None:
        self._timeline.later(node, self._delays.execute, self.execute, effect.block)

    def execute(self, node: Node, block: Block) -> None:
        """Execute a notarized block; a test that plants a bug puts its own in this place."""
        if block.id in node.app.faulty:
            self._handle(node, ev.CertifyFailed, block_id=block.id, tx_id=None)
            return
        if not node.app.is_executed(block.header.parent_id):
            return  # A range that came meanwhile made this block final, or impossible.
        self._executed(node, block)
        self._handle(node, ev.Certified, block_id=block.id)

    def _executed(self, node: Node, block: Block) -> None:
        node.app.execute(block)
        oracle = self._setting.judge(node)
        if oracle is not None:
            oracle.executed(node.index, block, node.app.root_after(block.id))

    def _finalize(self, node: Node, effect: fx.Finalize) -> None:
        self._timeline.later(node, 0, self._commit, effect)

    def _commit(self, node: Node, effect: fx.Finalize) -> None:
        last = effect.blocks[-1]
        self._commit_blocks(node, effect.blocks, effect.proof)
        self._handle(node, ev.Committed, block_id=last.id)
        self.note_pool(node)
        if len(node.app.blocks) // self._setting.params.epoch_length > last.header.epoch:
            epoch, _ = self._setting.where(node.app)
            self._handle(node, ev.EpochOpened, epoch=epoch)

    def _commit_blocks(self, node: Node, blocks: Sequence[Block], proof: FinalityProof) -> None:
        for block in blocks:
            if not node.app.is_executed(block.id):
                self._executed(node, block)
        node.app.commit(blocks, proof)
        self.commits += 1
        self._digest.update(blocks[-1].id)
        oracle = self._setting.judge(node)
        if oracle is not None:
            oracle.finalised(node.index, blocks, proof, self._timeline.now_ms)

    def _report(self, node: Node, effect: fx.ReportEvidence) -> None:
        node.evidence.append(effect)
        oracle = self._setting.judge(node)
        if oracle is not None:
            oracle.evidence(node.index, effect.evidence)

    def _blame(self, node: Node, effect: fx.Blame) -> None:
        oracle = self._setting.judge(node)
        if oracle is not None:
            oracle.blamed(node.index, self._setting.index_of(effect.peer), effect.code)

    def _prove_epoch_end(self, node: Node, effect: fx.ProveEpochEnd) -> None:
        proof = node.app.proofs.get((effect.epoch + 1) * self._setting.params.epoch_length)
        if proof is not None:
            self.wire.send(node, self._setting.index_of(effect.peer), EpochEnded(proof))

    def _stop(self, node: Node, effect: fx.Stop) -> None:
        node.stopped = effect.reason

    def _ignore(self, node: Node, effect: fx.Effect) -> None:
        """Nothing here runs long enough to be stopped, and nothing is thrown away."""

    # --- catch-up -----------------------------------------------------------------------------

    def _sync_ranges(self, node: Node, effect: fx.Sync) -> None:
        self._note_fetching(node, begins=True)
        self._timeline.later(node, 2 * self._delays.hop, self._fetch_range, effect.height, 0, 0)

    def _note_fetching(self, node: Node, *, begins: bool) -> None:
        oracle = self._setting.judge(node)
        if oracle is not None:
            oracle.fetches(node.index, begins=begins)

    def _fetch_range(self, node: Node, wanted: int, attempt: int, in_vain: int) -> None:
        """Ask one peer after the other for ranges, until one is at its end or nobody gives more.

        ``in_vain``: how many in a row gave nothing. A range that ends with its epoch says
        nothing of what comes after it.
        """
        peer = self._bodies[self.wire.choose(node, None, attempt)][0]
        gained = self._take_range(node, peer) if peer.alive else 0
        in_vain = 0 if gained else in_vain + 1
        height, peers = len(node.app.blocks), len(self._bodies) - 1
        is_near = 0 < gained <= FEW and height % self._setting.params.epoch_length != 0
        own = height == 0 or is_own_finalization(node.app.proofs[height])
        done = height >= wanted and own and (is_near or in_vain >= peers)
        if not done and in_vain < FETCH_TURNS_MAX * peers:
            wait_ms = 2 * self._delays.hop
            self._timeline.later(node, wait_ms, self._fetch_range, wanted, attempt + 1, in_vain)
            return
        epoch, head = self._setting.where(node.app)
        self._note_fetching(node, begins=False)
        self._handle(node, ev.Synced, epoch=epoch, head=head)
        self.note_pool(node)

    def _take_range(self, node: Node, peer: Node) -> int:
        """Commit what a peer gives; return how many blocks that was."""
        try:
            found = ask_range(self._setting, node, peer)
        except Rejected as refusal:
            key = self._setting.committee.members[peer.index].public_key
            blame = fx.Blame(key, refusal.code, refusal.message)
            self._blame(node, blame)
            return 0
        if found is None:
            return 0
        blocks, proof = found
        self._commit_blocks(node, blocks, proof)
        return len(blocks)
