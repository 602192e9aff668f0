"""Blocks and proposals: a header, the body under its roots, what travels beside (B2, B3, B10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from .certificate import Certificate, Evidence
from .codec import Decoder, Record, Signature, encode
from .errors import Rejected
from .hashing import EMPTY_ROOT, tagged_hash
from .header import KIND_BLOCK, KIND_FILLER, VERSION, ZERO_HASH, Header
from .merkle import list_root
from .transaction import Attachment, SignedBody
from .vote import NOTARIZE, Vote

EVIDENCE_MAX = 16
"""Evidence in one block; more waits for the next, a conviction is never urgent."""
TRANSACTIONS_MAX = 16_384
"""Transactions in one block: the cheapest costs some 50 units, so units bind long before."""
GAP_NULLIFICATIONS_MAX = 8
"""Nullifications of skipped views that a proposal carries; the rest is asked for (B10)."""
BLOCK_BYTES_CAP = 16 * 1024 * 1024
"""Cap on the parameter ``block_bytes_max``; with attachments counted."""
BODY_BYTES_MAX = BLOCK_BYTES_CAP + 64 * 1024
PROPOSAL_BYTES_MAX = BLOCK_BYTES_CAP + 256 * 1024
"""A body with attachments, header, certificate, evidence and nullifications."""

Transactions = Annotated[list[SignedBody], msgspec.Meta(max_length=TRANSACTIONS_MAX)]
EvidenceList = Annotated[list[Evidence], msgspec.Meta(max_length=EVIDENCE_MAX)]
Nullifications = Annotated[list[Certificate], msgspec.Meta(max_length=GAP_NULLIFICATIONS_MAX)]
Attachments = Annotated[list[list[Attachment]], msgspec.Meta(max_length=TRANSACTIONS_MAX)]
"""Attachments of each transaction of a block, in their order; or empty where none are kept."""


class Body(Record):
    """What the header's roots commit to; without attachments, which may be erased (B2)."""

    parent_certificate: Certificate | None
    """Notarization or finalization of the parent; None in the first block of an epoch."""
    transactions: Transactions
    evidence: EvidenceList


BODY = Decoder(Body, bytes_max=BODY_BYTES_MAX, what="block body")


class Proposal(Record):
    """What a leader broadcasts: a block, its attachments, its NOTARIZE, the gap (B10)."""

    header: Header
    body: Body
    attachments: Attachments
    signature: Signature
    """Of the leader's NOTARIZE for this header; a proposal needs no other."""
    nullifications: Nullifications
    """Of the views between parent and proposal, newest first, at most 8."""

    def vote(self, block_id: bytes) -> Vote:
        """Return the leader's NOTARIZE; ``block_id`` is the header's id."""
        header = self.header
        return Vote(
            NOTARIZE,
            header.epoch,
            header.view,
            block_id,
            header.proposer_index,
            self.signature,
        )


PROPOSAL = Decoder(Proposal, bytes_max=PROPOSAL_BYTES_MAX, what="proposal")


class Block:
    """A header and the body that hashes to its roots; immutable, its ids computed once."""

    __slots__ = ("body", "header", "id", "transaction_ids")

    def __init__(self, header: Header, body: Body, block_id: bytes | None = None) -> None:
        """Raise ``Rejected`` with ``block/BodyMismatch`` if the body is not the header's (B3).

        ``block_id`` is the header's, where the caller knows it.
        """
        transaction_ids = ids_of(body)
        _require_roots(header, body, transaction_ids)
        self._set(header, body, transaction_ids, block_id)

    @classmethod
    def made(cls, header: Header, body: Body, transaction_ids: list[bytes]) -> Block:
        """Return the block of a header that was made from this very body and these ids."""
        block = cls.__new__(cls)
        block._set(header, body, transaction_ids, None)
        return block

    def _set(
        self, header: Header, body: Body, transaction_ids: list[bytes], block_id: bytes | None
    ) -> None:
        self.header = header
        self.body = body
        self.id = header.id() if block_id is None else block_id
        self.transaction_ids = transaction_ids

    def __repr__(self) -> str:
        header = self.header
        return f"Block(height={header.height}, view={header.view}, id={self.id.hex()[:12]})"


def ids_of(body: Body) -> list[bytes]:
    """Return the ids of a body's transactions, in order (T3)."""
    return [tagged_hash("tx", encode(item)) for item in body.transactions]


def transaction_root(transaction_ids: list[bytes]) -> bytes:
    """Return ``tx_root``: the list root over the ids (B3)."""
    return list_root(transaction_ids)


def evidence_root(evidence: Iterable[Evidence]) -> bytes:
    """Return ``evidence_root``: the list root over ``H("evidence", item)`` (B3)."""
    return list_root([item.id() for item in evidence])


def certificate_hash(certificate: Certificate | None) -> bytes:
    """Return ``parent_certificate_hash``: zero without a certificate (B3)."""
    return ZERO_HASH if certificate is None else certificate.hash()


def require_header_form(header: Header, genesis_hash: bytes) -> None:
    """Check what a header shows without its chain (B11); raises ``block/…``."""
    if header.version != VERSION:
        raise Rejected(
            "block/Version", f"header version {header.version}, this node knows {VERSION}"
        )
    if header.genesis_hash != genesis_hash:
        raise Rejected("block/WrongNetwork", "the header belongs to another network")
    if header.kind not in (KIND_BLOCK, KIND_FILLER):
        raise Rejected("block/Kind", f"block of kind {header.kind}, expected 0 or 1")
    if header.parent_view >= header.view:
        raise Rejected(
            "block/ParentView",
            f"parent of view {header.parent_view} in view {header.view}",
        )
    first = header.parent_view == 0
    if first != (header.parent_certificate_hash == ZERO_HASH):
        raise Rejected(
            "block/ParentCertificate",
            "exactly the first block of an epoch has no parent certificate",
        )
    if header.kind == KIND_FILLER and not _is_empty(header):
        raise Rejected("block/Filler", "a boundary filler carries nothing")


def _is_empty(header: Header) -> bool:
    return (
        header.tx_root == EMPTY_ROOT
        and header.evidence_root == EMPTY_ROOT
        and header.parent_view > 0
    )


def _require_roots(header: Header, body: Body, transaction_ids: list[bytes]) -> None:
    mismatch = None
    if header.tx_root != transaction_root(transaction_ids):
        mismatch = "tx_root"
    elif header.evidence_root != evidence_root(body.evidence):
        mismatch = "evidence_root"
    elif header.parent_certificate_hash != certificate_hash(body.parent_certificate):
        mismatch = "parent_certificate_hash"
    if mismatch is not None:
        raise Rejected(
            "block/BodyMismatch", f"the body is not the one under the header's {mismatch}"
        )
