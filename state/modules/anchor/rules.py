"""What happens to logs and interactions: one function per message (N-anchor.1 – N-anchor.5)."""

from __future__ import annotations

import msgspec

from chain.anchored import LOG_BYTES_MAX, Anchored, Log, Writer
from chain.crypto import require_public_key
from chain.errors import Rejected
from chain.ids import Kind, format_id
from chain.record import PUBLIC_SALT, Batch, facets_hash, record_leaf

from ...context import Context, record_bytes
from ...deposits import take_deposit
from .. import ip, royalty
from ..license.rows import held, require_lot
from . import messages as m
from .rows import LOGS, RECORDS, VERSION

PENALTY_SHARE = 100
"""A bond covers the penalty of at least so many leaves."""
LOG_LEAVES_MAX = 2**53 - 1
"""Records in one log; at most so many, so every count in a bundle is a JSON number."""


def apply_record(ctx: Context, message: m.RecordInteraction) -> None:
    """N-anchor.1: the agent is the actor's, a deposit is paid, only leaf and height stay."""
    facets = message.facets
    _require_agent(ctx, facets.agent)
    leaf = record_leaf(
        ctx.block.genesis_hash,
        ctx.actor,
        message.fields,
        message.content_root,
        facets_hash(facets, PUBLIC_SALT),
    )
    if message.license is not None or message.payment is not None:
        _settle_with_model(ctx, message, leaf)
    record = ctx.new_id(Kind.RECORD)
    row = Anchored(VERSION, leaf, ctx.height)
    take_deposit(ctx, record_bytes(RECORDS.prefix + record, row))
    RECORDS.put(ctx.state, record, row)
    ctx.emit(m.Recorded(record, ctx.actor, leaf, facets, message.parents, message.license))


def _require_agent(ctx: Context, agent: bytes | None) -> None:
    """The agent facet is the one that is checked: the actor, or an IP it owns."""
    if agent is None or agent == ctx.actor:
        return
    row = ip.IPS.get(ctx.state, agent)
    if row is None or row.owner != ctx.actor:
        raise Rejected(
            "anchor/AgentNotAuthorised",
            f"agent {format_id(agent)} is neither {format_id(ctx.actor)} nor an IP it owns",
            agent=agent,
            actor=ctx.actor,
        )


def _settle_with_model(ctx: Context, message: m.RecordInteraction, leaf: bytes) -> None:
    """Check the licence against the model, and pay the model with the leaf as reference."""
    model = message.facets.model
    if model is None:
        raise Rejected("anchor/ModelMissing", "a licence or a payment needs the model facet")
    if message.license is not None:
        _require_licence(ctx, message.license, model)
    if message.payment is not None:
        amount = int.from_bytes(message.payment.amount, "big")
        royalty.pay(ctx, model, message.payment.denom, amount, reference=leaf)


def _require_licence(ctx: Context, lot: bytes, model: bytes) -> None:
    """The actor holds a unit of the model's licence; it is shown, not consumed."""
    licensor = require_lot(ctx.state, lot).licensor
    if licensor != model:
        raise Rejected(
            "anchor/OtherLicensor",
            f"{format_id(lot)} is licensed by {format_id(licensor)}, not by {format_id(model)}",
            lot=lot,
            licensor=licensor,
        )
    if held(ctx.state, lot, ctx.actor) == 0:
        raise Rejected(
            "anchor/NotLicensed",
            f"{format_id(ctx.actor)} holds nothing of {format_id(lot)}",
            lot=lot,
        )


def apply_open_log(ctx: Context, message: m.OpenLog) -> None:
    """N-anchor.2: strong promise keys, a bond only once promises exist."""
    _require_writers(message.writers)
    bond = int.from_bytes(message.bond, "big")
    penalty = int.from_bytes(message.penalty_per_leaf, "big")
    _require_no_bond(bond)
    if penalty * PENALTY_SHARE > bond:
        raise Rejected(
            "anchor/PenaltyTooHigh",
            f"the penalty {penalty} is above a hundredth of the bond {bond}",
            penalty=penalty,
            bond=bond,
        )
    log = ctx.new_id(Kind.LOG)
    take_deposit(ctx, len(LOGS.prefix) + LOGS.key_bytes + LOG_BYTES_MAX)
    row = Log(
        VERSION, ctx.actor, message.writers, message.schema, message.retention,
        message.max_merge_delay, message.bond, message.penalty_per_leaf, 0, 0, 0, 0, [],
    )  # fmt: skip
    LOGS.put(ctx.state, log, row)
    ctx.emit(m.LogOpened(log, ctx.actor, message.schema))


