"""Committees: quorums in integers, who may sit in one, whose turn it is (protocol.md V1–V4)."""

from __future__ import annotations

from collections import Counter

import pytest

from chain.codec import encode
from chain.committee import (
    EPOCH_ZERO_ID,
    MEMBERS_MAX,
    Committee,
    LeaderSchedule,
    Member,
    leader_seed,
)
from chain.errors import Rejected
from chain.hashing import tagged_hash

from .votes import GENESIS_HASH, KEYS, committee_of

SEED = leader_seed(GENESIS_HASH, 0, EPOCH_ZERO_ID)


@pytest.mark.parametrize(
    ("powers", "members", "expected"),
    [
        ([1], 0b1, True),
        ([1, 1, 1], 0b011, False),  # Two thirds exactly are not enough.
        ([1, 1, 1], 0b111, True),
        ([1, 1, 1, 1], 0b0111, True),
        ([1, 1, 1, 1], 0b0011, False),
        ([2**58, 2**58, 2**58], 0b011, False),
        ([2**58, 2**58, 2**58 - 1], 0b011, True),
        ([100, 1, 1, 1], 0b0001, True),
    ],
)
def test_a_quorum_is_more_than_two_thirds(powers: list[int], members: int, expected: bool) -> None:
    committee = committee_of(*powers)

    assert committee.is_quorum(committee.power_of(members)) is expected


def test_more_than_a_third_holds_an_honest_member() -> None:
    committee = committee_of(1, 1, 1, 1)

    assert not committee.has_honest(1)
    assert committee.has_honest(2)


def test_the_hash_is_over_the_ordered_pairs() -> None:
    committee = committee_of(5, 7)

    pairs = [(KEYS[0].public_key, 5), (KEYS[1].public_key, 7)]
    assert committee.hash == tagged_hash("committee", encode(pairs))
    assert committee.hash != committee_of(7, 5).hash


def test_members_are_found_by_key() -> None:
    committee = committee_of(1, 1)

    assert committee.index_of(KEYS[1].public_key) == 1
    assert committee.index_of(KEYS[5].public_key) is None


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([], "committee/Size"),
        ([Member(KEYS[0].public_key, 1)] * (MEMBERS_MAX + 1), "committee/Size"),
        ([Member(KEYS[0].public_key, 0)], "committee/ZeroPower"),
        ([Member(KEYS[0].public_key, 1)] * 2, "committee/DuplicateKey"),
        ([Member(KEYS[0].public_key, 2**60 + 1)], "committee/TooMuchPower"),
        ([Member(bytes(32), 1)], "crypto/WeakKey"),
    ],
)
def test_an_impossible_committee_is_refused(members: list[Member], code: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Committee(members)

    assert refusal.value.code == code


def test_equal_powers_take_turns() -> None:
    schedule = LeaderSchedule(committee_of(3, 3, 3), SEED)

    turns = [schedule.leader(view) for view in range(1, 10)]
    assert sorted(turns[:3]) == [0, 1, 2]
    assert turns == turns[:3] * 3
    assert turns[0] == (int.from_bytes(SEED, "big") + 1) % 3


def test_turns_begin_elsewhere_in_another_epoch() -> None:
    committee = committee_of(*[1] * 10)
    seeds = [leader_seed(GENESIS_HASH, epoch, EPOCH_ZERO_ID) for epoch in range(12)]

    assert len({LeaderSchedule(committee, seed).leader(1) for seed in seeds}) > 1


def test_unequal_powers_lead_by_weight() -> None:
    schedule = LeaderSchedule(committee_of(6, 3, 1), SEED)

    turns = Counter(schedule.leader(view) for view in range(1, 10_001))
    assert turns[0] == pytest.approx(6_000, rel=0.05)
    assert turns[1] == pytest.approx(3_000, rel=0.05)
    assert turns[2] == pytest.approx(1_000, rel=0.1)


def test_weighted_turns_follow_the_written_formula() -> None:
    schedule = LeaderSchedule(committee_of(6, 3, 1), SEED)

    point = int.from_bytes(tagged_hash("leader", SEED + (42).to_bytes(8, "big")), "big") % 10
    assert schedule.leader(42) == (0 if point < 6 else 1 if point < 9 else 2)
