"""Δ_now grows with my own timeouts only, and the limiter stays bounded (protocol.md C13)."""

from __future__ import annotations

import msgspec
import pytest

from chain.params import Params
from consensus.timers import LIMITER_KEYS_MAX, Limiter, Pace

PARAMS = Params(modules=[], delta_ms=50, block_interval_ms_min=100, heartbeat_ms=2_000)


def test_delta_grows_by_half_and_stops_at_forty() -> None:
    pace = Pace(PARAMS)

    grown = []
    for _ in range(12):
        pace.timer_nullified()
        grown.append(pace.delta_now_ms)

    assert grown[:3] == [75, 113, 170]
    assert grown[-1] == 40 * 50


def test_delta_falls_by_a_thirty_second_and_stops_at_delta() -> None:
    pace = Pace(PARAMS)
    pace.timer_nullified()

    fallen = []
    for _ in range(20):
        pace.view_finalised()
        fallen.append(pace.delta_now_ms)

    assert fallen[:2] == [72, 69]
    assert fallen[-1] == 50


@pytest.mark.parametrize(("took_ms", "after"), [(75, 72), (76, 75)])
def test_delta_stays_while_views_need_more_than_a_quarter_of_their_time(
    took_ms: int, after: int
) -> None:
    pace = Pace(PARAMS)
    pace.timer_nullified()

    pace.view_left(took_ms)
    pace.view_finalised()

    assert pace.delta_now_ms == after


def test_a_delta_of_one_millisecond_can_grow() -> None:
    pace = Pace(msgspec.structs.replace(PARAMS, delta_ms=1))

    pace.timer_nullified()

    assert pace.delta_now_ms == 2


def test_the_timers_add_interval_and_idle() -> None:
    pace = Pace(PARAMS)

    left_ms = pace.interval_left_ms(1_030, 1_000)

    assert left_ms == 70
    assert pace.leader_ms(left_ms, False) == 100 + 70
    assert pace.advance_ms(left_ms, False) == 200 + 70
    assert pace.leader_ms(left_ms, True) == 100 + 70 + 2_000
    assert pace.interval_left_ms(1_200, 1_000) == 0


def test_a_leader_proposes_at_the_interval_or_the_heartbeat() -> None:
    pace = Pace(PARAMS)

    assert pace.propose_at_ms(1_000, False) == 1_100
    assert pace.propose_at_ms(1_000, True) == 3_000


def test_retries_slow_down_to_five_seconds() -> None:
    pace = Pace(PARAMS)

    assert [pace.retry_ms(attempt, False) for attempt in (0, 1, 2, 8, 1_000_000)] == [
        500,
        750,
        1_125,
        5_000,
        5_000,
    ]
    assert pace.retry_ms(0, True) == 2_500


def test_the_limiter_allows_once_per_interval_and_key() -> None:
    limiter = Limiter(1_000)

    assert limiter.allow("a", 0)
    assert not limiter.allow("a", 999)
    assert limiter.allow("b", 999)
    assert limiter.allow("a", 1_000)


def test_the_limiter_forgets_the_oldest_key() -> None:
    limiter = Limiter(1_000)
    for key in range(LIMITER_KEYS_MAX + 1):
        assert limiter.allow(key, 0)

    assert limiter.allow(0, 1)
    assert not limiter.allow(LIMITER_KEYS_MAX, 1)
