"""Proposals as short ids: whole again whatever is missing, and liars found out (protocol.md C17).

Leaders sign with real keys; bodies are labels, and a label that ends in ``+`` has an attachment.
The model test shortens short ids to one byte, so that twins are as common as they are rare in
life, and lets peers lie, be silent, late and repetitive while a proposal is rebuilt.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.block import Body, Proposal, transaction_root
from chain.codec import encode
from chain.committee import EPOCH_ZERO_ID, LeaderSchedule, leader_seed
from chain.crypto import verify_signature
from chain.errors import Rejected
from chain.transaction import Attachment, Envelope, SignedBody, transaction_id
from consensus import compact
from consensus import proposals as hands
from consensus.compact import Rebuild, block_bytes, shrink
from consensus.effects import Blame
from consensus.events import EpochStart, Peer
from consensus.messages import (
    MESSAGE,
    CompactProposal,
    IdsAnswer,
    ProposalMessage,
    TransactionsAnswer,
    TransactionsRequest,
)
from consensus.proposals import NEVER_MS, Action, Ask, Deliver, Proposals
from consensus.waiting import Waiting

from ..chain.votes import GENESIS_HASH, NOTARIZE, committee_of, header, vote_of
from .pooling import envelope_of, waiting

COMMITTEE = committee_of(1, 1, 1, 1)
SEED = leader_seed(GENESIS_HASH, 0, EPOCH_ZERO_ID)
SCHEDULE = LeaderSchedule(COMMITTEE, SEED)
EPOCH, NEXT_EPOCH = (
    EpochStart(
        epoch=epoch,
        committee=COMMITTEE,
        base_id=GENESIS_HASH,
        base_height=0,
        base_time_ms=0,
        seed=SEED,
    )
    for epoch in (0, 1)
)
LEADER, VOTER, OTHER, LAST = b"leader", b"voter", b"other", b"last"
DELTA_MS = 50
BYTES_MAX = 1_048_576
LABELS = [b"one", b"two+", b"three", b"four+"]


def check(envelope: Envelope) -> None:
    """What the state machine does: the attachments must be the body's."""
    if envelope.attachments != envelope_of(envelope.body).attachments:
        raise Rejected("tx/Attachments", "not the attachments of the body")


def id_of(envelope: Envelope) -> bytes:
    return transaction_id(envelope.body, envelope.signatures)


def ids_of(labels: Sequence[bytes]) -> list[bytes]:
    return [id_of(envelope_of(label)) for label in labels]


def pooled(label: bytes) -> Waiting:
    return waiting(label=label)


def propose(
    labels: Sequence[bytes], *, view: int = 1, time_ms: int = 1_000, **changes: object
) -> ProposalMessage:
    """Return a proposal of the view's leader."""
    leader = SCHEDULE.leader(view)
    fields = {"proposer_index": leader, "tx_root": transaction_root(ids_of(labels))} | changes
    top = header(view=view, time_ms=time_ms, **fields)
    signature = vote_of(leader, NOTARIZE, view, top.id()).signature
    chosen = [envelope_of(label) for label in labels]
    body = Body(None, [SignedBody(item.body, item.signatures) for item in chosen], [])
    return ProposalMessage(
        Proposal(top, body, [item.attachments for item in chosen], signature, [])
    )


def shrunk(labels: Sequence[bytes], *, view: int = 1, time_ms: int = 1_000) -> CompactProposal:
    return shrink(propose(labels, view=view, time_ms=time_ms), ids_of(labels))


def make(
    *pool: Waiting, peers: Sequence[Peer] = (LEADER, VOTER, OTHER), bytes_max: int = BYTES_MAX
) -> Proposals:
    def find(short_id: bytes) -> list[Waiting]:
        return [tx for tx in pool if tx.id.startswith(short_id)]

    proposals = Proposals(
        EPOCH, GENESIS_HASH, verify_signature, find=find, check=check, bytes_max=bytes_max
    )
    for peer in peers:
        proposals.joined(peer)
    return proposals


def given_answer(message: CompactProposal, *labels: bytes) -> TransactionsAnswer:
    return TransactionsAnswer(message.header.id(), [envelope_of(label) for label in labels])


def codes(actions: Sequence[Action]) -> list[tuple[Peer, str]]:
    return [(action.peer, action.code) for action in actions if isinstance(action, Blame)]


def indexes(actions: Sequence[Action]) -> list[tuple[Peer, list[int]]]:
    return [(a.peer, a.request.indexes) for a in actions if isinstance(a, Ask)]


# --- rebuilding --------------------------------------------------------------------------------


