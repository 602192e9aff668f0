"""Rules about the chain as a whole: a tiny run the oracle accepts, the change it must not."""

from __future__ import annotations

import msgspec
import pytest

from chain.block import Block
from chain.errors import Rejected
from chain.finality import FinalityProof, LightClient
from chain.header import KIND_FILLER
from consensus.journal import BlockRecord, FinalisedRecord, VoteRecord
from consensus.messages import (
    EpochEnded,
    VoteMessage,
)

from .application import GENESIS_HASH
from .light import refusal_of
from .story import NOTARIZE, NULLIFY, Story, breaks, twins

# What is right


@pytest.mark.parametrize("powers", [(1, 1, 1, 1), (3, 2, 3, 1)])
def test_a_run_without_faults_is_accepted(powers: tuple[int, ...]) -> None:
    story = Story(powers)

    story.grow(7)

    story.oracle.at_end()


def test_epochs_with_fillers_and_nullified_views_are_accepted() -> None:
    story = Story(epoch_length=3)
    (first,) = story.grow(1)
    story.nullify(2)
    story.nullify(3)
    second = story.block(first, 4)
    gap = [story.certificate(NULLIFY, view) for view in (3, 2)]
    story.propose(second, *gap)
    story.notarize(second)
    last = story.block(second)
    story.propose(last)
    story.notarize(last)
    for node in story.honest:
        story.write(node, *(BlockRecord(b.header, b.body) for b in (second, last)))
    filler = story.make(story.block(last))
    assert filler.header.kind == KIND_FILLER

    story.commit(second, last, proof=story.proof(filler, last))
    story.grow(4, last)

    story.oracle.at_end()


def test_what_a_crash_loses_binds_no_more() -> None:
    story = Story()
    one, other = twins(story)
    story.write(0, VoteRecord(story.vote_for(0, NOTARIZE, one)), sync=False)
    story.oracle.crashed(0)

    story.cast(story.vote_for(0, NOTARIZE, other))


# Q1, Q2: one chain


def test_i1_two_blocks_of_one_height() -> None:
    story = Story()
    one, other = twins(story)
    story.notarize(one)
    story.finalize(one)
    story.commit(one, nodes=[0])

    with breaks("Q1"):
        story.commit(other, nodes=[1])


def test_i1_votes_that_make_two_blocks_final() -> None:
    story = Story()
    one, other = twins(story)
    story.oracle._history.prove(one.id)

    with breaks("Q1"):
        story.oracle._history.prove(other.id)


def test_i2_blocks_out_of_order_or_of_another_parent() -> None:
    story = Story()
    first = story.make(story.block(None))
    second = story.make(story.block(first))
    with breaks("Q2"):
        story.commit(second, nodes=[0])
    with breaks("Q2"):
        story.commit(second, first, nodes=[0])

    story = Story()
    story.grow(1)
    with breaks("Q2"):
        story.commit(story.block(None, 2, height=2), nodes=[0])


# Q11: execution


def test_i11_one_root_after_one_block() -> None:
    story = Story()
    block = story.make(story.block(None))
    story.oracle.executed(0, block, b"\1" * 32)
    story.oracle.executed(1, block, b"\1" * 32)
    with breaks("Q11"):
        story.oracle.executed(2, block, b"\2" * 32)


def test_i11_a_header_names_the_root_after_its_parent() -> None:
    story = Story()
    (first,) = story.grow(1)
    with breaks("Q11"):
        story.commit(story.make(story.block(first, parent_state_root=b"\1" * 32)))


# Q16: times


def test_i16_times_rise_along_the_chain() -> None:
    story = Story()
    (first,) = story.grow(1)
    block = story.block(first, time_ms=first.header.time_ms)
    story.oracle.verified(0, block)
    with breaks("Q16"):
        story.commit(block, nodes=[0])


def test_i16_a_time_is_hardly_ahead_of_honest_clocks() -> None:
    story = Story()
    view = story.reach(3)
    block = story.block(None, view, time_ms=1_000_000 + story.params.precision_ms)
    story.send(3, story.proposal(block))
    story.oracle.verified(0, block)
    story.cast(story.vote_for(0, NOTARIZE, block))
    story.oracle.proposed_time(0, block.header, 1_000_000)
    with breaks("Q16"):
        story.oracle.proposed_time(0, block.header, 999_999)
    story.now_ms = -1
    with breaks("Q16"):
        story.send(0, VoteMessage(story.vote_for(0, NOTARIZE, block)))
    with breaks("Q16"):
        story.commit(block)


def test_i16_a_leader_names_its_own_time() -> None:
    story = Story()
    view = story.reach(0)
    block = story.block(None, view)
    story.oracle.proposed_time(0, block.header, block.header.time_ms)
    with breaks("Q16"):
        story.oracle.proposed_time(0, block.header, block.header.time_ms - 1)


