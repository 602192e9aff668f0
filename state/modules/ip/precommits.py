"""Commitments: a registration promised before its content is shown (N-ip.1)."""

from __future__ import annotations

import msgspec

from chain.codec import encode_amount
from chain.errors import Rejected
from chain.hashing import tagged_hash

from ...context import Context, record_bytes
from ...deposits import put_kept, return_deposit, take_deposit
from . import messages as m
from . import rows

PRECOMMIT_LIFE_MS = 7 * 24 * 3_600_000
PRECOMMITS_MAX = 1_024
"""Open commitments of one account."""


def commitment_of(
    genesis_hash: bytes, sender: bytes, kind: int, content: bytes, salt: bytes
) -> bytes:
    """Return ``H("precommit", genesis_hash ‖ sender ‖ u8 kind ‖ content_hash ‖ salt)``."""
    return tagged_hash("precommit", genesis_hash + sender + bytes((kind,)) + content + salt)


def apply_precommit(ctx: Context, message: m.Precommit) -> None:
    """N-ip.1: at most 1 024 open; two expired ones are removed first."""
    queue = rows.QUEUES.get(ctx.state, ctx.actor) or rows.PrecommitQueue(0, 0, 0)
    queue = _drop_expired(ctx, queue)
    if queue.open >= PRECOMMITS_MAX:
        raise Rejected(
            "ip/TooManyPrecommits", f"{queue.open} commitments are open", limit=PRECOMMITS_MAX
        )
    key = ctx.actor + message.commitment
    if rows.PRECOMMITS.get(ctx.state, key) is not None:
        raise Rejected("ip/PrecommitExists", "this commitment stands already")
    row = rows.PrecommitRow(ctx.height, ctx.index, ctx.time_ms, b"")
    queued = rows.QueuedCommitment(message.commitment)
    queued_key = _queued_key(ctx.actor, queue.tail)
    deposit = take_deposit(
        ctx,
        record_bytes(rows.PRECOMMITS.prefix + key, row)
        + record_bytes(rows.QUEUED.prefix + queued_key, queued),
    )
    rows.PRECOMMITS.put(
        ctx.state, key, msgspec.structs.replace(row, deposit=encode_amount(deposit))
    )
    rows.QUEUED.put(ctx.state, queued_key, queued)
    longer = rows.PrecommitQueue(queue.head, queue.tail + 1, queue.open + 1)
    put_kept(ctx, rows.QUEUES, ctx.actor, longer)
    ctx.emit(m.Precommitted(ctx.actor, message.commitment))


def _queued_key(account: bytes, number: int) -> bytes:
    return account + number.to_bytes(8, "big")


def _drop_expired(ctx: Context, queue: rows.PrecommitQueue) -> rows.PrecommitQueue:
    """Remove up to two of the account's oldest commitments if used or expired."""
    head, still_open = queue.head, queue.open
    for _ in range(2):
        if head == queue.tail:
            break
        queued = rows.QUEUED.get(ctx.state, _queued_key(ctx.actor, head))
        assert queued is not None, "the queue's numbers are contiguous"
        key = ctx.actor + queued.commitment
        row = rows.PRECOMMITS.get(ctx.state, key)
        if row is not None and row.time_ms + PRECOMMIT_LIFE_MS >= ctx.time_ms:
            break
        if row is not None:
            rows.PRECOMMITS.delete(ctx.state, key)
            return_deposit(ctx, ctx.actor, int.from_bytes(row.deposit, "big"))
            still_open -= 1
        rows.QUEUED.delete(ctx.state, _queued_key(ctx.actor, head))
        head += 1
    return rows.PrecommitQueue(head, queue.tail, still_open)


def use_precommit(ctx: Context, message: m.Register, salt: bytes) -> tuple[int, int]:
    """Consume a registration's commitment; return its priority: height and place in the block."""
    commitment = commitment_of(
        ctx.block.genesis_hash, ctx.actor, message.kind, message.content_hash, salt
    )
    key = ctx.actor + commitment
    row = rows.PRECOMMITS.get(ctx.state, key)
    if row is None:
        raise Rejected("ip/NoPrecommit", "no commitment fits this registration and salt")
    if row.height >= ctx.height:
        raise Rejected("ip/PrecommitTooYoung", "the commitment is of this block, wait for one more")
    if row.time_ms + PRECOMMIT_LIFE_MS < ctx.time_ms:
        raise Rejected("ip/PrecommitExpired", "the commitment is older than 7 days")
    rows.PRECOMMITS.delete(ctx.state, key)
    return_deposit(ctx, ctx.actor, int.from_bytes(row.deposit, "big"))
    queue = rows.QUEUES.get(ctx.state, ctx.actor)
    assert queue is not None and queue.open > 0, "an open commitment is counted"
    rows.QUEUES.put(
        ctx.state, ctx.actor, rows.PrecommitQueue(queue.head, queue.tail, queue.open - 1)
    )
    return row.height, row.index
