"""Single rules of the core, driven by hand on one member of a committee (protocol.md C1–C15)."""

from __future__ import annotations

import msgspec
import pytest

from chain.certificate import assemble_certificate
from chain.committee import Committee, Member
from chain.errors import Misuse, Rejected
from chain.finality import FinalityProof
from chain.vote import VoteKind, vote_message
from consensus.effects import (
    Blame,
    Broadcast,
    Build,
    Certify,
    Finalize,
    Persist,
    ProposalRefused,
    ProveEpochEnd,
    ReportEvidence,
    Request,
    Send,
    Stop,
    StopCertify,
    Sync,
    VerifyBlock,
)
from consensus.events import (
    BlockVerified,
    CertifyFailed,
    Head,
    Started,
    Synced,
    TimerFired,
    TransactionsAvailable,
)
from consensus.journal import (
    BegunRecord,
    BlockRecord,
    CertificateRecord,
    QuarantineRecord,
    VoteRecord,
)
from consensus.messages import (
    BlockAnswer,
    BlockRequest,
    CertificateMessage,
    EpochEnded,
    LookbackAnswer,
    LookbackQuestion,
    ProposalMessage,
    ViewRequest,
    VoteMessage,
)
from consensus.retry import request_sync
from consensus.shared import Mode
from consensus.timers import Timer
from tests.simulation.application import GENESIS_HASH, GENESIS_TIME_MS, PARAMS
from tests.simulation.keys import fake_sign, key_of

from .driver import PEER, Driver, of, spoil, synced

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


SHORT = msgspec.structs.replace(PARAMS, epoch_length=2)
VOTED = VoteRecord(Driver().vote(0, NULLIFY, 1, None))


def follower(**options: object) -> Driver:
    """Return the member that leads none of the views 1, 2 and 3."""
    probe = Driver()
    me = next(i for i in range(4) if i not in [probe.leader(view) for view in (1, 2, 3)])
    return Driver(me=me, **options)


def notarized(driver: Driver, view: int = 1, **options: object) -> object:
    """Let a proposal arrive, be verified, and be notarized by the others."""
    block = driver.block(view, **options)
    driver.receive(driver.proposal(block))
    driver.verified(block)
    driver.durable()
    driver.learn(NOTARIZE, view, block.id)
    return block


# C2: proposing


def test_a_leader_builds_signs_and_sends_its_block() -> None:
    probe = Driver()
    driver = Driver(me=probe.leader(1))
    build = of(driver.fire(Timer.PROPOSE), Build)[0]
    built = driver.app.build(build.placement, empty=False)

    effects = driver.built(built)

    position = next(i for i, e in enumerate(effects) if isinstance(e, Persist))
    sent = next(i for i, e in enumerate(effects) if isinstance(e, Broadcast))
    assert position < sent
    assert [type(record) for record in synced(effects)] == [VoteRecord]


def test_a_leader_that_is_behind_does_not_wait_out_the_interval_again() -> None:
    """It enters the view before it has executed the parent, whose proposal it has long seen."""
    driver = Driver(me=Driver().leader(2))
    parent = driver.block(1, busy=True)
    driver.receive(driver.proposal(parent))
    driver.now_ms += PARAMS.block_interval_ms_min
    driver.learn(FINALIZE, 1, parent.id)
    assert driver.core.shared.view == 2
    assert not of(driver.effects, Build)

    assert of(driver.certified(parent), Build)


def test_a_leader_waits_for_the_interval_since_the_parent_below_what_was_passed() -> None:
    probe = Driver()
    driver = Driver(me=probe.leader(3))
    parent = driver.block(1, busy=True)
    driver.receive(driver.proposal(parent))
    driver.now_ms += 10
    driver.learn(NOTARIZE, 1, parent.id)
    driver.certified(parent)
    driver.learn(NULLIFY, 2)
    assert driver.core.shared.view == 3

    assert not of(driver.effects, Build)
    assert driver.core.shared.deadlines[Timer.PROPOSE] == PARAMS.block_interval_ms_min


def test_a_leader_never_proposes_twice_in_a_view() -> None:
    probe = Driver()
    driver = Driver(me=probe.leader(1))
    build = of(driver.fire(Timer.PROPOSE), Build)[0]
    effects = driver.built(driver.app.build(build.placement, empty=False))
    journal = tuple(synced(effects))

    again = Driver(me=probe.leader(1), journal=journal, look_back=False)
    again.look_back()

    assert again.core.shared.mode is Mode.ACTIVE
    assert not of(again.effects, Build)


def test_a_deep_leader_proposes_empty() -> None:
    driver = Driver(me=0)
    view, parent, certificate = 1, None, None
    while True:
        if driver.leader(view) == 0:
            build = of(driver.fire(Timer.PROPOSE), Build)[-1]
            assert build.empty == (build.placement.height > 8)
            if build.empty:
                break
            parent = driver.app.build(build.placement, empty=False).block
            driver.built(driver.app.build(build.placement, empty=False))
        else:
            parent = driver.block(view, parent=parent, certificate=certificate)
            driver.receive(driver.proposal(parent))
        certificate = driver.certificate(NOTARIZE, view, parent.id)
        driver.receive(CertificateMessage(certificate))
        driver.certified(parent)
        view += 1

    assert view > 8


# C3: voting


def test_a_good_proposal_is_verified_and_voted_for_once() -> None:
    driver = follower()
    block = driver.block(1)

    assert of(driver.receive(driver.proposal(block)), VerifyBlock)
    assert not of(driver.receive(driver.proposal(block)), VerifyBlock)
    effects = driver.verified(block)

    assert [type(record) for record in synced(effects)] == [VoteRecord]
    assert driver.votes_sent() == [(NOTARIZE, 1)]


def test_a_strangers_proposal_is_blamed() -> None:
    driver = follower()
    proposal = driver.proposal(driver.block(1)).proposal
    header = msgspec.structs.replace(proposal.header, proposer_index=driver.me)
    forged = msgspec.structs.replace(proposal, header=header)

    effects = driver.receive(ProposalMessage(forged))

    assert [e.code for e in of(effects, Blame)] == ["consensus/NotLeader"]


