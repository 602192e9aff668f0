"""Certificates, a quorum's equal votes in one object, and evidence (protocol.md V8–V11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from .codec import U8, U64, Decoder, Hash, Record, Signature, encode
from .committee import MEMBERS_MAX, Committee
from .errors import Misuse, Rejected
from .hashing import tagged_hash
from .vote import FINALIZE, NULLIFY, Verifier, Vote, require_kind, verify_vote, vote_message

BITMAP_BYTES_MAX = (MEMBERS_MAX + 7) // 8
CERTIFICATE_BYTES_MAX = 8_192
"""100 signatures with everything around them take 6 672 bytes."""
EVIDENCE_BYTES_MAX = 320
"""Two votes."""

Bitmap = Annotated[bytes, msgspec.Meta(min_length=1, max_length=BITMAP_BYTES_MAX)]


class Certificate(Record):
    """Notarization, nullification or finalization, by the kind of its votes (V8)."""

    kind: U8
    epoch: U64
    view: U64
    block_id: Hash | None
    bitmap: Bitmap
    """``ceil(n/8)`` bytes; member i is bit ``i mod 8`` (least significant first) of byte i/8."""
    signatures: Annotated[list[Signature], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]
    """One per set bit, in the order of the members."""

    @property
    def signers(self) -> int:
        """The set of members that signed."""
        return int.from_bytes(self.bitmap, "little")

    def hash(self) -> bytes:
        """Return ``H("certificate", certificate)``, the header's parent_certificate_hash (V8)."""
        return tagged_hash("certificate", encode(self))

    def votes(self) -> list[Vote]:
        """Return the votes it is made of, in the order of the members."""
        return [
            Vote(self.kind, self.epoch, self.view, self.block_id, signer, signature)
            for signer, signature in zip(members_of(self.signers), self.signatures, strict=True)
        ]


CERTIFICATE = Decoder(Certificate, bytes_max=CERTIFICATE_BYTES_MAX, what="certificate")


def members_of(members: int) -> list[int]:
    """Return the indexes in a set of members, ascending."""
    indexes = []
    while members:
        low = members & -members
        indexes.append(low.bit_length() - 1)
        members ^= low
    return indexes


def assemble_certificate(
    committee: Committee,
    kind: int,
    epoch: int,
    view: int,
    block_id: bytes | None,
    signatures: Mapping[int, bytes],
) -> Certificate:
    """Make a certificate from verified signatures by member index; they must be a quorum."""
    signers = 0
    for index in signatures:
        signers |= 1 << index
    if not committee.is_quorum(committee.power_of(signers)):
        raise Misuse(f"a certificate needs a quorum, members {sorted(signatures)} are none")
    return Certificate(
        kind,
        epoch,
        view,
        block_id,
        signers.to_bytes(committee.bitmap_bytes, "little"),
        [signatures[index] for index in sorted(signatures)],
    )


def verify_certificate(
    certificate: Certificate, committee: Committee, genesis_hash: bytes, verifier: Verifier
) -> None:
    """Return if a quorum of ``committee`` signed, every signature checked (V9), else raise.

    Every path uses this one function (gossip, blocks, sync, light clients), and it never stops
    at a quorum: what is stored or counted later is verified now. That ``certificate.epoch`` is
    the committee's epoch is the caller's to check.
    """
    require_certificate_form(certificate, committee)
    message = vote_message(
        certificate.kind,
        genesis_hash,
        certificate.epoch,
        certificate.view,
        certificate.block_id,
    )
    signers = members_of(certificate.signers)
    for index, signature in zip(signers, certificate.signatures, strict=True):
        verifier(committee.members[index].public_key, message, signature)


def require_certificate_form(certificate: Certificate, committee: Committee) -> None:
    """Check everything about a certificate but its signatures (V9)."""
    require_kind(certificate.kind, certificate.block_id)
    if len(certificate.bitmap) != committee.bitmap_bytes:
        raise Rejected(
            "certificate/Bitmap",
            f"bitmap of {len(certificate.bitmap)} bytes, expected {committee.bitmap_bytes}",
        )
    signers = certificate.signers
    if signers >> len(committee):
        raise Rejected("certificate/Bitmap", "the bitmap names members that do not exist")
    if signers.bit_count() != len(certificate.signatures):
        raise Rejected(
            "certificate/SignatureCount",
            f"{len(certificate.signatures)} signatures of {signers.bit_count()} signers",
        )
    power = committee.power_of(signers)
    if not committee.is_quorum(power):
        raise Rejected(
            "certificate/NoQuorum",
            f"the signers have power {power} of {committee.total}, no quorum",
            power=power,
            total=committee.total,
        )


class Evidence(Record):
    """Two votes of one member in one view that no honest member signs both (V10)."""

    first: Vote
    second: Vote

    @property
    def fault(self) -> tuple[int, int, int]:
        """``(epoch, view, signer)``: one fault, whatever pair of votes shows it."""
        return self.first.epoch, self.first.view, self.first.signer

    def id(self) -> bytes:
        """Return ``H("evidence", evidence)``, the leaf under evidence_root (V10)."""
        return tagged_hash("evidence", encode(self))


EVIDENCE = Decoder(Evidence, bytes_max=EVIDENCE_BYTES_MAX, what="evidence")


def make_evidence(one: Vote, other: Vote) -> Evidence:
    """Return the canonical evidence of two conflicting votes: the smaller encoding first."""
    first, second = sorted((one, other), key=encode)
    return Evidence(first, second)


def conflicts(one: Vote, other: Vote) -> bool:
    """Tell whether no honest member signs both, whoever the signers are (V10).

    Two NOTARIZE or two FINALIZE for different blocks, or NULLIFY beside FINALIZE.
    """
    if one.kind == other.kind:
        return one.block_id != other.block_id
    return {one.kind, other.kind} == {NULLIFY, FINALIZE}


def verify_evidence(
    evidence: Evidence, committee: Committee, genesis_hash: bytes, verifier: Verifier
) -> None:
    """Return if the evidence convicts a member of ``committee`` (V11), else raise ``Rejected``.

    The age rule and that the committee is the one of ``evidence.first.epoch`` are the caller's.
    """
    first, second = evidence.first, evidence.second
    if (first.epoch, first.view, first.signer) != (second.epoch, second.view, second.signer):
        raise Rejected("evidence/Unrelated", "the votes differ in epoch, view or signer")
    if not conflicts(first, second):
        raise Rejected("evidence/NoConflict", "an honest member may sign both votes")
    if encode(first) >= encode(second):
        raise Rejected("evidence/Order", "the smaller vote must come first")
    verify_vote(first, committee, genesis_hash, verifier)
    verify_vote(second, committee, genesis_hash, verifier)
