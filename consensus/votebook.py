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
from chain.vote import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    Verifier,
    Vote,
    require_vote_form,
    vote_message,
)

KINDS = (NOTARIZE, NULLIFY, FINALIZE)
RIVALS = ((NOTARIZE,), (FINALIZE,), (NULLIFY, FINALIZE))
"""By the kind of a vote: the kinds of those that it may contradict (V10)."""


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
        """What votes that verified have signed, by kind and block; hashed once."""
        self._convicted = 0
        """Set of members against whom evidence exists for this view."""
        self._unverified: dict[int, dict[int, Vote]] = {}
        """By signer and kind: votes that came from their signers after their certificate, and are
        worth a check only if they conflict."""
        self.votes: tuple[dict[int, Vote], dict[int, Vote], dict[int, Vote]] = ({}, {}, {})
        """By kind: verified votes by signer."""
        self.certificates: list[Certificate | None] = [None, None, None]
        """By kind: notarization, nullification, finalization, once known."""

    def add(
        self, vote: Vote, *, from_signer: bool = False
    ) -> tuple[Certificate | None, Evidence | None]:
        """Take a vote in; return a certificate it completes and evidence it makes.

        ``from_signer``: it came on the signer's own connection, so that nobody else can have made
        it up. Raises ``Rejected`` if the vote is ill-formed or its signature does not verify.
        """
        require_vote_form(vote, self._committee)
        first = self.votes[vote.kind].get(vote.signer)
        if first is not None and first.block_id == vote.block_id:
            return None, None
        if first is not None and self._convicted >> vote.signer & 1:
            return None, None  # One fault a view is reported; more of it is only work.
        certificate = self.certificates[vote.kind]
        if from_signer and certificate is not None and self._is_late(vote, certificate):
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
        return certificate.kind <= FINALIZE and certificate == self.certificates[certificate.kind]

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

    def message_to_sign(self, kind: int, block_id: bytes | None) -> bytes:
        """Return what my vote of this view signs (V5); kept, for it will be counted here."""
        message = self._messages[kind, block_id] = self._message(kind, block_id)
        return message

    def _message(self, kind: int, block_id: bytes | None) -> bytes:
        known = self._messages.get((kind, block_id))
        return known or vote_message(kind, self._genesis_hash, self._epoch, self._view, block_id)

    def _verify(self, vote: Vote) -> None:
        """Check a signature; forged votes leave nothing behind."""
        message = self._message(vote.kind, vote.block_id)
        self._verifier(self._committee.members[vote.signer].public_key, message, vote.signature)
        self._messages[vote.kind, vote.block_id] = message

    def _is_late(self, vote: Vote, certificate: Certificate) -> bool:
        """Keep a vote unverified if this is its certificate and it contradicts nothing."""
        if certificate.block_id != vote.block_id or self._rival(vote) is not None:
            return False
        late = self._unverified.setdefault(vote.signer, {})
        late.setdefault(vote.kind, vote)
        return not any(kind in late and conflicts(late[kind], vote) for kind in RIVALS[vote.kind])

    def _rival(self, vote: Vote) -> Vote | None:
        """Return a verified vote of the same signer that ``vote`` contradicts."""
        for kind in RIVALS[vote.kind]:
            other = self.votes[kind].get(vote.signer)
            if other is not None and conflicts(other, vote):
                return other
        return None

    def _find_conflict(self, vote: Vote) -> Evidence | None:
        """Return the first evidence against the signer that ``vote``, verified, completes."""
        if self._convicted >> vote.signer & 1:
            return None
        if vote.signer in self._unverified:
            self._verify_late(vote.signer)
        other = self._rival(vote)
        if other is None:
            return None
        self._convicted |= 1 << vote.signer
        return make_evidence(other, vote)

    def _verify_late(self, signer: int) -> None:
        """Move a member's unverified votes among the verified ones; forged ones vanish."""
        unverified = self._unverified.pop(signer)
        for kind in KINDS:
            late = unverified.get(kind)
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