def test_a_proposal_needs_its_leaders_signature() -> None:
    driver = follower()
    forged = msgspec.structs.replace(driver.proposal(driver.block(1)).proposal, signature=bytes(64))

    effects = driver.receive(ProposalMessage(forged))

    assert [e.code for e in of(effects, Blame)] == ["crypto/BadSignature"]
    assert not driver.core.shared.entries


def test_a_changed_body_is_the_senders_fault_and_the_true_one_still_counts() -> None:
    driver = follower()
    block = driver.block(1, busy=True)
    proposal = driver.proposal(block)
    body = msgspec.structs.replace(block.body, transactions=[])
    changed = msgspec.structs.replace(proposal.proposal, body=body, attachments=[])

    assert of(driver.receive(ProposalMessage(changed)), Blame)[0].code == "block/BodyMismatch"
    assert of(driver.receive(proposal), VerifyBlock)


def test_gap_nullifications_travel_with_the_proposal() -> None:
    driver = follower()
    driver.learn(NULLIFY, 2)
    block = driver.block(3)
    nullifications = [driver.certificate(NULLIFY, 2), driver.certificate(NULLIFY, 1)]

    effects = driver.receive(driver.proposal(block, nullifications=nullifications))

    assert of(effects, VerifyBlock)


def test_a_nullification_of_another_epoch_says_nothing_of_this_one() -> None:
    driver = follower()
    driver.learn(NULLIFY, 2)
    foreign = {
        i: fake_sign(key_of(i), vote_message(NULLIFY, GENESIS_HASH, 7, 1, None)) for i in (1, 2, 3)
    }
    nullification = assemble_certificate(driver.committee, NULLIFY, 7, 1, None, foreign)

    effects = driver.receive(driver.proposal(driver.block(3), nullifications=[nullification]))

    assert of(effects, Blame)[0].code == "consensus/Nullification"
    assert 1 not in driver.core.shared.rounds or not driver.core.shared.rounds[1].nullified


@pytest.mark.parametrize("kind", [NOTARIZE, FINALIZE])
def test_only_nullifications_travel_with_a_proposal(kind: int) -> None:
    driver = follower()
    driver.learn(NULLIFY, 2)
    other = driver.certificate(kind, 1, bytes(32))

    effects = driver.receive(driver.proposal(driver.block(3), nullifications=[other]))

    assert of(effects, Blame)[0].code == "consensus/Nullification"


def test_a_proposal_is_sent_again_with_nullifications_that_were_verified() -> None:
    """A forged one of a view that is known here would convict whoever passes it on."""
    driver = follower()
    driver.learn(NULLIFY, 1)
    driver.learn(NULLIFY, 2)
    good = [driver.certificate(NULLIFY, 2), driver.certificate(NULLIFY, 1)]
    driver.receive(driver.proposal(driver.block(3), nullifications=[spoil(each) for each in good]))

    effects = driver.fire(Timer.RETRY)

    sent = [e.message for e in of(effects, Broadcast) if isinstance(e.message, ProposalMessage)]
    assert [message.proposal.nullifications for message in sent] == [good]


def test_a_missing_gap_is_asked_for_and_waited_for() -> None:
    driver = follower()
    driver.learn(NULLIFY, 2)
    effects = driver.receive(driver.proposal(driver.block(3)))

    asked = [e.message for e in of(effects, Request)]
    assert ViewRequest(0, 1) in asked
    assert NULLIFY not in driver.core.shared.rounds[3].promised
    assert of(driver.learn(NULLIFY, 1), VerifyBlock)


def test_an_invalid_block_is_nullified_at_once_and_not_held_against_the_network() -> None:
    driver = follower()
    block = driver.block(1)
    driver.receive(driver.proposal(block))
    refusal = Rejected("block/Derived", "a field differs")

    driver._handle(BlockVerified, block_id=block.id, refusal=refusal)

    assert driver.votes_sent() == [(NULLIFY, 1)]
    assert driver.core.shared.pace.delta_now_ms == PARAMS.delta_ms


@pytest.mark.parametrize(
    ("offset_ms", "outcome"),
    [(-10_500, "verify"), (-10_501, "nullify"), (500, "verify"), (501, "wait"), (1_000, "nullify")],
)
def test_block_times_are_judged_against_my_clock(offset_ms: int, outcome: str) -> None:
    driver = follower()
    driver.now_ms = 20_000
    time_ms = GENESIS_TIME_MS + driver.now_ms + offset_ms
    block = driver.block(1, time_ms=time_ms)

    effects = driver.receive(driver.proposal(block))

    verifies, nullifies = bool(of(effects, VerifyBlock)), (NULLIFY, 1) in driver.votes_sent()
    found = "verify" if verifies else "nullify" if nullifies else "wait"
    assert found == outcome


@pytest.mark.parametrize(
    ("offset_ms", "words"),
    [(3_600_000, "3600000 ms ahead of this"), (-3_600_000, "3600000 ms behind this")],
)
def test_a_refused_proposal_is_reported_once_with_its_leader_and_why(
    offset_ms: int, words: str
) -> None:
    driver = follower()
    driver.now_ms = 4_000_000
    block = driver.block(1, time_ms=GENESIS_TIME_MS + driver.now_ms + offset_ms)

    driver.receive(driver.proposal(block))
    driver.receive(driver.proposal(block))
    driver.fire(Timer.ADVANCE)

    (report,) = of(driver.effects, ProposalRefused)
    assert (report.leader, report.view, report.code) == (driver.leader(1), 1, "block/Time")
    assert f"the block's time lies {words} machine's clock" in report.message


def test_a_proposal_that_the_application_refuses_is_reported() -> None:
    driver = follower()
    block = driver.block(1)
    driver.receive(driver.proposal(block))

    refusal = Rejected("block/Root", "another root")
    driver._handle(BlockVerified, block_id=block.id, refusal=refusal)

    (report,) = of(driver.effects, ProposalRefused)
    assert report == ProposalRefused(driver.leader(1), 1, "block/Root", "another root")


