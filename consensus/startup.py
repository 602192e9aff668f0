"""Taking over what store and journal hold, before the look-back (protocol.md C15, J3)."""

from __future__ import annotations

from collections.abc import Iterable

from chain.block import Block
from chain.vote import Vote

from .events import Started
from .finalising import open_epoch
from .hearing import Hearing
from .journal import (
    BlockRecord,
    CertificateRecord,
    JournalRecord,
    QuarantineRecord,
    VoteRecord,
    intact_after,
)
from .learning import keep_block, take_certificate
from .lookback import begin_lookback, lose_journal
from .shared import Mode, Shared
from .turns import Turns


def on_started(shared: Shared, event: Started) -> None:
    """Take over what the store and the journal hold, then look back if others could know more."""
    shared.started_ms = shared.now_ms
    start = event.epoch
    turns = Turns(start.committee)
    open_epoch(shared, start, event.head, Hearing(start.committee), turns)
    replay(shared, event.journal)
    begin_lookback(shared)
    if event.journal_lost and shared.mode is Mode.LOOKBACK and not shared.journal_lost:
        shared.persist(QuarantineRecord(shared.epoch))
    if event.journal_lost:
        lose_journal(shared)


def replay(shared: Shared, records: Iterable[JournalRecord]) -> None:
    """Restore promises, certificates and bodies of this epoch; nothing is sent (J3)."""
    for record in records:
        shared.journal_intact = intact_after(shared.journal_intact, record)
        shared.journal_lost = not shared.journal_intact and (
            shared.journal_lost or isinstance(record, QuarantineRecord)
        )
        match record:
            case VoteRecord() if record.vote.epoch == shared.epoch:
                _restore_vote(shared, record.vote)
            case BlockRecord() if record.header.epoch == shared.epoch:
                if record.header.view > shared.head.view:
                    block = Block(record.header, record.body)
                    keep_block(shared, block)
                    shared.entries[block.id].is_journalled = True
            case CertificateRecord() if record.certificate.epoch == shared.epoch:
                certificate = record.certificate
                if certificate.view > shared.head.view:
                    shared.round(certificate.view).book.restore(certificate)
                    take_certificate(shared, certificate)
            case _:
                pass  # Of another epoch, of the journal itself, or the host's.


def _restore_vote(shared: Shared, vote: Vote) -> None:
    """A promise binds for ever; it is looked at again only above the head."""
    if vote.signer != shared.me:
        return
    if vote.view > shared.journal_view:
        shared.journal_view = vote.view
        shared.journal_votes = []
    if vote.view == shared.journal_view:
        shared.journal_votes.append(vote)
    if vote.view < shared.floor:
        return
    round_ = shared.round(vote.view)
    round_.promised[vote.kind] = vote
    certificate, _ = round_.book.add(vote, from_signer=True)
    if certificate is not None:
        take_certificate(shared, certificate)
    shared.allow_view(vote.view)
