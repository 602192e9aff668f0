"""The limits in time, with the time given: silence, dripping, not reading, and what is no fault."""

from __future__ import annotations

import pytest

from chain.errors import Rejected
from p2p.settings import Settings
from p2p.watch import Watch

LIMITS = Settings(ping_ms=100, idle_ms=1_000, message_ms=500)


def watch() -> Watch:
    return Watch(LIMITS, now_ms=0)


def test_it_looks_several_times_within_the_shortest_limit() -> None:
    assert watch().tick_ms == 25
    assert Watch(Settings(ping_ms=1), 0).tick_ms == 1


def test_a_silent_peer_is_refused() -> None:
    quiet = watch()
    quiet.require_progress(1_000, None)

    with pytest.raises(Rejected, match="p2p/Idle"):
        quiet.require_progress(1_001, None)

    quiet.heard(1_001)
    quiet.require_progress(2_001, None)


def test_a_message_that_drips_is_refused() -> None:
    slow = watch()
    slow.waiting(100, partial=True)
    slow.waiting(550, partial=True)
    slow.require_progress(600, None)

    with pytest.raises(Rejected, match="p2p/TooSlow"):
        slow.require_progress(601, None)


def test_a_message_that_is_completed_starts_the_time_anew() -> None:
    steady = watch()
    steady.waiting(100, partial=True)
    steady.heard(500)
    steady.waiting(500, partial=True)

    steady.require_progress(1_000, None)
    steady.waiting(1_000, partial=False)
    steady.require_progress(1_500, None)


def test_a_peer_that_is_not_read_is_not_to_blame() -> None:
    waiting = watch()
    waiting.waiting(0, partial=True)
    waiting.paused = True
    waiting.require_progress(10_000, None)

    waiting.resume(10_000)
    waiting.waiting(10_000, partial=True)
    waiting.require_progress(10_500, None)

    with pytest.raises(Rejected, match="p2p/TooSlow"):
        waiting.require_progress(10_501, None)


def test_a_peer_that_reads_too_little_is_refused_even_while_it_is_not_read() -> None:
    stuck = watch()
    stuck.paused = True
    stuck.require_progress(1_100, 100)

    with pytest.raises(Rejected, match="p2p/NotReading"):
        stuck.require_progress(1_101, 100)