def test_a_clock_that_lags_behind_what_is_final_waits_for_the_block_above_it() -> None:
    driver = follower()
    parent = driver.block(1)
    driver.receive(driver.proposal(parent))
    driver.verified(parent)
    certificate = driver.certificate(NOTARIZE, 1, parent.id)
    driver.receive(CertificateMessage(certificate))
    driver.certified(parent)
    driver.wall_lag_ms = 3_600_000
    block = driver.block(2, parent=parent, certificate=certificate)

    effects = driver.receive(driver.proposal(block))

    assert (NULLIFY, 2) not in driver.votes_sent()
    assert not of(effects, VerifyBlock)
    deadline_ms = driver.core.shared.deadlines[Timer.VERIFY]
    assert deadline_ms == block.header.time_ms - GENESIS_TIME_MS + 3_600_000 - PARAMS.precision_ms


def test_a_time_just_ahead_is_waited_for() -> None:
    driver = follower()
    block = driver.block(1, time_ms=GENESIS_TIME_MS + 550)
    driver.receive(driver.proposal(block))

    effects = driver.fire(Timer.VERIFY)

    assert driver.now_ms == 50
    assert of(effects, VerifyBlock)


def test_a_full_block_far_above_what_i_know_final_waits_for_its_leaders_finalization() -> None:
    driver = follower()
    driver.core.shared.own_from = 2**63  # My own turns are played from here, too.
    view, parent, certificate = 1, None, None
    while view < 9 or driver.leader(view) == driver.me:
        parent = driver.block(view, parent=parent, certificate=certificate)
        driver.receive(driver.proposal(parent))
        certificate = driver.certificate(NOTARIZE, view, parent.id)
        driver.receive(CertificateMessage(certificate))
        driver.certified(parent)
        view += 1
    deep = driver.block(view, parent=parent, certificate=certificate, busy=True)

    effects = driver.receive(driver.proposal(deep))

    assert not of(effects, VerifyBlock)
    assert [e.message for e in of(effects, Request)] == [ViewRequest(0, 1)]
    assert (NULLIFY, view) not in driver.votes_sent()
    assert of(driver.learn(FINALIZE, view - 1, parent.id), VerifyBlock)


# C4: certifying and finalizing


def test_finalize_leaves_with_its_body_after_certifying() -> None:
    driver = follower()
    block = notarized(driver)
    assert [e.block.id for e in of(driver.effects, Certify)] == [block.id]

    effects = driver.certified(block)

    assert [type(record) for record in synced(effects)] == [BlockRecord, VoteRecord]
    assert driver.votes_sent() == [(NOTARIZE, 1), (FINALIZE, 1)]
    assert driver.core.shared.view == 2


def test_a_later_finalize_carries_the_bodies_below_that_no_finalize_carried() -> None:
    driver = follower()
    first = driver.block(1)
    driver.receive(driver.proposal(first))
    driver.fire(Timer.ADVANCE)
    driver.durable()
    driver.learn(NOTARIZE, 1, first.id)
    driver.certified(first)
    second = driver.block(2, parent=first, certificate=driver.certificate(NOTARIZE, 1, first.id))
    driver.receive(driver.proposal(second))
    driver.learn(NOTARIZE, 2, second.id)

    effects = driver.certified(second)

    records = [record for record in synced(effects) if isinstance(record, BlockRecord)]
    assert {record.header.view for record in records} == {1, 2}


def test_no_finalize_after_nullify() -> None:
    driver = follower()
    block = driver.block(1)
    driver.receive(driver.proposal(block))
    driver.fire(Timer.ADVANCE)
    driver.durable()
    driver.learn(NOTARIZE, 1, block.id)

    driver.certified(block)

    assert driver.votes_sent() == [(NULLIFY, 1)]
    assert driver.core.shared.view == 2


def test_no_finalize_for_an_equivocating_leader() -> None:
    driver = follower()
    block, other = driver.block(1), driver.block(1, salt=5)
    driver.receive(driver.proposal(block))
    effects = driver.receive(driver.proposal(other))
    driver.learn(NOTARIZE, 1, block.id)

    driver.certified(block)

    assert [e.evidence.fault for e in of(effects, ReportEvidence)] == [(0, 1, driver.leader(1))]
    assert (FINALIZE, 1) not in driver.votes_sent()
    assert driver.core.shared.view == 2


def test_a_failed_certification_is_nullified_when_the_timer_says_so() -> None:
    driver = follower()
    block = notarized(driver)

    driver._handle(CertifyFailed, block_id=block.id, tx_id=b"t" * 32)
    assert (NULLIFY, 1) not in driver.votes_sent()
    driver.fire(Timer.ADVANCE)

    assert (NULLIFY, 1) in driver.votes_sent()


def test_advance_is_suspended_while_certifying_up_to_a_bound() -> None:
    driver = follower()
    notarized(driver)

    driver.fire(Timer.ADVANCE)
    assert (NULLIFY, 1) not in driver.votes_sent()
    driver.fire(Timer.CERTIFY)

    assert (NULLIFY, 1) in driver.votes_sent()
    assert driver.now_ms >= PARAMS.certify_ms_max


def test_a_nullified_block_is_no_longer_certified_until_something_builds_on_it() -> None:
    driver = follower()
    block = notarized(driver)

    stopped = driver.learn(NULLIFY, 1)
    assert [e.block_id for e in of(stopped, StopCertify)] == [block.id]
    assert driver.core.shared.view == 2
    driver.app.execute(block)
    child = driver.block(2, parent=block, certificate=driver.certificate(NOTARIZE, 1, block.id))
    driver.learn(NOTARIZE, 2, child.id)
    driver.fire(Timer.REQUEST)
    effects = driver.receive(BlockAnswer(child.header, child.body))

    assert [e.block.id for e in of(effects, Certify)] == [block.id]


def test_a_nullified_block_is_certified_while_the_present_proposal_builds_on_it() -> None:
    driver = follower()
    block = notarized(driver)
    driver.learn(NULLIFY, 1)
    driver.app.execute(block)
    child = driver.block(2, parent=block, certificate=driver.certificate(NOTARIZE, 1, block.id))

    effects = driver.receive(driver.proposal(child))
    assert [e.block.id for e in of(effects, Certify)] == [block.id]
    asked = driver.certified(block)
    assert [e.block.id for e in of(asked, VerifyBlock)] == [child.id]


def test_a_nullified_block_is_given_up_again_once_the_present_proposal_is_refused() -> None:
    driver = follower()
    block = notarized(driver)
    driver.learn(NULLIFY, 1)
    driver.app.execute(block)
    certificate = driver.certificate(NOTARIZE, 1, block.id)
    child = driver.block(2, parent=block, certificate=certificate, time_ms=GENESIS_TIME_MS)

    effects = driver.receive(driver.proposal(child))

    assert [e.block_id for e in of(effects, StopCertify)] == [block.id]


