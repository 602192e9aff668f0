"""Ranges of finalised blocks: linked, proved, or refused (protocol.md C18)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from chain.application import finish
from chain.block import Block, Body
from chain.certificate import assemble_certificate
from chain.codec import encode
from chain.errors import Misuse, Rejected
from chain.finality import FinalityProof, LightClient
from chain.header import Header
from chain.vote import FINALIZE, vote_message
from consensus import catchup
from consensus.catchup import (
    RANGE_ASKED_MAX,
    Base,
    answer_range,
    check_range,
    is_own_finalization,
    next_range,
)
from consensus.messages import EncodedRange, RangeAnswer, RangeRequest
from tests.simulation.application import GENESIS_HASH, GENESIS_TIME_MS, PARAMS
from tests.simulation.cluster import Cluster
from tests.simulation.keys import fake_sign, fake_verify

LENGTH = 12
BASE = Base(GENESIS_HASH, 0, GENESIS_TIME_MS)


def run() -> Cluster:
    cluster = Cluster([1] * 4, msgspec.structs.replace(PARAMS, epoch_length=LENGTH))
    cluster.submit(20)
    cluster.run_to_height(20, limit_ms=60_000)
    return cluster


CLUSTER = run()
BLOCKS = CLUSTER.nodes[0].app.blocks
CLIENT = LightClient(GENESIS_HASH, LENGTH, 0, CLUSTER.setting.committee)
PROOFS = CLUSTER.nodes[0].app.proofs


def load(height: int) -> tuple[tuple[Header, Body], int]:
    item = BLOCKS[height - 1].header, BLOCKS[height - 1].body
    return item, len(encode(item))


def make(
    request: RangeRequest, prove: Callable[[int], FinalityProof | None] = PROOFS.get
) -> RangeAnswer | None:
    found = finish(answer_range(request, len(BLOCKS), LENGTH, load, prove))
    return None if found is None else RangeAnswer(*found)


def answer(request: RangeRequest) -> RangeAnswer:
    found = make(request)
    assert found is not None
    return found


def check(given: RangeAnswer, *, base: Base = BASE, client: LightClient = CLIENT) -> list[Block]:
    return check_range(given, RangeRequest(base.height + 1, 100), base, client, fake_verify)


def refuse(given: RangeAnswer, *, base: Base = BASE) -> str:
    with pytest.raises(Rejected) as refusal:
        check(given, base=base)
    return refusal.value.code


GOOD = answer(RangeRequest(1, 8))


def test_a_good_answer_gives_the_blocks() -> None:
    blocks = check(GOOD)

    assert [block.id for block in blocks] == [block.id for block in BLOCKS[:8]]


def test_a_chain_is_followed_over_an_epochs_end() -> None:
    base, client = BASE, CLIENT
    first = check_range(
        answer(next_range(base, client)), next_range(base, client), base, client, fake_verify
    )
    last = first[-1].header
    client = client.hop(
        answer(next_range(base, client)).proof, list(CLUSTER.setting.committee.members), fake_verify
    )
    base = Base(last.id(), last.height, last.time_ms)

    second = check_range(
        answer(next_range(base, client)), next_range(base, client), base, client, fake_verify
    )

    assert [block.header.height for block in first + second] == list(range(1, len(BLOCKS) + 1))


def test_a_question_never_reaches_past_the_epoch() -> None:
    assert next_range(Base(b"", 10, 0), CLIENT) == RangeRequest(11, 2)
    assert next_range(Base(b"", 0, 0), LightClient(GENESIS_HASH, 10**6, 0, CLIENT.committee)) == (
        RangeRequest(1, RANGE_ASKED_MAX)
    )
    with pytest.raises(Misuse):
        next_range(Base(b"", LENGTH, 0), CLIENT)


def test_an_answer_never_reaches_past_the_epoch() -> None:
    assert answer(RangeRequest(5, 100)).blocks[-1][0].height == LENGTH


def test_an_answer_ends_at_a_block_with_a_proof() -> None:
    proofs = {5: PROOFS[5]}

    found = make(RangeRequest(3, 9), proofs.get)

    assert found is not None
    assert [header.height for header, _ in found.blocks] == [3, 4, 5]
    assert make(RangeRequest(6, 3), proofs.get) is None
    assert make(RangeRequest(99, 3), proofs.get) is None


def test_an_answer_of_encoded_blocks_is_the_same_message() -> None:
    encoded = [
        (msgspec.Raw(encode(header)), msgspec.Raw(encode(body))) for header, body in GOOD.blocks
    ]

    assert encode(EncodedRange(encoded, GOOD.proof)) == encode(GOOD)


def test_an_answer_is_cut_after_its_bytes_but_never_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, count in ((0, 1), (load(1)[1], 1), (sum(load(n)[1] for n in (1, 2, 3)), 3)):
        monkeypatch.setattr(catchup, "RANGE_BYTES_MAX", most)
        assert len(answer(RangeRequest(1, 8)).blocks) == count


def test_an_answer_is_made_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps no more is read than what a step has, and the block that fills it."""
    loaded: list[int] = []

    def count(height: int) -> tuple[tuple[Header, Body], int]:
        loaded.append(height)
        return load(height)

    monkeypatch.setattr(catchup, "STEP_BYTES", 1)
    job = answer_range(RangeRequest(1, 4), len(BLOCKS), LENGTH, count, PROOFS.get)

    for height in range(1, 5):
        next(job)
        assert loaded == list(range(1, height + 1))
    with pytest.raises(StopIteration):
        next(job)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (RangeAnswer(GOOD.blocks[:7], GOOD.proof), "range/Proof"),
        (RangeAnswer(GOOD.blocks[1:], GOOD.proof), "range/Broken"),
        (RangeAnswer([*GOOD.blocks[:3], *GOOD.blocks[4:]], GOOD.proof), "range/Broken"),
        (RangeAnswer(GOOD.blocks[::-1], GOOD.proof), "range/Broken"),
        (
            RangeAnswer([(GOOD.blocks[0][0], GOOD.blocks[1][1])], GOOD.proof),
            "block/BodyMismatch",
        ),
        (
            RangeAnswer(
                [(msgspec.structs.replace(GOOD.blocks[0][0], time_ms=0), GOOD.blocks[0][1])],
                GOOD.proof,
            ),
            "range/Broken",
        ),
        (
            RangeAnswer(
                [(msgspec.structs.replace(GOOD.blocks[0][0], epoch=1), GOOD.blocks[0][1])],
                GOOD.proof,
            ),
            "range/Kind",
        ),
    ],
)
def test_a_broken_answer_is_refused(changed: RangeAnswer, code: str) -> None:
    assert refuse(changed) == code


