"""Finality proofs: how anybody checks, with a committee in hand, that a block is final (V12–V15).

A proof of block b is the finalization of a block d of the same epoch and the headers from d down
to b. Committees are followed from epoch to epoch: the last block of an epoch names the next
committee by its hash, so one proof per epoch leads from genesis to any block.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import msgspec

from .certificate import Certificate, verify_certificate
from .codec import Decoder, Record
from .committee import Committee, Member, genesis_committee
from .crypto import verify_signature
from .errors import Rejected
from .genesis import Genesis
from .header import KIND_BLOCK, KIND_FILLER, VERSION, ZERO_HASH, Header, epoch_of
from .vote import FINALIZE, Verifier

PROOF_HEADERS_MAX = 64
"""Headers in one proof. A chain that notarizes 64 blocks without finalising one has stopped."""
FINALITY_PROOF_BYTES_MAX = 48 * 1024
"""64 headers, a certificate, and room for the array heads."""


class FinalityProof(Record):
    """A finalization and the headers from its block down to the proved one (V12)."""

    finalization: Certificate
    headers: Annotated[list[Header], msgspec.Meta(min_length=1, max_length=PROOF_HEADERS_MAX)]
    """Descending: the finalised block's header first, the proved block's header last."""

    @property
    def target(self) -> Header:
        """The header this proof is about; unverified until ``verify_finality``."""
        return self.headers[-1]


FINALITY_PROOF = Decoder(FinalityProof, bytes_max=FINALITY_PROOF_BYTES_MAX, what="finality proof")


def verify_finality(
    proof: FinalityProof,
    committee: Committee,
    genesis_hash: bytes,
    verifier: Verifier = verify_signature,
) -> None:
    """Return if ``proof.target`` is final under ``committee`` (V13), else raise ``Rejected``.

    Cheap checks come first, so that a forged proof costs one hash per header at most. That
    ``finalization.epoch`` is the committee's epoch is the caller's to check.
    """
    finalization, headers = proof.finalization, proof.headers
    if not 1 <= len(headers) <= PROOF_HEADERS_MAX:
        raise Rejected("finality/Headers", f"{len(headers)} headers, expected 1 .. 64")
    if finalization.kind != FINALIZE:
        raise Rejected("finality/Kind", "the certificate is no finalization")
    if proof.target.kind != KIND_BLOCK:
        raise Rejected("finality/Filler", "a boundary filler is never the target of a proof")
    expected_id, expected_view = finalization.block_id, finalization.view
    for header in headers:
        if header.id() != expected_id or header.view != expected_view:
            raise Rejected(
                "finality/BrokenChain",
                f"the header of view {header.view} is not the one named above it",
                view=header.view,
            )
        _require_member(header, finalization.epoch, genesis_hash)
        expected_id, expected_view = header.parent_id, header.parent_view
    _require_heights(headers)
    verify_certificate(finalization, committee, genesis_hash, verifier)


def _require_member(header: Header, epoch: int, genesis_hash: bytes) -> None:
    if header.version != VERSION or header.kind not in (KIND_BLOCK, KIND_FILLER):
        raise Rejected("finality/Version", "a header of an unknown version or kind")
    if header.genesis_hash != genesis_hash or header.epoch != epoch:
        raise Rejected("finality/WrongChain", "a header of another network or epoch")


def _require_heights(headers: list[Header]) -> None:
    """Heights fall by one from block to block and stay through fillers (C11)."""
    for child, parent in pairwise(headers):
        rise = 1 if child.kind == KIND_BLOCK else 0
        if child.height != parent.height + rise or parent.kind > child.kind:
            raise Rejected(
                "finality/Height",
                f"height {child.height} above height {parent.height}",
                height=child.height,
            )


@dataclass(frozen=True, slots=True)
class LightClient:
    """What somebody must remember to check any proof: an epoch and its committee (V14)."""

    genesis_hash: bytes
    epoch_length: int
    epoch: int
    committee: Committee

    def verify(self, proof: FinalityProof, verifier: Verifier = verify_signature) -> None:
        """Return if the proof's target is a final block of this client's epoch (V13)."""
        if proof.finalization.epoch != self.epoch:
            raise Rejected(
                "finality/Epoch",
                f"a proof of epoch {proof.finalization.epoch}, the committee is of {self.epoch}",
                found=proof.finalization.epoch,
                expected=self.epoch,
            )
        verify_finality(proof, self.committee, self.genesis_hash, verifier)
        if epoch_of(proof.target.height, self.epoch_length) != self.epoch:
            raise Rejected("finality/Height", "the target's height is not of its epoch")

    def hop(
        self,
        proof: FinalityProof,
        members: list[Member],
        verifier: Verifier = verify_signature,
    ) -> LightClient:
        """Return the client of the next epoch (V15).

        ``proof`` is of the last block of this epoch, ``members`` the list behind its
        next_committee_hash.
        """
        self.verify(proof, verifier)
        named = proof.target.next_committee_hash
        if named == ZERO_HASH:
            raise Rejected(
                "finality/NotBoundary",
                f"height {proof.target.height} does not end epoch {self.epoch}",
            )
        committee = Committee(members)
        if committee.hash != named:
            raise Rejected(
                "finality/WrongCommittee", "the members are not the committee the header names"
            )
        return LightClient(self.genesis_hash, self.epoch_length, self.epoch + 1, committee)


def genesis_light_client(genesis: Genesis) -> LightClient:
    """Return the client that everybody can make from the genesis document (V14)."""
    return LightClient(genesis.hash(), genesis.params.epoch_length, 0, genesis_committee(genesis))