def test_the_body_of_a_block_that_is_given_up_is_not_asked_for() -> None:
    driver = follower()
    driver.learn(NOTARIZE, 1, driver.block(1).id)
    assert driver.core.shared.wants

    driver.learn(NULLIFY, 1)

    assert not driver.core.shared.wants


def test_certificates_that_nobody_has_are_asked_for_in_one_view_only() -> None:
    """A leader can name gaps that were never nullified; they must not fill all places for ever."""
    driver = follower()
    view = 3
    for passed in (1, 2):
        driver.learn(NOTARIZE, passed, (block := driver.block(passed)).id)
        driver.receive(BlockAnswer(block.header, block.body))
        driver.learn(NULLIFY, passed)
    gap = driver.block(view)
    driver.core.shared.rounds[1].book.certificates[NULLIFY] = None
    driver.receive(driver.proposal(gap))
    assert 1 in driver.core.shared.wants

    driver.learn(NULLIFY, view)

    assert 1 not in driver.core.shared.wants


def test_a_missing_body_is_asked_for_by_id() -> None:
    driver = follower()
    block = driver.block(1)
    driver.learn(NOTARIZE, 1, block.id)
    effects = driver.fire(Timer.REQUEST)

    assert [e.message for e in of(effects, Request)] == [BlockRequest(block.id)]
    assert of(driver.receive(BlockAnswer(block.header, block.body)), Certify)


def test_a_voter_is_asked_for_a_body_before_the_leader_who_may_keep_it_back() -> None:
    driver = Driver(me=1)
    driver.look_back()
    view = driver.view_led_by(0)
    for passed in range(1, view):
        driver.learn(NULLIFY, passed)
    block = driver.block(view)
    driver.learn(NOTARIZE, view, block.id)
    assert driver.core.shared.rounds[view].voters[0] == 0

    (request,) = of(driver.fire(Timer.REQUEST), Request)

    assert request.message == BlockRequest(block.id)
    assert request.member in driver.core.shared.rounds[view].voters
    assert request.member not in (0, 1)


def test_a_body_is_not_waited_for_longer_than_a_block_takes() -> None:
    driver = follower(params=msgspec.structs.replace(PARAMS, block_interval_ms_min=20))
    driver.learn(NOTARIZE, 1, driver.block(1).id)
    assert driver.core.shared.pace.delta_now_ms > 20

    due_ms = driver.core.shared.deadlines[Timer.REQUEST]

    assert due_ms == driver.now_ms + 20


def test_an_unsolicited_body_is_dropped() -> None:
    driver = follower()
    block = driver.block(1)

    assert driver.receive(BlockAnswer(block.header, block.body)) == []
    assert not driver.core.shared.entries


# C5, C6: giving up


def test_no_proposal_means_nullify() -> None:
    driver = follower()

    effects = driver.fire(Timer.LEADER)

    assert [type(record) for record in synced(effects)] == [VoteRecord]
    assert driver.votes_sent() == [(NULLIFY, 1)]


def test_a_leader_that_nullifies_is_followed_at_once() -> None:
    driver = follower()

    driver.receive(VoteMessage(driver.vote(driver.leader(1), NULLIFY, 1, None)))

    assert driver.votes_sent() == [(NULLIFY, 1)]


def test_a_nullification_opens_the_next_view() -> None:
    driver = follower()

    effects = driver.learn(NULLIFY, 1)

    assert driver.core.shared.view == 2
    assert len(of(effects, Broadcast)) == 1
    assert not of(driver.learn(NULLIFY, 1), Broadcast)


def test_a_lost_block_below_is_given_up_with_the_view() -> None:
    driver = follower()
    driver.learn(NOTARIZE, 1, b"lost" * 8)
    driver.learn(NULLIFY, 2)
    assert driver.core.shared.view == 3

    driver.fire(Timer.LEADER)

    assert driver.votes_sent() == [(NULLIFY, 3), (NULLIFY, 1)]


def test_a_promise_to_finalize_is_never_given_up() -> None:
    driver = follower()
    block = notarized(driver)
    driver.certified(block)
    driver.durable()
    driver.core.shared.entries.pop(block.id)

    driver.fire(Timer.LEADER)

    assert (NULLIFY, 1) not in driver.votes_sent()


@pytest.mark.parametrize("timer", [Timer.LEADER, Timer.ADVANCE])
def test_a_timer_that_was_moved_or_cancelled_has_not_fired(timer: Timer) -> None:
    driver = follower()
    early = driver.core.shared.deadlines[timer] - 1
    driver.now_ms = early

    from_early = driver._handle(TimerFired, timer=timer)
    driver.learn(NULLIFY, 1)
    driver.now_ms = early + 1

    assert from_early == []
    assert not driver.votes_sent()


# C7: finalising


def test_a_finalization_finalises_the_block_and_its_ancestors() -> None:
    driver = follower()
    first = notarized(driver)
    driver.certified(first)
    certificate = driver.certificate(NOTARIZE, 1, first.id)
    second = driver.block(2, parent=first, certificate=certificate)
    driver.receive(driver.proposal(second))

    effects = driver.learn(FINALIZE, 2, second.id)

    finalize = of(effects, Finalize)[0]
    assert [block.id for block in finalize.blocks] == [first.id, second.id]
    assert finalize.proof.target == second.header
    assert driver.core.shared.view == 3


def test_a_finalization_waits_for_missing_ancestors() -> None:
    driver = follower()
    first = driver.block(1)
    driver.app.execute(first)
    certificate = driver.certificate(NOTARIZE, 1, first.id)
    second = driver.block(2, parent=first, certificate=certificate)
    driver.receive(driver.proposal(second))

    assert not of(driver.learn(FINALIZE, 2, second.id), Finalize)
    driver.fire(Timer.REQUEST)
    effects = driver.receive(BlockAnswer(first.header, first.body))

    assert [len(e.blocks) for e in of(effects, Finalize)] == [2]


