"""Finality proofs and light clients accept exactly finalised headers (protocol.md V12–V15)."""

from __future__ import annotations

import msgspec
import pytest

from chain.codec import encode
from chain.committee import Member
from chain.errors import Rejected
from chain.finality import FINALITY_PROOF, FinalityProof, LightClient, verify_finality
from chain.header import Header

from .votes import (
    FINALIZE,
    GENESIS_HASH,
    KEYS,
    NOTARIZE,
    certificate_of,
    chain_of,
    committee_of,
    header,
)

COMMITTEE = committee_of(1, 1, 1, 1)
NEXT = committee_of(2, 1, 1)
CHAIN = chain_of(5)


def proof_of(headers: list[Header], *, kind: int = FINALIZE, epoch: int = 0) -> FinalityProof:
    newest = headers[0]
    certificate = certificate_of(COMMITTEE, [0, 1, 2], kind, newest.view, newest.id(), epoch=epoch)
    return FinalityProof(certificate, headers)


def refuse(proof: FinalityProof) -> str:
    with pytest.raises(Rejected) as refusal:
        verify_finality(proof, COMMITTEE, GENESIS_HASH)
    return refusal.value.code


def filler_over(below: Header) -> Header:
    return msgspec.structs.replace(
        below,
        view=below.view + 1,
        kind=1,
        parent_view=below.view,
        parent_id=below.id(),
        parent_certificate_hash=b"\x04" * 32,
    )


@pytest.mark.parametrize("length", [1, 2, 5])
def test_headers_lead_from_the_finalization_to_the_target(length: int) -> None:
    proof = proof_of(CHAIN[::-1][:length])

    verify_finality(proof, COMMITTEE, GENESIS_HASH)

    assert proof.target == CHAIN[5 - length]
    assert FINALITY_PROOF.decode(encode(proof)) == proof


def test_sixty_four_headers_fit_the_cap_and_one_more_is_refused() -> None:
    long = chain_of(65)[::-1]

    verify_finality(proof_of(long[:64]), COMMITTEE, GENESIS_HASH)

    assert len(encode(proof_of(long[:64]))) < 48 * 1024
    assert refuse(proof_of(long)) == "finality/Headers"


@pytest.mark.parametrize(
    ("proof", "code"),
    [
        (proof_of(CHAIN[::-1], kind=NOTARIZE), "finality/Kind"),
        (proof_of([CHAIN[4], CHAIN[2]]), "finality/BrokenChain"),
        (proof_of([CHAIN[4], header(view=4)]), "finality/BrokenChain"),
        (proof_of([CHAIN[4]], epoch=1), "finality/WrongChain"),
        (proof_of([header(genesis_hash=bytes(32))]), "finality/WrongChain"),
        (proof_of([header(version=2)]), "finality/Version"),
        (proof_of([filler_over(CHAIN[4])]), "finality/Filler"),
        (FinalityProof(proof_of([CHAIN[4]]).finalization, []), "finality/Headers"),
    ],
)
def test_a_proof_with_a_flaw_is_refused(proof: FinalityProof, code: str) -> None:
    assert refuse(proof) == code


def test_a_header_that_skips_a_height_is_refused() -> None:
    skipping = header(view=2, height=3, parent_view=1, parent_id=CHAIN[0].id())

    assert refuse(proof_of([skipping, CHAIN[0]])) == "finality/Height"


def test_every_signature_of_the_finalization_counts() -> None:
    proof = proof_of([CHAIN[0]])
    signatures = [*proof.finalization.signatures[:2], bytes(64)]
    spoiled = msgspec.structs.replace(proof.finalization, signatures=signatures)

    assert refuse(FinalityProof(spoiled, proof.headers)) == "crypto/BadSignature"


def test_a_finalised_filler_proves_the_block_below_it() -> None:
    boundary = CHAIN[4]
    first = filler_over(boundary)
    second = filler_over(first)

    verify_finality(proof_of([second, first, boundary]), COMMITTEE, GENESIS_HASH)


def test_nothing_but_fillers_stands_on_a_filler() -> None:
    filler = filler_over(CHAIN[0])
    block = header(view=3, height=2, parent_view=2, parent_id=filler.id())

    assert refuse(proof_of([block, filler, CHAIN[0]])) == "finality/Height"


def boundary_proof() -> FinalityProof:
    below = chain_of(4)[-1]
    last = header(
        view=5,
        height=5,
        parent_view=4,
        parent_id=below.id(),
        next_committee_hash=NEXT.hash,
        parent_certificate_hash=b"\x03" * 32,
    )
    return proof_of([last])


CLIENT = LightClient(GENESIS_HASH, 5, 0, COMMITTEE)


def test_a_light_client_hops_to_the_committee_the_last_block_names() -> None:
    client = CLIENT.hop(boundary_proof(), list(NEXT.members))

    assert (client.epoch, client.committee.hash) == (1, NEXT.hash)


def test_a_light_client_takes_no_other_committee() -> None:
    with pytest.raises(Rejected, match="WrongCommittee"):
        CLIENT.hop(boundary_proof(), [Member(KEYS[5].public_key, 1)])


def test_a_light_client_hops_only_at_an_epochs_end() -> None:
    with pytest.raises(Rejected, match="NotBoundary"):
        CLIENT.hop(proof_of([CHAIN[0]]), list(NEXT.members))


def test_a_light_client_refuses_another_epoch() -> None:
    with pytest.raises(Rejected, match="finality/Epoch"):
        LightClient(GENESIS_HASH, 5, 1, COMMITTEE).verify(proof_of([CHAIN[0]]))


def test_a_light_client_refuses_a_height_outside_its_epoch() -> None:
    with pytest.raises(Rejected, match="finality/Height"):
        LightClient(GENESIS_HASH, 4, 0, COMMITTEE).verify(proof_of([CHAIN[4]]))
