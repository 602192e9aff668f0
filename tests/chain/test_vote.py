"""Votes: what exactly is signed, and what no vote may look like (protocol.md V5, V6)."""

from __future__ import annotations

import msgspec
import pytest

from chain.codec import encode
from chain.crypto import verify_signature
from chain.errors import Rejected
from chain.hashing import tagged_hash
from chain.vote import VOTE, Vote, verify_vote, vote_message

from .votes import FINALIZE, GENESIS_HASH, NOTARIZE, NULLIFY, committee_of, vote_of

COMMITTEE = committee_of(1, 1, 1, 1)
BLOCK = b"b" * 32


def test_the_signed_bytes_are_those_of_the_rule() -> None:
    place = GENESIS_HASH + (3).to_bytes(8, "big") + (9).to_bytes(8, "big")

    assert vote_message(NOTARIZE, GENESIS_HASH, 3, 9, BLOCK) == tagged_hash(
        "vote-notarize", place + BLOCK
    )
    assert vote_message(NULLIFY, GENESIS_HASH, 3, 9, None) == tagged_hash("vote-nullify", place)
    assert vote_message(FINALIZE, GENESIS_HASH, 3, 9, BLOCK) == tagged_hash(
        "vote-finalize", place + BLOCK
    )


@pytest.mark.parametrize(("kind", "block_id"), [(0, BLOCK), (1, None), (2, BLOCK)])
def test_a_vote_verifies_and_survives_its_encoding(kind: int, block_id: bytes | None) -> None:
    vote = vote_of(2, kind, 7, block_id)

    verify_vote(vote, COMMITTEE, GENESIS_HASH, verify_signature)

    assert VOTE.decode(encode(vote)) == vote


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": 2}, "crypto/BadSignature"),
        ({"epoch": 1}, "crypto/BadSignature"),
        ({"view": 8}, "crypto/BadSignature"),
        ({"block_id": b"c" * 32}, "crypto/BadSignature"),
        ({"signer": 1}, "crypto/BadSignature"),
        ({"signer": 4}, "vote/Signer"),
        ({"signer": 65_535}, "vote/Signer"),
        ({"kind": 3}, "vote/Kind"),
        ({"kind": 1}, "vote/BlockId"),
        ({"block_id": None}, "vote/BlockId"),
    ],
)
def test_a_changed_vote_is_refused(changes: dict[str, object], code: str) -> None:
    vote = msgspec.structs.replace(vote_of(2, NOTARIZE, 7, BLOCK), **changes)

    with pytest.raises(Rejected) as refusal:
        verify_vote(vote, COMMITTEE, GENESIS_HASH, verify_signature)

    assert refusal.value.code == code


def test_a_vote_of_another_network_is_refused() -> None:
    with pytest.raises(Rejected, match="BadSignature"):
        verify_vote(vote_of(0, NULLIFY, 1, None), COMMITTEE, bytes(32), verify_signature)


def test_a_short_block_id_does_not_decode() -> None:
    with pytest.raises(Rejected, match="Malformed"):
        VOTE.decode(encode(Vote(0, 0, 1, b"short", 0, bytes(64))))
