"""What may go wrong in a run, and what is drawn for one before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import msgspec

from chain.params import Params

from .application import PARAMS
from .node import Delays
from .weather import Link


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
    divided: bool = False
    """Honest members stand on rival blocks; see ``divided``."""
    nuisance: str = ""
    """One member does what cannot be proved and costs time; see ``nuisance``."""
    askew: bool = False
    """Clocks of all members differ by up to six tenths of PRECISION."""
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
    "divided": Profile(divided=True),
    "mute": Profile(nuisance="mute"),
    "moody": Profile(nuisance="moody"),
    "keeper": Profile(nuisance="keeper"),
    "ahead": Profile(nuisance="ahead"),
    "askew": Profile(nuisance="ahead", askew=True),
    "fickle": Profile(nuisance="fickle"),
    "forger": Profile(nuisance="forger"),
    "storm": Profile(weather=True, crashes=True),
    "war": Profile(weather=True, faulty=True, clocks=True),
    "everything": Profile(weather=True, crashes=True, faulty=True, clocks=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A committee, its chain and its network, as they are while nothing goes wrong."""

    powers: Sequence[int]
    params: Params
    faulty: frozenset[int]
    """Members with less than a third of the power that need not keep the rules."""
    link: Link
    delays: Delays
    clock_errors_ms: Sequence[int]
    """By how much each member's wall clock is ahead while a nuisance is judged."""

    @property
    def size(self) -> int:
        return len(self.powers)


def draw_shape(profile: Profile, chance: Random) -> Shape:
    """Draw what a run of a profile begins with."""
    size = (
        chance.choice([4, 4, 4, 5, 7])
        if profile.faulty or profile.orphans or profile.absent or profile.nuisance
        else chance.choice([2, 3, 4, 4, 4, 5, 7])
    )
    weighted = chance.randrange(3) == 0
    powers = [chance.randint(1, 5) if weighted else 1 for _ in range(size)]
    params = _draw_params(profile, chance)
    may_be_faulty = profile.faulty or profile.orphans or profile.genesis
    faulty = _draw_faulty(powers, chance) if may_be_faulty else frozenset()
    link = _draw_link(profile, params.delta_ms, chance)
    delays = Delays(
        hop=link.delay_ms,
        sync=chance.choice([0, 0, 4, 20]),
        guard=chance.choice([0, 0, 3]),
        execute=chance.choice([0, 0, 5, 60]),
    )
    error_ms = params.precision_ms * 3 // 10 if profile.askew else 0
    return Shape(
        powers=powers, params=params, faulty=faulty, link=link, delays=delays,
        clock_errors_ms=[chance.randint(-error_ms, error_ms) for _ in powers],
    )  # fmt: skip


def light_members(shape: Shape) -> list[int]:
    """Return the members with less than a third of the power each: any one of them may fail."""
    total = sum(shape.powers)
    return [index for index, power in enumerate(shape.powers) if 3 * power < total]


def _draw_params(profile: Profile, chance: Random) -> Params:
    epoch_length = chance.choice([3, 7, 20, 100_000])
    if profile.nuisance == "fickle":
        epoch_length = 100_000  # Who is left behind where one ends looks back: once in a long one.
    # A time-out is as long as forty views of a network that does not pause: there even one counts.
    interval = chance.choice([20, 100] if profile.nuisance else [0, 100])
    # Where views have long, a time that is waited for costs no time-out.
    delta = 300 if profile.nuisance == "ahead" and interval == 100 else PARAMS.delta_ms
    return msgspec.structs.replace(
        PARAMS, epoch_length=epoch_length, block_interval_ms_min=interval, delta_ms=delta
    )


def _draw_faulty(powers: Sequence[int], chance: Random) -> frozenset[int]:
    """Return members with less than a third of the power."""
    chosen: set[int] = set()
    for index in chance.sample(range(len(powers)), len(powers)):
        power = sum(powers[other] for other in chosen) + powers[index]
        if 3 * power < sum(powers):
            chosen.add(index)
    return frozenset(chosen)


def _draw_link(profile: Profile, delta_ms: int, chance: Random) -> Link:
    if profile.sweep:
        return Link(delay_ms=delta_ms * chance.randint(1, 20) // 2)
    delay_ms = chance.choice([1, 10, 40])
    if not profile.weather:
        return Link(delay_ms=delay_ms)
    return Link(
        delay_ms=delay_ms,
        jitter_ms=chance.choice([0, 5, 50]),
        tail=chance.choice([0, 20, 100]),
        tail_ms=chance.choice([100, 1_000, 5_000]),
        loss=chance.choice([0, 20, 100, 300]),
        duplicate=chance.choice([0, 20, 300]),
    )
