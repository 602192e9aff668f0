"""Choosing a block's transactions (protocol.md C16)."""

from __future__ import annotations

import pytest

from chain.params import Params
from consensus.assembly import (
    UNITS_MIN,
    Assembly,
    ExecutionRate,
)
from consensus.mempool import Mempool
from consensus.waiting import Used, Waiting

from .pooling import BOB, PARAMS, SPONSOR, Ledger, admit, waiting


def pool_of(*transactions: Waiting) -> Mempool:
    pool = Mempool(Ledger(), PARAMS)
    for tx in transactions:
        admit(pool, tx)
    return pool


def choose(pool: Mempool, **limits: int) -> list[Waiting]:
    bounds = {"units_max": 10**6, "bytes_max": 10**6} | limits
    assembly = Assembly(pool, following={}, time_ms=0, **bounds)
    chosen = []
    while (tx := assembly.next()) is not None:
        chosen.append(tx)
        assembly.included(tx)
    return chosen


def test_the_best_tip_per_unit_comes_first_and_lanes_stay_in_order() -> None:
    cheap, dear = waiting(0, tip=10), waiting(1, tip=900)
    middle, heavy = waiting(0, sender=BOB, tip=50), waiting(0, lane=7, tip=60, units=1_000)

    assert choose(pool_of(cheap, dear, middle, heavy)) == [middle, cheap, dear, heavy]


def test_of_equal_payers_lanes_take_turns_in_the_order_they_came() -> None:
    first = [waiting(seq, tip=5) for seq in range(3)]
    second = [waiting(seq, sender=BOB, tip=5) for seq in range(2)]

    assert choose(pool_of(*first, *second)) == [
        first[0], second[0], first[1], second[1], first[2],
    ]  # fmt: skip


def test_what_leaves_the_pool_meanwhile_does_not_disturb_the_choice() -> None:
    lanes = [waiting(0, lane=lane, tip=tip) for lane, tip in enumerate((9, 7, 5))]
    pool = pool_of(*lanes)
    assembly = Assembly(pool, following={}, time_ms=0, units_max=10**6, bytes_max=10**6)

    assert assembly.next() == lanes[0]
    admit(pool, waiting(0, lane=2, tip=4_000))
    pool.committed([Used(lanes[1].sender, 1, 0)], 0)
    assembly.included(lanes[0])

    assert [assembly.next(), assembly.next(), assembly.next()] == [lanes[1], lanes[2], None]


def test_a_refused_transaction_holds_its_lane_back() -> None:
    lane = [waiting(0, tip=5), waiting(1, tip=5)]
    other = waiting(0, sender=BOB)
    assembly = Assembly(
        pool_of(*lane, other), following={}, time_ms=0, units_max=10**6, bytes_max=10**6
    )

    assert [assembly.next(), assembly.next(), assembly.next()] == [lane[0], other, None]


def test_units_and_bytes_bound_a_block() -> None:
    pool = pool_of(waiting(0, tip=9, units=80), waiting(0, sender=BOB, tip=1, units=30))

    assert [tx.units for tx in choose(pool, units_max=100)] == [80]
    admit(pool, waiting(0, sender=SPONSOR, units=15))
    assert [tx.units for tx in choose(pool, units_max=100)] == [80, 15]
    assert choose(pool, bytes_max=10) == []


def test_a_transaction_larger_than_a_slow_leaders_blocks_has_one_for_itself() -> None:
    large, small = waiting(0, tip=900, units=50_000, max_fee=60_000), waiting(0, sender=BOB, tip=1)
    pool = pool_of(large, small)

    assert choose(pool, units_max=25_000) == [large]
    assert choose(pool_of(small, large), units_max=60_000) == [large, small]


def test_a_leader_proposes_what_it_lately_executed_in_sixty_milliseconds() -> None:
    rate = ExecutionRate(Params(modules=[]))
    assert rate.units_max() == 15_000

    for _ in range(20):
        rate.executed(200_000, 1_000)

    assert rate.units_max() == pytest.approx(12_000, rel=0.02)
    rate.executed(10, 10_000)
    assert rate.units_max() == pytest.approx(12_000, rel=0.02)
    for _ in range(30):
        rate.executed(UNITS_MIN, 100_000)
    assert rate.units_max() == UNITS_MIN
