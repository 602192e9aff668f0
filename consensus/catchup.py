"""Catch-up: finalised blocks by ranges, nothing executed before it is proved (protocol.md C18).

The pure half: which range to ask for, whether an answer is good, how much to answer. Fetching,
executing and committing are the host's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chain.application import Job
from chain.block import Block
from chain.certificate import verify_certificate
from chain.errors import Misuse, Rejected
from chain.finality import FinalityProof, LightClient
from chain.header import KIND_BLOCK, last_height
from chain.vote import NULLIFY, Verifier

from .messages import RANGE_BLOCKS_MAX, RANGE_BYTES_MAX, RangeAnswer, RangeRequest

RANGE_ASKED_MAX = 32
"""Blocks asked for at once (C18). Each is stored with a proof of its own, which has the headers of
those after it in the range: 32 keep that at some 8 KB a block, and below V12's 64 headers."""
STEP_BYTES = 1_048_576
"""Read for an answer between two yields: about a millisecond."""

B = TypeVar("B")
"""A block in the form that whoever answers has it in."""


@dataclass(frozen=True, slots=True)
class Base:
    """The committed block a range must continue."""

    id: bytes
    height: int
    time_ms: int


def next_range(base: Base, client: LightClient) -> RangeRequest:
    """Return the question for what follows ``base``, never past the end of the client's epoch."""
    left = last_height(client.epoch, client.epoch_length) - base.height
    if left <= 0:
        raise Misuse("hop to the next epoch before asking for its blocks")
    return RangeRequest(base.height + 1, min(left, RANGE_ASKED_MAX))


def check_range(
    answer: RangeAnswer,
    request: RangeRequest,
    base: Base,
    client: LightClient,
    verifier: Verifier,
) -> list[Block]:
    """Return the blocks of a good answer, ascending; they are linked, final, and not executed.

    Raises ``Rejected``; an answer that is refused here is a fault of the peer that gave it.
    """
    if not 1 <= len(answer.blocks) <= min(request.blocks_max, RANGE_BLOCKS_MAX):
        raise Rejected(
            "range/Count", f"{len(answer.blocks)} blocks, asked for {request.blocks_max}"
        )
    blocks = _link(answer, base, client)
    if answer.proof.target != blocks[-1].header:
        raise Rejected("range/Proof", "the finality proof is not of the last block")
    client.verify(answer.proof, verifier)
    # The signatures of a parent certificate are counted as participation: all are verified.
    for block in blocks:
        _check_parent_certificate(block, client, verifier)
    return blocks


def _link(answer: RangeAnswer, base: Base, client: LightClient) -> list[Block]:
    """Check the hash chain from ``base`` up; the proof of the last makes all of it final."""
    blocks = []
    parent_id, height, time_ms = base.id, base.height, base.time_ms
    for header, body in answer.blocks:
        if header.kind != KIND_BLOCK or header.epoch != client.epoch:
            raise Rejected("range/Kind", f"a header of kind {header.kind}, epoch {header.epoch}")
        if header.parent_id != parent_id or header.height != height + 1:
            raise Rejected("range/Broken", f"height {header.height} does not follow {height}")
        if header.time_ms <= time_ms:
            raise Rejected("range/Broken", f"the time of height {header.height} is not later")
        block = Block(header, body)
        blocks.append(block)
        parent_id, height, time_ms = block.id, header.height, header.time_ms
    return blocks


def _check_parent_certificate(block: Block, client: LightClient, verifier: Verifier) -> None:
    header, certificate = block.header, block.body.parent_certificate
    if certificate is None:
        if header.parent_view != 0:
            raise Rejected("range/Certificate", "a block without its parent's certificate")
        return
    named = (certificate.epoch, certificate.view, certificate.block_id)
    if named != (header.epoch, header.parent_view, header.parent_id):
        raise Rejected("range/Certificate", "the certificate is not of the parent")
    if certificate.kind == NULLIFY:
        raise Rejected("range/Certificate", "the parent's certificate is a nullification")
    verify_certificate(certificate, client.committee, client.genesis_hash, verifier)


def is_own_finalization(proof: FinalityProof) -> bool:
    """Tell whether the proof's finalization is of its target itself.

    Only then the block can be a head from which the core goes on: its children need a
    certificate of it. Otherwise a newer block is final, and there is more to fetch.
    """
    return len(proof.headers) == 1


def answer_range(
    request: RangeRequest,
    newest_height: int,
    epoch_length: int,
    load: Callable[[int], tuple[B, int]],
    prove: Callable[[int], FinalityProof | None],
) -> Job[tuple[list[B], FinalityProof] | None]:
    """Return what a ``RangeAnswer`` from this node's store has; None if it has nothing to show.

    ``load`` returns a finalised block by height, in whatever form, and its bytes on the wire;
    ``prove`` the shortest finality proof known of one (None if it needs more than 64 headers).
    The range ends at a block with a proof.
    """
    first = request.height
    epoch = max(first - 1, 0) // epoch_length
    end = min(
        newest_height,
        first + min(request.blocks_max, RANGE_BLOCKS_MAX) - 1,
        last_height(epoch, epoch_length),
    )
    chosen: list[B] = []
    total = rested = 0
    for height in range(first, end + 1):
        block, size = load(height)
        total += size
        if chosen and total > RANGE_BYTES_MAX:
            break
        chosen.append(block)
        if total - rested >= STEP_BYTES:
            rested = total
            yield
    for count in range(len(chosen), 0, -1):
        proof = prove(first + count - 1)
        if proof is not None:
            return chosen[:count], proof
    return None
