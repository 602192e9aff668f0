"""A committee in one process, in virtual time: it is made, started, crashed, and run from here.

Everything is deterministic; chance only comes in seeded streams that the weather, the faults and
the crashes are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from chain.committee import Committee
from chain.params import Params
from chain.vote import Verifier
from consensus.core import Core
from consensus.guard import check_guard
from consensus.journal import BegunRecord, VoteRecord
from consensus.messages import Message
from consensus.shared import Settings

from .application import GENESIS_HASH, GENESIS_TIME_MS, PARAMS, Application
from .checks import check, check_refusals
from .faulty import Careless
from .host import Host
from .keys import fake_sign, fake_verify, key_of, make_committee
from .node import Delays, Node
from .oracle import Oracle
from .setting import Setting
from .timeline import Timeline
from .weather import Steady, Weather


class Cluster(Timeline):
    """Runs nodes by virtual time."""

    genesis_hash = GENESIS_HASH
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
        delays = delays or Delays()
        self.steady = Steady(delays)
        self.setting = Setting(
            genesis_hash=self.genesis_hash,
            genesis_time_ms=GENESIS_TIME_MS,
            params=params,
            committee=self.make_committee(powers),
            verifier=self.verifier,
            delays=delays,
            honest=frozenset(range(len(powers))) if honest is None else honest,
            oracle=oracle,
        )
        super().__init__()
        self.nodes = [self.make_node(i) for i in range(len(powers))]
        self.bodies = [[node] for node in self.nodes]
        """By member: its one body, or the two of a two-faced one."""
        self.host = Host(self, self.setting, self.bodies, weather or self.steady)
        if start:
            for node in self.nodes:
                self.start(node)

    def make_committee(self, powers: Sequence[int]) -> Committee:
        """Return the members with these powers."""
        return make_committee(powers)

    def make_node(self, index: int) -> Node:
        """Return a new body of a member; it is not yet one of ``bodies``."""
        sign = partial(self.sign, index)
        node = Node(index, self._make_core(index, Core), self.make_application(index), sign)
        node.journal, node.synced = [BegunRecord()], 1
        return node

    def make_application(self, index: int) -> Application:
        """Return the application of a new node."""
        return Application(self.setting.params, self.setting.committee)

    def make_faulty(self, node: Node) -> None:
        """Let a node, not started yet, sign what it likes."""
        node.core = self._make_core(node.index, Careless)

    def _make_core(self, index: int, sort: type[Core]) -> Core:
        public_key = self.setting.committee.members[index].public_key
        settings = Settings(self.genesis_hash, self.setting.params, public_key)
        return sort(settings, partial(self.sign, index), self.verifier)

    def sign(self, index: int, message: bytes) -> bytes:
        """Sign with the consensus key of a member."""
        return fake_sign(key_of(index), message)

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
        if not journal_lost:
            epoch, head = self.setting.where(node.app)
            view = 0 if head is None else head.header.view
            check_guard(node.guard, node.journal, epoch.epoch, view)
        self.host.start(node, journal_lost=journal_lost)

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
        oracle = self.setting.judge(node)
        if oracle is not None:
            for record in survived:
                oracle.synced(node.index, record)
            oracle.crashed(node.index, journal_lost=journal_lost)
        if journal_lost:
            node.journal, node.synced, node.guard = [], 0, None

    def restart(self, node: Node, *, journal_lost: bool = False) -> None:
        """Start a crashed node again."""
        node.alive = True
        node.paused_until = 0
        node.has_pool = False
        node.timers = {}
        node.core = self._make_core(node.index, type(node.core))
        self.start(node, journal_lost=journal_lost)
        self.host.note_pool(node)

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
        living = [node for node in self.nodes if node.alive and node.index in self.setting.honest]
        end_ms = self.now_ms + limit_ms
        while any(len(node.app.blocks) < height for node in living):
            commits = self.host.commits
            while commits == self.host.commits:
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
            self.host.note_pool(node)

    def keep_busy(self) -> None:
        """Give every pool an endless supply."""
        for node in self.all_nodes():
            node.app.endless = True
            self.host.note_pool(node)

    def describe(self) -> str:
        """Return one line per node, for failures."""
        return "; ".join(
            f"{node.index}: height {len(node.app.blocks)} view {node.core.shared.view} "
            f"mode {node.core.shared.mode.name} {node.stopped or ''}"
            for node in self.all_nodes()
        )

    def check(self) -> None:
        """Check what must hold in every run: agreement, promises, proofs, no stop."""
        check(self)
        check_refusals(self)