def test_short_ids_are_the_beginnings_of_the_ids() -> None:
    message = propose(LABELS)

    small = shrink(message, ids_of(LABELS))

    assert small.short_ids == [tx_id[:8] for tx_id in ids_of(LABELS)]
    assert MESSAGE.decode(encode(small)) == small


def test_a_proposal_of_known_transactions_is_delivered_at_once() -> None:
    proposals = make(*map(pooled, LABELS))

    actions = proposals.on_compact(VOTER, shrunk(LABELS), LEADER, 0)

    assert actions == [Deliver(VOTER, propose(LABELS))]
    assert proposals.due(10_000, DELTA_MS) == []
    assert proposals.next_ms == NEVER_MS


def test_an_empty_proposal_is_whole() -> None:
    assert make().on_compact(LEADER, shrunk([]), LEADER, 0) == [Deliver(LEADER, propose([]))]


def test_missing_transactions_are_asked_for_by_index() -> None:
    proposals = make(pooled(LABELS[0]), pooled(LABELS[2]))
    message = shrunk(LABELS)

    assert proposals.on_compact(LEADER, message, LEADER, 0) == []
    assert indexes(proposals.due(0, DELTA_MS)) == [(LEADER, [1, 3])]

    actions = proposals.on_answer(LEADER, given_answer(message, LABELS[1], LABELS[3]), 5)
    assert actions == [Deliver(LEADER, propose(LABELS))]


def test_an_answer_may_be_cut_short() -> None:
    proposals = make()
    message = shrunk(LABELS)
    proposals.on_compact(LEADER, message, LEADER, 0)
    proposals.due(0, DELTA_MS)

    assert proposals.on_answer(LEADER, given_answer(message, *LABELS[:3]), 5) == []
    assert indexes(proposals.due(5, DELTA_MS)) == [(LEADER, [3])]
    assert proposals.on_answer(LEADER, given_answer(message, LABELS[3]), 9) == [
        Deliver(LEADER, propose(LABELS))
    ]


def test_what_reaches_the_pool_in_the_meantime_is_not_asked_for() -> None:
    pool: list[Waiting] = []
    proposals = Proposals(
        EPOCH,
        GENESIS_HASH,
        verify_signature,
        find=lambda short_id: [tx for tx in pool if tx.id.startswith(short_id)],
        check=check,
        bytes_max=BYTES_MAX,
    )
    proposals.on_compact(LEADER, shrunk(LABELS), LEADER, 0)

    pool += map(pooled, LABELS)

    assert proposals.due(0, DELTA_MS) == [Deliver(LEADER, propose(LABELS))]


def test_an_ambiguous_short_id_is_asked_for() -> None:
    twin = msgspec.structs.replace(pooled(b"twin"), id=ids_of(LABELS)[1][:8] + bytes(24))
    proposals = make(twin, *map(pooled, LABELS))

    proposals.on_compact(LEADER, shrunk(LABELS), LEADER, 0)

    assert indexes(proposals.due(0, DELTA_MS)) == [(LEADER, [1])]


def test_a_twin_in_the_pool_is_found_out_by_the_full_ids() -> None:
    twin = msgspec.structs.replace(pooled(b"twin"), id=ids_of(LABELS)[1][:8] + bytes(24))
    proposals = make(twin, *(pooled(LABELS[i]) for i in (0, 2, 3)))
    message = shrunk(LABELS)
    proposals.on_compact(LEADER, message, LEADER, 0)

    assert indexes(proposals.due(0, DELTA_MS)) == [(LEADER, [])]
    assert proposals.on_answer(LEADER, IdsAnswer(message.header.id(), ids_of(LABELS)), 1) == []
    assert indexes(proposals.due(1, DELTA_MS)) == [(LEADER, [1])]
    assert proposals.on_answer(LEADER, given_answer(message, LABELS[1]), 2) == [
        Deliver(LEADER, propose(LABELS))
    ]


def test_a_list_with_one_short_id_twice_needs_the_full_ids() -> None:
    message = shrunk(LABELS)
    twice = msgspec.structs.replace(message, short_ids=[message.short_ids[0]] * 4)
    proposals = make(*map(pooled, LABELS))

    proposals.on_compact(LEADER, twice, LEADER, 0)

    assert indexes(proposals.due(0, DELTA_MS)) == [(LEADER, [])]
    assert proposals.on_answer(LEADER, IdsAnswer(message.header.id(), ids_of(LABELS)), 1) == [
        Blame(LEADER, "compact/ShortIds", "the short ids are not of the block"),
        Deliver(LEADER, propose(LABELS)),
    ]


# --- whom to ask -------------------------------------------------------------------------------


