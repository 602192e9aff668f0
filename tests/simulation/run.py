"""One run, drawn from a seed and judged: first trouble, then a calm end that must finalise.

A run has two phases. In the first everything the profile allows goes wrong, and the oracle judges
every step. Then links heal and honest nodes live; now the chain has to grow within a bound.
Each concern draws from a stream of its own, so a new fault does not reshuffle the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from consensus.timers import LOOKBACK_MS

from .application import GENESIS_HASH, GENESIS_TIME_MS
from .checks import check_refusals
from .cluster import Cluster
from .divided import Divided
from .keys import fake_verify, make_committee
from .nuisance import require_pace
from .oracle import Oracle
from .profiles import PROFILES, Profile, Shape, draw_shape, light_members
from .trouble import CLOCK_ERROR_MS, Trouble
from .weather import Link, Storm

CALM_HEIGHTS = 10
"""Heights that must become final in the calm phase."""
CALM_LIMIT_MS = 240_000
"""Virtual time for them: every member may lead a few views at the slowest pace in between."""
CONCERNS = ("shape", "weather", "script", "crash", "faulty", "start")


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
    """One run: its streams, its cluster, and the trouble that it gets into."""

    def __init__(self, seed: int, profile: Profile) -> None:
        self.profile = profile
        self._chance = {concern: Random(f"{seed} {concern}") for concern in CONCERNS}
        self._shape = shape = draw_shape(profile, self._chance["shape"])
        self.honest = frozenset(range(shape.size)) - shape.faulty
        self._storm = Storm(shape.size, self._chance["weather"], shape.link)
        self.oracle = self._make_oracle(shape)
        self.cluster = Cluster(
            shape.powers, shape.params, shape.delays,
            weather=self._storm, oracle=self.oracle, honest=self.honest, start=False,
        )  # fmt: skip
        self._trouble = Trouble(profile, shape, self._chance, self.cluster, self._storm)

    def _make_oracle(self, shape: Shape) -> Oracle:
        return Oracle(
            GENESIS_HASH,
            make_committee(shape.powers),
            self.honest,
            fake_verify,
            params=shape.params,
            precision_ms=shape.params.precision_ms,
            genesis_time_ms=GENESIS_TIME_MS,
            max_clock_error_ms=CLOCK_ERROR_MS if self.profile.clocks else 0,
        )

    def play(self) -> Outcome:
        """Run both phases and the checks at the end."""
        if self.profile.nuisance:
            culprit = self._chance["faulty"].choice(light_members(self._shape))
            chance = self._chance["script"]
            return self._outcome(require_pace(self._shape, self.profile.nuisance, culprit, chance))
        if self.profile.divided:
            return self._outcome(self._divide())
        cluster = self.cluster
        self._trouble.corrupt()
        if self.profile.clocks:
            self._trouble.set_clocks()
        for node in cluster.all_nodes():
            cluster.start(node)
        if self._chance["start"].randrange(4) and not self.profile.genesis:
            cluster.run_for(LOOKBACK_MS)  # Else trouble comes before anybody may sign.
        if self._chance["script"].randrange(3):
            cluster.keep_busy()
        self._go_through_trouble()
        self._calm()
        cluster.check()
        self.oracle.at_end()
        return self._outcome(cluster)

    def _outcome(self, cluster: Cluster) -> Outcome:
        heights = max(len(node.app.blocks) for node in cluster.nodes)
        return Outcome(
            cluster.host.digest, heights, cluster.host.events, cluster.now_ms, self._shape.size
        )

    def _divide(self) -> Cluster:
        divided = Divided(self._shape.delays)
        divided.divide()
        assert divided.is_divided()
        divided.heal()
        divided.cluster.run_to_height(CALM_HEIGHTS, limit_ms=CALM_LIMIT_MS)
        divided.cluster.check()
        return divided.cluster

    def _go_through_trouble(self) -> None:
        if self.profile.genesis:
            self._trouble.crash_at_genesis()
            return
        if self.profile.absent:
            self._trouble.go_on_without_one()
            return
        script = self._chance["script"]
        for _ in range(script.randint(3, 10)):
            self.cluster.run_for(script.randint(20, 3_000))
            check_refusals(self.cluster)
            self._trouble.quarantine_stopped()
            self._trouble.make()

    def _calm(self) -> None:
        """Heal everything but the faulty members; the chain must grow now."""
        if not self.profile.sweep:
            self._storm.clear(Link(delay_ms=10))
        if self.profile.amnesia:
            self.cluster.run_for(10_000)  # Whoever has to stop has stopped by then.
            self._trouble.quarantine_stopped()
        height = max(len(node.app.blocks) for node in self.cluster.nodes)
        self.cluster.run_to_height(height + CALM_HEIGHTS, limit_ms=CALM_LIMIT_MS)
