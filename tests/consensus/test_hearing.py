"""Silence over the end of an epoch (protocol.md C6): what a core of seven heard is carried on.

As in ``test_silence.py``, the votes of five others pass the views of the member under test. An
epoch has two heights; both become final when its turn to end has come.
"""

from __future__ import annotations

import msgspec

from chain.block import Block
from chain.committee import Committee, Member
from chain.vote import Vote, VoteKind
from consensus.hearing import SILENT_VIEWS, Hearing
from consensus.messages import VoteMessage
from tests.simulation.application import PARAMS
from tests.simulation.keys import key_of, make_committee

from .driver import Driver

NULLIFY = VoteKind.NULLIFY
ME, DEAD = 0, 6
SEVEN = make_committee([1] * 7)


def member(driver: Driver, name: int) -> int:
    """Return the index of a member by the number of its key."""
    found = driver.committee.index_of(key_of(name))
    assert found is not None
    return found


def pass_views(driver: Driver, last: int) -> None:
    """Let all but me and the dead member nullify every view up to ``last``; I follow them."""
    for view in range(max(driver.core.shared.view, 1), last + 1):
        for voter in range(7):
            if voter not in (member(driver, ME), member(driver, DEAD)):
                driver.receive(VoteMessage(driver.vote(voter, NULLIFY, view, None)))
        driver.learn(NULLIFY, view)
        driver.durable()


def at_the_end() -> tuple[Driver, Block]:
    """Return a core whose epoch ended after more than ten views without the dead member."""
    driver = Driver(size=7, me=ME, params=msgspec.structs.replace(PARAMS, epoch_length=2))
    view = SILENT_VIEWS + 2
    while driver.leader(view) != 1:  # Neither I nor the dead member lead this view or the next.
        view += 1
    pass_views(driver, view - 1)
    return driver, driver.end_epoch()


def first_turn(driver: Driver, above: int = 0) -> int:
    """Return the dead member's first turn above a view of the new epoch."""
    dead = member(driver, DEAD)
    return next(view for view in range(above + 1, above + 8) if driver.leader(view) == dead)


def gave_up(driver: Driver, view: int) -> bool:
    """Tell whether I entered a view of the new epoch and gave it up at once."""
    assert driver.core.shared.view == view and not driver.core.shared.rounds[view].timed_out
    return NULLIFY in driver.core.shared.rounds[view].promised


def late_vote(driver: Driver, name: int) -> Vote:
    """Return a vote of a member for the view that passed last."""
    return driver.vote(name, NULLIFY, driver.core.shared.view, None)


def test_who_was_silent_in_the_old_epoch_is_not_waited_for_in_the_new_one() -> None:
    driver, last = at_the_end()

    driver.open_epoch(last, SEVEN)
    view = first_turn(driver)
    pass_views(driver, view - 1)

    assert gave_up(driver, view)
    assert driver.core.shared.pace.delta_now_ms == PARAMS.delta_ms


def test_members_are_known_by_their_keys() -> None:
    driver, last = at_the_end()

    driver.open_epoch(last, Committee([Member(key_of(i), 1) for i in (6, 0, 1, 2, 3, 4, 5)]))
    assert member(driver, DEAD) == 0
    view = first_turn(driver)
    pass_views(driver, view - 1)

    assert gave_up(driver, view)
    for other in range(view + 1, view + 7):
        pass_views(driver, other - 1)
        assert not gave_up(driver, other)


def test_any_vote_in_the_new_epoch_brings_it_back() -> None:
    driver, last = at_the_end()

    driver.open_epoch(last, SEVEN)
    view = first_turn(driver, above=3)
    driver.receive(VoteMessage(driver.vote(DEAD, NULLIFY, 1, None)))
    pass_views(driver, view - 1)

    assert not gave_up(driver, view)


def test_a_vote_that_comes_after_the_end_counts() -> None:
    driver, last = at_the_end()
    driver.receive(VoteMessage(late_vote(driver, DEAD)))

    driver.open_epoch(last, SEVEN)
    view = first_turn(driver)
    pass_views(driver, view - 1)

    assert not gave_up(driver, view)


def test_a_vote_that_comes_after_the_new_epoch_was_opened_counts() -> None:
    driver, last = at_the_end()
    late = late_vote(driver, DEAD)

    driver.open_epoch(last, SEVEN)
    driver.receive(VoteMessage(late))
    view = first_turn(driver)
    pass_views(driver, view - 1)

    assert not gave_up(driver, view)


