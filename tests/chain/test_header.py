"""Headers and blocks: ids, roots, what a header shows without its chain (protocol.md B1–B5)."""

from __future__ import annotations

import msgspec
import pytest

from chain.block import (
    BODY,
    Block,
    Body,
    certificate_hash,
    require_header_form,
    transaction_root,
)
from chain.certificate import make_evidence
from chain.codec import encode
from chain.errors import Rejected
from chain.header import HEADER, HEADER_BYTES_MAX, Header, epoch_of, last_height
from chain.transaction import SignedBody, transaction_id

from .votes import (
    BASE,
    FINALIZE,
    GENESIS_HASH,
    NOTARIZE,
    NULLIFY,
    certificate_of,
    committee_of,
    header,
    vote_of,
)

FIELDS = [
    "version", "genesis_hash", "epoch", "view", "height", "kind", "parent_view", "parent_id",
    "time_ms", "proposer_index", "tx_root", "evidence_root", "parent_certificate_hash",
    "base_fee", "units_limit_used", "parent_state_root", "parent_receipts_root", "params_hash",
    "next_committee_hash",
]  # fmt: skip


def test_the_fields_stand_in_the_protocols_order() -> None:
    assert list(Header.__struct_fields__) == FIELDS
    assert [getattr(BASE, name) for name in FIELDS] == msgspec.msgpack.decode(encode(BASE))


def test_a_header_survives_its_encoding() -> None:
    assert HEADER.decode(encode(BASE)) == BASE


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_in_the_id(name: str) -> None:
    value = getattr(BASE, name)
    changed = b"\xff" * 32 if isinstance(value, bytes) else value + 1

    assert header(**{name: changed}).id() != BASE.id()


def test_the_widest_header_fits_the_cap() -> None:
    widest = {
        name: (2**64 - 1 if isinstance(getattr(BASE, name), int) else b"\xff" * 32)
        for name in FIELDS
    }
    widest |= {"version": 255, "kind": 255, "proposer_index": 2**16 - 1}

    assert len(encode(header(**widest))) == 379 <= HEADER_BYTES_MAX


def test_a_block_needs_the_body_under_its_roots() -> None:
    transactions = [SignedBody(b"one", [b"s" * 64]), SignedBody(b"two", [b"t" * 64])]
    ids = [transaction_id(tx.body, tx.signatures) for tx in transactions]
    evidence = [make_evidence(vote_of(1, NULLIFY, 1, None), vote_of(1, FINALIZE, 1, b"b" * 32))]
    certificate = certificate_of(committee_of(1, 1, 1), [0, 1, 2], NOTARIZE, 1, b"b" * 32)
    body = Body(certificate, transactions, evidence)
    fitting = header(
        tx_root=transaction_root(ids),
        evidence_root=transaction_root([evidence[0].id()]),
        parent_certificate_hash=certificate_hash(certificate),
    )

    block = Block(fitting, body)

    assert block.id == fitting.id()
    assert block.transaction_ids == ids
    assert BODY.decode(encode(body)) == body
    for wrong in (
        Body(certificate, transactions[:1], evidence),
        Body(certificate, transactions[::-1], evidence),
        Body(certificate, transactions, []),
        Body(None, transactions, evidence),
    ):
        with pytest.raises(Rejected, match="BodyMismatch"):
            Block(fitting, wrong)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": 2}, "block/Version"),
        ({"genesis_hash": b"\x09" * 32}, "block/WrongNetwork"),
        ({"kind": 2}, "block/Kind"),
        ({"parent_view": 1}, "block/ParentView"),
        ({"parent_certificate_hash": b"\x01" * 32}, "block/ParentCertificate"),
        ({"view": 2, "parent_view": 1}, "block/ParentCertificate"),
        ({"kind": 1}, "block/Filler"),
        (
            {
                "kind": 1,
                "view": 2,
                "parent_view": 1,
                "parent_certificate_hash": b"\x01" * 32,
                "tx_root": b"\x01" * 32,
            },
            "block/Filler",
        ),
    ],
)
def test_an_impossible_header_is_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(Rejected) as refusal:
        require_header_form(header(**changes), GENESIS_HASH)

    assert refusal.value.code == code


def test_a_first_block_has_good_form() -> None:
    require_header_form(BASE, GENESIS_HASH)


def test_epochs_are_equal_runs_of_heights() -> None:
    assert [epoch_of(height, 5) for height in (0, 1, 5, 6, 10, 11)] == [0, 0, 0, 1, 1, 2]
    assert [last_height(epoch, 5) for epoch in (0, 1)] == [5, 10]