def test_the_leader_is_asked_first_then_who_holds_the_block_then_anybody() -> None:
    proposals = make(peers=(LAST, VOTER, LEADER, OTHER))
    message = shrunk(LABELS)
    proposals.on_compact(LEADER, message, LEADER, 0)
    proposals.holds(OTHER, message.header.id())

    assert proposals.next_ms == 0
    assert indexes(proposals.due(0, DELTA_MS)) == [(LEADER, [0, 1, 2, 3])]
    assert proposals.next_ms == DELTA_MS
    assert proposals.due(DELTA_MS - 1, DELTA_MS) == []
    assert [peer for peer, _ in indexes(proposals.due(DELTA_MS, DELTA_MS))] == [OTHER]
    assert [peer for peer, _ in indexes(proposals.due(2 * DELTA_MS, DELTA_MS))] == [LAST]
    assert [peer for peer, _ in indexes(proposals.due(3 * DELTA_MS, DELTA_MS))] == [VOTER]
    assert proposals.due(4 * DELTA_MS, DELTA_MS) == []
    assert [peer for peer, _ in indexes(proposals.due(hands.AGAIN_MS, DELTA_MS))] == [LEADER]


def test_without_a_line_to_the_leader_who_sent_it_is_asked_at_once() -> None:
    proposals = make()

    proposals.on_compact(VOTER, shrunk(LABELS), None, 0)

    assert indexes(proposals.due(0, DELTA_MS)) == [(VOTER, [0, 1, 2, 3])]


def test_a_vote_that_comes_before_the_proposal_counts() -> None:
    proposals = make(peers=(LEADER, OTHER, VOTER))
    message = shrunk(LABELS)
    proposals.holds(VOTER, message.header.id())
    proposals.on_compact(LEADER, message, LEADER, 0)
    proposals.due(0, DELTA_MS)

    assert [peer for peer, _ in indexes(proposals.due(DELTA_MS, DELTA_MS))] == [VOTER]


def test_nobody_is_asked_on_suspicion_before_two_delta() -> None:
    proposals = make()
    proposals.on_compact(LEADER, shrunk(LABELS), LEADER, 0)
    proposals.due(0, DELTA_MS)

    assert proposals.due(DELTA_MS, DELTA_MS) == []
    assert [peer for peer, _ in indexes(proposals.due(2 * DELTA_MS, DELTA_MS))] == [VOTER]


def test_who_answers_is_asked_for_the_rest() -> None:
    proposals = make(peers=(LEADER, OTHER, VOTER))
    message = shrunk(LABELS)
    proposals.on_compact(LEADER, message, LEADER, 0)
    proposals.holds(VOTER, message.header.id())
    proposals.due(0, DELTA_MS)
    proposals.due(DELTA_MS, DELTA_MS)
    proposals.holds(OTHER, message.header.id())

    proposals.on_answer(VOTER, given_answer(message, LABELS[0]), 60)

    assert indexes(proposals.due(60, DELTA_MS)) == [(VOTER, [1, 2, 3])]


def test_a_peer_that_is_gone_is_not_asked_and_what_it_sends_is_dropped() -> None:
    proposals = make()
    message = shrunk(LABELS)
    proposals.on_compact(LEADER, message, LEADER, 0)
    proposals.due(0, DELTA_MS)

    proposals.left(LEADER)

    assert proposals.on_answer(LEADER, given_answer(message, *LABELS), 1) == []
    assert [peer for peer, _ in indexes(proposals.due(2 * DELTA_MS, DELTA_MS))] == [VOTER]
    proposals.holds(LEADER, message.header.id())
    proposals.left(LEADER)


def test_with_nobody_to_ask_time_passes() -> None:
    proposals = make(peers=())
    proposals.on_compact(LEADER, shrunk(LABELS), LEADER, 0)

    assert proposals.due(0, DELTA_MS) == []
    assert proposals.next_ms == DELTA_MS


# --- faults ------------------------------------------------------------------------------------


def asked(*pool: Waiting, sender: Peer = LEADER, leader: Peer = LEADER) -> Proposals:
    proposals = make(*pool)
    proposals.on_compact(sender, shrunk(LABELS), leader, 0)
    proposals.due(0, DELTA_MS)
    return proposals


