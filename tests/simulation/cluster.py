"""A committee in one process, in virtual time: what a host does, done for every node at once.

Everything is deterministic; chance only comes in seeded streams that the weather, the faults and
the crashes are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

from chain.block import Block
from chain.committee import EPOCH_ZERO_ID, Committee, leader_seed
from chain.errors import Rejected
from chain.finality import FinalityProof
from chain.params import Params
from chain.vote import Verifier, Vote
from consensus import effects as fx
from consensus import events as ev
from consensus.catchup import is_own_finalization
from consensus.core import Core
from consensus.guard import check_guard, next_entry
from consensus.journal import VoteRecord
from consensus.messages import EpochEnded, Message, ProposalMessage, VoteMessage
from consensus.shared import Settings
from consensus.timers import Timer

from .application import GENESIS_HASH, GENESIS_TIME_MS, PARAMS, Application
from .checks import check, check_refusals
from .keys import fake_sign, fake_verify, key_of, make_committee
from .node import Delays, Node
from .oracle import Oracle
from .ranges import ask_range
from .timeline import Timeline
from .weather import Steady, Weather


class Cluster(Timeline):
    """Runs nodes by virtual time."""

    genesis_hash = GENESIS_HASH
    genesis_time_ms = GENESIS_TIME_MS
    verifier: Verifier = staticmethod(fake_verify)

    def __init__(
        self,
        powers: Sequence[int],
        params: Params = PARAMS,
        delays: Delays | None = None,
        *,
        weather: Weather | None = None,
        oracle: Oracle | None = None,
        honest: frozenset[int] | None = None,
        start: bool = True,
    ) -> None:
        """``honest``: whom the oracle watches and who must agree; None: all."""
        self.params = params
        self.delays = delays or Delays()
        self.steady = Steady(self.delays)
        self.weather: Weather = weather or self.steady
        self.oracle = oracle
        self.committee = self.make_committee(powers)
        self.honest = frozenset(range(len(powers))) if honest is None else honest
        super().__init__()
        self.events = 0
        self.commits = 0
        self._digest = blake2b(digest_size=16)
        self._peers = [bytes([i]) for i in range(len(powers))]
        self.nodes = [self.make_node(i) for i in range(len(powers))]
        self.bodies = [[node] for node in self.nodes]
        """By member: its one body, or the two of a two-faced one."""
        self._actions: dict[type[Any], Callable[[Node, Any], None]] = {
            fx.Broadcast: self._broadcast,
            fx.Send: self._answer,
            fx.Request: self._request,
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
            fx.Forget: self._ignore,
        }
        if start:
            for node in self.nodes:
                self.start(node)

    def make_committee(self, powers: Sequence[int]) -> Committee:
        """Return the members with these powers."""
        return make_committee(powers)

    def make_node(self, index: int) -> Node:
        """Return a new body of a member; it is not yet one of ``bodies``."""
        sign = partial(self.sign, index)
        return Node(index, self._make_core(index), self.make_application(index), sign)

    def make_application(self, index: int) -> Application:
        """Return the application of a new node."""
        return Application(self.params, self.committee)

    def _make_core(self, index: int) -> Core:
        public_key = self.committee.members[index].public_key
        settings = Settings(self.genesis_hash, self.params, public_key)
        return Core(settings, partial(self.sign, index), self.verifier)

    def sign(self, index: int, message: bytes) -> bytes:
        """Sign with the consensus key of a member."""
        return fake_sign(key_of(index), message)

    @property
    def digest(self) -> str:
        """The run so far in 16 bytes: two runs of one seed must have the same."""
        return self._digest.hexdigest()

    @property
    def deliver(self) -> Callable[[int, int, Message], bool] | None:
        """Says which messages arrive while the weather is steady."""
        return self.steady.deliver

    @deliver.setter
    def deliver(self, keep: Callable[[int, int, Message], bool]) -> None:
        self.steady.deliver = keep

    def all_nodes(self) -> list[Node]:
        """Return every body of every member."""
        return [node for bodies in self.bodies for node in bodies]

    # --- driving ------------------------------------------------------------------------------

    def start(self, node: Node, *, journal_lost: bool = False) -> None:
        """Start a node from its application and the durable part of its journal."""
        node.journal = node.journal[: node.synced]
        epoch, head = self._where(node.app)
        if not journal_lost:
            view = 0 if head is None else head.header.view
            check_guard(node.guard, node.journal, epoch.epoch, view)
        event = ev.Started(
            now_ms=self.now_ms,
            wall_ms=self._wall_ms(node),
            epoch=epoch,
            head=head,
            journal=tuple(node.journal),
            journal_lost=journal_lost,
        )
        self._perform(node, node.core.handle(event))

    def crash(self, node: Node, *, kept: int = 0, journal_lost: bool = False) -> None:
        """Stop a node; of what is not durable, only the first ``kept`` records survive.

        With ``journal_lost`` the disk with journal and guard is lost, the store is not.
        """
        node.alive = False
        node.generation += 1
        survived = node.journal[node.synced : node.synced + kept]
        node.journal = node.journal[: node.synced] + survived
        node.synced = len(node.journal)
        node.durable.update(r.vote.signature for r in survived if isinstance(r, VoteRecord))
        node.app.crash()
        if self.oracle is not None and node.index in self.honest:
            for record in survived:
                self.oracle.synced(node.index, record)
            self.oracle.crashed(node.index, journal_lost=journal_lost)
        if journal_lost:
            node.journal, node.synced, node.guard = [], 0, None

    def restart(self, node: Node, *, journal_lost: bool = False) -> None:
        """Start a crashed node again."""
        node.alive = True
        node.paused_until = 0
        node.has_pool = False
        node.timers = {}
        node.core = self._make_core(node.index)
        self.start(node, journal_lost=journal_lost)
        self.note_pool(node)

    def pause(self, node: Node, duration_ms: int) -> None:
        """Let nothing happen at a node for a while; all of it happens afterwards."""
        node.paused_until = max(node.paused_until, self.now_ms + duration_ms)

    def run_until(self, done: Callable[[], bool], *, limit_ms: int) -> None:
        """Process events until ``done``; fails if that takes more virtual time than the limit."""
        end_ms = self.now_ms + limit_ms
        while not done():
            if not self._due:
                self._require_more(end_ms)
            self.next()

    def run_to_height(self, height: int, *, limit_ms: int) -> None:
        """Run until every living honest node has committed ``height``."""
        living = [node for node in self.nodes if node.alive and node.index in self.honest]
        end_ms = self.now_ms + limit_ms
        while any(len(node.app.blocks) < height for node in living):
            commits = self.commits
            while commits == self.commits:
                if not self._due:
                    self._require_more(end_ms)
                self.next()

    def _require_more(self, end_ms: int) -> None:
        """Fail if nothing happens up to ``end_ms``."""
        assert not self.is_over, "nothing will ever happen again"
        assert self.next_ms <= end_ms, f"not done at {end_ms} ms: {self.describe()}"

    def submit(self, count: int) -> None:
        """Put transactions into every pool."""
        for number in range(count):
            raw = b"tx" + number.to_bytes(4, "big") + bytes([self.order % 256])
            for node in self.all_nodes():
                node.app.submit(raw)
        for node in self.all_nodes():
            self.note_pool(node)

    def keep_busy(self) -> None:
        """Give every pool an endless supply."""
        for node in self.all_nodes():
            node.app.endless = True
            self.note_pool(node)

    def note_pool(self, node: Node) -> None:
        """Tell the core if its pool became empty or is no longer."""
        has_pool = node.app.has_transactions
        if has_pool != node.has_pool and node.alive:
            node.has_pool = has_pool
            self._handle(node, ev.TransactionsAvailable, available=has_pool)

    def describe(self) -> str:
        """Return one line per node, for failures."""
        return "; ".join(
            f"{node.index}: height {len(node.app.blocks)} view {node.core.shared.view} "
            f"mode {node.core.shared.mode.name} {node.stopped or ''}"
            for node in self.all_nodes()
        )

    # --- events and effects -------------------------------------------------------------------

    def _handle(self, node: Node, kind: type[Any], **fields: object) -> None:
        event = kind(now_ms=self.now_ms, wall_ms=self._wall_ms(node), **fields)
        self._take(node, event, kind.__name__.encode())

    def _take(self, node: Node, event: ev.AnyEvent, name: bytes) -> None:
        """Give a node an event; note its name, so that no two different runs look the same."""
        self.events += 1
        self._digest.update(b"%d %d %s;" % (self.now_ms, node.index, name))
        effects = node.core.handle(event)
        if effects:
            self._perform(node, effects)

    def _perform(self, node: Node, effects: Sequence[fx.Effect]) -> None:
        """Do effects in order; what follows a synced Persist waits for the disk (contract 1)."""
        for position, effect in enumerate(effects):
            if type(effect) is fx.Persist:
                node.journal += effect.records
                if self.oracle is not None and node.index in self.honest:
                    for record in effect.records:
                        self.oracle.persisted(node.index, record)
                if effect.sync:
                    node.syncs += 1
                    rest = effects[position + 1 :]
                    written = len(node.journal)
                    self.later(node, self.delays.sync, self._journal_synced, effect, written, rest)
                    return
            else:
                self._actions[type(effect)](node, effect)

    def _journal_synced(
        self, node: Node, effect: fx.Persist, written: int, rest: Sequence[fx.Effect]
    ) -> None:
        for record in node.journal[node.synced : written]:
            if isinstance(record, VoteRecord):
                node.durable.add(record.vote.signature)
            if self.oracle is not None and node.index in self.honest:
                self.oracle.synced(node.index, record)
        node.synced = max(node.synced, written)
        if self.delays.guard:
            self.later(node, self.delays.guard, self._guard_written, effect, rest)
        else:
            self._guard_written(node, effect, rest)

    def _guard_written(self, node: Node, effect: fx.Persist, rest: Sequence[fx.Effect]) -> None:
        node.guard = next_entry(node.guard, effect.records) or node.guard
        self._perform(node, rest)
        self._handle(node, ev.Durable, token=effect.token)

    # --- messages -----------------------------------------------------------------------------

    def _broadcast(self, node: Node, effect: fx.Broadcast) -> None:
        message = effect.message
        self._note_sent(node, message)
        for target in range(len(self.nodes)):
            if target != node.index:
                self._send(node, target, message)

    def _answer(self, node: Node, effect: fx.Send) -> None:
        self._note_sent(node, effect.message)
        self._send(node, effect.peer[0], effect.message)

    def _request(self, node: Node, effect: fx.Request) -> None:
        self._send(node, self._choose(node, effect.member, effect.attempt), effect.message)

    def _choose(self, node: Node, member: int | None, attempt: int) -> int:
        """Return whom to ask: the member named first, then the others in turn."""
        first = node.index + 1 if member is None else member
        index = (first + attempt) % len(self.nodes)
        return (index + 1) % len(self.nodes) if index == node.index else index

    def _send(self, source: Node, target: int, message: Message) -> None:
        if source.audience is not None and target not in source.audience:
            return
        if source.mischief is None:
            self.carry(source.index, target, message)
            return
        for twisted in source.mischief.outgoing(source, target, message):
            if self.oracle is not None:
                self.oracle.sent_by_faulty(source.index, twisted)
            self.carry(source.index, target, twisted)

    def carry(self, source: int, target: int, message: Message) -> None:
        """Put a message on the wire: the weather says when, and how often, it arrives."""
        peer = self._peers[source]
        for delay_ms in self.weather.delays(self.now_ms, source, target, message):
            for body in self.bodies[target]:
                if body.audience is None or source in body.audience:
                    self.later(body, delay_ms, self._arrive, peer, message)

    def _arrive(self, node: Node, peer: bytes, message: Message) -> None:
        if self.oracle is not None and node.index in self.honest:
            self.oracle.received(node.index, message)
        # Two events in three are messages: no dictionary of fields for them.
        now_ms, wall_ms = self.now_ms, self._wall_ms(node)
        event = ev.MessageReceived(now_ms=now_ms, wall_ms=wall_ms, peer=peer, message=message)
        self._take(node, event, b"MessageReceived")

    def _note_sent(self, node: Node, message: Message) -> None:
        if node.index in self.honest:
            vote = _vote_in(message)
            if vote is not None and vote.signer == node.index:
                assert vote.signature in node.durable, "a vote left before it was durable"
                node.sent.append(vote)
            if self.oracle is not None:
                self.oracle.sent(node.index, message, self.now_ms)
        elif self.oracle is not None and node.mischief is None:
            self.oracle.sent_by_faulty(node.index, message)

    # --- timers and the application -----------------------------------------------------------

    def _set_timer(self, node: Node, effect: fx.SetTimer) -> None:
        node.timers[effect.timer] = effect.deadline_ms
        delay_ms = max(effect.deadline_ms - self.now_ms, 0)
        self.later(node, delay_ms, self._fire, effect.timer, effect.deadline_ms)

    def _cancel_timer(self, node: Node, effect: fx.CancelTimer) -> None:
        del node.timers[effect.timer]

    def _fire(self, node: Node, timer: Timer, deadline_ms: int) -> None:
        if node.timers.get(timer) == deadline_ms:
            del node.timers[timer]
            self._handle(node, ev.TimerFired, timer=timer)

    def _build(self, node: Node, effect: fx.Build) -> None:
        built = node.app.build(effect.placement, empty=effect.empty)
        self.later(node, 0, self._built, effect.placement.view, built)

    def _built(self, node: Node, view: int, built: Any) -> None:
        self._handle(node, ev.Built, view=view, built=built)

    def _verify(self, node: Node, effect: fx.VerifyBlock) -> None:
        refusal = None
        try:
            node.app.verify(effect.block, effect.attachments)
        except Rejected as found:
            refusal = found
        else:
            if self.oracle is not None and node.index in self.honest:
                self.oracle.verified(node.index, effect.block)
        self.later(node, 0, self._verified, effect.block.id, refusal)

    def _verified(self, node: Node, block_id: bytes, refusal: Rejected | None) -> None:
        self._handle(node, ev.BlockVerified, block_id=block_id, refusal=refusal)

    def _certify(self, node: Node, effect: fx.Certify) -> None:
        self.later(node, self.delays.execute, self._execute, effect.block)

    def _execute(self, node: Node, block: Block) -> None:
        if block.id in node.app.faulty:
            self._handle(node, ev.CertifyFailed, block_id=block.id, tx_id=None)
            return
        self._executed(node, block)
        self._handle(node, ev.Certified, block_id=block.id)

    def _executed(self, node: Node, block: Block) -> None:
        node.app.execute(block)
        if self.oracle is not None and node.index in self.honest:
            self.oracle.executed(node.index, block, node.app.root_after(block.id))

    def _finalize(self, node: Node, effect: fx.Finalize) -> None:
        self.later(node, 0, self._commit, effect)

    def _commit(self, node: Node, effect: fx.Finalize) -> None:
        last = effect.blocks[-1]
        self._commit_blocks(node, effect.blocks, effect.proof)
        self._handle(node, ev.Committed, block_id=last.id)
        self.note_pool(node)
        if len(node.app.blocks) // self.params.epoch_length > last.header.epoch:
            epoch, _ = self._where(node.app)
            self._handle(node, ev.EpochOpened, epoch=epoch)

    def _commit_blocks(self, node: Node, blocks: Sequence[Block], proof: FinalityProof) -> None:
        for block in blocks:
            if not node.app.is_executed(block.id):
                self._executed(node, block)
        node.app.commit(blocks, proof)
        self.commits += 1
        self._digest.update(blocks[-1].id)
        if self.oracle is not None and node.index in self.honest:
            self.oracle.finalised(node.index, blocks, proof, self.now_ms)

    def _report(self, node: Node, effect: fx.ReportEvidence) -> None:
        node.evidence.append(effect)
        if self.oracle is not None and node.index in self.honest:
            self.oracle.evidence(node.index, effect.evidence)

    def _blame(self, node: Node, effect: fx.Blame) -> None:
        if self.oracle is not None and node.index in self.honest:
            self.oracle.blamed(node.index, effect.peer[0], effect.code)

    def _prove_epoch_end(self, node: Node, effect: fx.ProveEpochEnd) -> None:
        proof = node.app.proofs.get((effect.epoch + 1) * self.params.epoch_length)
        if proof is not None:
            self._send(node, effect.peer[0], EpochEnded(proof))

    def _stop(self, node: Node, effect: fx.Stop) -> None:
        node.stopped = effect.reason

    def _ignore(self, node: Node, effect: fx.Effect) -> None:
        """Nothing here runs long enough to be stopped, and nothing is thrown away."""

    # --- catch-up -----------------------------------------------------------------------------

    def _sync_ranges(self, node: Node, effect: fx.Sync) -> None:
        self.later(node, 2 * self.delays.hop, self._fetch_range, effect.height, 0)

    def _fetch_range(self, node: Node, wanted: int, attempt: int) -> None:
        """Ask one peer after the other for ranges, until ``wanted`` or nobody gives more."""
        height = len(node.app.blocks)
        peer = self.bodies[self._choose(node, None, attempt)][0]
        gained = peer.alive and self._take_range(node, peer)
        own = height == 0 or is_own_finalization(node.app.proofs[len(node.app.blocks)])
        if attempt < 4 * len(self.nodes) and (gained or len(node.app.blocks) < wanted or not own):
            self.later(node, 2 * self.delays.hop, self._fetch_range, wanted, attempt + 1)
            return
        epoch, head = self._where(node.app)
        self._handle(node, ev.Synced, epoch=epoch, head=head)
        self.note_pool(node)

    def _take_range(self, node: Node, peer: Node) -> bool:
        try:
            found = ask_range(self, node, peer)
        except Rejected as refusal:
            blame = fx.Blame(self._peers[peer.index], refusal.code, refusal.message)
            self._blame(node, blame)
            return False
        if found is None:
            return False
        blocks, proof = found
        self._commit_blocks(node, blocks, proof)
        return True

    # --- where a chain stands -----------------------------------------------------------------

    def _wall_ms(self, node: Node) -> int:
        return self.genesis_time_ms + self.now_ms + node.clock_error_ms

    def _where(self, app: Application) -> tuple[ev.EpochStart, ev.Head | None]:
        length = self.params.epoch_length
        epoch = len(app.blocks) // length
        base = app.blocks[epoch * length - 1] if epoch else None
        start = ev.EpochStart(
            epoch=epoch,
            committee=self.committee,
            base_id=self.genesis_hash if base is None else base.id,
            base_height=epoch * length,
            base_time_ms=self.genesis_time_ms if base is None else base.header.time_ms,
            seed=leader_seed(
                self.genesis_hash, epoch, EPOCH_ZERO_ID if base is None else base.header.parent_id
            ),
            base_has_transactions=base is not None and bool(base.body.transactions),
        )
        if len(app.blocks) == epoch * length:
            return start, None
        block = app.blocks[-1]
        return start, ev.Head(
            header=block.header,
            finalization=app.proofs[block.header.height].finalization,
            has_transactions=bool(block.body.transactions),
        )

    def check(self) -> None:
        """Check what must hold in every run: agreement, promises, proofs, no stop."""
        check(self)
        check_refusals(self)


def _vote_in(message: Message) -> Vote | None:
    if isinstance(message, VoteMessage):
        return message.vote
    if isinstance(message, ProposalMessage):
        return message.proposal.vote(message.proposal.header.id())
    return None