def test_a_vote_in_its_name_that_somebody_else_sends_after_the_end_does_not() -> None:
    driver, last = at_the_end()
    late = late_vote(driver, DEAD)
    driver.receive(VoteMessage(late), peer=key_of(1))

    driver.open_epoch(last, SEVEN)
    driver.receive(VoteMessage(late), peer=b"stranger")
    view = first_turn(driver)
    pass_views(driver, view - 1)

    assert gave_up(driver, view)


def test_a_late_vote_of_nobody_is_passed_over() -> None:
    driver, last = at_the_end()
    nobody = msgspec.structs.replace(late_vote(driver, DEAD), signer=7)
    driver.receive(VoteMessage(nobody))

    driver.open_epoch(last, SEVEN)
    driver.receive(VoteMessage(nobody))
    view = first_turn(driver)
    pass_views(driver, view - 1)

    assert gave_up(driver, view)


def test_who_was_brought_into_the_epoch_by_a_range_knows_nobody() -> None:
    driver, last = at_the_end()

    driver.open_epoch(last, SEVEN, synced=True)
    driver.look_back()
    view = first_turn(driver)
    pass_views(driver, view - 1)
    assert not gave_up(driver, view)

    view = first_turn(driver, above=SILENT_VIEWS + 1)
    pass_views(driver, view - 1)
    assert gave_up(driver, view)


def test_who_learns_of_the_end_from_far_below_knows_nobody() -> None:
    driver, last = at_the_end()
    driver.core.shared.open_view = driver.core.shared.view + SILENT_VIEWS + 1

    driver.open_epoch(last, SEVEN)
    view = first_turn(driver)
    pass_views(driver, view - 1)

    assert not gave_up(driver, view)


def heard_all(views: int) -> Hearing:
    """Return what is known after so many views in which all but the last of four voted."""
    hearing = Hearing(make_committee([1] * 4))
    hearing.enter(0, 1)
    for view in range(1, views + 1):
        for voter in range(3):
            hearing.hear(voter, view)
        hearing.enter(view, view + 1)
    return hearing


def test_views_of_both_epochs_make_ten() -> None:
    committee = make_committee([1] * 4)
    hearing = heard_all(5)
    hearing.hear(3, 4)

    after = hearing.next_epoch(committee, 5)
    for voter in range(3):
        after.hear(voter, 8)

    assert not after.is_silent(3, 9)
    assert after.is_silent(3, 10)


def test_who_began_to_listen_shortly_before_the_end_judges_nobody_yet() -> None:
    committee = make_committee([1] * 4)

    after = heard_all(5).next_epoch(committee, 5)
    for voter in range(3):
        after.hear(voter, 6)

    assert not after.is_silent(3, 6)
    assert after.is_silent(3, 7)


def test_a_newcomer_has_ten_views_to_speak() -> None:
    members = [Member(key_of(i), 1) for i in (0, 1, 2, 9)]

    after = heard_all(50).next_epoch(Committee(members), 50)
    for voter in range(3):
        after.hear(voter, 10)

    assert not after.is_silent(3, SILENT_VIEWS)
    assert after.is_silent(3, SILENT_VIEWS + 1)


def test_the_end_of_an_epoch_silences_nobody_to_whom_no_quorum_speaks() -> None:
    after = heard_all(50).next_epoch(make_committee([1] * 4), 50)

    assert not any(after.is_silent(index, SILENT_VIEWS + 1) for index in range(4))


def test_no_vote_of_the_old_epoch_counts_for_more_than_its_end() -> None:
    hearing = heard_all(50)
    hearing.hear(3, 60)
    after = hearing.next_epoch(make_committee([1] * 4), 50)
    after.hear_late(key_of(3), 3, 2**60)
    for voter in range(3):
        after.hear(voter, 10)

    assert not after.is_silent(3, SILENT_VIEWS)
    assert after.is_silent(3, SILENT_VIEWS + 1)


def test_a_late_vote_counts_for_the_key_and_not_for_the_place() -> None:
    members = [Member(key_of(i), 1) for i in (3, 0, 1, 2)]
    after = heard_all(50).next_epoch(Committee(members), 50)

    for late in (0, 1, 2, 4):
        after.hear_late(key_of(late), late, 50)
    assert after.is_silent(0, 1)

    after.hear_late(key_of(3), 3, 50)
    assert not after.is_silent(0, 1)