MESSAGE_ID = propose(LABELS).proposal.header.id()
BAD = Envelope(b"one", envelope_of(b"one").signatures, [Attachment(bytes(16), b"?")])
HUGE = Envelope(bytes(65_536), [bytes(64)], [])


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (TransactionsAnswer(MESSAGE_ID, []), "compact/Empty"),
        (TransactionsAnswer(MESSAGE_ID, [BAD]), "tx/Attachments"),
        (TransactionsAnswer(MESSAGE_ID, [HUGE]), "codec/TooLarge"),
        (TransactionsAnswer(MESSAGE_ID, [envelope_of(b"else")]), "compact/Transaction"),
        (IdsAnswer(MESSAGE_ID, ids_of(LABELS[::-1])), "compact/Ids"),
        (IdsAnswer(MESSAGE_ID, []), "compact/Ids"),
    ],
)
def test_a_lie_is_blamed_and_the_liar_asked_no_more(
    answer: TransactionsAnswer | IdsAnswer, code: str
) -> None:
    proposals = asked()

    assert codes(proposals.on_answer(LEADER, answer, 1)) == [(LEADER, code)]

    assert proposals.on_answer(LEADER, given_answer(shrunk(LABELS), *LABELS), 1) == []
    later = [proposals.due(ms, DELTA_MS) for ms in range(0, 3_000, 25)]
    assert {peer for actions in later for peer, _ in indexes(actions)} == {VOTER, OTHER}


def test_nothing_of_a_bad_answer_is_taken() -> None:
    rebuild = Rebuild(shrunk(LABELS), LEADER, lambda short_id: [], check, BYTES_MAX)

    with pytest.raises(Rejected, match="tx/Attachments"):
        rebuild.take_transactions(LEADER, [envelope_of(LABELS[1]), BAD])

    assert rebuild.question().indexes == [0, 1, 2, 3]
    assert rebuild.bytes == 0


def test_a_stranger_among_the_transactions_leads_to_the_full_ids() -> None:
    """Whether the voter or the sender of the short ids lies, only the full ids can say."""
    proposals = asked(leader=VOTER)
    assert proposals.on_answer(VOTER, given_answer(shrunk(LABELS), b"else"), 1) == []
    assert indexes(proposals.due(1, DELTA_MS)) == [(VOTER, [])]

    actions = proposals.on_answer(VOTER, IdsAnswer(MESSAGE_ID, ids_of(LABELS)), 2)

    assert codes(actions) == [(VOTER, "compact/Transaction")]
    later = [proposals.due(ms, DELTA_MS) for ms in range(2, 3_000, 25)]
    assert VOTER not in {peer for actions in later for peer, _ in indexes(actions)}


def test_what_the_ids_disprove_is_held_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "SHORT_ID_BYTES", 1)
    truth = [envelope_of(label) for label in LABELS]
    rebuild = Rebuild(shrunk(LABELS), LEADER, lambda short_id: [], check, BYTES_MAX)

    rebuild.take_transactions(VOTER, [twin_of(truth[0]), *truth[1:]])
    assert rebuild.question().indexes == []
    assert rebuild.take_ids(ids_of(LABELS))

    assert rebuild.bytes == sum(block_bytes(item) for item in truth[1:])
    assert [blame.peer for blame in rebuild.convicted] == [VOTER]
    assert rebuild.take_transactions(OTHER, truth[:1])
    assert rebuild.whole == propose(LABELS)


def test_claims_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "CLAIMS_MAX", 2)
    rebuild = Rebuild(shrunk(LABELS), LEADER, lambda short_id: [], check, BYTES_MAX)

    for _ in range(3):
        rebuild.take_transactions(VOTER, [envelope_of(b"else"), envelope_of(b"more")])
        rebuild.take_transactions(OTHER, [envelope_of(b"else")])
    rebuild.take_ids(ids_of(LABELS))

    assert [blame.peer for blame in rebuild.convicted] == [VOTER]


def test_an_honest_peer_is_not_blamed_for_anothers_short_ids() -> None:
    other = [b"a", b"b", b"c"]
    lying = msgspec.structs.replace(shrunk(LABELS), short_ids=shrunk(other).short_ids)
    proposals = make()
    proposals.on_compact(OTHER, lying, LEADER, 0)
    proposals.due(0, DELTA_MS)

    assert proposals.on_answer(LEADER, given_answer(lying, *LABELS[:3]), 1) == []
    assert indexes(proposals.due(1, DELTA_MS)) == [(LEADER, [])]
    actions = proposals.on_answer(LEADER, IdsAnswer(MESSAGE_ID, ids_of(LABELS)), 2)
    assert codes(actions) == [(OTHER, "compact/ShortIds")]
    assert indexes(proposals.due(2, DELTA_MS)) == [(LEADER, [0, 1, 2, 3])]
    assert proposals.on_answer(LEADER, given_answer(lying, *LABELS), 3) == [
        Deliver(OTHER, propose(LABELS))
    ]


def test_with_proven_ids_a_stranger_is_a_lie() -> None:
    proposals = asked()
    proposals.on_answer(LEADER, IdsAnswer(MESSAGE_ID, ids_of(LABELS)), 1)

    actions = proposals.on_answer(LEADER, given_answer(shrunk(LABELS), b"else"), 2)

    assert codes(actions) == [(LEADER, "compact/Transaction")]