def test_a_certificate_with_a_bad_signature_changes_nothing() -> None:
    driver = follower()

    effects = driver.receive(CertificateMessage(spoil(driver.certificate(NULLIFY, 1))))

    assert [e.code for e in of(effects, Blame)] == ["crypto/BadSignature"]
    assert driver.core.shared.view == 1


# C8: my own votes


def test_my_vote_counts_only_once_durable() -> None:
    driver = follower()
    driver.fire(Timer.LEADER)
    others = [i for i in range(4) if i != driver.me][:2]
    for other in others:
        driver.receive(VoteMessage(driver.vote(other, NULLIFY, 1, None)))

    assert driver.core.shared.view == 1
    driver.durable()

    assert driver.core.shared.view == 2


def test_a_validator_alone_waits_for_its_disk() -> None:
    driver = Driver(size=1, look_back=False)
    build = of(driver.fire(Timer.PROPOSE), Build)[0]
    built = driver.app.build(build.placement, empty=False)
    driver.built(built)
    assert not of(driver.effects, Certify)

    driver.durable()
    driver.certified(built.block)
    assert not of(driver.effects, Finalize)
    driver.durable()

    assert of(driver.effects, Finalize)


def test_votes_far_ahead_are_not_kept() -> None:
    driver = follower()
    driver.receive(VoteMessage(driver.vote(driver.leader(1), NULLIFY, 21, None)))
    driver.receive(VoteMessage(driver.vote(driver.leader(1), NULLIFY, 22, None)))

    assert 21 in driver.core.shared.rounds
    assert 22 not in driver.core.shared.rounds


# C9, C10: answering


def test_a_view_request_is_answered_with_certificates() -> None:
    driver = follower()
    driver.learn(NULLIFY, 1)

    effects = driver.receive(ViewRequest(0, 1))

    assert [e.message for e in of(effects, Send)] == [
        CertificateMessage(driver.certificate(NULLIFY, 1))
    ]
    assert driver.receive(ViewRequest(0, 1)) == []


def test_a_view_request_without_a_decision_is_answered_with_my_votes() -> None:
    driver = follower()
    driver.fire(Timer.LEADER)
    assert of(driver.receive(ViewRequest(0, 1)), Send) == []
    driver.durable()

    effects = driver.receive(ViewRequest(0, 1), peer=b"other")

    assert [e.message for e in of(effects, Send)] == [
        VoteMessage(driver.vote(driver.me, NULLIFY, 1, None))
    ]


def test_a_stale_peer_is_told_once_per_second() -> None:
    driver = follower()
    block = notarized(driver)
    driver.certified(block)
    child = driver.block(2, parent=block, certificate=driver.certificate(NOTARIZE, 1, block.id))
    driver.receive(driver.proposal(child))
    driver.learn(FINALIZE, 2, child.id)
    stale = VoteMessage(driver.vote(driver.leader(1), NULLIFY, 1, None))

    told = [of(driver.receive(stale), Send), of(driver.receive(stale), Send)]
    driver.now_ms += 1_000

    assert [len(sent) for sent in told] == [1, 0]
    assert len(of(driver.receive(stale), Send)) == 1


def test_retries_send_votes_the_entering_certificate_and_a_question() -> None:
    driver = follower()
    driver.learn(NULLIFY, 1)
    driver.fire(Timer.LEADER)
    driver.durable()

    effects = driver.fire(Timer.RETRY)

    sent = [e.message for e in of(effects, Broadcast)]
    assert CertificateMessage(driver.certificate(NULLIFY, 1)) in sent
    assert VoteMessage(driver.vote(driver.me, NULLIFY, 2, None)) in sent
    assert [e.message for e in of(effects, Request)] == [ViewRequest(0, 2)]


# C13: pace


def test_the_first_transaction_shortens_the_leaders_time() -> None:
    driver = follower(has_pool=False)
    idle_ms = driver.core.shared.deadlines[Timer.LEADER]
    assert idle_ms == 2 * 50 + 100 + 2_000
    driver.now_ms = 700

    driver._handle(TransactionsAvailable, available=True)

    assert driver.core.shared.deadlines[Timer.LEADER] == 700 + 2 * 50
    driver._handle(TransactionsAvailable, available=False)
    assert driver.core.shared.deadlines[Timer.LEADER] == idle_ms


# C18: catching up


def test_while_ranges_come_no_block_is_executed_verified_or_built() -> None:
    driver = Driver(me=Driver().leader(3))
    driver.core.shared.syncing = True
    block = driver.block(1)
    driver.receive(driver.proposal(block))
    driver.learn(NOTARIZE, 1, block.id)
    driver.learn(NULLIFY, 2)
    driver.fire(Timer.LEADER)
    busy = (VerifyBlock, Certify, Build)
    assert not [effect for effect in driver.effects if isinstance(effect, busy)]

    effects = driver._handle(Synced, epoch=driver.core.shared.start, head=None)

    assert [certify.block.id for certify in of(effects, Certify)] == [block.id]


def syncing_far_behind(views: int) -> tuple[Driver, list[object]]:
    """Return a member whose head stands still while ``views`` blocks become final elsewhere."""
    driver = follower()
    driver.core.shared.own_from = 2**63  # My own turns are played from here, too.
    driver.core.shared.syncing = True
    blocks: list[object] = []
    for view in range(1, views + 1):
        parent = blocks[-1] if blocks else None
        certificate = driver.certificate(NOTARIZE, view - 1, parent.id) if parent else None
        driver.app.execute(parent) if parent else None
        blocks.append(driver.block(view, parent=parent, certificate=certificate))
        driver.receive(driver.proposal(blocks[-1]))
        driver.learn(NOTARIZE, view, blocks[-1].id)
        driver.learn(FINALIZE, view, blocks[-1].id)
    return driver, blocks


def test_what_passes_while_ranges_come_is_not_remembered() -> None:
    driver, _ = syncing_far_behind(200)

    shared = driver.core.shared
    assert shared.view == 201 and shared.head.view == 0
    assert max(len(shared.rounds), len(shared.entries), len(shared.candidates)) <= 23


def test_single_blocks_are_not_asked_for_while_ranges_come() -> None:
    driver = follower()
    far = driver.block(30, time_ms=GENESIS_TIME_MS + 1)
    driver.learn(NOTARIZE, 30, far.id)
    assert far.id in driver.core.shared.wants

    request_sync(driver.core.shared, 30)
    driver.learn(NOTARIZE, 31, driver.block(31, salt=1).id)

    assert not any(isinstance(key, bytes) for key in driver.core.shared.wants)
    driver._handle(Synced, epoch=driver.core.shared.start, head=None)
    assert far.id in driver.core.shared.wants


