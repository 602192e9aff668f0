"""What leaves the host survives a power cut (docs/protocol.md C4, C8, C15, J3–J9).

``hosted`` looks at the disk at every vote that leaves or is counted; here it is made to happen.
"""

from __future__ import annotations

import asyncio
import errno
from typing import cast

import pytest

from chain.errors import DiskFault
from chain.vote import FINALIZE, NOTARIZE, NULLIFY, Vote
from consensus import effects as fx
from consensus import events as ev
from consensus.core import Core
from consensus.journal import VoteRecord
from consensus.messages import VoteMessage

from .hosted import SLOW_TURNS, START_MS, Hosted, VirtualLoop, play
from .recording_disk import RecordingDisk

HEIGHTS = 12


def test_what_a_lone_validator_says_survives_a_power_cut() -> None:
    hosted = Hosted(RecordingDisk(), members=1)
    machine = hosted.application.machine

    play(hosted, lambda: machine.head.height >= HEIGHTS)

    assert {vote.kind for vote in hosted.released} == {NOTARIZE, FINALIZE}
    removed = [name for what, name in hosted.disk.operations if what == "remove"]
    assert len(removed) > 2, "files came and went meanwhile"


def test_what_gives_a_view_up_survives_a_power_cut() -> None:
    hosted = Hosted(RecordingDisk(), members=4)

    play(hosted, lambda: any(vote.kind == NULLIFY for vote in hosted.released))


def test_after_a_power_cut_it_goes_on() -> None:
    first = Hosted(RecordingDisk(), members=1)
    machine = first.application.machine
    play(first, lambda: machine.head.height >= 3)

    second = Hosted(first.disk.after_power_cut(), members=1, store=machine.store)
    second.released = first.released
    second.clock.offset_ms = machine.head.time_ms - START_MS
    play(second, lambda: second.application.machine.head.height >= 6)


class Echo:
    """A core that promises every vote it is sent, and says it when that is durable."""

    def __init__(self, core: Core) -> None:
        self.shared = core.shared
        self._core = core
        self._token = 0

    def handle(self, event: ev.AnyEvent) -> list[fx.Effect]:
        if isinstance(event, ev.Started):
            self._core.handle(event)
        if not isinstance(event, ev.MessageReceived) or not isinstance(event.message, VoteMessage):
            return []
        self._token += 1
        records = (VoteRecord(event.message.vote),)
        return [fx.Persist(records, sync=True, token=self._token), fx.Broadcast(event.message)]


@pytest.mark.parametrize("turns", range(3 * SLOW_TURNS))
@pytest.mark.parametrize(
    "kinds",
    [(NULLIFY, NULLIFY, NULLIFY), (NOTARIZE, NULLIFY, NOTARIZE), (NOTARIZE, NOTARIZE, NULLIFY)],
)
def test_promises_made_while_the_disk_works_survive_a_power_cut(
    kinds: tuple[int, ...], turns: int
) -> None:
    """The next come after so many turns of the loop, in every stage of the first."""
    hosted = Hosted(RecordingDisk(), members=4)
    hosted.host.core = cast(Core, Echo(hosted.host.core))

    async def run() -> None:
        running = asyncio.create_task(hosted.run_until(lambda: len(hosted.released) == len(kinds)))
        await asyncio.sleep(0)
        me = hosted.host.core.shared.me
        assert me is not None
        for number, kind in enumerate(kinds):
            block_id = None if kind == NULLIFY else bytes(32)
            vote = Vote(kind, 0, number + 1, block_id, me, bytes(64))
            hosted.host.deliver(b"", VoteMessage(vote))
            for _ in range(0 if number else turns):
                await asyncio.sleep(0)
        await running

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())

    assert [vote.kind for vote in hosted.released] == list(kinds)


@pytest.mark.parametrize("what", ["write", "sync"])
@pytest.mark.parametrize("suffix", [".journal", "guard"])
@pytest.mark.parametrize("after", [0, 5])
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "home/DiskFull"),
        (errno.EDQUOT, "home/DiskFull"),
        (errno.EIO, "home/DiskRefused"),
        (errno.EROFS, "home/DiskRefused"),
    ],
)
def test_a_disk_that_says_no_ends_the_host_before_anything_leaves(
    what: str, suffix: str, number: int, code: str, after: int
) -> None:
    hosted = Hosted(RecordingDisk(), members=1)
    hosted.disk.refuse(what, suffix, number, after=after)

    with pytest.raises(DiskFault) as fault:
        play(hosted, lambda: hosted.application.machine.head.height >= HEIGHTS)

    assert fault.value.code == code
    if after == 0:
        promised = {vote.kind for vote in hosted.released}
        assert promised == ({NOTARIZE} if (suffix, what) == ("guard", "sync") else set())
