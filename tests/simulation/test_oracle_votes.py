"""Rules about votes, certificates and evidence: a tiny run that is accepted, one that is not."""

from __future__ import annotations

import msgspec
import pytest

from chain.block import Block
from chain.certificate import Certificate, Evidence
from chain.finality import FinalityProof
from consensus.journal import BlockRecord, CertificateRecord, VoteRecord
from consensus.messages import (
    BlockAnswer,
    CertificateMessage,
    EpochEnded,
    LookbackAnswer,
    Message,
    ProposalMessage,
    VoteMessage,
)

from .story import FINALIZE, NOTARIZE, NULLIFY, Story, breaks, notarized, proposed, twins, voter

FORK = (2, 3)
"""Half of four members faulty: enough to make what can never be."""


# Q3, Q4: promises


@pytest.mark.parametrize("crash", [False, True])
def test_i3_two_votes_of_one_kind(crash: bool) -> None:
    story = Story()
    one, other = twins(story)
    story.cast(story.vote_for(0, NOTARIZE, one))
    story.cast(story.vote_for(0, NOTARIZE, one))
    if crash:
        story.oracle.crashed(0, journal_lost=True)

    with breaks("Q3"):
        story.cast(story.vote_for(0, NOTARIZE, other))


def test_i4_nullify_excludes_finalize_and_a_later_notarize() -> None:
    story = Story()
    block = proposed(story)
    view, node = block.header.view, voter(block)
    story.oracle.verified(node, block)
    story.nullify(view, [node])
    with breaks("Q4"):
        story.cast(story.vote_for(node, NOTARIZE, block))

    story = Story()
    block = notarized(story)
    story.nullify(view, [0])  # NULLIFY after NOTARIZE is in order
    with breaks("Q4"):
        story.finalize(block, [0])
    story.finalize(block, [1])
    with breaks("Q4"):
        story.nullify(view, [1])


# Q7, Q8: what a finalization excludes


def test_i7_a_finalised_view_is_not_nullified() -> None:
    story = Story(faulty=FORK)
    block = proposed(story)
    story.notarize(block, [0, 1, 2, 3])
    story.finalize(block, [0, 2, 3])
    story.nullify(block.header.view, [2, 3])

    with breaks("Q7"):
        story.nullify(block.header.view, [1])


def test_i8_a_finalised_view_has_one_notarized_block() -> None:
    story = Story(faulty=FORK)
    one, other = twins(story)
    story.notarize(one, [0, 2])
    story.notarize(other, [1, 2])
    story.finalize(one, [2, 3])

    with breaks("Q8"):
        story.finalize(one, [0])


# Q9: certificates


def _broken(certificate: Certificate) -> list[Certificate]:
    replace = msgspec.structs.replace
    signatures = certificate.signatures
    return [
        replace(certificate, signatures=[*signatures[:2], bytes(64)]),
        replace(certificate, signatures=[signatures[0], signatures[0], signatures[2]]),
        replace(certificate, signatures=signatures[:2]),
        replace(certificate, signatures=signatures[:2], bitmap=b"\3"),
        replace(certificate, bitmap=b"\7\0"),
        replace(certificate, bitmap=b"\x13"),
        replace(certificate, block_id=None),
        replace(certificate, kind=FINALIZE),
        replace(certificate, kind=5),
        replace(certificate, view=certificate.view + 1),
    ]


@pytest.mark.parametrize("case", range(10))
def test_i9_a_certificate_is_a_quorum_of_real_votes(case: int) -> None:
    story = Story()
    block = proposed(story)
    story.notarize(block, [0, 1, 2])
    good = story.notarization(block)
    story.send(0, CertificateMessage(good))
    story.write(0, CertificateRecord(good))
    bad = _broken(good)[case]

    with breaks("Q9"):
        story.send(0, CertificateMessage(bad))
    with breaks("Q9"):
        story.write(0, CertificateRecord(bad))
    with breaks("Q9"):
        story.send(0, LookbackAnswer(0, [], bad, True))
    child = story.block(block)
    body = msgspec.structs.replace(child.body, parent_certificate=bad)
    with breaks("Q9"):
        story.write(0, BlockRecord(child.header, body))
    with breaks("Q9"):
        story.send(0, BlockAnswer(child.header, body))


def test_i9_an_honest_vote_counts_only_once_it_is_durable() -> None:
    story = Story()
    story.nullify(1, [0, 1])
    late = VoteRecord(story.vote(2, NULLIFY, 1))
    story.write(2, late, sync=False)
    certificate = story.certificate(NULLIFY, 1)
    with breaks("Q9"):
        story.send(2, CertificateMessage(certificate))

    story.sync(2, late)
    story.send(2, CertificateMessage(certificate))