def test_nobody_holding_a_final_block_leads_to_ranges() -> None:
    driver = follower()
    final = driver.block(3, time_ms=GENESIS_TIME_MS + 1)
    driver.learn(FINALIZE, 3, final.id)
    driver.learn(NOTARIZE, 4, driver.block(4, salt=1).id)

    while not of(driver.effects, Sync):
        driver.fire(Timer.REQUEST)

    assert driver.core.shared.syncing
    assert not any(isinstance(key, bytes) for key in driver.core.shared.wants)


def test_nothing_is_signed_in_a_view_that_was_forgotten() -> None:
    driver, _ = syncing_far_behind(60)
    driver._handle(Synced, epoch=driver.core.shared.start, head=None)
    votes = driver.votes_sent()

    driver.fire(Timer.LEADER)
    driver.durable()

    assert driver.votes_sent() == [*votes, (NULLIFY, 61)]


def test_a_block_of_a_view_that_was_forgotten_is_taken_when_it_was_asked_for() -> None:
    driver, blocks = syncing_far_behind(60)
    effects = driver._handle(Synced, epoch=driver.core.shared.start, head=None)
    assert of(effects, Sync)
    finalization = driver.certificate(FINALIZE, 35, blocks[34].id)
    head = Head(header=blocks[34].header, finalization=finalization, has_transactions=False)

    effects = driver._handle(Synced, epoch=driver.core.shared.start, head=head)

    for missing in reversed(blocks[35:39]):
        assert BlockRequest(missing.id) in [e.message for e in of(effects, Request)]
        effects = driver.receive(BlockAnswer(missing.header, missing.body))
        assert not of(effects, Blame)
    final = of(driver.effects, Finalize)[-1]
    assert [block.id for block in final.blocks] == [block.id for block in blocks[35:]]
    assert driver.core.shared.head.id == blocks[-1].id


# C15: starting

ANSWER = LookbackAnswer(0, [], None, True)
"""Of a peer that has listened long enough and knows nothing."""


def test_nothing_is_signed_before_enough_answered() -> None:
    driver = follower(look_back=False)
    driver.fire(Timer.LEADER)
    assert driver.votes_sent() == []

    driver.receive(ANSWER, peer=driver.other(1))
    assert driver.core.shared.mode is Mode.LOOKBACK
    driver.receive(ANSWER, peer=driver.other(2))

    assert driver.votes_sent() == [(NULLIFY, 1)]


def test_answers_of_peers_that_have_just_started_do_not_count() -> None:
    driver = follower(look_back=False)

    for peer in map(driver.other, (1, 2, 3)):
        driver.receive(LookbackAnswer(0, [], None, False), peer=peer)

    assert driver.core.shared.mode is Mode.LOOKBACK


UNSETTLED = LookbackAnswer(0, [], None, False)
"""Of a peer that has just started itself."""


def voted_before() -> Driver:
    """Return a core with a vote in its journal that has asked the others."""
    driver = follower()
    journal = tuple(synced(driver.fire(Timer.LEADER)))
    return Driver(me=driver.me, journal=journal, look_back=False)


def test_silence_is_clean_with_an_intact_journal_only() -> None:
    voted = voted_before()
    fresh = Driver(me=voted.me, look_back=False)

    for each in (voted, fresh):
        for number in (1, 2):
            each.receive(UNSETTLED, peer=each.other(number))
        for _ in range(3):
            each.fire(Timer.LOOKBACK)

    assert voted.core.shared.mode is Mode.ACTIVE
    assert voted.now_ms == 3_000
    assert fresh.core.shared.mode is Mode.LOOKBACK


@pytest.mark.parametrize("answers", [0, 1])
def test_silence_counts_only_once_a_quorum_with_me_has_answered(answers: int) -> None:
    """Who hears nobody hears nothing of its own votes either."""
    driver = voted_before()
    for number in range(1, answers + 1):
        driver.receive(UNSETTLED, peer=driver.other(number))

    for _ in range(20):
        driver.fire(Timer.LOOKBACK)
    assert driver.core.shared.mode is Mode.LOOKBACK

    began_ms = driver.now_ms
    driver.receive(UNSETTLED, peer=driver.other(2))
    driver.receive(UNSETTLED, peer=driver.other(3))
    while driver.core.shared.mode is Mode.LOOKBACK:
        driver.fire(Timer.LOOKBACK)
    assert driver.now_ms == began_ms + 3_000


def test_answers_of_strangers_and_of_other_epochs_do_not_count() -> None:
    driver = voted_before()

    driver.receive(UNSETTLED, peer=driver.other(1))
    driver.receive(UNSETTLED, peer=b"stranger")
    driver.receive(LookbackAnswer(1, [], None, True), peer=driver.other(2))
    for _ in range(20):
        driver.fire(Timer.LOOKBACK)

    assert driver.core.shared.mode is Mode.LOOKBACK


def test_an_epoch_that_opens_is_asked_about_but_does_not_begin_the_silence_anew() -> None:
    driver = Driver(me=0, params=SHORT, look_back=False, journal=(BegunRecord(), VOTED))
    for number in (1, 2):
        driver.receive(UNSETTLED, peer=driver.other(number))
    last = driver.end_epoch()
    for _ in range(4):
        driver.fire(Timer.LOOKBACK) if Timer.LOOKBACK in driver.core.shared.deadlines else None
    driver.now_ms = 3_000
    driver.effects.clear()

    driver.open_epoch(last, driver.committee)
    assert driver.core.shared.mode is Mode.LOOKBACK
    assert Broadcast(LookbackQuestion(1, 0, 0)) in driver.effects
    driver.receive(LookbackAnswer(1, [], None, False), peer=driver.other(1))
    assert driver.core.shared.mode is Mode.LOOKBACK, "what was answered before does not count"
    driver.receive(LookbackAnswer(1, [], None, False), peer=driver.other(2))

    assert driver.core.shared.mode is Mode.ACTIVE
    assert driver.now_ms == 3_000


