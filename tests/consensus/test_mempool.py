"""What the pool takes, replaces, and lets go (protocol.md C16)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Rejected
from consensus.departures import SPARE
from consensus.mempool import AGE_MS_MAX, SHORT_MS, Mempool
from consensus.waiting import Used, Waiting

from .pooling import ALICE, BOB, PARAMS, SPONSOR, Ledger, admit, waiting


def pool_of(*transactions: Waiting, ledger: Ledger | None = None, **bounds: int) -> Mempool:
    pool = Mempool(ledger or Ledger(), PARAMS, **bounds)
    for tx in transactions:
        admit(pool, tx)
    return pool


def refuse(pool: Mempool, tx: Waiting, *, wall_ms: int = 0) -> str:
    size, count = pool.bytes, len(pool)
    with pytest.raises(Rejected) as refusal:
        admit(pool, tx, wall_ms=wall_ms)
    assert (pool.bytes, len(pool)) == (size, count)
    return refusal.value.code


def test_a_transaction_is_found_by_id_and_short_id() -> None:
    tx = waiting()
    pool = pool_of(tx)

    assert tx.id in pool and pool.get(tx.id) == tx
    assert pool.with_short_id(tx.id[:8]) == [tx]
    assert (len(pool), pool.bytes) == (1, tx.size)


@pytest.mark.parametrize("seq", [5, 68])
def test_the_window_of_a_lane_begins_at_the_next_seq(seq: int) -> None:
    ledger = Ledger()
    ledger.seqs[ALICE, 3] = 5

    pool_of(waiting(seq, lane=3), ledger=ledger)


@pytest.mark.parametrize(
    ("tx", "code"),
    [
        (waiting(4), "pool/SeqUsed"),
        (waiting(69), "pool/SeqTooFar"),
        (waiting(5, max_fee=99), "pool/FeeTooLow"),
        (waiting(5, max_fee=109, tip=10), "pool/FeeTooLow"),
        (waiting(5, max_fee=10**9 + 1), "pool/PayerShort"),
        (waiting(5, sender=b"\0" + b"n" * 20), "pool/SeqTooFar"),
        (waiting(5, valid_until=999), "pool/Expired"),
    ],
)
def test_what_no_block_would_take_is_refused(tx: Waiting, code: str) -> None:
    ledger = Ledger()
    ledger.seqs = {(ALICE, 0): 5, (b"\0" + b"n" * 20, 0): -64}

    assert refuse(pool_of(ledger=ledger), tx, wall_ms=1_000) == code


def test_a_known_transaction_is_refused() -> None:
    assert refuse(pool_of(waiting()), waiting()) == "pool/Known"


def test_pending_fees_of_a_payer_are_summed() -> None:
    pool = pool_of(waiting(0, max_fee=6 * 10**8))

    assert refuse(pool, waiting(1, max_fee=5 * 10**8)) == "pool/PayerShort"
    admit(pool, waiting(1, max_fee=4 * 10**8))
    admit(pool, waiting(2, max_fee=10**9, sponsor=SPONSOR))


@pytest.mark.parametrize(("tip", "accepted"), [(1_199, False), (1_200, True)])
def test_a_replacement_pays_a_tenth_and_the_floor_more(tip: int, accepted: bool) -> None:
    old, new = waiting(tip=1_000), waiting(tip=tip)
    pool = pool_of(old)

    if accepted:
        assert admit(pool, new) == [old.id]
        assert len(pool) == 1 and new.id in pool and old.id not in pool
    else:
        assert refuse(pool, new) == "pool/Underpriced"


def test_a_replacement_frees_what_the_old_one_owed() -> None:
    pool = pool_of(waiting(max_fee=9 * 10**8))

    admit(pool, waiting(max_fee=9 * 10**8, tip=10**6))


def test_a_full_pool_trades_the_worst_for_a_better_one() -> None:
    cheap, dear = waiting(tip=5), waiting(tip=7, sender=BOB)
    pool = pool_of(cheap, dear, count_max=2)

    assert admit(pool, waiting(0, lane=1, tip=6, sender=BOB)) == [cheap.id]
    assert refuse(pool, waiting(0, lane=2, tip=6, sender=BOB)) == "pool/Full"


def test_what_waits_behind_an_evicted_transaction_leaves_with_it() -> None:
    lane = [waiting(0, tip=9), waiting(1, tip=1), waiting(2, tip=9)]
    pool = pool_of(*lane, count_max=3)

    leaving = admit(pool, waiting(tip=5, sender=BOB))

    assert leaving == [lane[1].id, lane[2].id]


def test_what_waits_for_an_earlier_one_never_fills_the_pool() -> None:
    pool = Mempool(Ledger(), PARAMS, count_max=8)
    for seq in range(1, 6):
        admit(pool, waiting(seq))

    for tx in (waiting(6), waiting(1, lane=1), waiting(1, sender=BOB, tip=9)):
        assert refuse(pool, tx) == "pool/Full"
        with pytest.raises(Rejected, match="pool/Full"):
            pool.require_hope(tx, Ledger().standing(tx), 0)
    for tx in (waiting(0, sender=BOB), waiting(1, sender=BOB), waiting(0)):
        pool.require_hope(tx, Ledger().standing(tx), 0)
        admit(pool, tx)
    assert len(pool) == 8


def test_bytes_of_what_waits_for_an_earlier_one_are_bounded_too() -> None:
    pool = Mempool(Ledger(), PARAMS, bytes_max=4 * waiting(1).size)
    for seq in (1, 2, 3):
        admit(pool, waiting(seq))

    assert refuse(pool, waiting(4)) == "pool/Full"
    admit(pool, waiting(0))


def test_what_waits_behind_an_expired_transaction_leaves_with_it() -> None:
    pool = Mempool(Ledger(), PARAMS)
    first, second = waiting(0, valid_until=10), waiting(1)
    other = waiting(0, sender=BOB)
    for tx in (first, second, other):
        admit(pool, tx)

    assert pool.committed([], 11) == [first.id, second.id]
    assert other.id in pool


def test_bytes_are_bounded_too() -> None:
    first = waiting(tip=1)
    pool = pool_of(first, bytes_max=first.size + 10)

    assert admit(pool, waiting(tip=2, sender=BOB)) == [first.id]


def test_a_commit_removes_used_seqs_and_lets_the_lane_go_on() -> None:
    lane = [waiting(0), waiting(1), waiting(2)]
    other = waiting(0, lane=1)
    pool = pool_of(*lane, other)

    gone = pool.committed([Used(ALICE, 0, 1)], 0)

    assert sorted(gone) == sorted([lane[0].id, lane[1].id])
    assert {kept.tx for kept in pool.heads({}, 0)} == {lane[2], other}


def test_a_commit_removes_what_expired() -> None:
    soon, late = waiting(0, valid_until=500), waiting(0, lane=1, valid_until=501)
    pool = pool_of(soon, late)

    assert pool.committed([], 501) == [soon.id]
    assert late.id in pool


def test_an_unpayable_transaction_leaves_after_a_minute() -> None:
    ledger = Ledger()
    tx = waiting()
    pool = pool_of(tx, ledger=ledger)
    ledger.balances[ALICE] = 0

    assert pool.sweep(0) == []
    assert pool.sweep(SHORT_MS - 1) == []
    assert pool.sweep(SHORT_MS) == [tx.id]


def test_a_payer_who_recovers_keeps_the_transaction() -> None:
    ledger = Ledger()
    pool = pool_of(waiting(), ledger=ledger)
    ledger.fee = 10**9
    pool.sweep(0)
    ledger.fee = 1_000_000
    pool.sweep(SHORT_MS - 1)
    ledger.fee = 10**9

    assert pool.sweep(SHORT_MS) == []


def test_nothing_stays_longer_than_ten_minutes() -> None:
    tx = waiting()
    pool = pool_of(tx)

    assert pool.sweep(AGE_MS_MAX - 1) == []
    assert pool.sweep(AGE_MS_MAX) == [tx.id]


def test_lanes_of_equal_payers_take_turns() -> None:
    pool = pool_of(*(waiting(seq, lane=lane) for lane in range(3) for seq in range(3)))
    served = []
    for _ in range(9):
        (first, *_) = pool.heads({}, 0)
        served.append((first.tx.lane, first.tx.seq))
        pool.committed([Used(ALICE, first.tx.lane, first.tx.seq)], 1)

    assert served == [(lane, seq) for seq in range(3) for lane in range(3)]


def test_what_left_does_not_stay_in_the_heaps() -> None:
    crowd = [waiting(lane=lane, valid_until=10**6) for lane in range(3 * SPARE)]
    pool = pool_of(*crowd, waiting(sender=BOB, valid_until=10**6))
    heaps = pool._departures

    pool.committed([Used(ALICE, tx.lane, 0) for tx in crowd], 1)

    assert len(heaps._worst) == len(heaps._expiring) == len(pool) == 1
    last = heaps.take_worst()
    heaps.put_back()
    assert last is not None and last.tx.sender == BOB
    assert pool.committed([], 10**6 + 1) == [last.tx.id]


def test_heads_follow_un_finalised_blocks_where_told() -> None:
    lane = [waiting(0), waiting(1)]
    pool = pool_of(*lane)

    assert [kept.tx for kept in pool.heads({}, 0)] == [lane[0]]
    assert [kept.tx for kept in pool.heads({(ALICE, 0): 1}, 0)] == [lane[1]]
    assert list(pool.heads({(ALICE, 0): 2}, 0)) == []


@pytest.mark.parametrize("case", ["gap", "aside", "expired", "fee"])
def test_only_what_a_block_could_take_makes_the_pool_ready(case: str) -> None:
    ledger = Ledger()
    tx = waiting(1 if case == "gap" else 0, valid_until=5)
    pool = pool_of(tx, ledger=ledger)
    if case == "aside":
        pool.set_aside(tx.id)
    if case == "fee":
        ledger.fee = 10**9

    assert not pool.has_ready(6 if case == "expired" else 0)
    assert pool_of(waiting()).has_ready(0)


def test_heads_ask_the_ledger_nothing_per_lane() -> None:
    ledger = Ledger()
    pool = pool_of(*[waiting(0, lane=lane) for lane in range(50)], ledger=ledger)
    ledger.asked = 0

    assert len(list(pool.heads({}, 0))) == 50
    assert ledger.asked == 0


Step = tuple[str, int, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "commit", "sweep"]),
            st.integers(0, 2),
            st.integers(0, 4),
            st.integers(0, 2_000),
        ),
        max_size=60,
    )
)
def test_the_books_of_the_pool_always_balance(steps: list[Step]) -> None:
    ledger = Ledger()
    pool = Mempool(ledger, PARAMS, count_max=6)
    model: dict[bytes, Waiting] = {}
    for now_ms, (step, lane, seq, tip) in enumerate(steps):
        gone: list[bytes] = []
        if step == "add":
            tx = waiting(seq, lane=lane, tip=tip)
            try:
                gone = admit(pool, tx, now_ms)
                model[tx.id] = tx
            except Rejected:
                pass
        elif step == "commit":
            ledger.seqs[ALICE, lane] = max(ledger.seqs.get((ALICE, lane), 0), seq + 1)
            gone = pool.committed([Used(ALICE, lane, seq)], 0)
        else:
            gone = pool.sweep(now_ms)
        for tx_id in gone:
            del model[tx_id]

        assert len(pool) == len(model) <= 6
        assert pool.bytes == sum(tx.size for tx in model.values())
        assert all(pool.get(tx_id) == tx for tx_id, tx in model.items())
        slots = {(tx.sender, tx.lane, tx.seq) for tx in model.values()}
        assert len(slots) == len(model)
        for taken in ({}, {(ALICE, lane): seq}):
            following = ledger.seqs | taken
            heads = [tx for tx in model.values()
                     if tx.seq == following.get((tx.sender, tx.lane), 0)]  # fmt: skip
            found = [kept.tx for kept in pool.heads(taken, 0)]
            assert set(found) == set(heads) and len(found) == len(heads)
            assert [tx.rank for tx in found] == sorted((tx.rank for tx in heads), reverse=True)


def test_what_waits_is_paged_in_the_order_it_came() -> None:
    pool = pool_of(*(waiting(seq, sender=who) for seq in (0, 1) for who in (BOB, ALICE)))

    first = pool.arrived_after(0, 3)
    rest = pool.arrived_after(first[-1].order, 3)

    came = [(kept.tx.sender, kept.tx.seq) for kept in (*first, *rest)]
    assert came == [(BOB, 0), (ALICE, 0), (BOB, 1), (ALICE, 1)]