def test_i9_power_counts_not_heads() -> None:
    story = Story((3, 3, 3, 1), faulty=())
    story.nullify(1, [0, 1, 3])
    story.send(0, CertificateMessage(story.certificate(NULLIFY, 1, signers=[0, 1, 3])))
    two = msgspec.structs.replace(
        story.certificate(NULLIFY, 1, signers=[0, 1, 3]),
        bitmap=b"\3",
        signatures=[story.vote(i, NULLIFY, 1).signature for i in (0, 1)],
    )

    with breaks("Q9"):
        story.send(0, CertificateMessage(two))


def test_i9_anothers_vote_must_exist() -> None:
    story = Story()
    story.nullify(1, [1])
    story.send(0, LookbackAnswer(0, [story.vote(1, NULLIFY, 1)], None, True))

    with breaks("Q9"):
        story.send(0, LookbackAnswer(0, [story.vote(1, NULLIFY, 2)], None, True))


def test_i9_what_an_honest_node_passes_on_exists() -> None:
    story = Story()
    one, _ = twins(story)
    good = story.proposal(one)
    story.send(0, good)
    story.send(0, VoteMessage(story.vote_for(3, NOTARIZE, one)))
    forged = msgspec.structs.replace(good.proposal, signature=bytes(64))
    with breaks("Q9", "does not exist"):
        story.send(0, ProposalMessage(forged))
    with breaks("Q9", "does not exist"):
        story.send(0, VoteMessage(story.vote(1, NULLIFY, 1_000)))


def test_i9_a_body_has_the_certificate_of_its_parent() -> None:
    story = Story()
    first = notarized(story)
    child = story.block(first)
    story.write(0, BlockRecord(child.header, child.body))
    orphan = msgspec.structs.replace(child.body, parent_certificate=None)
    with breaks("Q9", "no certificate"):
        story.write(0, BlockRecord(child.header, orphan))
    with breaks("Q9", "another block"):
        story.write(0, BlockRecord(first.header, child.body))


def test_i9_a_node_signs_for_itself() -> None:
    story = Story()
    vote = msgspec.structs.replace(story.vote(0, NULLIFY, 1), signature=bytes(64))
    with breaks("Q9", "its own"):
        story.write(0, VoteRecord(vote))
    for changes in ({"kind": 7}, {"block_id": bytes(32)}):
        with breaks("Q9", "its own"):
            story.write(0, VoteRecord(msgspec.structs.replace(vote, **changes)))


def revealing(story: Story, block: Block) -> list[Message]:
    """Return messages, each of which shows member 3's NOTARIZE for a block of another."""
    vote = story.vote_for(3, NOTARIZE, block)
    notarization = story.certificate(
        NOTARIZE, block.header.view, block.id, epoch=0, signers=[0, 1, 2, 3]
    )
    child = story.block(block)
    body = msgspec.structs.replace(child.body, parent_certificate=notarization)
    proposal = story.proposal(child).proposal
    return [
        VoteMessage(vote),
        CertificateMessage(notarization),
        ProposalMessage(msgspec.structs.replace(proposal, body=body)),
        BlockAnswer(child.header, body),
        LookbackAnswer(0, [vote], None, True),
        LookbackAnswer(0, [], notarization, True),
        EpochEnded(FinalityProof(notarization, [block.header])),
    ]


@pytest.mark.parametrize("number", range(7))
def test_votes_of_faulty_keys_count_wherever_they_are_seen(number: int) -> None:
    story = Story()
    block = story.block(None, story.reach(0))
    story.propose(block)
    story.notarize(block, [1])
    ledger, view = story.oracle._ledger, block.header.view
    assert not ledger.is_notarized(0, view, block.id)

    story.oracle.sent_by_faulty(3, revealing(story, block)[number])

    assert ledger.is_notarized(0, view, block.id)


def test_b10_a_proposal_carries_the_nullifications_of_its_gap() -> None:
    story = Story()
    view = next(view for view in range(3, 9) if story.leader(view) in story.honest)
    for passed in range(1, view):
        story.nullify(passed)
    block = story.block(None, view)
    gap = [story.certificate(NULLIFY, passed) for passed in range(view - 1, 0, -1)]
    story.propose(block, *gap)

    with breaks("B10"):
        story.propose(block, *gap[::-1])


# Q12: durable before sent


def test_i12_a_vote_is_durable_before_it_is_sent() -> None:
    story = Story()
    vote = story.vote(0, NULLIFY, 1)
    with breaks("Q12"):
        story.send(0, VoteMessage(vote))
    story.write(0, VoteRecord(vote), sync=False)
    with breaks("Q12"):
        story.send(0, VoteMessage(vote))
    story.sync(0, VoteRecord(vote))

    story.send(0, VoteMessage(vote))


def test_i12_a_proposal_holds_a_vote() -> None:
    story = Story()
    view = story.view_of(0)
    for passed in range(1, view):
        story.nullify(passed)
    with breaks("Q12"):
        story.send(0, story.proposal(story.block(None, view)))