def test_who_is_brought_into_an_epoch_by_ranges_looks_back_in_it() -> None:
    driver = Driver(me=0, params=SHORT)
    last = driver.end_epoch()
    assert driver.core.shared.mode is Mode.ACTIVE

    driver.open_epoch(last, driver.committee, synced=True)

    assert driver.core.shared.mode is Mode.LOOKBACK


def test_who_becomes_a_member_looks_back_and_who_stays_one_does_not() -> None:
    newcomer = Driver(me=0, params=SHORT)
    staying = Driver(me=0, params=SHORT)
    others = Committee([Member(key_of(i), 1) for i in (1, 2, 3, 4)])
    for driver, between in ((newcomer, others), (staying, newcomer.committee)):
        all_four, last = driver.committee, driver.end_epoch()
        driver.open_epoch(last, between)
        assert driver.core.shared.mode is Mode.ACTIVE
        driver.open_epoch(last, all_four)

    assert newcomer.core.shared.mode is Mode.LOOKBACK
    assert staying.core.shared.mode is Mode.ACTIVE


def test_who_asks_in_an_older_epoch_is_told_how_it_ended() -> None:
    driver = Driver(me=0, params=SHORT)
    driver.open_epoch(driver.end_epoch(), driver.committee)

    effects = driver.receive(LookbackQuestion(0, 1, 2), peer=driver.other(2))

    assert of(effects, ProveEpochEnd) == [ProveEpochEnd(driver.other(2), 0)]


def test_members_with_less_than_a_third_of_the_power_are_not_enough_however_many() -> None:
    """Two of four members may be faulty if they are light."""
    driver = Driver(powers=[5, 1, 1, 5], me=0, look_back=False)

    for number in (1, 2):
        driver.receive(ANSWER, peer=driver.other(number))
    assert driver.core.shared.mode is Mode.LOOKBACK
    driver.receive(ANSWER, peer=driver.other(3))

    assert driver.core.shared.mode is Mode.ACTIVE


def test_a_begun_journal_without_votes_is_intact_on_a_running_network() -> None:
    driver = follower(look_back=False, journal=(BegunRecord(),))
    finalization = driver.certificate(FINALIZE, 50, b"b" * 32)

    for peer in map(driver.other, (1, 2, 3)):
        driver.receive(LookbackAnswer(0, [], finalization, True), peer=peer)
    driver.look_back()

    assert driver.core.shared.mode is Mode.ACTIVE


def test_whoever_begins_to_sign_without_a_journal_begins_one() -> None:
    driver = follower(look_back=False)
    driver.receive(ANSWER, peer=driver.other(1))

    journal = tuple(synced(driver.receive(ANSWER, peer=driver.other(2))))

    assert journal == (BegunRecord(),)
    assert Driver(me=driver.me, journal=journal, look_back=False).core.shared.journal_intact


def test_promises_come_back_from_the_journal() -> None:
    driver = follower()
    driver.fire(Timer.LEADER)
    journal = tuple(synced(driver.effects))

    again = Driver(me=driver.me, journal=journal, look_back=False)

    assert list(again.core.shared.rounds[1].promised) == [NULLIFY]
    assert of(again.effects, Broadcast) == [Broadcast(LookbackQuestion(0, 1, driver.me))]


def test_certificates_come_back_from_the_journal() -> None:
    probe = follower()
    journal = (CertificateRecord(probe.certificate(NULLIFY, 1)),)

    driver = Driver(me=probe.me, journal=journal, look_back=False)

    assert driver.core.shared.view == 2


def test_a_vote_above_the_journal_stops_the_start() -> None:
    driver = follower(look_back=False, journal=(BegunRecord(),))
    known = driver.vote(driver.me, FINALIZE, 7, b"b" * 32)

    effects = driver.receive(LookbackAnswer(0, [known], None, False), peer=driver.other(1))

    assert driver.core.shared.mode is Mode.STOPPED
    (stop,) = of(effects, Stop)
    assert "no other node runs with this key" in stop.reason


@pytest.mark.parametrize("is_final", [False, True])
def test_an_emptied_home_whose_votes_others_know_is_quarantined(is_final: bool) -> None:
    driver = follower(look_back=False)
    known = driver.vote(driver.me, FINALIZE, 7, b"b" * 32)
    final = driver.certificate(FINALIZE, 7, b"b" * 32) if is_final else None

    for number in (1, 2):
        driver.receive(LookbackAnswer(0, [known], final, True), peer=driver.other(number))

    assert driver.core.shared.mode is Mode.QUARANTINE
    assert driver.core.shared.quarantine_until == 7 + 20


def test_a_vote_below_what_the_journal_knows_to_be_final_does_not() -> None:
    probe = follower()
    journal = (BegunRecord(), CertificateRecord(probe.certificate(FINALIZE, 9, b"c" * 32)))
    driver = follower(look_back=False, journal=journal)

    for view in (7, 9):
        known = driver.vote(driver.me, FINALIZE, view, b"b" * 32)
        driver.receive(LookbackAnswer(0, [known], None, True))

    assert driver.core.shared.mode is Mode.LOOKBACK


def test_an_empty_home_on_a_running_network_is_quarantined() -> None:
    driver = follower(look_back=False)
    finalization = driver.certificate(FINALIZE, 50, b"b" * 32)

    driver.receive(LookbackAnswer(0, [], finalization, True), peer=driver.other(1))
    driver.receive(ANSWER, peer=driver.other(2))

    assert driver.core.shared.mode is Mode.QUARANTINE
    driver.learn(FINALIZE, 69, b"c" * 32)
    assert driver.core.shared.mode is Mode.QUARANTINE
    effects = driver.learn(FINALIZE, 70, b"d" * 32)
    assert driver.core.shared.mode is Mode.ACTIVE
    assert BegunRecord() in synced(effects), "a crash now must not begin it anew"


def test_a_quarantine_counts_from_the_newest_vote_that_was_shown() -> None:
    driver = follower(look_back=False, journal_lost=True)
    finalization = driver.certificate(FINALIZE, 50, b"b" * 32)
    mine = driver.vote(driver.me, NULLIFY, 58, None)

    driver.receive(LookbackAnswer(0, [mine], finalization, True), peer=driver.other(1))
    driver.receive(ANSWER, peer=driver.other(2))

    assert driver.core.shared.quarantine_until == 58 + 20


