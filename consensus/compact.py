"""Proposals as short ids, and what it takes to make them whole again (protocol.md C17).

A leader signs only the header. Short ids and answers are the word of whoever sent them, so they
are judged by the header's roots, never by another peer's word: a transaction that fits no short
id may be a lie of the peer that gave it, or of the one that sent the short ids; the full ids,
once they hash to ``tx_root``, say whose. An answer does not repeat its question, so it is judged
by what it holds: late, repeated or cut short it is no fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.block import (
    Body,
    Proposal,
    transaction_root,
)
from chain.codec import encode
from chain.crypto import SIGNATURE_BYTES
from chain.errors import Rejected
from chain.transaction import ENVELOPE, TX_BYTES_MAX, Envelope, SignedBody, transaction_id

from .effects import Blame
from .events import Peer
from .messages import (
    SHORT_IDS_MAX,
    CompactProposal,
    ProposalMessage,
    TransactionsRequest,
)

SHORT_ID_BYTES = 8
CLAIMS_MAX = 2 * SHORT_IDS_MAX
"""Transactions given by somebody that are remembered until the ids are proven."""


class Held(Protocol):
    """A transaction that this node has: ``id`` is that of the envelope in ``raw``."""

    @property
    def id(self) -> bytes:
        """Its id."""
        ...

    @property
    def raw(self) -> bytes:
        """Its canonical envelope, well formed and with the attachments that fit (T5, T6)."""
        ...


Find = Callable[[bytes], Sequence[Held]]
"""Returns what is held here whose ids begin with these 8 bytes."""
Check = Callable[[Envelope], None]
"""Raises ``Rejected`` unless body and attachments are well formed and fit (T5, T6)."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A transaction that a peer gave."""

    id: bytes
    envelope: Envelope


def shrink(message: ProposalMessage, ids: Iterable[bytes]) -> CompactProposal:
    """Return a proposal as it travels; ``ids`` are those of its transactions, in order."""
    proposal = message.proposal
    return CompactProposal(
        proposal.header,
        proposal.body.parent_certificate,
        [tx_id[:SHORT_ID_BYTES] for tx_id in ids],
        proposal.body.evidence,
        proposal.signature,
        proposal.nullifications,
    )