def test_proven_ids_may_come_again_but_not_changed() -> None:
    proposals = asked()
    proposals.on_answer(LEADER, IdsAnswer(MESSAGE_ID, ids_of(LABELS)), 1)

    assert proposals.on_answer(LEADER, IdsAnswer(MESSAGE_ID, ids_of(LABELS)), 2) == []
    actions = proposals.on_answer(LEADER, IdsAnswer(MESSAGE_ID, ids_of(LABELS[:3])), 2)
    assert codes(actions) == [(LEADER, "compact/Ids")]


def test_an_answer_nobody_asked_for_is_dropped() -> None:
    proposals = asked()
    everything = given_answer(shrunk(LABELS), *LABELS)

    assert proposals.on_answer(VOTER, everything, 1) == []
    assert proposals.on_answer(LEADER, given_answer(shrunk([b"x"]), b"x"), 1) == []
    more = TransactionsAnswer(MESSAGE_ID, [*everything.transactions, HUGE])
    assert proposals.on_answer(LEADER, more, 1) == []
    assert len(proposals.on_answer(LEADER, everything, 1)) == 1
    assert proposals.on_answer(LEADER, everything, 1) == []


def test_an_answer_with_nothing_new_is_no_fault_but_leads_to_the_full_ids() -> None:
    proposals = asked()
    part = given_answer(shrunk(LABELS), *LABELS[:2])
    proposals.on_answer(LEADER, part, 1)

    assert proposals.on_answer(LEADER, part, 2) == []
    assert indexes(proposals.due(2, DELTA_MS)) == [(LEADER, [])]


def test_who_repeats_itself_is_not_asked_as_fast_as_it_answers() -> None:
    proposals = asked()
    one = given_answer(shrunk(LABELS), LABELS[0])
    proposals.on_answer(LEADER, IdsAnswer(MESSAGE_ID, ids_of(LABELS)), 1)
    proposals.on_answer(LEADER, one, 2)
    assert indexes(proposals.due(2, DELTA_MS)) == [(LEADER, [1, 2, 3])]

    assert proposals.on_answer(LEADER, one, 3) == []

    assert proposals.next_ms == 2 + DELTA_MS
    assert [peer for peer, _ in indexes(proposals.due(150, DELTA_MS))] == [VOTER]


# --- what is taken up --------------------------------------------------------------------------


def changed(**changes: object) -> CompactProposal:
    return msgspec.structs.replace(shrunk(LABELS), **changes)


STRANGER = (SCHEDULE.leader(1) + 1) % 4


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (changed(signature=bytes(64)), "crypto/BadSignature"),
        (
            shrink(propose(LABELS, proposer_index=STRANGER), ids_of(LABELS)),
            "consensus/NotLeader",
        ),
        (
            shrink(propose(LABELS, evidence_root=b"\1" * 32), ids_of(LABELS)),
            "block/BodyMismatch",
        ),
        (
            shrink(propose(LABELS, parent_certificate_hash=b"\1" * 32), ids_of(LABELS)),
            "block/BodyMismatch",
        ),
    ],
)
def test_a_forged_proposal_is_blamed_and_not_kept(message: CompactProposal, code: str) -> None:
    proposals = make()

    assert codes(proposals.on_compact(VOTER, message, LEADER, 0)) == [(VOTER, code)]
    assert proposals.due(0, DELTA_MS) == []


def test_a_proposal_out_of_reach_is_dropped() -> None:
    proposals = make()
    proposals.moved(20, 10)

    for view in (10, 29):
        assert proposals.on_compact(LEADER, shrunk(LABELS, view=view), LEADER, 0) == []
    proposals.on_compact(LEADER, shrink(propose(LABELS, epoch=1), ids_of(LABELS)), LEADER, 0)
    assert proposals.next_ms == NEVER_MS

    proposals.on_compact(LEADER, shrunk(LABELS, view=28), LEADER, 0)
    assert proposals.next_ms == 0


def test_two_blocks_of_a_view_are_taken_up_and_no_third() -> None:
    proposals = make()

    for time_ms in (1, 2, 3):
        proposals.on_compact(LEADER, shrunk(LABELS, time_ms=time_ms), LEADER, 0)
        proposals.on_compact(LEADER, shrunk(LABELS, time_ms=time_ms), LEADER, 0)

    assert len(indexes(proposals.due(0, DELTA_MS))) == 2


def test_the_same_proposal_again_only_says_who_holds_it() -> None:
    proposals = asked()

    proposals.on_compact(OTHER, shrunk(LABELS), LEADER, 1)

    assert [peer for peer, _ in indexes(proposals.due(DELTA_MS, DELTA_MS))] == [OTHER]


