"""What /health says, and when; and what the log says of refused proposals.

The application and the host are real and do not run; time passes when the test says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import msgspec
import pytest

from chain.certificate import Evidence
from chain.vote import NOTARIZE, Vote
from colophon.clock import Clock
from colophon.health import Health
from colophon.reports import Reports
from consensus.effects import ProposalRefused, ReportEvidence
from state.families import REGISTRY
from state.machine import StateMachine
from tests.state.memory_store import MemoryStore

from .applications import application_above
from .hosted import START_MS, Hosted, VirtualLoop, genesis_of
from .recording_disk import RecordingDisk

HEARTBEAT_MS = 2_000


class SetClock(Clock):
    time_ms = 0

    def now_ms(self) -> int:
        return 1_000_000 + self.time_ms

    def wall_ms(self) -> int:
        return START_MS + self.time_ms + self.offset_ms


class World:
    """As much of a node as health looks at; fills in for its host and its router."""

    def __init__(self, heartbeat_ms: int = HEARTBEAT_MS) -> None:
        self.clock = SetClock()
        genesis = genesis_of(4)
        params = msgspec.structs.replace(
            genesis.params, heartbeat_ms=heartbeat_ms, block_interval_ms_min=heartbeat_ms
        )
        genesis = msgspec.structs.replace(genesis, params=params)
        machine = StateMachine(MemoryStore(), genesis, REGISTRY)
        self.application = application_above(machine, self.clock)
        self.reports = Reports(self.clock)
        self.stop_reason = ""
        self.connected_power = 4
        self.absent = 0
        self.target = 0
        self.health = Health(self.application, self, self, self.clock)  # type: ignore[arg-type]

    @property
    def catching_up(self) -> World:
        return self

    def block(self) -> None:
        """Let a block become final."""
        for listener in self.application.listeners:
            listener(None, [], None)  # type: ignore[arg-type]
        self.reports.block_final()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.application.close()


def refusal(leader: int, code: str = "block/Time", view: int = 1) -> ProposalRefused:
    return ProposalRefused(leader, view, code, "the block's time lies 3600000 ms ahead of …")


def test_a_chain_that_has_stood_for_two_heartbeats_is_not_healthy(world: World) -> None:
    world.block()
    world.clock.time_ms = 2 * HEARTBEAT_MS
    assert world.health.reason() == ""

    world.clock.time_ms += 1

    assert world.health.reason() == "no block for 4 s"


def test_a_chain_of_quick_blocks_that_stands_says_for_how_many_milliseconds() -> None:
    world = World(heartbeat_ms=300)
    world.block()
    world.clock.time_ms = 601

    assert world.health.reason() == "no block for 601 ms"
    world.application.close()


def test_turns_of_leaders_that_are_not_there_are_waited_for(world: World) -> None:
    world.connected_power, world.absent = 3, 1
    world.block()
    world.clock.time_ms = 3 * HEARTBEAT_MS
    assert world.health.reason() == ""

    world.clock.time_ms += 1

    assert world.health.reason() == "no block for 6 s"


def test_a_chain_that_never_began_is_not_healthy_either(world: World) -> None:
    world.clock.time_ms = 2 * HEARTBEAT_MS + 1

    assert world.health.reason() == "no block for 4 s"


def test_a_wall_clock_that_is_wrong_does_not_make_the_chain_look_alive(world: World) -> None:
    world.block()
    world.clock.time_ms = 2 * HEARTBEAT_MS + 1
    world.clock.offset_ms = -world.clock.time_ms

    assert world.health.reason() == "no block for 4 s"


def test_a_chain_that_stands_over_refused_proposals_names_leaders_and_reasons(
    world: World,
) -> None:
    world.block()
    world.reports.proposal_refused(refusal(2))
    world.reports.proposal_refused(refusal(1, "block/Kind"))
    assert world.health.reason() == "", "one bad leader does not hold up a chain"
    world.clock.time_ms = 2 * HEARTBEAT_MS + 1

    said = world.health.reason()

    assert "validator 1 was refused: block/Kind" in said
    assert "validator 2 was refused: block/Time: the block's time lies 3600000 ms ahead" in said
    world.block()
    assert world.health.reason() == ""


def test_a_minority_that_was_cut_off_says_so_within_two_heartbeats(world: World) -> None:
    world.block()
    world.connected_power, world.absent = 2, 2
    world.clock.time_ms = 2 * HEARTBEAT_MS + 1

    assert world.health.reason().startswith("validators with 2 of 4 votes are connected")


def test_a_minority_whose_connections_still_look_open_says_so_as_soon(world: World) -> None:
    world.block()
    world.clock.time_ms = 2 * HEARTBEAT_MS + 1

    assert world.health.reason()


def test_whoever_gets_blocks_through_others_does_not_say_that_none_can_be_final(
    world: World,
) -> None:
    world.connected_power = 2
    assert "no block can become final" in world.health.reason(), "nothing has come since the start"

    for _ in range(20):
        world.block()
        assert world.health.reason() == ""
        world.clock.time_ms += HEARTBEAT_MS


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_refused_proposal_is_logged_once_a_minute_for_leader_and_code(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "colophon.consensus")

    for view in range(100):
        world.reports.proposal_refused(refusal(2, view=view))
        world.reports.proposal_refused(refusal(2, "block/Kind", view))
        world.reports.proposal_refused(refusal(3, view=view))

    assert [line.split(" reason=")[0] for line in lines(caplog)] == [
        "proposal_refused leader=2 view=0 code=block/Time",
        "proposal_refused leader=2 view=0 code=block/Kind",
        "proposal_refused leader=3 view=0 code=block/Time",
    ]
    world.clock.time_ms += 60_000
    world.reports.proposal_refused(refusal(2, view=100))
    assert len(lines(caplog)) == 4


def test_what_the_core_refuses_is_logged_and_kept_until_a_block_is_final(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "colophon.consensus")

    async def deliver_a_proposal_an_hour_ahead() -> None:
        hosted.host.deliver(b"peer", hosted.proposal_of_leader(1, START_MS + 3_600_000))
        await hosted.run_until(lambda: bool(hosted.host.reports.refused))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        hosted = Hosted(RecordingDisk(), members=4)
        runner.run(deliver_a_proposal_an_hour_ahead())

    (line,) = lines(caplog)
    (leader,) = hosted.host.reports.refused
    assert leader != 0
    assert line.startswith(f"proposal_refused leader={leader} view=1 code=block/Time reason=")
    for listener in hosted.application.listeners:
        listener(None, [], None)  # type: ignore[arg-type]
    assert not hosted.host.reports.refused


def test_a_member_that_signs_twice_in_every_view_does_not_fill_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def report(signer: int, view: int) -> ReportEvidence:
        one, other = (Vote(NOTARIZE, 0, view, bytes([n]) * 32, signer, bytes(64)) for n in (1, 2))
        return ReportEvidence(Evidence(one, other))

    for view in range(1, 100):
        world.reports.equivocation(report(3, view))
        world.reports.equivocation(report(1, view))

    assert lines(caplog) == [
        "equivocation_seen fault=(0, 1, 3)",
        "equivocation_seen fault=(0, 1, 1)",
    ]