# Q17: proofs


def test_i17_a_commit_comes_with_its_own_proof() -> None:
    story = Story()
    first, second = story.grow(2)
    third = story.make(story.block(second))
    finalization, header = story.finalization(third), third.header
    other = msgspec.structs.replace(finalization, epoch=1)
    filler = msgspec.structs.replace(header, kind=KIND_FILLER)
    bad = [
        (story.proof(second), "not of"),
        (FinalityProof(story.finalization(second), [header]), "not the one named"),
        (FinalityProof(story.notarization(third), [header]), "no finalization"),
        (FinalityProof(finalization, [header, first.header, header]), "not the one named"),
        (FinalityProof(finalization, [header] * 65), "65 headers"),
        (FinalityProof(other, [header]), "epoch"),
        (FinalityProof(finalization, [filler, header]), "not the one named"),
    ]
    for proof, sentence in bad:
        story.oracle.crashed(0, height=2)
        with breaks("Q17", sentence):
            story.commit(third, proof=proof, nodes=[0])

    story.oracle.crashed(0, height=2)
    story.commit(third)


def test_i17_headers_of_a_proof_descend_to_a_block_of_its_epoch() -> None:
    story = Story(epoch_length=3)
    first, second, last = story.grow(3)
    filler = story.make(story.block(last))
    high = story.block(first, height=3)
    late = story.block(last, kind=0, height=4)
    foreign = story.block(None, 9, genesis_hash=bytes(32))
    above = story.block(filler, kind=0, height=4)

    def refusal(*descending: Block) -> str | None:
        return refusal_of(story.proof(*descending), story.oracle._tree, GENESIS_HASH, 3)

    assert refusal(last, second, first) is None
    assert refusal(filler, last) is None
    assert "no block" in (refusal(filler) or "")
    assert "stands below" in (refusal(high, first) or "")
    assert "stands below" in (refusal(above, filler, last) or "")
    assert "not of epoch" in (refusal(late) or "")
    assert "network" in (refusal(foreign) or "")


def test_i17_only_the_last_block_ends_an_epoch() -> None:
    story = Story(epoch_length=2)
    first, second = story.grow(2)
    story.send(0, EpochEnded(story.proof(second)))
    with breaks("Q17"):
        story.send(0, EpochEnded(story.proof(first)))


def test_i17_the_light_client_takes_what_is_final_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story()
    one, _ = twins(story)
    story.notarize(one)
    story.finalize(one)
    story.commit(one)
    story.oracle.at_end()

    monkeypatch.setattr(LightClient, "verify", lambda *arguments: None)
    with breaks("Q17"):
        story.oracle.at_end()


@pytest.mark.parametrize("method", ["verify", "hop"])
def test_i17_the_light_client_takes_everything_final(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    story = Story(epoch_length=2)
    story.grow(2)

    def refuse(*arguments: object) -> None:
        raise Rejected("finality/Kind", "a client that refuses everything")

    monkeypatch.setattr(LightClient, method, refuse)
    with breaks("Q17", "light client"):
        story.oracle.at_end()


def test_i17_votes_make_exactly_the_committed_blocks_final() -> None:
    story = Story()
    block = story.block(None)
    story.oracle.verified(0, block)
    story.oracle._history.prove(block.id)
    story.oracle._history.commit(story.oracle._nodes[0], block)
    story.oracle.at_end()
    story.oracle._history._proved.clear()
    with breaks("Q17", "nothing"):
        story.oracle.at_end()


# Fillers, ends of epochs, depth, the journal


def test_b8_a_filler_is_never_committed_and_carries_nothing() -> None:
    story = Story(epoch_length=2)
    _, last = story.grow(2)
    filler = story.make(story.block(last))
    story.oracle.verified(0, filler)
    with breaks("B8"):
        story.commit(filler, nodes=[0])
    full = msgspec.structs.replace(
        filler.body, transactions=story.block(None, full=True).body.transactions
    )
    with breaks("B8"):
        story.write(0, BlockRecord(filler.header, full))


def test_c11_nothing_of_an_epoch_stands_above_its_end() -> None:
    story = Story(epoch_length=2)
    _, last = story.grow(2)
    above = story.block(last, kind=0, height=3, time_ms=last.header.time_ms + 1)
    story.oracle.verified(0, above)
    with breaks("C11"):
        story.commit(above, nodes=[0])


def test_j3_a_journal_holds_own_votes_and_what_was_committed() -> None:
    story = Story()
    (first,) = story.grow(1)
    story.write(0, FinalisedRecord(0, 1, 1, first.id))
    with breaks("J3"):
        story.write(0, FinalisedRecord(0, 2, 2, first.id))
    with breaks("J3"):
        story.write(0, VoteRecord(story.vote(1, NULLIFY, 2)))
