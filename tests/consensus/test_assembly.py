"""Choosing a block's transactions, and blocks as short ids (protocol.md C16, C17)."""

from __future__ import annotations

import pytest

from chain.block import Block, Body, Proposal, transaction_root
from chain.errors import Rejected
from chain.params import Params
from chain.transaction import SignedBody
from consensus.assembly import (
    UNITS_MIN,
    Assembly,
    ExecutionRate,
    Missing,
    Reassembly,
    compact,
    envelopes,
)
from consensus.mempool import Mempool, Waiting

from ..chain.votes import header
from .pooling import BOB, PARAMS, Ledger, envelope_of, waiting


def pool_of(*transactions: Waiting) -> Mempool:
    pool = Mempool(Ledger(), PARAMS)
    for tx in transactions:
        pool.add(tx, 0, 0)
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
    assert [tx.units for tx in choose(pool, units_max=50)] == [30]
    assert choose(pool, bytes_max=10) == []


def test_a_leader_proposes_what_it_lately_executed_in_a_second() -> None:
    rate = ExecutionRate(Params(modules=[]))
    assert rate.units_max() == 250_000

    for _ in range(20):
        rate.executed(100_000, 2_000)

    assert rate.units_max() == pytest.approx(50_000, rel=0.02)
    rate.executed(10, 10_000)
    assert rate.units_max() == pytest.approx(50_000, rel=0.02)
    for _ in range(30):
        rate.executed(UNITS_MIN, 100_000)
    assert rate.units_max() == UNITS_MIN


LABELS = [b"one", b"two+", b"three", b"four+"]


def make_proposal() -> tuple[Proposal, list[Waiting]]:
    pending = [waiting(label=label, lane=i) for i, label in enumerate(LABELS)]
    chosen = [envelope_of(label) for label in LABELS]
    transactions = [SignedBody(item.body, item.signatures) for item in chosen]
    root = transaction_root([tx.id for tx in pending])
    proposal = Proposal(
        header(tx_root=root),
        Body(None, transactions, []),
        [item.attachments for item in chosen],
        bytes(64),
        [],
    )
    return proposal, pending


def test_a_proposal_of_known_transactions_needs_nothing_more() -> None:
    proposal, pending = make_proposal()
    block = Block(proposal.header, proposal.body)

    reassembly = Reassembly(
        compact(proposal, block.transaction_ids), pool_of(*pending).with_short_id
    )

    assert reassembly.missing() is None
    assert reassembly.proposal() == proposal


def test_unknown_transactions_are_asked_for_by_index() -> None:
    proposal, pending = make_proposal()
    message = compact(proposal, [tx.id for tx in pending])
    reassembly = Reassembly(message, pool_of(pending[0], pending[2]).with_short_id)

    assert reassembly.missing() == Missing((1, 3), False)
    reassembly.take_transactions((1, 3), envelopes(proposal, (1, 3)))

    assert reassembly.missing() is None
    assert reassembly.proposal() == proposal


def test_an_ambiguous_short_id_is_asked_for() -> None:
    proposal, pending = make_proposal()
    message = compact(proposal, [tx.id for tx in pending])

    reassembly = Reassembly(message, lambda short_id: [pending[0], pending[1]])

    assert reassembly.missing() == Missing((0, 1, 2, 3), False)


def test_a_twin_in_the_pool_is_found_out_by_the_full_ids() -> None:
    proposal, pending = make_proposal()
    ids = [tx.id for tx in pending]
    twin = waiting(label=b"twin", lane=9)
    known = {tx.id[:8]: tx for tx in pending} | {ids[2][:8]: twin}
    reassembly = Reassembly(compact(proposal, ids), lambda short_id: [known[short_id]])

    assert reassembly.missing() == Missing((), True)
    reassembly.take_ids(ids)
    assert reassembly.missing() == Missing((2,), False)
    reassembly.take_transactions((2,), envelopes(proposal, (2,)))

    assert reassembly.proposal() == proposal


def test_ids_that_do_not_hash_to_the_root_are_refused() -> None:
    proposal, pending = make_proposal()
    ids = [tx.id for tx in pending]
    reassembly = Reassembly(compact(proposal, ids), lambda short_id: [])

    for wrong in (ids[:3], ids[::-1], [*ids, ids[0]]):
        with pytest.raises(Rejected, match="compact/Ids"):
            reassembly.take_ids(wrong)


def test_transactions_nobody_asked_for_are_refused() -> None:
    proposal, pending = make_proposal()
    message = compact(proposal, [tx.id for tx in pending])
    reassembly = Reassembly(message, lambda short_id: [])

    for answer in (envelopes(proposal, (1, 0)), envelopes(proposal, (0,))):
        with pytest.raises(Rejected, match="compact/Transactions"):
            reassembly.take_transactions((0, 1), answer)

    assert reassembly.missing() == Missing((0, 1, 2, 3), False)


def test_an_index_out_of_range_is_answered_with_nothing() -> None:
    proposal, _ = make_proposal()

    assert envelopes(proposal, (4,)) == []
