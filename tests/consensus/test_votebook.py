"""The vote book: first votes count, a quorum is a certificate, conflict is evidence (C4, V10)."""

from __future__ import annotations

import msgspec
import pytest

from chain.certificate import make_evidence, verify_certificate
from chain.crypto import verify_signature
from chain.errors import Rejected
from chain.vote import Vote
from consensus.votebook import VoteBook

from ..chain.votes import (
    FINALIZE,
    GENESIS_HASH,
    NOTARIZE,
    NULLIFY,
    certificate_of,
    committee_of,
    vote_of,
)

COMMITTEE = committee_of(1, 1, 1, 1)
BLOCK, OTHER = b"b" * 32, b"c" * 32


def book(powers: tuple[int, ...] = (1, 1, 1, 1)) -> VoteBook:
    return VoteBook(committee_of(*powers), GENESIS_HASH, 0, 5, verify_signature)


def notarize(signer: int, block_id: bytes = BLOCK) -> Vote:
    return vote_of(signer, NOTARIZE, 5, block_id)


def test_a_quorum_makes_a_certificate_once() -> None:
    votes = book()

    made = [votes.add(notarize(signer))[0] for signer in (3, 0, 2, 1)]

    assert made[0] is made[1] is made[3] is None
    assert made[2] is not None and made[2].signers == 0b1101
    verify_certificate(made[2], COMMITTEE, GENESIS_HASH, verify_signature)


def test_power_counts_not_heads() -> None:
    votes = book((5, 1, 1))

    certificate, _ = votes.add(notarize(0))

    assert certificate is not None and certificate.signers == 0b001


def test_a_repeated_vote_counts_once() -> None:
    votes = book()

    made = [votes.add(notarize(signer))[0] for signer in (0, 0, 1, 1)]

    assert made == [None] * 4


def test_kinds_and_blocks_are_counted_apart() -> None:
    votes = book()
    cast = [notarize(0), notarize(1), notarize(2, OTHER), vote_of(3, NULLIFY, 5, None)]

    assert [votes.add(vote)[0] for vote in cast] == [None] * 4


def test_a_forged_vote_is_refused_and_changes_nothing() -> None:
    votes = book()
    forged = msgspec.structs.replace(notarize(0), signature=bytes(64))

    with pytest.raises(Rejected, match="BadSignature"):
        votes.add(forged)

    assert votes.votes_of(0) == []
    assert votes.add(notarize(0)) == (None, None)
    assert votes.votes_of(0) == [notarize(0)]


def test_a_second_vote_is_evidence_and_does_not_count() -> None:
    votes = book()
    votes.add(notarize(0))

    _, evidence = votes.add(notarize(0, OTHER))

    assert evidence == make_evidence(notarize(0), notarize(0, OTHER))
    made = [votes.add(notarize(signer, OTHER))[0] for signer in (1, 2)]
    assert made == [None, None]


def test_nullify_beside_finalize_is_evidence() -> None:
    votes = book()
    votes.add(vote_of(2, FINALIZE, 5, BLOCK))

    _, evidence = votes.add(vote_of(2, NULLIFY, 5, None))

    assert evidence is not None and evidence.fault == (0, 5, 2)


def test_nullify_after_notarize_is_none() -> None:
    votes = book()
    votes.add(notarize(2))

    assert votes.add(vote_of(2, NULLIFY, 5, None)) == (None, None)


def test_a_member_is_reported_once_per_view() -> None:
    votes = book()
    votes.add(notarize(0))

    found = [votes.add(notarize(0, bytes([i]) * 32))[1] for i in range(3)]

    assert [evidence is not None for evidence in found] == [True, False, False]


def test_a_vote_inside_a_certificate_convicts_who_told_me_otherwise() -> None:
    votes = book()
    votes.add(notarize(0, OTHER))

    evidence = votes.add_certificate(certificate_of(COMMITTEE, [0, 1, 2], NOTARIZE, 5, BLOCK))

    assert evidence == [make_evidence(notarize(0), notarize(0, OTHER))]


def test_a_vote_after_its_certificate_still_convicts_later() -> None:
    votes = book()
    for signer in (0, 1, 2):
        votes.add(notarize(signer))

    assert votes.add(notarize(3), from_signer=True) == (None, None)
    _, evidence = votes.add(notarize(3, OTHER))

    assert evidence == make_evidence(notarize(3), notarize(3, OTHER))


def test_a_forged_late_vote_convicts_nobody() -> None:
    votes = book()
    for signer in (0, 1, 2):
        votes.add(notarize(signer))
    forged = msgspec.structs.replace(notarize(3), signature=bytes(64))
    votes.add(forged, from_signer=True)

    assert votes.add(notarize(3, OTHER)) == (None, None)


def test_a_late_vote_from_another_than_its_signer_is_verified() -> None:
    votes = book()
    for signer in (0, 1, 2):
        votes.add(notarize(signer))

    with pytest.raises(Rejected, match="crypto/BadSignature"):
        votes.add(msgspec.structs.replace(notarize(3), signature=bytes(64)))

    votes.add(notarize(3))
    _, evidence = votes.add(notarize(3, OTHER))
    assert evidence == make_evidence(notarize(3), notarize(3, OTHER)), "and hides nothing"


def test_a_certificate_with_a_bad_signature_changes_nothing() -> None:
    votes = book()
    good = certificate_of(COMMITTEE, [0, 1, 2], NOTARIZE, 5, BLOCK)
    spoiled = msgspec.structs.replace(good, signatures=[*good.signatures[:2], bytes(64)])

    with pytest.raises(Rejected, match="BadSignature"):
        votes.add_certificate(spoiled)

    assert votes.certificates == [None, None, None]
    assert votes.votes_of(0) == []


def test_signatures_verified_before_are_not_verified_again() -> None:
    verified = []

    def verifier(public_key: bytes, message: bytes, signature: bytes) -> None:
        verified.append(signature)

    votes = VoteBook(COMMITTEE, GENESIS_HASH, 0, 5, verifier)
    votes.add(notarize(0))
    votes.add(notarize(1))
    votes.add_certificate(certificate_of(COMMITTEE, [0, 1, 3], NOTARIZE, 5, BLOCK))

    assert verified == [notarize(0).signature, notarize(1).signature, notarize(3).signature]


@pytest.mark.parametrize("changes", [{"kind": 3}, {"signer": 4}, {"block_id": None}, {"kind": 1}])
def test_an_ill_formed_vote_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Rejected):
        book().add(msgspec.structs.replace(notarize(0), **changes))


def test_more_votes_of_a_convicted_member_are_neither_verified_nor_remembered() -> None:
    verified = []

    def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
        verified.append(message)
        verify_signature(public_key, message, signature)

    votes = VoteBook(COMMITTEE, GENESIS_HASH, 0, 5, verify)
    for number in range(1_000):
        votes.add(notarize(0, number.to_bytes(32, "big")))

    assert len(verified) == len(votes._messages) == 2
