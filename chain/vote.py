"""Votes: one signed statement of one member about one view (protocol.md V5–V7)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from .codec import U8, U16, U64, Decoder, Hash, Record, Signature
from .committee import Committee
from .errors import Rejected
from .hashing import tagged_hash

Verifier = Callable[[bytes, bytes, bytes], None]
"""``(public_key, message, signature)``; raises ``Rejected`` unless the signature verifies."""

VOTE_BYTES_MAX = 160
"""A vote with every field at its widest takes 124 bytes."""


class VoteKind(IntEnum):
    """What a vote says; numbers are permanent."""

    NOTARIZE = 0
    """This block is valid, and it is the only one I vote for in this view."""
    NULLIFY = 1
    """I will never finalize anything in this view."""
    FINALIZE = 2
    """This block is notarized and executed, and I never nullified its view."""


NOTARIZE, NULLIFY, FINALIZE = VoteKind
"""The same, for reading: up to Python 3.11 looking a member up in its class takes 0.2 µs."""

VOTE_TAGS = ("vote-notarize", "vote-nullify", "vote-finalize")
"""By kind: the domain in which its votes are hashed."""


class Vote(Record):
    """A vote on the wire, in the journal and in evidence."""

    kind: U8
    epoch: U64
    view: U64
    block_id: Hash | None
    """None exactly for NULLIFY."""
    signer: U16
    """Index in the epoch's committee."""
    signature: Signature


VOTE = Decoder(Vote, bytes_max=VOTE_BYTES_MAX, what="vote")


def vote_message(
    kind: int, genesis_hash: bytes, epoch: int, view: int, block_id: bytes | None
) -> bytes:
    """Return the 32 bytes a member signs (V5).

    ``H(tag, genesis_hash ‖ u64 epoch ‖ u64 view ‖ block id)``, without the id for NULLIFY.
    """
    fields = genesis_hash + epoch.to_bytes(8, "big") + view.to_bytes(8, "big")
    return tagged_hash(VOTE_TAGS[kind], fields + (block_id or b""))


def require_kind(kind: int, block_id: bytes | None) -> None:
    """Refuse a kind that does not exist, or an id where none belongs (V5)."""
    if kind not in (0, 1, 2):
        raise Rejected("vote/Kind", f"vote of kind {kind}, expected 0, 1 or 2", found=kind)
    if (block_id is None) != (kind == NULLIFY):
        raise Rejected("vote/BlockId", "NULLIFY names no block, every other vote names one")


def require_vote_form(vote: Vote, committee: Committee) -> None:
    """Check everything about a vote but its signature (V6)."""
    require_kind(vote.kind, vote.block_id)
    if vote.signer >= len(committee.members):
        raise Rejected(
            "vote/Signer",
            f"signer {vote.signer} in a committee of {len(committee)}",
            found=vote.signer,
        )


def verify_vote(vote: Vote, committee: Committee, genesis_hash: bytes, verifier: Verifier) -> None:
    """Return if ``vote`` is well formed and signed by its member (V6), else raise ``Rejected``.

    That ``vote.epoch`` is the committee's epoch is the caller's to check.
    """
    require_vote_form(vote, committee)
    message = vote_message(vote.kind, genesis_hash, vote.epoch, vote.view, vote.block_id)
    verifier(committee.members[vote.signer].public_key, message, vote.signature)