@pytest.mark.parametrize("missing", [0, 1, None])
def test_i12_finalize_follows_the_bodies(missing: int | None) -> None:
    story = Story()
    chain = [notarized(story)]
    chain.append(story.block(chain[0]))
    story.propose(chain[1])
    story.notarize(chain[1])
    records = [BlockRecord(block.header, block.body) for block in chain]
    story.write(0, *(record for number, record in enumerate(records) if number != missing))
    vote = story.vote_for(0, FINALIZE, chain[1])
    if missing is None:
        story.cast(vote)
        return
    with breaks("Q12"):
        story.cast(vote)


@pytest.mark.parametrize("how", ["committed", "certificate"])
def test_i12_bodies_of_final_blocks_are_not_needed(how: str) -> None:
    story = Story()
    first = notarized(story)
    story.finalize(first, [1, 2])
    story.cast(story.vote_for(3, FINALIZE, first))
    finalization = story.certificate(
        FINALIZE, first.header.view, first.id, epoch=0, signers=[1, 2, 3]
    )
    second = story.block(first)
    story.propose(second)
    story.notarize(second)
    if how == "committed":
        story.commit(first, proof=FinalityProof(finalization, [first.header]), nodes=[0])
    else:
        story.write(0, CertificateRecord(finalization))

    story.finalize(second, [0])


def test_a_crash_takes_back_what_was_known_to_be_final() -> None:
    story = Story()
    first = notarized(story)
    story.finalize(first)
    second = story.block(first)
    story.propose(second)
    story.notarize(second)
    story.oracle.crashed(0, journal_lost=True)
    story.write(0, CertificateRecord(story.finalization(first)), sync=False)
    story.oracle.crashed(0)

    with breaks("Q12"):
        story.finalize(second, [0])


def test_the_simulator_must_sync_in_order() -> None:
    story = Story()
    records = [VoteRecord(story.vote(0, NULLIFY, view)) for view in (1, 2)]
    with pytest.raises(ValueError, match="never wrote"):
        story.sync(0, records[0])
    story.write(0, *records, sync=False)
    with pytest.raises(ValueError, match="out of order"):
        story.sync(0, records[1])


# Q13: evidence


def test_i13_evidence_convicts_only_the_faulty() -> None:
    story = Story()
    good = story.evidence(3)
    story.oracle.evidence(0, good)
    story.oracle.blamed(0, 3, "vote/Signer")
    first, second = good.first, good.second
    nullify = story.vote(3, NULLIFY, 1)
    bad = [
        story.evidence(1),
        Evidence(second, first),
        Evidence(first, first),
        Evidence(nullify, first),
        Evidence(first, story.vote(3, NOTARIZE, 2, b"\2" * 32)),
        Evidence(first, msgspec.structs.replace(second, signature=b"\xff" * 64)),
    ]
    for item in bad:
        with breaks("Q13"):
            story.oracle.evidence(0, item)
    with breaks("Q13"):
        story.oracle.blamed(0, 1, "vote/Signer")


def test_i13_evidence_in_blocks_is_judged_too() -> None:
    story = Story()
    view = story.reach(0)
    story.propose(story.block(None, view, evidence=[story.evidence(3)]))

    story = Story()
    story.reach(0)
    with breaks("Q13"):
        story.propose(story.block(None, view, evidence=[story.evidence(1)]))


@pytest.mark.parametrize("reported", [True, False])
def test_i13_what_a_node_was_shown_is_reported(reported: bool) -> None:
    story = Story()
    case = story.evidence(3)
    for vote in (case.first, case.second):
        story.oracle.received(0, VoteMessage(vote))
    for _ in range(60):
        story.oracle.received(0, VoteMessage(story.vote(1, NULLIFY, 1)))
    if reported:
        story.oracle.evidence(0, case)
        story.oracle.at_end()
        return
    with breaks("Q13"):
        story.oracle.at_end()


@pytest.mark.parametrize("crash", [False, True])
def test_i13_nothing_is_certain_while_a_store_is_ahead_of_its_core(crash: bool) -> None:
    """While ranges are fetched the core may be an epoch behind, and keeps few of its votes."""
    story = Story()
    early, late = story.evidence(3), story.evidence(3, view=2)
    story.oracle.fetches(0, begins=True)
    for vote in (early.first, early.second, late.first):
        story.oracle.received(0, VoteMessage(vote))
    if crash:
        story.oracle.crashed(0)
    else:
        story.oracle.fetches(0, begins=False)
    for _ in range(60):
        story.oracle.received(0, VoteMessage(late.second))
    story.oracle.at_end()

    story.oracle.received(0, VoteMessage(late.first))
    for _ in range(60):
        story.oracle.received(0, VoteMessage(late.second))
    with breaks("Q13"):
        story.oracle.at_end()
