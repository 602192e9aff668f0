"""My own votes: signed, journalled, and counted once they are durable (protocol.md C8, J3)."""

from __future__ import annotations

from collections.abc import Iterable

from chain.certificate import Certificate
from chain.vote import FINALIZE, NOTARIZE, NULLIFY, Vote, VoteKind

from .journal import JournalRecord, VoteRecord
from .learning import count_vote
from .shared import Shared


def cast(
    shared: Shared,
    kind: VoteKind,
    view: int,
    block_id: bytes | None,
    beside: Iterable[JournalRecord] = (),
) -> Vote:
    """Sign a vote and journal it; the caller sends it with ``emit_durable``.

    The three promises of a view are asserted here once more, whatever the rule believed:
    one NOTARIZE, no NOTARIZE after NULLIFY, never both NULLIFY and FINALIZE (C8).
    """
    assert shared.may_sign and shared.me is not None
    assert view >= shared.floor, "what was promised there is forgotten"
    round_ = shared.round(view)
    promised = round_.promised
    assert kind not in promised
    assert kind == NULLIFY or NULLIFY not in promised
    assert kind != NULLIFY or FINALIZE not in promised
    message = round_.book.message_to_sign(kind, block_id)
    vote = Vote(kind, shared.epoch, view, block_id, shared.me, shared.signer(message))
    promised[kind] = vote
    shared.promise(vote, (*beside, VoteRecord(vote)))
    return vote


def on_durable(shared: Shared, token: int) -> None:
    """Count my votes of a sync that is done (C8)."""
    for vote in shared.pending_votes.pop(token, ()):
        if vote.epoch == shared.epoch and vote.view in shared.rounds:
            count_vote(shared, vote, from_signer=True)


def durable_votes(shared: Shared, view: int) -> list[Vote]:
    """Return my votes of a view that are durable, so that they may be sent again.

    One that only a certificate knows was signed before the journal was lost: it stays there.
    """
    round_ = shared.rounds.get(view)
    if round_ is None or shared.me is None:
        return []
    promised = round_.promised
    return [vote for vote in round_.book.votes_of(shared.me) if promised.get(vote.kind) == vote]


def parent_certificate(shared: Shared, view: int, block_id: bytes) -> Certificate | None:
    """Return the certificate of a Notarized block for its child: a notarization if known."""
    round_ = shared.rounds.get(view)
    if round_ is None:
        return None
    for kind in (NOTARIZE, FINALIZE):
        certificate = round_.book.certificates[kind]
        if certificate is not None and certificate.block_id == block_id:
            return certificate
    return None