class Rebuild:
    """One proposal being put together; the leader's signature has been verified before."""

    def __init__(
        self, message: CompactProposal, sender: Peer, find: Find, check: Check, bytes_max: int
    ) -> None:
        """``sender`` sent ``message``; ``bytes_max`` is the chain's ``block_bytes_max``."""
        self.message = message
        self.sender = sender
        self.block_id = message.header.id()
        self.whole: ProposalMessage | None = None
        """The proposal, once nothing is missing."""
        self.ids: list[bytes] | None = None
        """The full ids, once they are proven."""
        self.is_abandoned = False
        """It has more bytes than a block may have: whatever comes is dropped."""
        self.bytes = 0
        """Received and held for it; what was here already does not count."""
        self._find = find
        self._check = check
        self._bytes_max = bytes_max
        self._keys: list[bytes] = message.short_ids
        self._found: dict[bytes, Held | _Given] = {}
        """By key: the short id, or the full one once the ids are proven."""
        self.convicted: list[Blame] = []
        """Whose word the proven ids contradict."""
        self._claims: list[tuple[Peer, bytes]] = []
        """Who gave a transaction of which id; the proven ids will say whether it was a lie."""
        self._needs_ids = False
        self.refresh()

    def question(self) -> TransactionsRequest:
        """Return what to ask for: the missing indexes, or (no index) the full ids."""
        missing: list[int] = []
        if not self._needs_ids:
            missing = [i for i, key in enumerate(self._keys) if key not in self._found]
        return TransactionsRequest(self.block_id, missing)

    def refresh(self) -> None:
        """Look for what is missing among what is here: it may have come in the meantime."""
        for key in self._keys:
            if key not in self._found:
                fitting = [tx for tx in self._find(key[:SHORT_ID_BYTES]) if tx.id.startswith(key)]
                if len(fitting) == 1:
                    self._found[key] = fitting[0]
        self._settle()

    def take_transactions(self, peer: Peer, envelopes: Sequence[Envelope]) -> bool:
        """Take transactions of the block; tell whether there is something else to ask for now.

        Raises ``Rejected`` if the peer is at fault, and takes nothing then: ``compact/Empty``;
        ``codec/TooLarge`` (T3); what ``check`` raises; ``compact/Transaction`` for one that is
        not of this block, by the proven ids or by the short ids that the peer itself sent.
        """
        if not envelopes:
            raise Rejected("compact/Empty", "an answer without a transaction")
        given = [self._read(envelope) for envelope in envelopes]
        keys = set(self._keys)
        strangers = [item.id for item in given if self._key(item.id) not in keys]
        if strangers and (self.ids is not None or peer == self.sender):
            raise Rejected("compact/Transaction", f"{strangers[0].hex()} is not of the block")
        room = CLAIMS_MAX - len(self._claims)
        self._claims += [(peer, item.id) for item in given[:room]]
        if not strangers and self._add(given):
            return True
        # A stranger, or nothing new: the short ids may be another block's, or in another order.
        asks_ids = self.ids is None and not self._needs_ids
        self._needs_ids |= asks_ids
        return asks_ids

    def take_ids(self, ids: Sequence[bytes]) -> bool:
        """Take the full ids; tell whether they are news.

        Raises ``Rejected`` with ``compact/Ids`` if they are not those under ``tx_root``; then
        the peer that gave them is at fault.
        """
        if transaction_root(list(ids)) != self.message.header.tx_root:
            raise Rejected("compact/Ids", "the ids do not hash to the header's tx_root")
        if self.ids is not None:
            return False
        self._prove(list(ids))
        self._needs_ids = False
        self._keys = list(ids)
        proven = set(ids)
        found = self._found.values()
        self._found = {item.id: item for item in found if item.id in proven}
        self.bytes = sum(_size(item) for item in self._found.values())
        self.refresh()
        return True

    def _prove(self, ids: list[bytes]) -> None:
        """The ids hash to ``tx_root``: whoever said something else has lied."""
        self.ids = ids
        proven = set(ids)
        lies = {peer: tx_id for peer, tx_id in self._claims if tx_id not in proven}
        for peer, tx_id in lies.items():
            reason = f"{tx_id.hex()} is not of the block"
            self.convicted.append(Blame(peer, "compact/Transaction", reason))
        if [tx_id[:SHORT_ID_BYTES] for tx_id in ids] != self.message.short_ids:
            reason = "the short ids are not of the block"
            self.convicted.append(Blame(self.sender, "compact/ShortIds", reason))

    def _key(self, tx_id: bytes) -> bytes:
        return tx_id[:SHORT_ID_BYTES] if self.ids is None else tx_id

    def _read(self, envelope: Envelope) -> _Given:
        size = len(encode(envelope))
        if size > TX_BYTES_MAX:
            raise Rejected("codec/TooLarge", f"a transaction of {size} bytes", found=size)
        self._check(envelope)
        return _Given(transaction_id(envelope.body, envelope.signatures), envelope)

    def _add(self, given: list[_Given]) -> bool:
        """Keep what was missing; tell whether anything was."""
        new = {key: item for item in given if (key := self._key(item.id)) not in self._found}
        size = sum(map(_size, new.values()))
        if self.bytes + size > self._bytes_max:
            self._overflow()
        else:
            self._found |= new
            self.bytes += size
            self._settle()
        return bool(new)

    def _overflow(self) -> None:
        """Too much came: by proven ids the block is too large, else somebody padded a twin."""
        if self.ids is None:
            self._needs_ids = True
        else:
            self.is_abandoned = True
            self._found.clear()
            self.bytes = 0

    def _settle(self) -> None:
        """If nothing is missing, prove the ids and put the proposal together."""
        if self._needs_ids or any(key not in self._found for key in self._keys):
            return
        items = [self._found[key] for key in self._keys]
        if self.ids is None:
            ids = [item.id for item in items]
            if transaction_root(ids) != self.message.header.tx_root:
                self._needs_ids = True
                return
            self._prove(ids)
        envelopes = [_envelope_of(item) for item in items]
        if sum(block_bytes(envelope) for envelope in envelopes) > self._bytes_max:
            self._overflow()
            return
        message = self.message
        signed = [SignedBody(envelope.body, envelope.signatures) for envelope in envelopes]
        self.whole = ProposalMessage(
            Proposal(
                message.header,
                Body(message.parent_certificate, signed, message.evidence),
                [envelope.attachments for envelope in envelopes],
                message.signature,
                message.nullifications,
            )
        )


def block_bytes(envelope: Envelope) -> int:
    """Return the bytes a transaction counts for in a block, attachments included (T5)."""
    size = len(envelope.body) + SIGNATURE_BYTES * len(envelope.signatures)
    return size + sum(len(attachment.data) for attachment in envelope.attachments)


def _size(item: Held | _Given) -> int:
    return block_bytes(item.envelope) if isinstance(item, _Given) else 0


def _envelope_of(item: Held | _Given) -> Envelope:
    return item.envelope if isinstance(item, _Given) else ENVELOPE.decode_own(item.raw)
