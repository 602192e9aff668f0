"""The vote book of one view: who said what, when it is enough, who said too much (C4, V10).

The first vote of a member per kind counts. A second, different one is evidence and counts only
inside a certificate, which somebody else may have assembled from it.
"""

from __future__ import annotations

from chain.certificate import (
    Certificate,
    Evidence,
    assemble_certificate,
    conflicts,
    make_evidence,
    verify_certificate,
)
from chain.committee import Committee
from chain.errors import Rejected
from chain.vote import Verifier, Vote, VoteKind, verify_vote, vote_message

KINDS = (0, 1, 2)
"""The values of ``VoteKind``, as indexes."""


class VoteBook:
    """Verified votes of one view, and what follows from them."""

    __slots__ = (
        "_committee",
        "_convicted",
        "_epoch",
        "_genesis_hash",
        "_messages",
        "_power",
        "_unverified",
        "_verifier",
        "_view",
        "certificates",
        "votes",
    )

    def __init__(
        self, committee: Committee, genesis_hash: bytes, epoch: int, view: int, verifier: Verifier
    ) -> None:
        self._committee = committee
        self._genesis_hash = genesis_hash
        self._epoch = epoch
        self._view = view
        self._verifier = verifier
        self._power: dict[tuple[int, bytes | None], int] = {}
        self._messages: dict[tuple[int, bytes | None], bytes] = {}
        """What votes that verified have signed, by kind and block."""
        self._convicted = 0
        """Set of members against whom evidence exists for this view."""
        self._unverified: dict[tuple[int, int], Vote] = {}
        """Votes that came after their certificate: worth a check only if they conflict."""
        self.votes: tuple[dict[int, Vote], dict[int, Vote], dict[int, Vote]] = ({}, {}, {})
        """By kind: verified votes by signer."""
        self.certificates: list[Certificate | None] = [None, None, None]
        """By kind: notarization, nullification, finalization, once known."""

    def add(self, vote: Vote) -> tuple[Certificate | None, Evidence | None]:
        """Take a vote in; return a certificate it completes and evidence it makes.

        Raises ``Rejected`` if the vote is ill-formed or its signature does not verify.
        """
        if vote.kind > VoteKind.FINALIZE or vote.signer >= len(self._committee):
            self._verify(vote)
        first = self.votes[vote.kind].get(vote.signer)
        if first is not None and first.block_id == vote.block_id:
            return None, None
        if self._is_late(vote):
            return None, None
        self._verify(vote)
        evidence = self._find_conflict(vote)
        if vote.signer in self.votes[vote.kind]:
            return None, evidence
        return self._count(vote), evidence

    def add_certificate(self, certificate: Certificate) -> list[Evidence]:
        """Verify and store a certificate of this view; return evidence its votes make.

        A second certificate of a kind is verified and its votes are kept, it replaces nothing.
        Raises ``Rejected`` as ``verify_certificate`` does.
        """
        self.verify_certificate(certificate)
        evidence = []
        for vote in certificate.votes():
            found = self._find_conflict(vote)
            if found is not None:
                evidence.append(found)
            self.votes[vote.kind].setdefault(vote.signer, vote)
        if self.certificates[certificate.kind] is None:
            self.certificates[certificate.kind] = certificate
        return evidence

    def verify_certificate(self, certificate: Certificate) -> None:
        """Verify every signature of a certificate, but none that was verified before."""
        known = {
            (self._committee.members[signer].public_key, vote.signature)
            for signer, vote in self.votes[min(certificate.kind, 2)].items()
            if vote.block_id == certificate.block_id and vote.kind == certificate.kind
        }

        def verify_unknown(public_key: bytes, message: bytes, signature: bytes) -> None:
            if (public_key, signature) not in known:
                self._verifier(public_key, message, signature)

        verify_certificate(certificate, self._committee, self._genesis_hash, verify_unknown)

    def is_stored(self, certificate: Certificate) -> bool:
        """Tell whether exactly this certificate was verified and stored before."""
        return any(certificate == known for known in self.certificates)

    def restore(self, certificate: Certificate) -> None:
        """Store a certificate this node verified before (journal, store)."""
        self.certificates[certificate.kind] = certificate

    def votes_of(self, signer: int) -> list[Vote]:
        """Return a member's verified votes of this view, by kind."""
        return [self.votes[kind][signer] for kind in KINDS if signer in self.votes[kind]]

    def votes_shown_of(self, signer: int) -> list[Vote]:
        """Return a member's votes of this view as ``votes_of``, and those only a certificate has.

        After a restart these are all that is left of what others said (C15).
        """
        found: dict[int, Vote] = {}
        for certificate in self.certificates:
            if certificate is not None and certificate.signers >> signer & 1:
                votes = {vote.signer: vote for vote in certificate.votes()}
                found[certificate.kind] = votes[signer]
        found |= {vote.kind: vote for vote in self.votes_of(signer)}
        return [found[kind] for kind in sorted(found)]

    def _verify(self, vote: Vote) -> None:
        """Do what ``verify_vote`` does, hashing what equal votes sign only once."""
        message = self._messages.get((vote.kind, vote.block_id))
        if message is None or vote.signer >= len(self._committee):
            verify_vote(vote, self._committee, self._genesis_hash, self._verifier)
            message = vote_message(
                vote.kind, self._genesis_hash, self._epoch, self._view, vote.block_id
            )
            self._messages[vote.kind, vote.block_id] = message
            return
        self._verifier(self._committee.members[vote.signer].public_key, message, vote.signature)

    def _is_late(self, vote: Vote) -> bool:
        """Keep a vote unverified if its certificate exists and it contradicts nothing."""
        certificate = self.certificates[vote.kind]
        if certificate is None or certificate.block_id != vote.block_id:
            return False
        if any(
            vote.signer in self.votes[kind] and conflicts(self.votes[kind][vote.signer], vote)
            for kind in KINDS
        ):
            return False
        self._unverified.setdefault((vote.kind, vote.signer), vote)
        return not self._has_unverified_conflict(vote)

    def _has_unverified_conflict(self, vote: Vote) -> bool:
        return any(
            (kind, vote.signer) in self._unverified
            and conflicts(self._unverified[kind, vote.signer], vote)
            for kind in KINDS
        )

    def _find_conflict(self, vote: Vote) -> Evidence | None:
        """Return the first evidence against the signer that ``vote``, verified, completes."""
        if self._convicted >> vote.signer & 1:
            return None
        if self._unverified:
            self._verify_late(vote.signer)
        for kind in KINDS:
            other = self.votes[kind].get(vote.signer)
            if other is not None and conflicts(other, vote):
                self._convicted |= 1 << vote.signer
                return make_evidence(other, vote)
        return None

    def _verify_late(self, signer: int) -> None:
        """Move a member's unverified votes among the verified ones; forged ones vanish."""
        for kind in KINDS:
            late = self._unverified.pop((kind, signer), None)
            if late is None or signer in self.votes[kind]:
                continue
            try:
                self._verify(late)
            except Rejected:
                continue
            self.votes[kind][signer] = late

    def _count(self, vote: Vote) -> Certificate | None:
        kind, block_id = vote.kind, vote.block_id
        self.votes[kind][vote.signer] = vote
        key = (kind, block_id)
        power = self._power.get(key, 0) + self._committee.powers[vote.signer]
        self._power[key] = power
        if self.certificates[kind] is not None or not self._committee.is_quorum(power):
            return None
        signatures = {
            signer: other.signature
            for signer, other in self.votes[kind].items()
            if other.block_id == block_id
        }
        certificate = assemble_certificate(
            self._committee, kind, self._epoch, self._view, block_id, signatures
        )
        self.certificates[kind] = certificate
        return certificate
