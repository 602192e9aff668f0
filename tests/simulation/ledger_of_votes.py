"""Which signed votes exist in a whole run, whoever holds them, and what they are enough for.

The ledger sees everything: a vote of an honest node exists once it is durable there, because
before that it may neither leave nor count; a vote of a faulty key exists as soon as it is seen
anywhere and verifies. Every vote is verified once, when it is recorded, so a certificate is
checked by comparing its signatures with those on record.
"""

from __future__ import annotations

from collections.abc import Callable

from chain.certificate import Certificate, members_of
from chain.committee import Committee
from chain.errors import Rejected
from chain.vote import Verifier, Vote, VoteKind, vote_message

from .violation import Violation, short

NOTARIZE, NULLIFY, FINALIZE = int(VoteKind.NOTARIZE), int(VoteKind.NULLIFY), int(VoteKind.FINALIZE)

Statement = tuple[int, bytes | None]
"""Kind and block: what the votes of one tally say about their view."""


class Tally:
    """Equal votes of one view, one per signer."""

    __slots__ = ("message", "power", "signatures", "spare")

    def __init__(self, message: bytes) -> None:
        self.message = message
        """The bytes that were signed, hashed once for all signers."""
        self.power = 0
        self.signatures: dict[int, bytes] = {}
        self.spare: set[tuple[int, bytes]] = set()
        """Further valid signatures: a faulty key may sign one statement in many ways."""

    def holds(self, signer: int, signature: bytes) -> bool:
        """Tell whether this very signature is on record."""
        return self.signatures.get(signer) == signature or (signer, signature) in self.spare


class ViewVotes:
    """Everything signed about one view."""

    __slots__ = ("certificates", "tallies")

    def __init__(self) -> None:
        self.tallies: dict[Statement, Tally] = {}
        self.certificates: dict[tuple[int, bytes | None, bytes], list[Certificate]] = {}
        """Certificates found good, by kind, block and bitmap: each is checked once."""