def test_what_an_answer_proves_to_be_final_is_learnt() -> None:
    driver = follower(look_back=False)
    finalization = driver.certificate(FINALIZE, 50, b"b" * 32)

    driver.receive(LookbackAnswer(0, [], finalization, False), peer=driver.other(1))

    assert driver.core.shared.finalised_view == 50


@pytest.mark.parametrize("kind", [NOTARIZE, FINALIZE])
def test_an_answer_that_proves_nothing_is_blamed(kind: VoteKind) -> None:
    driver = follower(look_back=False)
    forged = spoil(driver.certificate(kind, 50, b"b" * 32))

    effects = driver.receive(LookbackAnswer(0, [], forged, True), peer=driver.other(1))

    assert [blame.peer for blame in of(effects, Blame)] == [driver.other(1)]
    assert not driver.core.shared.lookback_answered


def test_a_restart_does_not_end_a_quarantine() -> None:
    driver = follower()
    votes = synced(driver.fire(Timer.LEADER))
    lost = Driver(me=driver.me, journal=tuple(votes), journal_lost=True, look_back=False)
    written = [record for e in of(lost.effects, Persist) for record in e.records]
    assert QuarantineRecord(0) in written

    again = Driver(me=driver.me, journal=(*votes, *written), look_back=False)
    released = Driver(me=driver.me, journal=(*votes, *written, *votes), look_back=False)

    assert again.core.shared.journal_lost
    assert not released.core.shared.journal_lost


def test_a_question_is_answered_with_the_askers_votes_in_every_mode() -> None:
    driver = follower(look_back=False)
    vote = driver.vote(driver.leader(1), NULLIFY, 1, None)
    driver.receive(VoteMessage(vote))

    effects = driver.receive(LookbackQuestion(0, 0, driver.leader(1)))

    answer = of(effects, Send)[0]
    assert (answer.peer, answer.message) == (PEER, LookbackAnswer(0, [vote], None, False))


def test_an_answer_says_whether_its_sender_has_listened_for_three_seconds() -> None:
    driver = follower(look_back=False)

    answers = []
    for driver.now_ms in (0, 2_999, 3_999):
        effects = driver.receive(LookbackQuestion(0, 0, 1))
        answers += [e.message for e in of(effects, Send) if isinstance(e.message, LookbackAnswer)]

    assert [answer.settled for answer in answers] == [False, False, True]


def test_a_certificate_in_the_journal_answers_for_who_signed_it() -> None:
    probe = follower()
    certificate = probe.certificate(NULLIFY, 1)
    driver = follower(look_back=False, journal=(CertificateRecord(certificate),))

    effects = driver.receive(LookbackQuestion(0, 0, probe.leader(1)))

    answer = of(effects, Send)[0].message
    assert isinstance(answer, LookbackAnswer)
    assert answer.votes == [probe.vote(probe.leader(1), NULLIFY, 1, None)]


def test_a_vote_that_only_a_certificate_knows_is_not_sent_again() -> None:
    driver = follower(look_back=False, journal_lost=True)
    votes = {i: driver.vote(i, FINALIZE, 1, b"b" * 32).signature for i in range(4)}
    finalization = assemble_certificate(driver.committee, FINALIZE, 0, 1, b"b" * 32, votes)
    driver.receive(CertificateMessage(finalization))

    driver.fire(Timer.RETRY)

    assert driver.votes_sent() == []


def test_started_comes_first_and_once() -> None:
    driver = follower()
    with pytest.raises(Misuse):
        driver._handle(
            Started, epoch=driver.core.shared.start, head=None, journal=(), journal_lost=False
        )


# C11: epochs


def test_messages_of_an_older_epoch_are_answered_with_its_end() -> None:
    driver = follower()
    driver.core.shared.epoch = 3

    effects = driver.receive(ViewRequest(2, 9))

    assert of(effects, ProveEpochEnd) == [ProveEpochEnd(PEER, 2)]
    assert driver.receive(ViewRequest(2, 9)) == []


def test_who_speaks_of_a_later_epoch_is_asked_how_mine_ended() -> None:
    driver = follower()
    later = ViewRequest(1, 1)

    effects = driver.receive(later)

    assert of(effects, Send) == [Send(PEER, ViewRequest(0, driver.core.shared.view))]
    assert of(driver.receive(later), Send) == []
    driver.now_ms += 1_000
    assert len(of(driver.receive(later), Send)) == 1
    driver.now_ms += 1_000
    driver.core.shared.syncing = True
    assert of(driver.receive(later), Send) == []


def test_messages_of_the_next_epoch_are_kept_within_bounds() -> None:
    driver = follower()

    for _ in range(40):
        driver.receive(ViewRequest(1, 1))
    driver.receive(ViewRequest(2, 1))

    assert len(driver.core.shared.early) == 16


def test_a_proof_of_another_height_ends_no_epoch() -> None:
    driver = follower()
    block = driver.block(1)
    proof = FinalityProof(driver.certificate(FINALIZE, 1, block.id), [block.header])

    effects = driver.receive(EpochEnded(proof))

    assert [blame.code for blame in of(effects, Blame)] == ["consensus/NotTheEnd"]
    assert driver.core.shared.end_proof is None


def test_an_epoch_does_not_end_by_headers_that_lead_nowhere() -> None:
    """The finalization is good; what is said to lie below it is not what it names."""
    driver = follower()
    driver.core.shared.last_height = 1
    forged, final = driver.block(1, salt=7), driver.block(2)
    proof = FinalityProof(driver.certificate(FINALIZE, 2, final.id), [final.header, forged.header])

    effects = driver.receive(EpochEnded(proof))

    assert [blame.code for blame in of(effects, Blame)] == ["finality/BrokenChain"]
    assert driver.core.shared.finalization is None
    assert driver.core.shared.end_proof is None


def test_a_proposal_beside_what_is_final_is_never_voted_for() -> None:
    driver = follower()
    first = notarized(driver)
    driver.certified(first)
    driver.learn(FINALIZE, 1, first.id)
    beside = driver.block(2)

    driver.receive(driver.proposal(beside))

    refusal = driver.core.shared.rounds[2].refusal
    assert refusal is not None and refusal.code == "block/Stale"
    assert (NOTARIZE, 2) not in driver.votes_sent()
