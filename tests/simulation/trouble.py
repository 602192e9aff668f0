"""What goes wrong in a run: who lies, who crashes, who forgets, and what is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from chain.vote import NOTARIZE

from .cluster import Cluster
from .faulty import Liar, Silent, Twice
from .node import Node
from .profiles import Profile, Shape, light_members
from .violation import Violation
from .weather import SORTS, Filter, Link, Storm

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


class Trouble:
    """Makes the trouble that a profile allows, drawn from the streams of a run."""

    def __init__(
        self,
        profile: Profile,
        shape: Shape,
        chance: Mapping[str, Random],
        cluster: Cluster,
        storm: Storm,
    ) -> None:
        self._profile = profile
        self._shape = shape
        self._size = shape.size
        self._chance = chance
        self._cluster = cluster
        self._storm = storm

    def corrupt(self) -> None:
        """Make the faulty members what they are: silent, lying, two-faced, or proposing twice."""
        if self._profile.genesis:
            return  # They only lose their journals.
        chance = self._chance["faulty"]
        sorts = ["silent", "liar", "liar", "two-faced", "two-faced"]
        for index in sorted(self._shape.faulty):
            node = self._cluster.nodes[index]
            self._cluster.make_faulty(node)
            sort = "twice" if self._profile.orphans else chance.choice(sorts)
            if sort == "twice":
                node.mischief = Twice()
            elif sort == "silent":
                node.mischief = Silent()
            elif sort == "liar":
                node.mischief = Liar(chance, chance.choice([30, 200, 700]))
            else:
                self._split(node)

    def set_clocks(self) -> None:
        """Set every clock a little wrong."""
        for node in self._cluster.nodes:
            node.clock_error_ms = self._chance["script"].randint(-CLOCK_ERROR_MS, CLOCK_ERROR_MS)

    def make(self) -> None:
        """Do one thing of what the profile allows."""
        script = self._chance["script"]
        deeds = []
        if self._profile.weather:
            deeds += [self._cut, self._filter, self._starve, self._slow, self._clear]
        if self._profile.crashes:
            deeds += [self._crash_some, self._crash_some, self._crash_all, self._pause]
        if self._profile.amnesia:
            deeds += [self._forget, self._forget, self._forget_own_block, self._forget_own_block]
        if self._profile.orphans:
            deeds += [self._orphan]
        if deeds:
            script.choice(deeds)()

    def crash_at_genesis(self) -> None:
        """Let all crash again and again, with less than the look-back's time in between.

        Without anybody who loses a journal, all may also begin with keys made elsewhere (C15).
        """
        script = self._chance["script"]
        nodes = self._cluster.nodes
        if not self._shape.faulty and script.randrange(3) == 0:
            for node in nodes:
                node.journal, node.synced = [], 0
            self._crash_all()
        for _ in range(script.randint(1, 6)):
            self._cluster.run_for(script.randint(1, script.choice([50, 400, 4_000])))
            losers = [
                node for node in nodes if node.index in self._shape.faulty and script.randrange(2)
            ]
            for node in losers:
                self._cluster.crash(node, journal_lost=True)
            self._power_cut(nodes, script.choice([0, 0, 100]))
            self.quarantine_stopped()

    def go_on_without_one(self) -> None:
        """Let a member be dead for long: soon nobody waits for it, and the pace is what it was."""
        cluster, script = self._cluster, self._chance["script"]
        dead = cluster.nodes[script.choice(light_members(self._shape))]
        cluster.run_for(script.randint(0, 3_000))
        cluster.crash(dead)
        height = max(len(node.app.blocks) for node in cluster.nodes)
        cluster.run_to_height(height + ABSENT_HEIGHTS, limit_ms=ABSENT_LIMIT_MS)
        for node in cluster.nodes:
            delta_ms = node.core.shared.pace.delta_now_ms
            if node.alive and delta_ms > ABSENT_GROWTH_MAX * self._shape.params.delta_ms:
                raise Violation("C6", f"node {node.index}: Δ_now is {delta_ms} ms, one is dead")
            waited = [
                view
                for view, round_ in node.core.shared.rounds.items()
                if node.alive and round_.leader == dead.index and round_.timed_out
            ]
            if waited:
                raise Violation("C6", f"node {node.index} waited for the dead in views {waited}")
        cluster.restart(dead)

    def quarantine_stopped(self) -> None:
        """Do what the sentence of a stop over a lost journal advises (C15)."""
        for node in self._cluster.nodes:
            forgets = self._profile.amnesia or node.index in self._shape.faulty
            if forgets and node.stopped and "--quarantine" in node.stopped:
                node.stopped = None
                self._cluster.crash(node)
                self._cluster.restart(node, journal_lost=True)

    def _split(self, node: Node) -> None:
        """Give a member two honest bodies with one key, each talking with its own audience."""
        others = [index for index in range(self._size) if index != node.index]
        chance = self._chance["faulty"]
        side = frozenset(chance.sample(others, chance.randint(1, len(others))))
        twin = self._cluster.make_node(node.index)
        node.audience = side
        both = frozenset(chance.sample(others, chance.randint(0, len(others) - 1)))
        twin.audience = (frozenset(others) - side) | both
        self._cluster.make_faulty(twin)
        self._cluster.bodies[node.index].append(twin)

    def _cut(self) -> None:
        script = self._chance["script"]
        side = frozenset(script.sample(range(self._size), script.randint(1, self._size - 1)))
        self._storm.divide(side, one_way=script.randrange(2) == 0)

    def _filter(self) -> None:
        script = self._chance["script"]
        reaches = frozenset(script.sample(range(self._size), script.randint(0, self._size - 1)))
        until_ms = self._cluster.now_ms + script.randint(500, 4_000)
        for sort in script.sample(SORTS, script.randint(1, 2)):
            self._storm.filters.append(Filter(sort, reaches, until_ms))

    def _starve(self) -> None:
        """Keep every finalization from one member: it sees blocks far above what it knows final."""
        script = self._chance["script"]
        starved = script.randrange(self._size)
        reaches = frozenset(range(self._size)) - {starved}
        until_ms = self._cluster.now_ms + script.randint(2_000, 5_000)
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
        nodes = script.sample(self._cluster.nodes, script.randint(1, self._size))
        self._power_cut(nodes, script.choice([0, 100, 3_000]))

    def _crash_all(self) -> None:
        self._power_cut(self._cluster.nodes, 0)

    def _pause(self) -> None:
        script = self._chance["script"]
        self._cluster.pause(script.choice(self._cluster.nodes), script.choice([200, 2_000, 8_000]))

    def _power_cut(self, nodes: list[Node], dark_ms: int) -> None:
        """Let nodes lose power; of each unsynced tail a random beginning survives."""
        crash = self._chance["crash"]
        for node in nodes:
            unsynced = len(node.journal) - node.synced
            self._cluster.crash(node, kept=crash.randint(0, unsynced))
        self._cluster.run_for(dark_ms)
        for node in nodes:
            self._cluster.restart(node)

    def _forget(self) -> None:
        """Let one member start without the journal and the guard it had, and not know it."""
        node = self._light_member()
        if node is not None:
            self._cluster.crash(node, journal_lost=True)
            self._cluster.run_for(self._chance["script"].choice([0, 200]))
            self._cluster.restart(node)

    def _forget_own_block(self) -> None:
        """Let it lose them in a view that it leads, whose block has left and gets no votes.

        It starts at once and comes back to that view, as its leader, with nothing it promised.
        """
        node = self._light_member()
        if node is None:
            return
        end_ms = self._cluster.now_ms + FORGET_LIMIT_MS
        while not _has_proposed(node) and self._cluster.now_ms < end_ms:
            self._cluster.run_for(1)
        until_ms = self._cluster.now_ms + self._chance["script"].choice([500, 1_500])
        self._storm.filters = [Filter("notarize", frozenset(), until_ms)]
        self._cluster.crash(node, journal_lost=True)
        self._cluster.restart(node)

    def _light_member(self) -> Node | None:
        """Return the first member with less than a third of the power; always the same one."""
        light = light_members(self._shape)
        return self._cluster.nodes[light[0]] if light else None

    def _orphan(self) -> None:
        """Let a block be notarized, not finalised, not built upon, and then lost by all.

        Who saw its leader propose twice does not vote to finalise it, so its body is in no
        honest journal; once a later view is nullified, nobody is in its view any more.
        """
        script = self._chance["script"]
        end_ms = self._cluster.now_ms + ORPHAN_LIMIT_MS
        while not self._proposed_twice() and self._cluster.now_ms < end_ms:
            self._cluster.run_for(1)
        until_ms = self._cluster.now_ms + 20_000
        self._storm.filters = [Filter("proposal", frozenset(), until_ms)]
        self._cluster.run_for(script.randint(1_000, 8_000))
        self._crash_all()
        self._storm.filters = []

    def _proposed_twice(self) -> bool:
        """Tell whether every honest member is in a view whose leader it saw propose twice."""
        honest = self._cluster.setting.honest
        cores = [self._cluster.nodes[index].core.shared for index in honest]
        rounds = [shared.rounds.get(shared.view) for shared in cores]
        return all(round_ is not None and round_.equivocated for round_ in rounds)


def _has_proposed(node: Node) -> bool:
    """Tell whether a member leads its view and its own block of that view has left."""
    shared = node.core.shared
    round_ = shared.rounds.get(shared.view)
    if round_ is None or round_.leader != node.index:
        return False
    vote = round_.promised.get(NOTARIZE)
    return vote is not None and vote.signature in node.durable