class VoteLedger:
    """All signed votes of a run (V5, V6) and the quorums among them (V2)."""

    def __init__(
        self,
        genesis_hash: bytes,
        committee: Committee,
        honest: frozenset[int],
        verifier: Verifier,
    ) -> None:
        self._genesis_hash = genesis_hash
        self._keys = [member.public_key for member in committee.members]
        self._powers = committee.powers
        self._total = sum(committee.powers)
        self._honest = honest
        self._verifier = verifier
        self._views: dict[tuple[int, int], ViewVotes] = {}
        self.newest_final: dict[int, int] = {}
        """The highest view of each epoch in which a quorum of FINALIZE exists."""
        self.on_finalization: Callable[[bytes], None] = lambda block_id: None
        """Told the block, when the votes for a finalization are complete."""

    # Votes

    def verifies(self, vote: Vote) -> bool:
        """Tell whether a vote is well formed and signed by its member (V6)."""
        if vote.kind not in (NOTARIZE, NULLIFY, FINALIZE) or vote.signer >= len(self._keys):
            return False
        if (vote.block_id is None) != (vote.kind == NULLIFY):
            return False
        tally = self._tally(vote.epoch, vote.view, vote.kind, vote.block_id)
        if tally is not None and tally.holds(vote.signer, vote.signature):
            return True
        made = tally or Tally(self._message(vote))
        try:
            self._verifier(self._keys[vote.signer], made.message, vote.signature)
        except Rejected:
            return False
        if tally is None:
            # Empty until the vote is recorded; kept, because its message is hashed now.
            self._slot(vote).tallies[vote.kind, vote.block_id] = made
        return True

    def record(self, vote: Vote) -> None:
        """Note a vote that ``verifies``, and what a quorum it completes means."""
        slot = self._slot(vote)
        tally = slot.tallies[vote.kind, vote.block_id]
        if vote.signer in tally.signatures:
            if tally.signatures[vote.signer] != vote.signature:
                tally.spare.add((vote.signer, vote.signature))
            return
        before = tally.power
        tally.signatures[vote.signer] = vote.signature
        tally.power += self._powers[vote.signer]
        if self.is_quorum(before) or not self.is_quorum(tally.power):
            return
        self._require_consistent(vote.epoch, vote.view, slot)
        if vote.kind == FINALIZE and vote.block_id is not None:
            newest = self.newest_final.get(vote.epoch, 0)
            self.newest_final[vote.epoch] = max(newest, vote.view)
            self.on_finalization(vote.block_id)

    def record_faulty(self, vote: Vote) -> bool:
        """Note a vote seen anywhere, if a faulty key really signed it; tell whether one did.

        Votes of honest keys are left alone: these are on record since they were durable, or
        they are forged.
        """
        if vote.signer in self._honest or not self.verifies(vote):
            return False
        self.record(vote)
        return True

    def record_claims(self, certificate: Certificate) -> None:
        """Note the votes of faulty keys in a certificate that may itself be anything."""
        for vote in votes_of(certificate):
            self.record_faulty(vote)

    def holds(self, vote: Vote) -> bool:
        """Tell whether this very vote is on record."""
        tally = self._tally(vote.epoch, vote.view, vote.kind, vote.block_id)
        return tally is not None and tally.holds(vote.signer, vote.signature)

    # Quorums

    def is_quorum(self, power: int) -> bool:
        """More than two thirds of the power, in integers (V2)."""
        return 3 * power > 2 * self._total

    def has_quorum(self, epoch: int, view: int, kind: int, block_id: bytes | None) -> bool:
        """Tell whether somebody who held all votes could make this certificate."""
        tally = self._tally(epoch, view, kind, block_id)
        return tally is not None and self.is_quorum(tally.power)

    def is_notarized(self, epoch: int, view: int, block_id: bytes) -> bool:
        """Tell whether a notarization or a finalization can exist (C0)."""
        return self.has_quorum(epoch, view, NOTARIZE, block_id) or self.has_quorum(
            epoch, view, FINALIZE, block_id
        )

    # Certificates

    def require_certificate(self, certificate: Certificate, node: int, where: str) -> None:
        """Raise ``Q9`` unless a quorum of distinct members signed, and every signature exists.

        ``node`` is the honest node that used the certificate, ``where`` says what for.
        """
        slot = self._views.get((certificate.epoch, certificate.view))
        key = (certificate.kind, certificate.block_id, certificate.bitmap)
        if slot is not None:
            for known in slot.certificates.get(key, ()):
                if known is certificate or known == certificate:
                    return
        fault = self._fault_of(certificate)
        if fault is not None:
            raise Violation(
                "Q9",
                f"node {node}, view {certificate.view}: the certificate of kind "
                f"{certificate.kind} for {short(certificate.block_id)} {where} {fault}",
            )
        slot = self._views[certificate.epoch, certificate.view]
        slot.certificates.setdefault(key, []).append(certificate)

    def _fault_of(self, certificate: Certificate) -> str | None:
        """Return what is wrong with a certificate (V9), None if nothing is."""
        if certificate.kind not in (NOTARIZE, NULLIFY, FINALIZE):
            return "has no kind that exists"
        if (certificate.block_id is None) != (certificate.kind == NULLIFY):
            return "names a block where none belongs, or none where one does"
        if len(certificate.bitmap) != -(-len(self._keys) // 8):
            return f"has a bitmap of {len(certificate.bitmap)} bytes"
        signers = members_of(int.from_bytes(certificate.bitmap, "little"))
        if signers and signers[-1] >= len(self._keys):
            return f"names member {signers[-1]}, who does not exist"
        if len(signers) != len(certificate.signatures):
            return f"has {len(certificate.signatures)} signatures of {len(signers)} signers"
        power = sum(self._powers[signer] for signer in signers)
        if not self.is_quorum(power):
            return f"has power {power} of {self._total}, no quorum"
        for vote in votes_of(certificate):
            if self.holds(vote) or self.record_faulty(vote):
                continue
            verdict = "was never released" if self.verifies(vote) else "does not verify"
            return f"has a signature of member {vote.signer} that {verdict}"
        return None

    # Inside

    def _require_consistent(self, epoch: int, view: int, slot: ViewVotes) -> None:
        """Check what must hold in a view with a finalization (Q7, Q8)."""
        quorums = {key for key, tally in slot.tallies.items() if self.is_quorum(tally.power)}
        if not any(kind == FINALIZE for kind, _ in quorums):
            return
        if (NULLIFY, None) in quorums:
            raise Violation("Q7", f"view {view} of epoch {epoch} is both finalised and nullified")
        notarized = {block_id for kind, block_id in quorums if kind != NULLIFY}
        if len(notarized) > 1:
            named = " and ".join(sorted(map(short, notarized)))
            raise Violation("Q8", f"view {view} of epoch {epoch} is finalised, with {named}")

    def _slot(self, vote: Vote) -> ViewVotes:
        place = (vote.epoch, vote.view)
        slot = self._views.get(place)
        if slot is None:
            slot = self._views[place] = ViewVotes()
        return slot

    def _tally(self, epoch: int, view: int, kind: int, block_id: bytes | None) -> Tally | None:
        slot = self._views.get((epoch, view))
        return None if slot is None else slot.tallies.get((kind, block_id))

    def _message(self, vote: Vote) -> bytes:
        return vote_message(vote.kind, self._genesis_hash, vote.epoch, vote.view, vote.block_id)


def votes_of(certificate: Certificate) -> list[Vote]:
    """Return the votes a certificate claims, as far as bits and signatures go in pairs."""
    signers = members_of(int.from_bytes(certificate.bitmap, "little"))
    return [
        Vote(
            certificate.kind,
            certificate.epoch,
            certificate.view,
            certificate.block_id,
            signer,
            signature,
        )
        for signer, signature in zip(signers, certificate.signatures, strict=False)
    ]
