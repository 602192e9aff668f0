"""Small committees with real keys, headers and votes for the tests of chain."""

from __future__ import annotations

import msgspec

from chain.certificate import Certificate, assemble_certificate
from chain.committee import Committee, Member
from chain.crypto import SigningKey
from chain.hashing import EMPTY_ROOT
from chain.header import ZERO_HASH, Header
from chain.vote import Vote, VoteKind, vote_message

GENESIS_HASH = bytes(range(32))
KEYS = [SigningKey(bytes([i + 1]) * 32) for i in range(10)]


def committee_of(*powers: int) -> Committee:
    return Committee([Member(KEYS[i].public_key, power) for i, power in enumerate(powers)])


def vote_of(signer: int, kind: int, view: int, block_id: bytes | None, *, epoch: int = 0) -> Vote:
    message = vote_message(kind, GENESIS_HASH, epoch, view, block_id)
    return Vote(kind, epoch, view, block_id, signer, KEYS[signer].sign(message))


def certificate_of(
    committee: Committee,
    signers: list[int],
    kind: int,
    view: int,
    block_id: bytes | None,
    *,
    epoch: int = 0,
) -> Certificate:
    signatures = {
        signer: vote_of(signer, kind, view, block_id, epoch=epoch).signature for signer in signers
    }
    return assemble_certificate(committee, kind, epoch, view, block_id, signatures)


BASE = Header(
    version=1,
    genesis_hash=GENESIS_HASH,
    epoch=0,
    view=1,
    height=1,
    kind=0,
    parent_view=0,
    parent_id=GENESIS_HASH,
    time_ms=1_000,
    proposer_index=0,
    tx_root=EMPTY_ROOT,
    evidence_root=EMPTY_ROOT,
    parent_certificate_hash=ZERO_HASH,
    base_fee=1_000_000,
    units_limit_used=0,
    parent_state_root=b"\x01" * 32,
    parent_receipts_root=EMPTY_ROOT,
    params_hash=b"\x02" * 32,
    next_committee_hash=ZERO_HASH,
)


def header(**changes: object) -> Header:
    return msgspec.structs.replace(BASE, **changes)


def chain_of(length: int, *, first_view: int = 1) -> list[Header]:
    """Return linked headers, ascending."""
    headers = [header(view=first_view)]
    for number in range(1, length):
        below = headers[-1]
        headers.append(
            header(
                view=first_view + number,
                height=below.height + 1,
                parent_view=below.view,
                parent_id=below.id(),
                time_ms=below.time_ms + 1,
                parent_certificate_hash=b"\x03" * 32,
            )
        )
    return headers


FINALIZE, NOTARIZE, NULLIFY = VoteKind.FINALIZE, VoteKind.NOTARIZE, VoteKind.NULLIFY