def test_a_proposal_that_is_kept_is_not_rebuilt() -> None:
    proposals = keeper()

    assert proposals.on_compact(VOTER, shrunk(LABELS), LEADER, 0) == []
    assert proposals.next_ms == NEVER_MS


def test_final_views_are_forgotten() -> None:
    proposals = asked()
    proposals.keep(propose([b"x"], view=2), ids_of([b"x"]))
    block_id = propose([b"x"], view=2).proposal.header.id()
    assert proposals.answer(VOTER, TransactionsRequest(block_id, [])) is not None

    proposals.moved(4, 2)

    assert proposals.next_ms == NEVER_MS
    assert proposals.answer(VOTER, TransactionsRequest(block_id, [])) is None
    proposals.keep(propose([b"x"], view=2), ids_of([b"x"]))
    assert proposals.answer(VOTER, TransactionsRequest(block_id, [])) is None


def test_a_new_epoch_begins_with_nothing_in_hand() -> None:
    proposals = asked()

    proposals.open(NEXT_EPOCH)

    assert proposals.next_ms == NEVER_MS


# --- bounds ------------------------------------------------------------------------------------


def views_asked(proposals: Proposals, now_ms: int) -> set[bytes]:
    actions = proposals.due(now_ms, DELTA_MS)
    return {action.request.block_id for action in actions if isinstance(action, Ask)}


def block_ids(views: Sequence[int]) -> set[bytes]:
    return {propose(LABELS, view=view).proposal.header.id() for view in views}


def test_a_full_hand_drops_what_lies_behind_then_what_is_farthest_ahead() -> None:
    proposals = make()
    proposals.moved(3, 0)

    for view in (1, 2, *range(11, 2, -1)):
        proposals.on_compact(LEADER, shrunk(LABELS, view=view), LEADER, 0)

    assert views_asked(proposals, 0) == block_ids(range(3, 11))


def test_bytes_received_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [b"a" * 600, b"b" * 600, b"c"]
    monkeypatch.setattr(hands, "HANDS_BYTES_MAX", 1_000)
    proposals = make()
    for view in (1, 2):
        proposals.on_compact(LEADER, shrunk(labels, view=view), LEADER, 0)
    proposals.due(0, DELTA_MS)

    for view in (1, 2):
        proposals.on_answer(LEADER, given_answer(shrunk(labels, view=view), labels[0]), 1)

    ids = {shrunk(labels, view=1).header.id()}
    assert views_asked(proposals, 1) == ids


def test_a_block_too_large_is_given_up_without_blame() -> None:
    message = shrunk(LABELS)
    size = sum(block_bytes(envelope_of(label)) for label in LABELS)
    fitting, tight = make(bytes_max=size), make(bytes_max=size - 1)
    for proposals in (fitting, tight):
        proposals.on_compact(LEADER, message, LEADER, 0)
        proposals.due(0, DELTA_MS)
    everything = given_answer(message, *LABELS)

    assert len(fitting.on_answer(LEADER, everything, 1)) == 1
    assert tight.on_answer(LEADER, everything, 1) == []
    assert indexes(tight.due(1, DELTA_MS)) == [(LEADER, [])]
    assert tight.on_answer(LEADER, IdsAnswer(MESSAGE_ID, ids_of(LABELS)), 2) == []
    assert indexes(tight.due(2, DELTA_MS)) == [(LEADER, [0, 1, 2, 3])]
    assert tight.on_answer(LEADER, everything, 3) == []
    assert tight.next_ms == NEVER_MS
    assert tight.on_answer(LEADER, everything, 4) == []
    assert tight.on_compact(LEADER, message, LEADER, 5) == []


def test_a_pool_full_of_a_block_too_large_gives_it_up_as_well() -> None:
    proposals = make(*map(pooled, LABELS), bytes_max=100)

    assert proposals.on_compact(LEADER, shrunk(LABELS), LEADER, 0) == []
    assert proposals.next_ms == NEVER_MS


def test_kept_proposals_are_bounded_by_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "KEPT_MAX", 3)
    proposals = make()

    for view in range(1, 6):
        proposals.keep(propose(LABELS, view=view), ids_of(LABELS))

    assert kept_views(proposals) == [3, 4, 5]
    monkeypatch.setattr(hands, "KEPT_BYTES_MAX", 1)
    proposals.keep(propose(LABELS, view=6), ids_of(LABELS))
    assert kept_views(proposals) == [6]


def kept_views(proposals: Proposals) -> list[int]:
    headers = {view: propose(LABELS, view=view).proposal.header for view in range(1, 8)}
    asked_of = {v: TransactionsRequest(head.id(), []) for v, head in headers.items()}
    return [view for view, request in asked_of.items() if proposals.answer(VOTER, request)]


