"""A new network begins at once; anything that was ever signed or final makes it wait (C15).

One core of four, driven by hand: more than one peer must answer before it begins.
"""

from __future__ import annotations

import pytest

from chain.vote import VoteKind
from consensus.effects import Stop
from consensus.journal import BegunRecord, CertificateRecord, JournalRecord, VoteRecord
from consensus.messages import LookbackAnswer
from consensus.shared import Mode
from consensus.timers import LOOKBACK_MS, Timer

from .driver import Driver, of, synced

NULLIFY, FINALIZE = VoteKind.NULLIFY, VoteKind.FINALIZE
PROBE = Driver()
BEGUN = (BegunRecord(),)
UNSETTLED = LookbackAnswer(0, [], None, False)
"""Of a peer that has just started, too, and knows nothing."""


def starting(*journal: JournalRecord) -> Driver:
    """Return a core that has just asked."""
    return Driver(journal=journal, look_back=False)


def mode_after(driver: Driver, *answers: LookbackAnswer) -> Mode:
    """Let a peer give each of the answers at once; return what the core thinks then."""
    for number, answer in enumerate(answers):
        driver.receive(answer, peer=driver.other(number + 1))
    return driver.core.shared.mode


def test_where_nothing_was_ever_signed_two_answers_of_four_begin_it() -> None:
    driver = starting(*BEGUN)

    assert mode_after(driver, UNSETTLED) is Mode.LOOKBACK
    assert mode_after(driver, UNSETTLED, UNSETTLED) is Mode.ACTIVE
    assert driver.now_ms == 0
    assert not synced(driver.effects), "the journal has begun already"


def test_one_peer_counts_once() -> None:
    driver = starting(*BEGUN)

    for _ in range(3):
        driver.receive(UNSETTLED, peer=driver.other(1))

    assert driver.core.shared.mode is Mode.LOOKBACK


def test_a_vote_in_the_journal_waits_for_silence() -> None:
    driver = starting(*BEGUN, VoteRecord(PROBE.vote(0, NULLIFY, 1, None)))

    assert mode_after(driver, UNSETTLED, UNSETTLED, UNSETTLED) is Mode.LOOKBACK

    while driver.core.shared.mode is Mode.LOOKBACK:
        driver.fire(Timer.LOOKBACK)
    assert driver.now_ms == LOOKBACK_MS


def test_a_finalization_in_the_journal_waits_for_silence() -> None:
    final = PROBE.certificate(FINALIZE, 1, b"b" * 32)
    driver = starting(*BEGUN, CertificateRecord(final))

    assert mode_after(driver, UNSETTLED, UNSETTLED, UNSETTLED) is Mode.LOOKBACK


@pytest.mark.parametrize("settled", [False, True])
def test_an_answer_that_shows_a_finalization_waits_for_silence(settled: bool) -> None:
    driver = starting(*BEGUN)
    final = driver.certificate(FINALIZE, 1, b"b" * 32)

    answers = (UNSETTLED, LookbackAnswer(0, [], final, settled), UNSETTLED)

    assert mode_after(driver, *answers) is Mode.LOOKBACK


def test_an_answer_that_shows_a_vote_of_mine_stops_the_start() -> None:
    driver = starting(*BEGUN)
    mine = driver.vote(driver.me, NULLIFY, 1, None)

    answers = (UNSETTLED, LookbackAnswer(0, [mine], None, False), UNSETTLED)

    assert mode_after(driver, *answers) is Mode.STOPPED
    assert of(driver.effects, Stop)


def test_a_forged_answer_is_no_answer() -> None:
    driver = starting(*BEGUN)
    final = driver.certificate(NULLIFY, 1)

    answers = (UNSETTLED, LookbackAnswer(0, [], final, True))

    assert mode_after(driver, *answers) is Mode.LOOKBACK
    assert mode_after(driver, UNSETTLED, UNSETTLED) is Mode.ACTIVE


def test_a_key_without_a_journal_waits_for_answers_that_count() -> None:
    driver = starting()

    assert mode_after(driver, UNSETTLED, UNSETTLED, UNSETTLED) is Mode.LOOKBACK
    settled = LookbackAnswer(0, [], None, True)
    assert mode_after(driver, settled, settled) is Mode.ACTIVE
    assert synced(driver.effects) == [BegunRecord()]


def test_a_lost_journal_never_begins() -> None:
    driver = Driver(journal=BEGUN, journal_lost=True, look_back=False)

    assert mode_after(driver, UNSETTLED, UNSETTLED, UNSETTLED) is Mode.LOOKBACK
    settled = LookbackAnswer(0, [], None, True)
    assert mode_after(driver, settled, settled) is Mode.QUARANTINE


def test_what_was_heard_is_not_collected_where_the_chain_has_begun() -> None:
    driver = starting(*BEGUN, VoteRecord(PROBE.vote(0, NULLIFY, 1, None)))

    for _ in range(100):
        mode_after(driver, *[UNSETTLED] * 3)

    assert driver.core.shared.lookback_answered < 2 ** len(driver.committee)
