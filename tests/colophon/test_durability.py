"""What leaves the host survives a power cut (docs/protocol.md C4, C8, C15, J3–J9).

``hosted`` looks at the disk at every vote that leaves or is counted; here it is made to happen.
"""

from __future__ import annotations

import errno

import pytest

from chain.errors import DiskFault
from chain.vote import FINALIZE, NOTARIZE, NULLIFY

from .hosted import START_MS, Hosted, play
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
        assert promised == ({NOTARIZE} if suffix == "guard" else set())