def _require_writers(writers: list[Writer]) -> None:
    for writer in writers:
        require_public_key(writer.promise_key)


def _require_no_bond(bond: int) -> None:
    if bond:
        raise Rejected("anchor/BondNotYet", f"the bond must be 0 until promises exist, not {bond}")


def apply_update_log(ctx: Context, message: m.UpdateLog) -> None:
    """N-anchor.3: by the owner, while the log is open."""
    row = _require_open(ctx, message.log)
    _require_log_owner(ctx, message.log, row)
    _require_no_bond(int.from_bytes(message.bond_add, "big"))
    writers = row.writers if message.writers is None else message.writers
    owner = row.owner if message.owner is None else message.owner
    _require_writers(writers)
    if owner[0] == Kind.IP:
        ip.require_exists(ctx.state, owner)
    LOGS.put(ctx.state, message.log, msgspec.structs.replace(row, writers=writers, owner=owner))
    ctx.emit(m.LogUpdated(message.log, row.owner, owner, writers))


def apply_close_log(ctx: Context, message: m.CloseLog) -> None:
    """N-anchor.4: by the owner, once."""
    row = _require_open(ctx, message.log)
    _require_log_owner(ctx, message.log, row)
    LOGS.put(ctx.state, message.log, msgspec.structs.replace(row, closed_at=ctx.time_ms))
    ctx.emit(m.LogClosed(message.log))


def apply_append(ctx: Context, message: m.Append) -> None:
    """N-anchor.5: by a writer, in sequence, in time."""
    row = _require_open(ctx, message.log)
    if ctx.actor != row.owner and all(entry.account != ctx.actor for entry in row.writers):
        raise Rejected(
            "anchor/NotWriter",
            f"{format_id(ctx.actor)} may not append to {format_id(message.log)}",
            log=message.log,
            actor=ctx.actor,
        )
    _require_sequence(row, message)
    _require_times(row, message, ctx.time_ms)
    batch = Batch(
        log=message.log,
        batch_no=message.batch_no,
        first_index=message.first_index,
        count=message.count,
        begin_ms=message.from_,
        end_ms=message.to,
        root=message.root,
    )
    peaks = [*row.checkpoint().append(batch.hash()).hashes]
    changed = msgspec.structs.replace(
        row,
        batches=row.batches + 1,
        leaves=row.leaves + message.count,
        last_to=message.to,
        peaks=peaks,
    )
    LOGS.put(ctx.state, message.log, changed)
    ctx.emit(
        m.Appended(
            message.log, ctx.actor, message.batch_no, message.first_index, message.count,
            message.root, message.from_, message.to, peaks,
        )
    )  # fmt: skip


def _require_sequence(row: Log, message: m.Append) -> None:
    if (message.batch_no, message.first_index) != (row.batches, row.leaves):
        raise Rejected(
            "anchor/WrongPlace",
            f"batch {message.batch_no} from index {message.first_index}, the log expects batch "
            f"{row.batches} from index {row.leaves}",
            batch_no=row.batches,
            first_index=row.leaves,
        )
    if row.leaves + message.count > LOG_LEAVES_MAX:
        raise Rejected(
            "anchor/LogFull",
            f"a log holds at most {LOG_LEAVES_MAX} records, open another",
            limit=LOG_LEAVES_MAX,
        )


def _require_times(row: Log, message: m.Append, now_ms: int) -> None:
    """``prev.to ≤ from ≤ to ≤ now ≤ to + max_merge_delay``."""
    in_order = row.last_to <= message.from_ <= message.to <= now_ms
    if not in_order or now_ms > message.to + row.max_merge_delay:
        raise Rejected(
            "anchor/BadTimeRange",
            f"{message.from_} .. {message.to} must begin at {row.last_to} or later and end at "
            f"most {row.max_merge_delay} ms before the block's time {now_ms}, not after it",
            previous_to=row.last_to,
            now=now_ms,
            max_merge_delay=row.max_merge_delay,
        )


def _require_open(ctx: Context, log: bytes) -> Log:
    row = LOGS.get(ctx.state, log)
    if row is None:
        raise Rejected("anchor/UnknownLog", f"no log {format_id(log)}", log=log)
    if row.closed_at:
        raise Rejected("anchor/LogClosed", f"{format_id(log)} is closed", closed_at=row.closed_at)
    return row


def _require_log_owner(ctx: Context, log: bytes, row: Log) -> None:
    if ctx.actor != row.owner:
        raise Rejected(
            "anchor/NotOwner",
            f"{format_id(log)} belongs to {format_id(row.owner)}, not {format_id(ctx.actor)}",
            log=log,
            owner=row.owner,
        )
