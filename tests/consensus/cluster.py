"""A committee in one process: virtual time, constant delays, a small application.

Everything is deterministic. Signatures are keyed hashes, checked for real, so a missing check is
found; the journal is a list whose synced part survives a restart.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from chain.application import (
    Built as BuiltBlock,
)
from chain.application import Derived, Placement, make_filler, make_header, placement_of
from chain.block import Block, Body
from chain.committee import EPOCH_ZERO_ID, Committee, Member, leader_seed
from chain.errors import Rejected
from chain.finality import FinalityProof, LightClient
from chain.hashing import EMPTY_ROOT, tagged_hash
from chain.header import KIND_FILLER, ZERO_HASH, Header, last_height
from chain.params import Params
from chain.transaction import SignedBody
from chain.vote import Vote, VoteKind
from consensus.core import Core
from consensus.effects import (
    Broadcast,
    Build,
    CancelTimer,
    Certify,
    Effect,
    Finalize,
    Persist,
    ProveEpochEnd,
    ReportEvidence,
    Request,
    Send,
    SetTimer,
    Stop,
    Sync,
    VerifyBlock,
)
from consensus.events import (
    BlockVerified,
    Built,
    Certified,
    CertifyFailed,
    Committed,
    Durable,
    EpochOpened,
    EpochStart,
    Head,
    MessageReceived,
    Started,
    Synced,
    TimerFired,
    TransactionsAvailable,
)
from consensus.journal import JournalRecord, VoteRecord
from consensus.messages import EpochEnded, Message, ProposalMessage, VoteMessage
from consensus.shared import Settings
from consensus.timers import Timer

GENESIS_HASH = tagged_hash("genesis", b"cluster")
GENESIS_TIME_MS = 1_000_000
PARAMS = Params(modules=[])


def key_of(index: int) -> bytes:
    """Return a test validator's public key."""
    return blake2b(b"key" + bytes([index]), digest_size=31).digest() + b"\0"


def fake_sign(public_key: bytes, message: bytes) -> bytes:
    """Sign with a key anybody could derive; good enough where nobody forges on purpose."""
    return blake2b(message, key=public_key, digest_size=64).digest()


def fake_verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check a fake signature for real."""
    if fake_sign(public_key, message) != signature:
        raise Rejected("crypto/BadSignature", "the fake signature does not verify")


def make_committee(powers: Sequence[int]) -> Committee:
    """Return a committee of test validators."""
    return Committee([Member(key_of(i), power) for i, power in enumerate(powers)])


class Application:
    """A chain of hashes: the state after a block is the hash of the state before and its id."""

    def __init__(self, params: Params, committee: Committee) -> None:
        self.params = params
        self.committee = committee
        self.states = {GENESIS_HASH: tagged_hash("state-value", b"genesis")}
        self.blocks: list[Block] = []
        self.headers: dict[bytes, Header] = {}
        self.proofs: dict[int, FinalityProof] = {}
        self.pool: list[SignedBody] = []
        self.endless = False
        """Whether there is always a transaction to take."""
        self.faulty: set[bytes] = set()
        """Blocks whose execution meets a bug here."""

    def build(self, placement: Placement, *, empty: bool) -> BuiltBlock:
        if placement.kind == KIND_FILLER:
            below = self.headers[placement.parent_id]
            return BuiltBlock(self._filler(placement, below), [])
        transactions = [] if empty else self.pool[:10]
        if self.endless and not empty:
            transactions = [SignedBody(placement.view.to_bytes(8, "big"), [])]
        body = Body(placement.parent_certificate, transactions, [])
        header = make_header(GENESIS_HASH, placement, self._derive(placement, body), body)
        return BuiltBlock(Block(header, body), [[] for _ in transactions])

    def verify(self, block: Block) -> None:
        placement = placement_of(block)
        if placement.kind == KIND_FILLER:
            expected = self._filler(placement, self.headers[placement.parent_id]).header
        else:
            derived = self._derive(placement, block.body)
            expected = make_header(GENESIS_HASH, placement, derived, block.body)
        if expected != block.header:
            raise Rejected("block/Derived", "a derived field differs")

    def execute(self, block: Block) -> None:
        self.verify(block)
        self.headers[block.id] = block.header
        before = self.states[block.header.parent_id]
        after = before if block.header.kind else tagged_hash("state-value", before + block.id)
        self.states[block.id] = after

    def commit(self, blocks: Sequence[Block], proof: FinalityProof) -> None:
        for block in blocks:
            parent_id = self.blocks[-1].id if self.blocks else GENESIS_HASH
            assert block.header.parent_id == parent_id
            assert block.header.height == len(self.blocks) + 1
            if block.id not in self.states:
                self.execute(block)
            self.blocks.append(block)
            if self.pool:
                included = set(map(id, block.body.transactions))
                self.pool = [tx for tx in self.pool if id(tx) not in included]
        self.proofs[blocks[-1].header.height] = proof

    def _filler(self, placement: Placement, below: Header) -> Block:
        state = self.states[placement.parent_id]
        return make_filler(GENESIS_HASH, placement, below, state, EMPTY_ROOT)

    def _derive(self, placement: Placement, body: Body) -> Derived:
        ends = placement.height == last_height(placement.epoch, self.params.epoch_length)
        return Derived(
            base_fee=1,
            units_limit_used=len(body.transactions),
            parent_state_root=self.states[placement.parent_id],
            parent_receipts_root=EMPTY_ROOT,
            params_hash=self.params.hash(),
            next_committee_hash=self.committee.hash if ends else ZERO_HASH,
        )


@dataclass(slots=True)
class Delays:
    """Constant times in ms."""

    hop: int = 10
    sync: int = 0
    execute: int = 0


@dataclass
class Node:
    """A core, its application and its disk."""

    index: int
    core: Core
    app: Application
    journal: list[JournalRecord] = field(default_factory=list)
    synced: int = 0
    """Records of the journal that would survive a crash."""
    durable: set[bytes] = field(default_factory=set)
    """Signatures of my votes in the synced part of the journal."""
    generation: int = 0
    """Counts restarts: what was under way before a crash never arrives."""
    alive: bool = True
    sent: list[Vote] = field(default_factory=list)
    """Every vote that left, proposals' included."""
    stopped: str | None = None
    syncs: int = 0
    evidence: list[ReportEvidence] = field(default_factory=list)
    has_pool: bool = False
    timers: dict[Timer, int] = field(default_factory=dict)


