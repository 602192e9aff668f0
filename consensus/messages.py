"""What consensus says over the wire (protocol.md C14). One message is ``[name, fields…]``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from chain.block import PROPOSAL_BYTES_MAX, Body, Nullifications, Proposal
from chain.certificate import Certificate, Evidence
from chain.codec import U16, U64, Decoder, Hash, Record, Signature
from chain.finality import FinalityProof
from chain.header import Header
from chain.transaction import Envelope
from chain.vote import Vote

RANGE_BLOCKS_MAX = 100
RANGE_BYTES_MAX = 4 * 1024 * 1024
"""A range answer: at most 100 blocks and 4 MiB, but always one block (C18)."""
LOOKBACK_VOTES_MAX = 64
"""Votes in a look-back answer; a single one above the asker's journal decides."""
SHORT_IDS_MAX = 16_384
"""As many as transactions in a block."""

ShortId = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
ShortIds = Annotated[list[ShortId], msgspec.Meta(max_length=SHORT_IDS_MAX)]
Indexes = Annotated[list[U16], msgspec.Meta(max_length=SHORT_IDS_MAX)]


class ProposalMessage(Record, tag="proposal"):
    """A whole proposal; what the core is given, however it travelled."""

    proposal: Proposal


class VoteMessage(Record, tag="vote"):
    """A vote of the sender."""

    vote: Vote


class CertificateMessage(Record, tag="certificate"):
    """A certificate, broadcast once when learnt, and again when somebody seems to lack it."""

    certificate: Certificate


class ViewRequest(Record, tag="view"):
    """Asks for every certificate of a view (C9)."""

    epoch: U64
    view: U64


class BlockRequest(Record, tag="block?"):
    """Asks for an un-finalised block by its id."""

    block_id: Hash


class BlockAnswer(Record, tag="block"):
    """A block somebody asked for; its id says whether it is the right one."""

    header: Header
    body: Body


class EpochEnded(Record, tag="epoch-ended"):
    """Answers a message of an older epoch: the proof that its last block is final (C10)."""

    proof: FinalityProof


class LookbackQuestion(Record, tag="lookback?"):
    """Asks, before a validator signs anything after a start, what it signed before (C15)."""

    epoch: U64
    view: U64
    """The newest view of which the asker's journal holds a vote of its own."""
    signer: U16


class LookbackAnswer(Record, tag="lookback"):
    """Votes of the asker above its journal, and the newest finalization of the epoch."""

    epoch: U64
    votes: Annotated[list[Vote], msgspec.Meta(max_length=LOOKBACK_VOTES_MAX)]
    finalization: Certificate | None
    settled: bool
    """Whether the sender has listened for 3 s since its own start; else it does not count."""


class RangeRequest(Record, tag="range?"):
    """Asks for finalised blocks from a height on, ascending (C18)."""

    height: U64
    blocks_max: U16


class RangeAnswer(Record, tag="range"):
    """Consecutive finalised blocks of one epoch and the finality proof of the last (C18)."""

    blocks: Annotated[
        list[tuple[Header, Body]], msgspec.Meta(min_length=1, max_length=RANGE_BLOCKS_MAX)
    ]
    proof: FinalityProof


class EncodedRange(Record, tag="range"):
    """A ``RangeAnswer`` as a node writes it, of headers and bodies that are encoded already."""

    blocks: list[tuple[msgspec.Raw, msgspec.Raw]]
    proof: FinalityProof


class CompactProposal(Record, tag="compact"):
    """A proposal whose transactions are named by the first 8 bytes of their ids (C17)."""

    header: Header
    parent_certificate: Certificate | None
    short_ids: ShortIds
    evidence: Annotated[list[Evidence], msgspec.Meta(max_length=16)]
    signature: Signature
    nullifications: Nullifications


class TransactionsRequest(Record, tag="txs?"):
    """Asks for transactions of a proposal by index; no index asks for the list of full ids."""

    block_id: Hash
    indexes: Indexes


class TransactionsAnswer(Record, tag="txs"):
    """The transactions asked for, with their attachments, in the order asked."""

    block_id: Hash
    transactions: Annotated[list[Envelope], msgspec.Meta(max_length=SHORT_IDS_MAX)]


class IdsAnswer(Record, tag="ids"):
    """Every full transaction id of a proposal, in order."""

    block_id: Hash
    ids: Annotated[list[Hash], msgspec.Meta(max_length=SHORT_IDS_MAX)]


Message = (
    ProposalMessage
    | VoteMessage
    | CertificateMessage
    | ViewRequest
    | BlockRequest
    | BlockAnswer
    | EpochEnded
    | LookbackQuestion
    | LookbackAnswer
)
"""What the core handles."""

AnyMessage = (
    Message
    | RangeRequest
    | RangeAnswer
    | CompactProposal
    | TransactionsRequest
    | TransactionsAnswer
    | IdsAnswer
)
"""Everything on the consensus channels; ranges and compact proposals are the host's to handle."""

MESSAGE = Decoder[AnyMessage](
    AnyMessage,  # type: ignore[arg-type]  # a union of records is a type to msgspec, not to mypy
    bytes_max=PROPOSAL_BYTES_MAX,
    what="consensus message",
)