# --- answering ---------------------------------------------------------------------------------


def keeper(labels: Sequence[bytes] = LABELS) -> Proposals:
    proposals = make()
    proposals.keep(propose(labels), ids_of(labels))
    return proposals


def test_transactions_come_in_the_order_asked() -> None:
    answer = keeper().answer(VOTER, TransactionsRequest(MESSAGE_ID, [3, 1]))

    assert answer == given_answer(shrunk(LABELS), LABELS[3], LABELS[1])


def test_no_index_asks_for_the_full_ids() -> None:
    answer = keeper().answer(VOTER, TransactionsRequest(MESSAGE_ID, []))

    assert answer == IdsAnswer(MESSAGE_ID, ids_of(LABELS))


def test_who_asks_for_an_index_that_is_not_there_is_told_the_ids() -> None:
    answer = keeper().answer(VOTER, TransactionsRequest(MESSAGE_ID, [0, 4]))

    assert answer == IdsAnswer(MESSAGE_ID, ids_of(LABELS))


def test_an_unknown_block_is_not_answered() -> None:
    assert make().answer(VOTER, TransactionsRequest(MESSAGE_ID, [0])) is None


def test_an_answer_is_cut_but_never_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [block_bytes(envelope_of(label)) for label in LABELS]

    for limit, count in ((1, 1), (sizes[0] + sizes[1], 2), (sum(sizes), 4)):
        monkeypatch.setattr(hands, "ANSWER_BYTES_MAX", limit)
        answer = keeper().answer(VOTER, TransactionsRequest(MESSAGE_ID, [0, 1, 2, 3]))
        assert answer == given_answer(shrunk(LABELS), *LABELS[:count])


def test_a_peer_is_not_served_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "ANSWER_BYTES_MAX", 1_000)
    proposals = keeper()
    everything = TransactionsRequest(MESSAGE_ID, [0, 1, 2, 3])

    answers = [proposals.answer(VOTER, everything) for _ in range(20)]

    assert 4 <= sum(answer is not None for answer in answers) <= 10
    assert answers[-1] is None
    assert proposals.answer(OTHER, everything) is not None
    proposals.left(VOTER)
    assert proposals.answer(VOTER, everything) is not None


def test_a_filler_with_stray_attachments_is_kept_like_any_other() -> None:
    message = propose([])
    stray = msgspec.structs.replace(message.proposal, attachments=[[Attachment(bytes(16), b"")]])
    proposals = make()

    proposals.keep(ProposalMessage(stray), [])

    request = TransactionsRequest(stray.header.id(), [])
    assert proposals.answer(VOTER, request) == IdsAnswer(stray.header.id(), [])


# --- the model ---------------------------------------------------------------------------------

UNIVERSE = [b"tx-%d" % i + b"+" * (i % 3 == 0) for i in range(64)]
LIES = ("wrong", "twin", "attachments", "empty", "ids", "wrong ids")


Post = tuple[int, int, Peer, TransactionsAnswer | IdsAnswer, bool]
"""When an answer arrives, its number, whose it is, itself, whether it is a lie."""


@dataclass
class Party:
    """A peer of the model: honest unless ``lie`` says otherwise; it may be slow or silent."""

    name: Peer
    keeper: Proposals
    lie: str | None
    delays: list[int]
    holds_block: bool
    told: bool = field(default=False)
    """Whether it has ever lied."""
    lied: bool = False
    """Whether its newest answer was a lie."""

    def answer(self, request: TransactionsRequest) -> TransactionsAnswer | IdsAnswer | None:
        truth = self.keeper.answer(b"me", request) if self.holds_block else None
        said: TransactionsAnswer | IdsAnswer | None = truth
        if isinstance(truth, IdsAnswer) and "ids" in (self.lie or "") and truth.ids:
            said = IdsAnswer(truth.block_id, [*truth.ids[1:], bytes(32)])
        elif isinstance(truth, TransactionsAnswer):
            said = self._lie(truth)
        self.lied = said != truth
        self.told |= self.lied
        return said

    def _lie(self, truth: TransactionsAnswer) -> TransactionsAnswer:
        items = list(truth.transactions)
        match self.lie:
            case "wrong" | "wrong ids":
                items[0] = envelope_of(b"never seen")
            case "twin":
                items[0] = twin_of(items[0])
            case "attachments":
                items[-1] = Envelope(items[-1].body, items[-1].signatures, BAD.attachments)
            case "empty":
                items = []
        return TransactionsAnswer(truth.block_id, items)