Filter = Callable[[int, int, Message], bool]


class Cluster:
    """Runs nodes by virtual time."""

    def __init__(
        self,
        powers: Sequence[int],
        params: Params = PARAMS,
        delays: Delays | None = None,
        *,
        start: bool = True,
    ) -> None:
        self.params = params
        self.delays = delays or Delays()
        self.committee = make_committee(powers)
        self.now_ms = 0
        self.deliver: Filter = lambda source, target, message: True
        """Replace to lose messages."""
        self._queue: list[tuple[int, int, Node, int, Callable[[], None]]] = []
        self._order = 0
        self._peers = [bytes([i]) for i in range(len(powers))]
        self.nodes = [self._make_node(i) for i in range(len(powers))]
        if start:
            for node in self.nodes:
                self.start(node)

    def _make_node(self, index: int) -> Node:
        return Node(index, self._make_core(index), Application(self.params, self.committee))

    def _make_core(self, index: int) -> Core:
        key = key_of(index)
        settings = Settings(GENESIS_HASH, self.params, key)
        return Core(settings, lambda message: fake_sign(key, message), fake_verify)

    # Driving

    def start(self, node: Node, *, journal_lost: bool = False) -> None:
        """Start a node from its application and the synced part of its journal."""
        node.journal = node.journal[: node.synced]
        epoch, head = self._where(node.app)
        event = Started(
            now_ms=self.now_ms,
            wall_ms=self._wall_ms(),
            epoch=epoch,
            head=head,
            journal=tuple(node.journal),
            journal_lost=journal_lost,
        )
        self._perform(node, node.core.handle(event))

    def crash(self, node: Node) -> None:
        """Stop a node; what is not durable is lost."""
        node.alive = False
        node.generation += 1
        node.app.headers = {block.id: block.header for block in node.app.blocks}
        kept = {GENESIS_HASH, *node.app.headers}
        node.app.states = {key: node.app.states[key] for key in kept}

    def restart(self, node: Node, *, journal_lost: bool = False) -> None:
        """Start a crashed node again."""
        node.alive = True
        node.has_pool = False
        node.timers = {}
        node.core = self._make_core(node.index)
        self.start(node, journal_lost=journal_lost)
        self.note_pool(node)

    def run_until(self, done: Callable[[], bool], *, limit_ms: int) -> None:
        """Process events until ``done``; fails if that takes more virtual time than the limit."""
        end_ms = self.now_ms + limit_ms
        while not done():
            assert self._queue, "nothing will ever happen again"
            at_ms, _, node, generation, action = heapq.heappop(self._queue)
            assert at_ms <= end_ms, f"not done after {limit_ms} ms: {self.describe()}"
            self.now_ms = at_ms
            if generation == node.generation and node.alive:
                action()

    def run_to_height(self, height: int, *, limit_ms: int) -> None:
        """Run until every living node has committed ``height``."""
        living = [node for node in self.nodes if node.alive]
        self.run_until(
            lambda: all(len(node.app.blocks) >= height for node in living), limit_ms=limit_ms
        )

    def run_for(self, duration_ms: int) -> None:
        """Process the events of the next ``duration_ms``."""
        end_ms = self.now_ms + duration_ms
        while self._queue and self._queue[0][0] <= end_ms:
            at_ms, _, node, generation, action = heapq.heappop(self._queue)
            self.now_ms = at_ms
            if generation == node.generation and node.alive:
                action()
        self.now_ms = end_ms

    def submit(self, count: int) -> None:
        """Put transactions into every pool."""
        for number in range(count):
            tx = SignedBody(b"tx" + number.to_bytes(4, "big") + bytes([self._order % 256]), [])
            for node in self.nodes:
                node.app.pool.append(tx)
        for node in self.nodes:
            self.note_pool(node)

    def keep_busy(self) -> None:
        """Give every pool an endless supply."""
        for node in self.nodes:
            node.app.endless = True
            self.note_pool(node)

    def note_pool(self, node: Node) -> None:
        """Tell the core if its pool became empty or is no longer."""
        has_pool = node.app.endless or bool(node.app.pool)
        if has_pool != node.has_pool and node.alive:
            node.has_pool = has_pool
            self._handle(node, TransactionsAvailable, available=has_pool)

    def describe(self) -> str:
        """Return one line per node, for failures."""
        return "; ".join(
            f"{node.index}: height {len(node.app.blocks)} view {node.core.shared.view} "
            f"mode {node.core.shared.mode.name} {node.stopped or ''}"
            for node in self.nodes
        )

    # Effects

    def _handle(self, node: Node, kind: type, **fields: object) -> None:
        event = kind(now_ms=self.now_ms, wall_ms=self._wall_ms(), **fields)
        self._perform(node, node.core.handle(event))

    def _later(self, node: Node, delay_ms: int, action: Callable[[], None]) -> None:
        self._order += 1
        entry = (self.now_ms + delay_ms, self._order, node, node.generation, action)
        heapq.heappush(self._queue, entry)

    def _perform(self, node: Node, effects: Sequence[Effect]) -> None:
        for position, effect in enumerate(effects):
            if isinstance(effect, Persist):
                node.journal += effect.records
                if effect.sync:
                    self._sync(node, effect.token, effects[position + 1 :])
                    return
            else:
                self._perform_one(node, effect)

    def _sync(self, node: Node, token: int, rest: Sequence[Effect]) -> None:
        written = len(node.journal)
        node.syncs += 1

        def done() -> None:
            for record in node.journal[node.synced : written]:
                if isinstance(record, VoteRecord):
                    node.durable.add(record.vote.signature)
            node.synced = max(node.synced, written)
            self._perform(node, rest)
            self._handle(node, Durable, token=token)

        self._later(node, self.delays.sync, done)

    def _perform_one(self, node: Node, effect: Effect) -> None:
        match effect:
            case Broadcast():
                self._note_sent(node, effect.message)
                for target in self.nodes:
                    if target is not node:
                        self._send(node, target, effect.message)
            case SetTimer():
                node.timers[effect.timer] = effect.deadline_ms
                delay_ms = max(effect.deadline_ms - self.now_ms, 0)
                self._later(node, delay_ms, lambda: self._fire(node, effect))
            case CancelTimer():
                del node.timers[effect.timer]
            case Send():
                self._send(node, self.nodes[effect.peer[0]], effect.message)
            case Request():
                self._send(node, self._choose(node, effect), effect.message)
            case Build():
                built = node.app.build(effect.placement, empty=effect.empty)
                view = effect.placement.view
                self._later(node, 0, lambda: self._handle(node, Built, view=view, built=built))
            case VerifyBlock():
                self._verify(node, effect.block)
            case Certify():
                self._later(node, self.delays.execute, lambda: self._execute(node, effect.block))
            case Finalize():
                self._later(node, 0, lambda: self._commit(node, effect))
            case ReportEvidence():
                node.evidence.append(effect)
            case Sync():
                self._later(node, self.delays.hop, lambda: self._catch_up(node))
            case ProveEpochEnd():
                proof = node.app.proofs.get((effect.epoch + 1) * self.params.epoch_length)
                if proof is not None:
                    self._send(node, self.nodes[effect.peer[0]], EpochEnded(proof))
            case Stop():
                node.stopped = effect.reason
            case _:
                pass

    def _fire(self, node: Node, effect: SetTimer) -> None:
        if node.timers.get(effect.timer) == effect.deadline_ms:
            del node.timers[effect.timer]
            self._handle(node, TimerFired, timer=effect.timer)

    def _send(self, source: Node, target: Node, message: Message) -> None:
        if not self.deliver(source.index, target.index, message):
            return
        peer = self._peers[source.index]
        self._later(
            target,
            self.delays.hop,
            lambda: self._handle(target, MessageReceived, peer=peer, message=message),
        )

    def _choose(self, node: Node, request: Request) -> Node:
        first = node.index + 1 if request.member is None else request.member
        index = (first + request.attempt) % len(self.nodes)
        if index == node.index:
            index = (index + 1) % len(self.nodes)
        return self.nodes[index]

    def _note_sent(self, node: Node, message: Message) -> None:
        vote = None
        if isinstance(message, VoteMessage):
            vote = message.vote
        elif isinstance(message, ProposalMessage):
            vote = message.proposal.vote(message.proposal.header.id())
        if vote is not None and vote.signer == node.index:
            assert vote.signature in node.durable, "a vote left before it was durable"
            node.sent.append(vote)

    def _verify(self, node: Node, block: Block) -> None:
        refusal = None
        try:
            node.app.verify(block)
        except Rejected as found:
            refusal = found
        self._later(
            node, 0, lambda: self._handle(node, BlockVerified, block_id=block.id, refusal=refusal)
        )

    def _execute(self, node: Node, block: Block) -> None:
        if block.id in node.app.faulty:
            self._handle(node, CertifyFailed, block_id=block.id, tx_id=None)
            return
        node.app.execute(block)
        self._handle(node, Certified, block_id=block.id)

    def _commit(self, node: Node, effect: Finalize) -> None:
        node.app.commit(effect.blocks, effect.proof)
        last = effect.blocks[-1]
        self._handle(node, Committed, block_id=last.id)
        self.note_pool(node)
        epoch, _ = self._where(node.app)
        if epoch.epoch > last.header.epoch:
            self._handle(node, EpochOpened, epoch=epoch)

    def _catch_up(self, node: Node) -> None:
        """Copy what the best living node has and can prove by a block's own finalization."""
        best = max(
            (other for other in self.nodes if other.alive),
            key=lambda other: len(other.app.blocks),
        )
        wanted = [height for height in best.app.proofs if height > len(node.app.blocks)]
        if wanted:
            height = max(wanted)
            node.app.commit(best.app.blocks[len(node.app.blocks) : height], best.app.proofs[height])
            node.app.proofs = {**best.app.proofs, **node.app.proofs}
        epoch, head = self._where(node.app)
        self._handle(node, Synced, epoch=epoch, head=head)
        self.note_pool(node)

    # Where a chain stands

    def _wall_ms(self) -> int:
        return GENESIS_TIME_MS + self.now_ms

    def _where(self, app: Application) -> tuple[EpochStart, Head | None]:
        length = self.params.epoch_length
        epoch = len(app.blocks) // length
        if epoch == 0:
            seed_id, base = EPOCH_ZERO_ID, None
        else:
            base = app.blocks[epoch * length - 1]
            seed_id = base.header.parent_id
        start = EpochStart(
            epoch=epoch,
            committee=self.committee,
            base_id=GENESIS_HASH if base is None else base.id,
            base_height=epoch * length,
            base_time_ms=GENESIS_TIME_MS if base is None else base.header.time_ms,
            seed=leader_seed(GENESIS_HASH, epoch, seed_id),
            base_has_transactions=base is not None and bool(base.body.transactions),
        )
        head = None
        if len(app.blocks) > epoch * length:
            block = app.blocks[-1]
            proof = app.proofs[block.header.height]
            head = Head(
                header=block.header,
                finalization=proof.finalization,
                has_transactions=bool(block.body.transactions),
            )
        return start, head

    # Checks

    def check(self) -> None:
        """Check what must hold in every run: agreement, promises, proofs, no stop."""
        longest = max((node.app.blocks for node in self.nodes), key=len)
        for node in self.nodes:
            assert node.stopped is None, node.stopped
            mine = [block.id for block in node.app.blocks]
            assert mine == [block.id for block in longest[: len(mine)]], "two histories"
            check_promises(node.sent)
        self._check_proofs(longest)

    def _check_proofs(self, blocks: list[Block]) -> None:
        client = LightClient(GENESIS_HASH, self.params.epoch_length, 0, self.committee)
        best = max(self.nodes, key=lambda node: len(node.app.blocks))
        for height, proof in sorted(best.app.proofs.items()):
            assert proof.target == blocks[height - 1].header
            client.verify(proof, fake_verify)
            if height == last_height(client.epoch, self.params.epoch_length):
                client = client.hop(proof, list(self.committee.members), fake_verify)


def check_promises(sent: list[Vote]) -> None:
    """Check that one key's votes contain no double vote and no NULLIFY beside a FINALIZE."""
    first: dict[tuple[int, int, int], Vote] = {}
    for vote in sent:
        place = (vote.epoch, vote.view, vote.kind)
        assert first.setdefault(place, vote) == vote, "a double vote"
    for epoch, view, kind in first:
        if kind == VoteKind.NULLIFY:
            assert (epoch, view, VoteKind.FINALIZE) not in first, "NULLIFY and FINALIZE"
