"""Rules about what an honest node may vote for: a tiny run that is accepted, one that is not."""

from __future__ import annotations

from typing import Any

import pytest

from chain.header import ZERO_HASH
from consensus.journal import CertificateRecord, VoteRecord
from consensus.messages import VoteMessage

from .story import NOTARIZE, Story, breaks, proposed, voter

# Q5, Q6, Q10: what may be voted for


MISPLACED: list[tuple[dict[str, Any], str]] = [
    ({"proposer_index": 7}, "of member 7"),
    ({"version": 2}, "version"),
    ({"genesis_hash": bytes(32)}, "network"),
    ({"kind": 1}, "filler below"),
    ({"kind": 2}, "kind 2"),
    ({"epoch": 1}, "of view 2"),
    ({"height": 3}, "height 3"),
    ({"parent_id": b"\5" * 32}, "not notarized"),
    ({"parent_view": 2}, "not below"),
    ({"parent_view": 0}, "certificate"),
    ({"parent_view": 0, "parent_certificate_hash": ZERO_HASH}, "not nullified"),
    ({"parent_certificate_hash": ZERO_HASH}, "certificate"),
    ({"time_ms": 1_000_100}, "not after"),
    ({"next_committee_hash": b"\5" * 32}, "next committee"),
]


@pytest.mark.parametrize(("changes", "sentence"), MISPLACED)
def test_i5_a_misplaced_block(changes: dict[str, Any], sentence: str) -> None:
    story = Story()
    parent = story.make(story.block(None))
    assert parent.header.time_ms == 1_000_100
    bad = story.block(parent, **changes)
    story.oracle.verified(0, bad)

    with breaks("Q5", sentence):
        story.write(0, VoteRecord(story.vote(0, NOTARIZE, 2, bad.id)))
    good = story.block(parent)
    story.oracle.verified(0, good)
    story.cast(story.vote_for(0, NOTARIZE, good))


def test_i5_a_leader_is_judged_when_it_shows_its_block() -> None:
    story = Story()
    view = story.reach(0)
    with breaks("Q5", "height 2"):
        story.propose(story.block(None, view, height=2))
    story.oracle.crashed(0)


def test_i5_a_gap_view_that_is_not_nullified() -> None:
    story = Story()
    block = story.block(None, 3)
    node = voter(block)
    story.oracle.verified(node, block)
    story.nullify(1)
    story.nullify(2, [0, 1])
    vote = story.vote_for(node, NOTARIZE, block)
    with breaks("Q5", "view 2"):
        story.cast(vote)

    story.nullify(2, [2])
    story.cast(vote)


def test_i5_a_parent_without_a_quorum() -> None:
    story = Story()
    parent = proposed(story)
    child = story.block(parent)
    story.notarize(parent, [0])
    story.oracle.verified(voter(child), child)

    with breaks("Q5"):
        story.write(voter(child), VoteRecord(story.vote_for(voter(child), NOTARIZE, child)))


def test_i5_a_block_that_nobody_proposed() -> None:
    story = Story()
    with breaks("Q5"):
        story.cast(story.vote((story.leader(1) + 1) % 3, NOTARIZE, 1, b"\5" * 32))


@pytest.mark.parametrize("name", ["time_ms", "height", "base_fee", "next_committee_hash", "kind"])
def test_i5_a_filler_copies(name: str) -> None:
    story = Story(epoch_length=2)
    first = story.make(story.block(None))
    last = story.make(story.block(first))
    filler = story.block(last)
    wrong: dict[str, Any] = {"kind": 0, "next_committee_hash": b"\5" * 32}
    bad = story.block(last, **{name: wrong.get(name, 77)})
    node = voter(filler)
    for block in (filler, bad):
        story.oracle.verified(node, block)

    with breaks("Q5", "above the end" if name == "kind" else f"copy {name}"):
        story.write(node, VoteRecord(story.vote_for(node, NOTARIZE, bad)))
    story.cast(story.vote_for(node, NOTARIZE, filler))


@pytest.mark.parametrize("powers", [(1, 1, 1, 1), (3, 2, 3, 1), (9, 1, 9, 2)])
def test_v4_leaders_are_the_products(powers: tuple[int, ...]) -> None:
    story = Story(powers, epoch_length=2)
    story.grow(5)

    for epoch in range(3):
        mine = [story.oracle._tree.leader(epoch, view) for view in range(1, 50)]
        assert mine == [story.leader(view, epoch) for view in range(1, 50)]
    assert story.oracle._tree.leader(3, 1) is None


def test_i5_an_epochs_first_block_stands_on_its_base() -> None:
    story = Story(epoch_length=2)
    first, last = story.grow(2)
    good, bad = story.block(None, base=last), story.block(None, base=last, parent_id=first.id)
    node = voter(good)
    for block in (good, bad):
        story.oracle.verified(node, block)

    with breaks("Q5", "not the epoch's base"):
        story.cast(story.vote_for(node, NOTARIZE, bad))
    story.cast(story.vote_for(node, NOTARIZE, good))


def test_i6_finalize_needs_a_notarization() -> None:
    story = Story()
    block = proposed(story)
    story.notarize(block, [0])
    with breaks("Q6"):
        story.finalize(block, [0])
    story.notarize(block, [1, 2])
    if block.header.proposer_index == 3:
        story.cast(story.vote_for(3, NOTARIZE, block))

    story.finalize(block, [0])


def test_i10_notarize_needs_the_own_applications_verdict() -> None:
    story = Story()
    block = proposed(story)
    node = voter(block)
    story.oracle.verified(2, block)

    with breaks("Q10"):
        story.cast(story.vote_for(node, NOTARIZE, block))


def test_i10_a_committed_block_was_accepted_by_somebody() -> None:
    story = Story()
    with breaks("Q10"):
        story.commit(story.block(None))


# Ends of epochs, depth


def test_c11_no_vote_before_the_base_is_committed() -> None:
    story = Story(epoch_length=2)
    (first,) = story.grow(1)
    last = story.make(story.block(first))
    story.commit(last, nodes=[0])
    story.nullify(1, [0], epoch=1)
    with breaks("C11"):
        story.nullify(1, [1], epoch=1)


@pytest.mark.parametrize("height", [8, 9])
def test_c12_a_block_far_above_what_is_final_is_empty(height: int) -> None:
    story = Story(faulty=())
    parent = None
    for _ in range(height - 1):
        parent = story.block(parent)
        story.propose(parent)
        story.notarize(parent)
    block = story.block(parent, full=True)
    if height == 8:
        story.propose(block)
        return
    with breaks("C12"):
        story.propose(block)


def test_c12_nobody_votes_for_a_full_block_far_above_what_is_final() -> None:
    story = Story()
    chain = story.grow(1)
    for _ in range(8):
        chain.append(story.block(chain[-1]))
        story.propose(chain[-1])
        story.notarize(chain[-1])
    full = story.block(chain[-1], full=True)
    node = voter(full)
    story.oracle.verified(node, full)
    with breaks("C12"):
        story.cast(story.vote_for(node, NOTARIZE, full))

    story.finalize(chain[1])
    story.write(node, CertificateRecord(story.finalization(chain[1])))
    story.send(node, VoteMessage(story.vote_for(node, NOTARIZE, full)))
