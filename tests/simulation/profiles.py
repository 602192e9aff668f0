"""Runs drawn from a seed: which faults, how strong, and then a calm end that must finalise.

A run has two phases. In the first everything the profile allows goes wrong, and the oracle judges
every step. Then links heal and honest nodes live; now the chain has to grow within a bound.
Each concern draws from a stream of its own, so a new fault does not reshuffle the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import msgspec

from chain.params import Params
from chain.vote import NOTARIZE
from consensus.timers import LOOKBACK_MS

from .application import GENESIS_HASH, GENESIS_TIME_MS, PARAMS
from .checks import check_refusals
from .cluster import Cluster
from .faulty import Liar, Silent, Twice
from .keys import fake_verify, make_committee
from .node import Delays, Node
from .oracle import Oracle
from .violation import Violation
from .weather import SORTS, Filter, Link, Storm

CALM_HEIGHTS = 10
"""Heights that must become final in the calm phase."""
CALM_LIMIT_MS = 240_000
"""Virtual time for them: every member may lead a few views at the slowest pace in between."""
FORGET_LIMIT_MS = 5_000
"""How long a run waits for the turn of the member that loses its journal."""
ABSENT_HEIGHTS = 80
"""Heights that must become final without the dead member; in the first of them it is waited for."""
ABSENT_LIMIT_MS = 400_000
ABSENT_GROWTH_MAX = 3
"""Afterwards Δ_now is at most so many Δ; the slowest links and disks drawn here need less."""
ORPHAN_LIMIT_MS = 20_000
"""How long a run waits for a leader who proposes twice."""
CLOCK_ERROR_MS = 200
"""Honest clocks are at most so far off, either way; PRECISION is 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What may go wrong in a run."""

    weather: bool = False
    crashes: bool = False
    faulty: bool = False
    clocks: bool = False
    amnesia: bool = False
    """One member with less than a third of the power loses its journal now and then."""
    absent: bool = False
    """One member is dead for long; nothing else goes wrong."""
    genesis: bool = False
    """All crash again and again before anything is final; members with less than a third of the
    power, who need not be right afterwards, lose their journals as well."""
    orphans: bool = False
    """Notarized blocks that no honest member votes to finalise lose every body they had."""
    sweep: bool = False
    """A constant hop of 0.5 to 10 Δ without jitter instead of anything else."""


PROFILES = {
    "sweep": Profile(sweep=True),
    "weather": Profile(weather=True),
    "crashes": Profile(crashes=True),
    "faulty": Profile(faulty=True),
    "amnesia": Profile(crashes=True, amnesia=True),
    "absent": Profile(absent=True),
    "genesis": Profile(genesis=True),
    "orphans": Profile(orphans=True),
    "storm": Profile(weather=True, crashes=True),
    "war": Profile(weather=True, faulty=True, clocks=True),
    "everything": Profile(weather=True, crashes=True, faulty=True, clocks=True),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    digest: str
    heights: int
    events: int
    virtual_ms: int
    members: int


def run(seed: int, name: str) -> Outcome:
    """Play the run of a seed; raises ``Violation`` or ``AssertionError`` with what went wrong."""
    return Run(seed, PROFILES[name]).play()


class Run:
    """One run: its streams, its cluster, its script."""

    def __init__(self, seed: int, profile: Profile) -> None:
        self.profile = profile
        self._chance = {
            concern: Random(f"{seed} {concern}")
            for concern in ("shape", "weather", "script", "crash", "faulty", "start")
        }
        shape = self._chance["shape"]
        self._size = (
            shape.choice([4, 4, 4, 5, 7])
            if profile.faulty or profile.orphans or profile.absent
            else shape.choice([2, 3, 4, 4, 4, 5, 7])
        )
        weighted = shape.randrange(3) == 0
        self._powers = [shape.randint(1, 5) if weighted else 1 for _ in range(self._size)]
        self._params = self._draw_params(shape)
        self._faulty = self._draw_faulty(shape)
        self.honest = frozenset(range(self._size)) - self._faulty
        link = self._draw_link(shape)
        self._storm = Storm(self._size, self._chance["weather"], link)
        delays = Delays(
            hop=link.delay_ms,
            sync=shape.choice([0, 0, 4, 20]),
            guard=shape.choice([0, 0, 3]),
            execute=shape.choice([0, 0, 5, 60]),
        )
        oracle = Oracle(
            GENESIS_HASH,
            make_committee(self._powers),
            self.honest,
            fake_verify,
            params=self._params,
            precision_ms=self._params.precision_ms,
            genesis_time_ms=GENESIS_TIME_MS,
            max_clock_error_ms=CLOCK_ERROR_MS if profile.clocks else 0,
        )
        self.cluster = Cluster(
            self._powers, self._params, delays,
            weather=self._storm, oracle=oracle, honest=self.honest, start=False,
        )  # fmt: skip
        self.oracle = oracle

    # --- drawing ------------------------------------------------------------------------------

    def _draw_params(self, shape: Random) -> Params:
        epoch_length = shape.choice([3, 7, 20, 100_000])
        interval = shape.choice([0, 100])
        return msgspec.structs.replace(
            PARAMS, epoch_length=epoch_length, block_interval_ms_min=interval
        )

    def _draw_faulty(self, shape: Random) -> frozenset[int]:
        """Return members with less than a third of the power, if the profile has any."""
        chosen: set[int] = set()
        if self.profile.faulty or self.profile.orphans or self.profile.genesis:
            for index in shape.sample(range(self._size), self._size):
                power = sum(self._powers[other] for other in chosen) + self._powers[index]
                if 3 * power < sum(self._powers):
                    chosen.add(index)
        return frozenset(chosen)

    def _draw_link(self, shape: Random) -> Link:
        delta_ms = self._params.delta_ms
        if self.profile.sweep:
            return Link(delay_ms=delta_ms * shape.randint(1, 20) // 2)
        delay_ms = shape.choice([1, 10, 40])
        if not self.profile.weather:
            return Link(delay_ms=delay_ms)
        return Link(
            delay_ms=delay_ms,
            jitter_ms=shape.choice([0, 5, 50]),
            tail=shape.choice([0, 20, 100]),
            tail_ms=shape.choice([100, 1_000, 5_000]),
            loss=shape.choice([0, 20, 100, 300]),
            duplicate=shape.choice([0, 20, 300]),
        )

    # --- playing ------------------------------------------------------------------------------

    def play(self) -> Outcome:
        """Run both phases and the checks at the end."""
        cluster = self.cluster
        self._corrupt()
        if self.profile.clocks:
            for node in cluster.nodes:
                node.clock_error_ms = self._chance["script"].randint(
                    -CLOCK_ERROR_MS, CLOCK_ERROR_MS
                )
        for node in cluster.all_nodes():
            cluster.start(node)
        if self._chance["start"].randrange(4) and not self.profile.genesis:
            cluster.run_for(LOOKBACK_MS)  # Else trouble comes before anybody may sign.
        if self._chance["script"].randrange(3):
            cluster.keep_busy()
        if self.profile.genesis:
            self._crash_at_genesis()
        elif self.profile.absent:
            self._go_on_without_one()
        else:
            self._go_through_trouble()
        self._calm()
        cluster.check()
        self.oracle.at_end()
        heights = max(len(node.app.blocks) for node in cluster.nodes)
        return Outcome(
            cluster.host.digest, heights, cluster.host.events, cluster.now_ms, self._size
        )

    def _go_through_trouble(self) -> None:
        script = self._chance["script"]
        for _ in range(script.randint(3, 10)):
            self.cluster.run_for(script.randint(20, 3_000))
            check_refusals(self.cluster)
            self._quarantine_stopped()
            self._trouble()

    def _corrupt(self) -> None:
        """Make the faulty members what they are: silent, lying, two-faced, or proposing twice."""
        if self.profile.genesis:
            return  # They only lose their journals.
        chance = self._chance["faulty"]
        sorts = ["silent", "liar", "liar", "two-faced", "two-faced"]
        for index in sorted(self._faulty):
            node = self.cluster.nodes[index]
            sort = "twice" if self.profile.orphans else chance.choice(sorts)
            if sort == "twice":
                node.mischief = Twice()
            elif sort == "silent":
                node.mischief = Silent()
            elif sort == "liar":
                node.mischief = Liar(chance, chance.choice([30, 200, 700]))
            else:
                self._split(node)

    def _split(self, node: Node) -> None:
        """Give a member two honest bodies with one key, each talking with its own audience."""
        others = [index for index in range(self._size) if index != node.index]
        chance = self._chance["faulty"]
        side = frozenset(chance.sample(others, chance.randint(1, len(others))))
        twin = self.cluster.make_node(node.index)
        node.audience = side
        both = frozenset(chance.sample(others, chance.randint(0, len(others) - 1)))
        twin.audience = (frozenset(others) - side) | both
        self.cluster.bodies[node.index].append(twin)

    def _trouble(self) -> None:
        """Do one thing of what the profile allows."""
        script = self._chance["script"]
        deeds = []
        if self.profile.weather:
            deeds += [self._cut, self._filter, self._starve, self._slow, self._clear]
        if self.profile.crashes:
            deeds += [self._crash_some, self._crash_some, self._crash_all, self._pause]
        if self.profile.amnesia:
            deeds += [self._forget, self._forget, self._forget_own_block, self._forget_own_block]
        if self.profile.orphans:
            deeds += [self._orphan]
        if deeds:
            script.choice(deeds)()

    def _cut(self) -> None:
        script = self._chance["script"]
        side = frozenset(script.sample(range(self._size), script.randint(1, self._size - 1)))
        self._storm.divide(side, one_way=script.randrange(2) == 0)

    def _filter(self) -> None:
        script = self._chance["script"]
        reaches = frozenset(script.sample(range(self._size), script.randint(0, self._size - 1)))
        until_ms = self.cluster.now_ms + script.randint(500, 4_000)
        for sort in script.sample(SORTS, script.randint(1, 2)):
            self._storm.filters.append(Filter(sort, reaches, until_ms))

    def _starve(self) -> None:
        """Keep every finalization from one member: it sees blocks far above what it knows final."""
        script = self._chance["script"]
        starved = script.randrange(self._size)
        reaches = frozenset(range(self._size)) - {starved}
        until_ms = self.cluster.now_ms + script.randint(2_000, 5_000)
        for sort in ("finalize", "certificate"):
            self._storm.filters.append(Filter(sort, reaches, until_ms))

    def _slow(self) -> None:
        """Let one member's messages take long: it is late for everything."""
        script = self._chance["script"]
        index = script.randrange(self._size)
        slow = Link(delay_ms=script.choice([90, 150, 400]), jitter_ms=20)
        for target in range(self._size):
            self._storm.links[index, target] = slow

    def _clear(self) -> None:
        self._storm.cut = frozenset()
        self._storm.filters = []

    def _crash_some(self) -> None:
        script = self._chance["script"]
        nodes = script.sample(self.cluster.nodes, script.randint(1, self._size))
        self._power_cut(nodes, script.choice([0, 100, 3_000]))

    def _crash_all(self) -> None:
        self._power_cut(self.cluster.nodes, 0)

    def _power_cut(self, nodes: list[Node], dark_ms: int) -> None:
        """Let nodes lose power; of each unsynced tail a random beginning survives."""
        crash = self._chance["crash"]
        for node in nodes:
            unsynced = len(node.journal) - node.synced
            self.cluster.crash(node, kept=crash.randint(0, unsynced))
        self.cluster.run_for(dark_ms)
        for node in nodes:
            self.cluster.restart(node)

    def _forget(self) -> None:
        """Let one member start without the journal and the guard it had, and not know it."""
        node = self._light_member()
        if node is not None:
            self.cluster.crash(node, journal_lost=True)
            self.cluster.run_for(self._chance["script"].choice([0, 200]))
            self.cluster.restart(node)

    def _forget_own_block(self) -> None:
        """Let it lose them in a view that it leads, whose block has left and gets no votes.

        It starts at once and comes back to that view, as its leader, with nothing it promised.
        """
        node = self._light_member()
        if node is None:
            return
        end_ms = self.cluster.now_ms + FORGET_LIMIT_MS
        while not _has_proposed(node) and self.cluster.now_ms < end_ms:
            self.cluster.run_for(1)
        until_ms = self.cluster.now_ms + self._chance["script"].choice([500, 1_500])
        self._storm.filters = [Filter("notarize", frozenset(), until_ms)]
        self.cluster.crash(node, journal_lost=True)
        self.cluster.restart(node)

    def _light_member(self) -> Node | None:
        """Return the first member with less than a third of the power; always the same one."""
        total = sum(self._powers)
        light = [node for node in self.cluster.nodes if 3 * self._powers[node.index] < total]
        return light[0] if light else None

    def _crash_at_genesis(self) -> None:
        """Let all crash again and again, with less than the look-back's time in between.

        Without anybody who loses a journal, all may also begin with keys made elsewhere (C15).
        """
        script = self._chance["script"]
        nodes = self.cluster.nodes
        if not self._faulty and script.randrange(3) == 0:
            for node in nodes:
                node.journal, node.synced = [], 0
            self._crash_all()
        for _ in range(script.randint(1, 6)):
            self.cluster.run_for(script.randint(1, script.choice([50, 400, 4_000])))
            losers = [node for node in nodes if node.index in self._faulty and script.randrange(2)]
            for node in losers:
                self.cluster.crash(node, journal_lost=True)
            self._power_cut(nodes, script.choice([0, 0, 100]))
            self._quarantine_stopped()

    def _go_on_without_one(self) -> None:
        """Let a member be dead for long: soon nobody waits for it, and the pace is what it was."""
        cluster, script = self.cluster, self._chance["script"]
        total = sum(self._powers)
        dead = script.choice(
            [node for node in cluster.nodes if 3 * self._powers[node.index] < total]
        )
        cluster.run_for(script.randint(0, 3_000))
        cluster.crash(dead)
        height = max(len(node.app.blocks) for node in cluster.nodes)
        cluster.run_to_height(height + ABSENT_HEIGHTS, limit_ms=ABSENT_LIMIT_MS)
        for node in cluster.nodes:
            delta_ms = node.core.shared.pace.delta_now_ms
            if node.alive and delta_ms > ABSENT_GROWTH_MAX * self._params.delta_ms:
                raise Violation("C6", f"node {node.index}: Δ_now is {delta_ms} ms, one is dead")
        cluster.restart(dead)

    def _orphan(self) -> None:
        """Let a block be notarized, not finalised, not built upon, and then lost by all.

        Who saw its leader propose twice does not vote to finalise it, so its body is in no
        honest journal; once a later view is nullified, nobody is in its view any more.
        """
        script = self._chance["script"]
        end_ms = self.cluster.now_ms + ORPHAN_LIMIT_MS
        while not self._proposed_twice() and self.cluster.now_ms < end_ms:
            self.cluster.run_for(1)
        until_ms = self.cluster.now_ms + 20_000
        self._storm.filters = [Filter("proposal", frozenset(), until_ms)]
        self.cluster.run_for(script.randint(1_000, 8_000))
        self._crash_all()
        self._storm.filters = []

    def _proposed_twice(self) -> bool:
        """Tell whether every honest member is in a view whose leader it saw propose twice."""
        cores = [self.cluster.nodes[index].core.shared for index in self.honest]
        rounds = [shared.rounds.get(shared.view) for shared in cores]
        return all(round_ is not None and round_.equivocated for round_ in rounds)

    def _quarantine_stopped(self) -> None:
        """Do what the sentence of a stop over a lost journal advises (C15)."""
        for node in self.cluster.nodes:
            forgets = self.profile.amnesia or node.index in self._faulty
            if forgets and node.stopped and "--quarantine" in node.stopped:
                node.stopped = None
                self.cluster.crash(node)
                self.cluster.restart(node, journal_lost=True)

    def _pause(self) -> None:
        script = self._chance["script"]
        self.cluster.pause(script.choice(self.cluster.nodes), script.choice([200, 2_000, 8_000]))

    def _calm(self) -> None:
        """Heal everything but the faulty members; the chain must grow now."""
        if not self.profile.sweep:
            self._storm.clear(Link(delay_ms=10))
        if self.profile.amnesia:
            self.cluster.run_for(10_000)  # Whoever has to stop has stopped by then.
            self._quarantine_stopped()
        height = max(len(node.app.blocks) for node in self.cluster.nodes)
        self.cluster.run_to_height(height + CALM_HEIGHTS, limit_ms=CALM_LIMIT_MS)


def _has_proposed(node: Node) -> bool:
    """Tell whether a member leads its view and its own block of that view has left."""
    shared = node.core.shared
    round_ = shared.rounds.get(shared.view)
    if round_ is None or round_.leader != node.index:
        return False
    vote = round_.promised.get(NOTARIZE)
    return vote is not None and vote.signature in node.durable
