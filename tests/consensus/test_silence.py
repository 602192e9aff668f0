"""Silent leaders are not waited for (protocol.md C6): one core of seven, driven by hand.

The member under test never votes by itself: the votes of five others pass its views.
"""

from __future__ import annotations

from unittest.mock import ANY

import msgspec

from chain.vote import VoteKind
from consensus.effects import Blame
from consensus.hearing import SILENT_VIEWS
from consensus.journal import JournalRecord, VoteRecord
from consensus.messages import VoteMessage
from consensus.shared import Mode
from consensus.timers import Timer
from tests.simulation.application import PARAMS

from .driver import Driver, of, synced

NULLIFY, FINALIZE = VoteKind.NULLIFY, VoteKind.FINALIZE
ME, DEAD = 0, 6
VOTERS = (1, 2, 3, 4, 5)
"""A quorum of seven without me and the dead one."""


def turn(driver: Driver, after: int) -> int:
    """Return the first view above ``after`` that the dead member leads."""
    return next(view for view in range(after + 1, after + 8) if driver.leader(view) == DEAD)


def pass_views(driver: Driver, last: int, voters: tuple[int, ...] = VOTERS) -> None:
    """Let members nullify every view up to ``last``; I follow them, whoever leads."""
    for view in range(driver.core.shared.view, last + 1):
        for voter in voters:
            driver.receive(VoteMessage(driver.vote(voter, NULLIFY, view, None)))
        driver.learn(NULLIFY, view)
        driver.durable()


def votes_in(records: list[JournalRecord]) -> list[VoteRecord]:
    return [record for record in records if isinstance(record, VoteRecord)]


def gave_up(driver: Driver, view: int) -> bool:
    """Tell whether I entered a view and gave it up at once."""
    assert driver.core.shared.view == view
    return (NULLIFY, view) in driver.votes_sent()


def seven() -> Driver:
    """Return a core that may sign and has entered view 1 of seven members."""
    driver = Driver(size=7, me=ME)
    assert driver.core.shared.mode is Mode.ACTIVE
    return driver


def late_turn(driver: Driver) -> int:
    """Return a turn of the dead member by which its silence must have been noticed."""
    return turn(driver, SILENT_VIEWS + 1)


def test_a_silent_leader_is_given_up_at_once_and_nothing_gets_slower() -> None:
    driver = seven()
    view = late_turn(driver)

    pass_views(driver, view - 1)

    assert gave_up(driver, view)
    assert driver.core.shared.pace.delta_now_ms == PARAMS.delta_ms
    assert not driver.core.shared.rounds[view].timed_out


def test_it_is_given_up_as_durably_as_any_view() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 2)
    driver.effects.clear()

    pass_views(driver, view - 1)

    assert [record.vote.view for record in votes_in(synced(driver.effects))] == [view]
    assert driver.core.shared.rounds[view].promised.keys() == {NULLIFY}


def test_who_votes_late_is_waited_for() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 2)

    driver.receive(VoteMessage(driver.vote(DEAD, NULLIFY, view - SILENT_VIEWS, None)))
    pass_views(driver, view - 1)

    assert not gave_up(driver, view)
    driver.fire(Timer.LEADER)
    assert gave_up(driver, view)
    assert driver.core.shared.pace.delta_now_ms > PARAMS.delta_ms


def test_a_vote_of_one_view_earlier_is_too_old() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 2)

    driver.receive(VoteMessage(driver.vote(DEAD, NULLIFY, view - SILENT_VIEWS - 1, None)))
    pass_views(driver, view - 1)

    assert gave_up(driver, view)


def test_nobody_is_silent_to_whom_no_quorum_speaks() -> None:
    driver = seven()
    view = late_turn(driver)

    pass_views(driver, view - 1, voters=VOTERS[:3])

    assert not gave_up(driver, view)


def test_my_own_votes_count_towards_that_quorum() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 2, voters=VOTERS[:4])

    driver.fire(Timer.LEADER)
    pass_views(driver, view - 1, voters=VOTERS[:4])

    assert gave_up(driver, view)


def test_nobody_is_silent_within_ten_views_of_the_first_one_i_entered() -> None:
    driver = seven()
    first = turn(driver, 50) - SILENT_VIEWS
    driver.learn(NULLIFY, first - 1)
    assert driver.core.shared.view == first

    pass_views(driver, first + SILENT_VIEWS - 1)
    assert not gave_up(driver, first + SILENT_VIEWS)

    pass_views(driver, first + SILENT_VIEWS + 6)
    assert gave_up(driver, first + SILENT_VIEWS + 7)


def test_nobody_is_silent_within_ten_views_of_a_leap() -> None:
    driver = seven()
    pass_views(driver, 2 * SILENT_VIEWS)
    leap = turn(driver, 60)
    driver.learn(FINALIZE, leap - 4, b"b" * 32)

    pass_views(driver, leap - 1)

    assert not gave_up(driver, leap)


def test_who_votes_again_is_waited_for_again() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 1)
    assert gave_up(driver, view)

    driver.receive(VoteMessage(driver.vote(DEAD, NULLIFY, view, None)))
    pass_views(driver, view + 6)

    assert not gave_up(driver, view + 7)


def test_a_vote_in_its_name_that_is_none_changes_nothing() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 2)

    forged = driver.vote(DEAD, NULLIFY, view - 1, None)
    driver.receive(VoteMessage(msgspec.structs.replace(forged, signature=bytes(64))))
    pass_views(driver, view - 1)

    assert gave_up(driver, view)


def test_a_silent_leader_whose_proposal_is_here_is_heard() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 2)

    gap = [driver.certificate(NULLIFY, below) for below in range(view - 1, view - 9, -1)]
    driver.receive(driver.proposal(driver.block(view), nullifications=gap))
    pass_views(driver, view - 1)

    assert not gave_up(driver, view)


def test_a_late_vote_that_others_forge_costs_them_their_connection_and_brings_nobody_back() -> None:
    driver = seven()
    view = late_turn(driver)
    pass_views(driver, view - 1)
    forged = msgspec.structs.replace(
        driver.vote(DEAD, NULLIFY, view - 1, None), signature=bytes(64)
    )

    effects = driver.receive(VoteMessage(forged), peer=b"stranger")
    pass_views(driver, turn(driver, view) - 1)

    assert of(effects, Blame) == [Blame(b"stranger", "crypto/BadSignature", ANY)]
    assert gave_up(driver, turn(driver, view))