def twin_of(envelope: Envelope) -> Envelope:
    """Return another transaction with the same one-byte short id."""
    wanted = id_of(envelope)[0]
    numbers = (envelope_of(b"twin-%d" % i) for i in range(10_000))
    return next(item for item in numbers if id_of(item)[0] == wanted)


@dataclass
class World:
    """A receiver, its pool, and everybody it can ask."""

    receiver: Proposals
    pool: list[Waiting]
    parties: dict[Peer, Party]
    delivered: list[Deliver] = field(default_factory=list)
    blamed: set[Peer] = field(default_factory=set)
    read: set[Peer] = field(default_factory=set)
    """Liars whose lie arrived while the proposal was in hand."""
    now_ms: int = 0
    posted: int = 0

    def act(self, actions: Sequence[Action], mail: list[Post]) -> None:
        for action in actions:
            match action:
                case Deliver():
                    self.delivered.append(action)
                case Blame(peer=peer):
                    self.blamed.add(peer)
                case Ask(peer=peer, request=request):
                    party = self.parties[peer]
                    answer = party.answer(request)
                    for delay in party.delays if answer is not None else ():
                        self.posted += 1
                        post = (self.now_ms + delay, self.posted, peer, answer, party.lied)
                        heapq.heappush(mail, post)

    def run(self, arrivals: dict[int, Waiting]) -> None:
        """Let time pass until the proposal is whole."""
        mail: list[Post] = []
        for self.now_ms in range(0, 20_000, 10):
            if self.now_ms in arrivals:
                self.pool.append(arrivals[self.now_ms])
            while mail and mail[0][0] <= self.now_ms and not self.delivered:
                _, _, peer, answer, is_lie = heapq.heappop(mail)
                if is_lie:
                    self.read.add(peer)
                self.act(self.receiver.on_answer(peer, answer, self.now_ms), mail)
            self.act(self.receiver.due(self.now_ms, DELTA_MS), mail)
            if self.delivered:
                return


def lying_short_ids(draw: st.DrawFn, labels: list[bytes]) -> list[bytes]:
    """Return short ids of somebody who sent something else than the block."""
    others = draw(st.lists(st.sampled_from(UNIVERSE), max_size=6))
    mixed = draw(st.permutations([*labels, *others]))
    return [tx_id[:1] for tx_id in ids_of(mixed[: draw(st.integers(0, len(mixed)))])]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, ProposalMessage, CompactProposal, dict[int, Waiting]]:
    labels = draw(st.lists(st.sampled_from(UNIVERSE), unique=True, max_size=12))
    message = propose(labels)
    pool = [pooled(label) for label in draw(st.sets(st.sampled_from(UNIVERSE)).map(sorted))]
    names = [LEADER, VOTER, OTHER, LAST]
    honest = draw(st.sampled_from(names))
    parties = {}
    for name in names:
        keeper_of = make()
        keeper_of.keep(message, ids_of(labels))
        lie = None if name == honest else draw(st.sampled_from([None, *LIES]))
        delays = draw(st.lists(st.integers(0, 200), min_size=name == honest, max_size=2))
        holds = name == honest or draw(st.booleans())
        parties[name] = Party(name, keeper_of, lie, delays, holds)
    small = shrink(message, ids_of(labels))
    sender = draw(st.sampled_from([name for name in names if parties[name].holds_block]))
    if parties[sender].lie is not None and draw(st.booleans()):
        small = msgspec.structs.replace(small, short_ids=lying_short_ids(draw, labels))
        parties[sender].told = small.short_ids != [i[:1] for i in ids_of(labels)]
    receiver = make(peers=draw(st.permutations(names)))
    receiver._find = lambda short_id: [tx for tx in pool if tx.id.startswith(short_id)]
    world = World(receiver, pool, parties)
    times = draw(st.lists(st.integers(0, 30), unique=True))
    arrivals = {10 * t: pooled(label) for t, label in zip(times, labels, strict=False)}
    world.act(receiver.on_compact(sender, small, draw(st.sampled_from([LEADER, None])), 0), [])
    for name in names:
        if parties[name].holds_block and draw(st.booleans()):
            receiver.holds(name, small.header.id())
    return world, message, small, arrivals


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_proposal_is_rebuilt_whoever_lies_and_only_liars_are_blamed(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "SHORT_ID_BYTES", 1)
        patch.setattr(hands, "ANSWER_BYTES_MAX", data.draw(st.sampled_from([200, 1_048_576])))
        world, message, _, arrivals = data.draw(worlds())
        world.run(arrivals)

    assert [action.message for action in world.delivered] == [message]
    liars = {name for name, party in world.parties.items() if party.told}
    assert world.blamed <= liars
    assert world.read <= world.blamed