def test_more_blocks_than_asked_for_are_refused() -> None:
    with pytest.raises(Rejected, match="range/Count"):
        check_range(GOOD, RangeRequest(1, 3), BASE, CLIENT, fake_verify)


def test_a_forged_finalization_is_refused() -> None:
    signatures = [bytes(64)] * len(GOOD.proof.finalization.signatures)
    forged = msgspec.structs.replace(GOOD.proof.finalization, signatures=signatures)
    proof = msgspec.structs.replace(GOOD.proof, finalization=forged)

    assert refuse(RangeAnswer(GOOD.blocks, proof)) == "crypto/BadSignature"


def test_a_forged_parent_certificate_is_refused() -> None:
    """The range is proved by hashes, yet these signatures are counted: each is verified."""
    header, body = GOOD.blocks[1]
    assert body.parent_certificate is not None
    signatures = [*body.parent_certificate.signatures[:2], bytes(64)]
    forged = msgspec.structs.replace(body.parent_certificate, signatures=signatures)
    changed_body = msgspec.structs.replace(body, parent_certificate=forged)
    changed = msgspec.structs.replace(header, parent_certificate_hash=forged.hash())

    votes = {
        index: fake_sign(
            CLUSTER.setting.committee.members[index].public_key,
            vote_message(FINALIZE, GENESIS_HASH, 0, changed.view, changed.id()),
        )
        for index in range(3)
    }
    finalization = assemble_certificate(
        CLUSTER.setting.committee, FINALIZE, 0, changed.view, changed.id(), votes
    )
    proof = FinalityProof(finalization, [changed])

    assert (
        refuse(RangeAnswer([GOOD.blocks[0], (changed, changed_body)], proof))
        == "crypto/BadSignature"
    )


def test_a_head_needs_its_own_finalization() -> None:
    proof = PROOFS[8]
    longer = msgspec.structs.replace(proof, headers=[BLOCKS[8].header, *proof.headers])

    assert is_own_finalization(proof)
    assert not is_own_finalization(longer)
