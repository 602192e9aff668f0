"""A key that signs elsewhere stops the node that notices (protocol.md C15)."""

from __future__ import annotations

import pytest

from chain.certificate import assemble_certificate
from chain.vote import VoteKind
from consensus.effects import Stop
from consensus.messages import CertificateMessage, VoteMessage
from consensus.shared import Mode
from consensus.timers import Timer
from tests.simulation.cluster import Cluster

from .driver import Driver, of

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
BLOCK = b"b" * 32


def with_mine(driver: Driver, kind: int, view: int, block_id: bytes | None) -> CertificateMessage:
    """Return a certificate in which a vote of my key stands."""
    votes = {i: driver.vote(i, kind, view, block_id).signature for i in (0, 1, 2)}
    certificate = assemble_certificate(driver.committee, kind, driver.epoch, view, block_id, votes)
    return CertificateMessage(certificate)


def quarantined() -> Driver:
    driver = Driver(me=0, journal_lost=True)
    assert driver.core.shared.mode is Mode.QUARANTINE
    return driver


def test_a_vote_of_mine_that_i_did_not_sign_stops_me() -> None:
    driver = Driver(me=0)

    effects = driver.receive(VoteMessage(driver.vote(0, NULLIFY, 1, None)))

    assert driver.core.shared.mode is Mode.STOPPED
    (stop,) = of(effects, Stop)
    assert "signs elsewhere" in stop.reason and "view 1 of epoch 0" in stop.reason


@pytest.mark.parametrize(
    ("kind", "block_id"), [(NOTARIZE, BLOCK), (NULLIFY, None), (FINALIZE, BLOCK)]
)
def test_so_does_one_inside_a_certificate(kind: int, block_id: bytes | None) -> None:
    driver = Driver(me=0)

    driver.receive(with_mine(driver, kind, 1, block_id))

    assert driver.core.shared.mode is Mode.STOPPED


def test_a_vote_for_another_block_than_mine_stops_me() -> None:
    driver = Driver(me=0)
    view = driver.core.shared.view
    block = driver.block(view)
    driver.receive(driver.proposal(block))
    driver.verified(block)
    driver.durable()
    assert (NOTARIZE, view) in driver.votes_sent()

    driver.receive(VoteMessage(driver.vote(0, NOTARIZE, view, BLOCK)))

    assert driver.core.shared.mode is Mode.STOPPED


def test_my_own_votes_that_come_back_do_not() -> None:
    driver = Driver(me=0)
    driver.fire(Timer.LEADER)

    driver.receive(VoteMessage(driver.vote(0, NULLIFY, 1, None)))
    driver.durable()
    driver.receive(with_mine(driver, NULLIFY, 1, None))

    assert driver.core.shared.mode is Mode.ACTIVE


def test_a_forged_vote_of_mine_does_not() -> None:
    driver = Driver(me=0)
    vote = driver.vote(1, NULLIFY, 1, None)
    forged = type(vote)(vote.kind, vote.epoch, vote.view, None, 0, vote.signature)

    driver.receive(VoteMessage(forged), peer=driver.other(1))

    assert driver.core.shared.mode is Mode.ACTIVE


def test_in_quarantine_a_vote_of_a_view_that_i_saw_begin_stops_me() -> None:
    driver = quarantined()
    seen = driver.core.shared.view
    driver.learn(NULLIFY, seen)

    driver.receive(with_mine(driver, NULLIFY, seen + 1, None))

    assert driver.core.shared.mode is Mode.STOPPED


def test_in_quarantine_a_vote_from_before_it_does_not() -> None:
    driver = quarantined()

    driver.receive(with_mine(driver, NULLIFY, driver.core.shared.view, None))

    assert driver.core.shared.mode is Mode.QUARANTINE


def test_two_copies_of_a_running_validator_do_not_both_go_on() -> None:
    """The second one is started beside the first, with a lost journal, as no manual advises."""
    cluster = Cluster([1] * 4)
    cluster.keep_busy()
    cluster.run_to_height(5, limit_ms=20_000)
    twin = cluster.make_node(0)
    twin.journal, twin.synced = [], 0
    cluster.bodies[0].append(twin)
    cluster.start(twin, journal_lost=True)
    twin.app.endless = True
    cluster.host.note_pool(twin)

    cluster.run_for(20_000)

    assert any("signs elsewhere" in (node.stopped or "") for node in cluster.bodies[0])
    signed: dict[tuple[int, int, int], bytes | None] = {}
    for vote in [vote for node in cluster.bodies[0] for vote in node.sent]:
        place = (vote.epoch, vote.view, vote.kind)
        assert signed.setdefault(place, vote.block_id) == vote.block_id
