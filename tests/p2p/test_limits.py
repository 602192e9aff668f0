"""Token buckets keep their promise for every history, in integers."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from p2p.limits import ChannelRate, TokenBucket

from .world import VOTES

STEPS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 500)), min_size=1, max_size=40)


@given(steps=STEPS, per_second=st.integers(1, 10_000), burst=st.integers(0, 1_000))
def test_who_keeps_to_the_waits_stays_below_the_rate(
    steps: list[tuple[int, int]], per_second: int, burst: int
) -> None:
    bucket = TokenBucket(per_second=per_second, burst=burst, now_ms=0)
    now_ms = passed = 0

    for pause_ms, cost in steps:
        now_ms += pause_ms
        passed += cost
        assert (passed - cost - burst) * 1_000 <= now_ms * per_second
        now_ms += bucket.take(cost, now_ms)


@given(per_second=st.integers(1, 10_000), burst=st.integers(0, 100), cost=st.integers(1, 10_000))
def test_the_wait_is_just_long_enough(per_second: int, burst: int, cost: int) -> None:
    bucket = TokenBucket(per_second=per_second, burst=burst, now_ms=5)

    wait_ms = bucket.take(cost, 5)

    missing = max(0, cost - burst) * 1_000
    assert wait_ms * per_second >= missing
    assert wait_ms == 0 or (wait_ms - 1) * per_second < missing


def test_a_bucket_fills_up_to_its_burst_only() -> None:
    bucket = TokenBucket(per_second=10, burst=5, now_ms=0)
    bucket.take(5, 0)

    assert not bucket.is_full(499)
    assert bucket.is_full(500)
    assert bucket.take(5, 1_000_000) == 0
    assert bucket.take(1, 1_000_000) == 100


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = TokenBucket(per_second=1_000, burst=1, now_ms=10)

    assert [bucket.allow(10), bucket.allow(10), bucket.allow(9), bucket.allow(11)] == [
        True,
        False,
        False,
        True,
    ]


def test_a_refusal_costs_nothing() -> None:
    bucket = TokenBucket(per_second=1, burst=1, now_ms=0)
    bucket.allow(0)

    refusals = [bucket.allow(0) for _ in range(1_000)]

    assert not any(refusals)
    assert bucket.allow(1_000)


def test_a_channel_has_a_rate_of_messages_and_one_of_bytes() -> None:
    row = replace(
        VOTES, messages_per_second=10, messages_burst=2, bytes_per_second=100, bytes_burst=50
    )

    assert ChannelRate(row, 0).take(50, 0) == 0
    assert ChannelRate(row, 0).take(60, 0) == 100
    few = ChannelRate(row, 0)
    assert [few.take(0, 0) for _ in range(4)] == [0, 0, 100, 200]
