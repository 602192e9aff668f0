"""Certificates count every signature; evidence convicts only the guilty (protocol.md V8–V11)."""

from __future__ import annotations

import msgspec
import pytest

from chain.certificate import (
    CERTIFICATE,
    CERTIFICATE_BYTES_MAX,
    EVIDENCE,
    EVIDENCE_BYTES_MAX,
    Certificate,
    Evidence,
    assemble_certificate,
    make_evidence,
    members_of,
    verify_certificate,
    verify_evidence,
)
from chain.codec import encode
from chain.crypto import verify_signature
from chain.errors import Misuse, Rejected
from chain.vote import Vote

from .votes import (
    FINALIZE,
    GENESIS_HASH,
    NOTARIZE,
    NULLIFY,
    certificate_of,
    committee_of,
    vote_of,
)

COMMITTEE = committee_of(*[1] * 10)
BLOCK, OTHER = b"b" * 32, b"c" * 32
GOOD = certificate_of(COMMITTEE, [0, 1, 3, 4, 6, 8, 9], NOTARIZE, 5, BLOCK)


def refuse(certificate: Certificate) -> str:
    with pytest.raises(Rejected) as refusal:
        verify_certificate(certificate, COMMITTEE, GENESIS_HASH, verify_signature)
    return refusal.value.code


def test_a_quorum_verifies_and_survives_its_encoding() -> None:
    verify_certificate(GOOD, COMMITTEE, GENESIS_HASH, verify_signature)

    assert GOOD.bitmap == bytes([0b01011011, 0b11])
    assert CERTIFICATE.decode(encode(GOOD)) == GOOD
    assert [vote.signer for vote in GOOD.votes()] == members_of(GOOD.signers)


@pytest.mark.parametrize("position", range(7))
def test_one_bad_signature_spoils_a_certificate(position: int) -> None:
    signatures = list(GOOD.signatures)
    signatures[position] = bytes(64)

    assert refuse(msgspec.structs.replace(GOOD, signatures=signatures)) == "crypto/BadSignature"


def test_a_quorum_and_one_garbage_signature_are_refused() -> None:
    bitmap = (GOOD.signers | 1 << 2).to_bytes(2, "little")
    signatures = [*GOOD.signatures[:2], bytes(64), *GOOD.signatures[2:]]

    spoiled = msgspec.structs.replace(GOOD, bitmap=bitmap, signatures=signatures)
    assert refuse(spoiled) == "crypto/BadSignature"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bitmap": bytes([0b01011011])}, "certificate/Bitmap"),
        ({"bitmap": bytes([0b01011011, 0b11, 0])}, "certificate/Bitmap"),
        ({"bitmap": bytes([0b01011011, 0b111])}, "certificate/Bitmap"),
        ({"bitmap": bytes([0b01011011, 0b01])}, "certificate/SignatureCount"),
        ({"signatures": GOOD.signatures[:6]}, "certificate/SignatureCount"),
        (
            {"bitmap": bytes([0b01011011, 0b01]), "signatures": GOOD.signatures[:6]},
            "certificate/NoQuorum",
        ),
        ({"signatures": GOOD.signatures[::-1]}, "crypto/BadSignature"),
        ({"kind": 3}, "vote/Kind"),
        ({"kind": 1}, "vote/BlockId"),
        ({"block_id": None}, "vote/BlockId"),
        ({"kind": 2}, "crypto/BadSignature"),
        ({"view": 6}, "crypto/BadSignature"),
        ({"epoch": 1}, "crypto/BadSignature"),
    ],
)
def test_a_changed_certificate_is_refused(changes: dict[str, object], code: str) -> None:
    assert refuse(msgspec.structs.replace(GOOD, **changes)) == code


def test_no_certificate_is_assembled_without_a_quorum() -> None:
    with pytest.raises(Misuse):
        assemble_certificate(COMMITTEE, NULLIFY, 0, 1, None, {0: bytes(64)})


def test_the_largest_certificate_fits_its_cap() -> None:
    largest = Certificate(2, 2**64 - 1, 2**64 - 1, BLOCK, bytes(13), [bytes(64)] * 100)

    assert len(encode(largest)) == 6_672 <= CERTIFICATE_BYTES_MAX


PAIRS = [
    (vote_of(1, NOTARIZE, 5, BLOCK), vote_of(1, NOTARIZE, 5, OTHER)),
    (vote_of(1, FINALIZE, 5, BLOCK), vote_of(1, FINALIZE, 5, OTHER)),
    (vote_of(1, NULLIFY, 5, None), vote_of(1, FINALIZE, 5, BLOCK)),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_evidence_has_one_form_whoever_saw_what_first(one: Vote, other: Vote) -> None:
    evidence = make_evidence(one, other)

    assert evidence == make_evidence(other, one)
    verify_evidence(evidence, COMMITTEE, GENESIS_HASH, verify_signature)
    assert evidence.fault == (0, 5, 1)
    assert EVIDENCE.decode(encode(evidence)) == evidence
    assert len(encode(evidence)) <= EVIDENCE_BYTES_MAX


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [
        (PAIRS[0][0], PAIRS[0][0], "evidence/NoConflict"),
        (vote_of(1, NOTARIZE, 5, BLOCK), vote_of(1, NULLIFY, 5, None), "evidence/NoConflict"),
        (vote_of(1, NOTARIZE, 5, BLOCK), vote_of(1, FINALIZE, 5, OTHER), "evidence/NoConflict"),
        (vote_of(1, NOTARIZE, 5, BLOCK), vote_of(2, NOTARIZE, 5, OTHER), "evidence/Unrelated"),
        (vote_of(1, NOTARIZE, 5, BLOCK), vote_of(1, NOTARIZE, 6, OTHER), "evidence/Unrelated"),
        (
            vote_of(1, NOTARIZE, 5, BLOCK),
            vote_of(1, NOTARIZE, 5, OTHER, epoch=1),
            "evidence/Unrelated",
        ),
        (
            vote_of(1, NOTARIZE, 5, BLOCK),
            msgspec.structs.replace(vote_of(1, NOTARIZE, 5, OTHER), signature=bytes(64)),
            "crypto/BadSignature",
        ),
    ],
)
def test_what_an_honest_member_may_sign_is_no_evidence(one: Vote, other: Vote, code: str) -> None:
    with pytest.raises(Rejected) as refusal:
        verify_evidence(make_evidence(one, other), COMMITTEE, GENESIS_HASH, verify_signature)

    assert refusal.value.code == code


def test_evidence_in_the_wrong_order_is_refused() -> None:
    right = make_evidence(*PAIRS[0])

    with pytest.raises(Rejected, match="Order"):
        verify_evidence(
            Evidence(right.second, right.first), COMMITTEE, GENESIS_HASH, verify_signature
        )
