"""Leaders whose turns fail are not waited for (protocol.md C6, C13): one core of four."""

from __future__ import annotations

import pytest

from chain.vote import VoteKind
from consensus.effects import TurnFailed
from consensus.messages import VoteMessage
from consensus.timers import Timer
from consensus.turns import CREDIT_MAX, PRICE, TRIAL_ROUNDS_MAX, TRIAL_ROUNDS_MIN, Turns
from tests.simulation.application import GENESIS_TIME_MS, PARAMS
from tests.simulation.keys import make_committee

from .driver import Driver, of

NOTARIZE, NULLIFY = VoteKind.NOTARIZE, VoteKind.NULLIFY
ME, BAD = 0, 3
SIZE = 4


def turn(driver: Driver, after: int, leader: int = BAD) -> int:
    """Return the first view above ``after`` that a member leads."""
    return next(view for view in range(after + 1, after + 9) if driver.leader(view) == leader)


def time_out(driver: Driver) -> None:
    """Let my view time out and be nullified by all."""
    view = driver.core.shared.view
    driver.fire(Timer.LEADER)
    driver.durable()
    driver.learn(NULLIFY, view)


class Chain:
    """Passes views as a network does in which everybody proposes but one."""

    def __init__(self) -> None:
        self.driver = Driver(me=ME)
        self.parent = self.certificate = None

    def pass_view(self) -> None:
        driver = self.driver
        view = driver.core.shared.view
        leader = driver.leader(view)
        if leader in (BAD, ME):  # My own turns would need the pool; nobody minds.
            if (NULLIFY, view) not in driver.votes_sent():
                driver.fire(Timer.LEADER)
            driver.durable()
            driver.learn(NULLIFY, view)
            return
        block = driver.block(view, parent=self.parent, certificate=self.certificate)
        driver.receive(driver.proposal(block))
        driver.verified(block)
        driver.durable()
        driver.learn(NOTARIZE, view, block.id)
        driver.certified(block)
        self.parent, self.certificate = block, driver.certificate(NOTARIZE, view, block.id)

    def pass_to(self, view: int) -> None:
        while self.driver.core.shared.view < view:
            self.pass_view()


def test_the_turn_of_one_leader_that_fails_does_not_slow_everybody_down() -> None:
    driver = Driver(me=ME)

    time_out(driver)

    assert driver.core.shared.pace.delta_now_ms == PARAMS.delta_ms


def test_turns_of_a_third_of_the_power_that_fail_do() -> None:
    driver = Driver(me=ME)

    time_out(driver)
    time_out(driver)

    assert driver.core.shared.pace.delta_now_ms == PARAMS.delta_ms * 3 // 2


def test_a_view_notarized_after_its_time_out_is_a_turn_that_failed() -> None:
    """Else a network slower than its timers would notarize for ever and finalise nothing."""
    driver = Driver(me=ME)
    block = driver.block(1)
    driver.receive(driver.proposal(block))
    driver.fire(Timer.ADVANCE)
    driver.durable()
    driver.learn(NOTARIZE, 1, block.id)
    effects = driver.certified(block)

    assert driver.core.shared.view == 2
    assert of(effects, TurnFailed) == [TurnFailed(driver.leader(1), 1, 1)]


def test_it_is_told_once_per_turn_how_many_failed_in_a_row() -> None:
    driver = Driver(me=ME)

    for _ in range(2 * SIZE):
        time_out(driver)

    told = [each for each in of(driver.effects, TurnFailed) if each.leader == BAD]
    assert [each.in_a_row for each in told] == [1, 2]


def test_whose_turns_fail_is_given_up_at_once_without_a_time_out() -> None:
    chain = Chain()
    driver = chain.driver
    view = turn(driver, SIZE * (CREDIT_MAX // PRICE) + SIZE)

    chain.pass_to(view)

    assert (NULLIFY, view) in driver.votes_sent()
    assert not driver.core.shared.rounds[view].timed_out


@pytest.mark.parametrize(
    ("failed", "rounds"),
    [(2, TRIAL_ROUNDS_MIN), (31, 16), (32, 32), (63, 32), (64, 64), (9_999, TRIAL_ROUNDS_MAX)],
)
def test_it_is_waited_for_in_fewer_rounds_the_longer_it_fails(failed: int, rounds: int) -> None:
    turns = Turns(make_committee([1] * SIZE))
    for view in range(1, failed + 1):
        turns.failed(BAD, view)

    waited = {view // SIZE for view in range(1_024) if not turns.is_passed_over(BAD, view)}

    assert waited == set(range(0, 1_024 // SIZE, rounds))


def test_a_good_turn_forgives() -> None:
    turns = Turns(make_committee([1] * SIZE))
    for view in (1, 5, 9):
        turns.failed(BAD, view)

    turns.went_well(BAD, 33)

    assert not turns.is_passed_over(BAD, 37)


@pytest.mark.parametrize(("good", "found"), [(7, False), (6, True)])
def test_who_fails_in_more_than_one_turn_of_eight_is_passed_over(good: int, found: bool) -> None:
    turns = Turns(make_committee([1] * SIZE))
    passed_over = set()
    for view in range(1, 161):
        if view % (good + 1) == 0:
            turns.failed(BAD, view)
        else:
            turns.went_well(BAD, view)
        passed_over.add(turns.is_passed_over(BAD, view))

    assert (True in passed_over) is found


def test_where_a_third_of_the_power_fails_all_are_waited_for() -> None:
    turns = Turns(make_committee([1] * SIZE))
    for member in (1, 2):
        for view in (member, member + 4):
            turns.failed(member, view)

    assert not turns.is_passed_over(1, 9)


def test_a_member_that_holds_a_third_is_always_waited_for() -> None:
    turns = Turns(make_committee([2, 1, 1, 1]))
    for view in (1, 2, 3):
        turns.failed(0, view)

    assert not turns.is_passed_over(0, 9)
    assert turns.is_slow_for_all(0)


def test_what_is_known_goes_with_the_key_into_the_next_epoch() -> None:
    four = make_committee([1] * SIZE)
    turns = Turns(four)
    for view in (1, 5):
        turns.failed(BAD, view)

    after = turns.next_epoch(four)

    assert after.is_passed_over(BAD, 100)
    assert after.failed(BAD, 1) == 3, "views begin anew"


def test_a_time_ahead_of_every_clock_is_a_turn_that_fails() -> None:
    driver = Driver(me=ME)
    ahead_ms = GENESIS_TIME_MS + driver.now_ms + 2 * PARAMS.precision_ms - 100
    block = driver.block(1, time_ms=ahead_ms)

    effects = driver.receive(driver.proposal(block))

    assert of(effects, TurnFailed) == [TurnFailed(driver.leader(1), 1, 1)]


def test_a_time_that_the_parent_forces_is_no_fault_of_the_leader() -> None:
    driver = Driver(me=ME)
    ahead_ms = GENESIS_TIME_MS + driver.now_ms + PARAMS.precision_ms
    first = driver.block(1, time_ms=ahead_ms)
    driver.receive(driver.proposal(first))
    driver.verified(first)
    driver.durable()
    driver.learn(NOTARIZE, 1, first.id)
    driver.certified(first)
    certificate = driver.certificate(NOTARIZE, 1, first.id)
    second = driver.block(2, parent=first, certificate=certificate, time_ms=ahead_ms + 1)

    effects = driver.receive(driver.proposal(second))

    assert Timer.VERIFY in driver.core.shared.deadlines
    assert not of(effects, TurnFailed)


def test_who_signed_twice_gets_no_more_credit() -> None:
    turns = Turns(make_committee([1] * SIZE))
    turns.convict(BAD)
    for view in range(1, 40):
        turns.went_well(BAD, view)

    after = turns.next_epoch(make_committee([1] * SIZE))

    assert turns.is_passed_over(BAD, 100)
    after.went_well(BAD, 1)
    assert after.is_passed_over(BAD, 100)


def test_evidence_takes_the_credit() -> None:
    driver = Driver(me=ME)
    for block_id in (b"a" * 32, b"b" * 32):
        driver.receive(VoteMessage(driver.vote(BAD, NOTARIZE, 1, block_id)))

    assert driver.core.shared.turns.is_passed_over(BAD, 10_000 * SIZE + SIZE)
