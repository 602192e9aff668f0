"""Every header field that follows from the parent and the body: computed in one place (B6)."""

from __future__ import annotations

from dataclasses import dataclass

from chain import fees
from chain.errors import Rejected
from chain.header import ZERO_HASH, Header, epoch_of, last_height
from chain.params import Params


@dataclass(frozen=True, slots=True)
class Tip:
    """What a child needs to know of its parent after the parent was executed."""

    block_id: bytes
    height: int
    time_ms: int
    base_fee: int
    units: int
    state_root: bytes
    receipts_root: bytes


@dataclass(frozen=True, slots=True)
class Derived:
    """Fields of a child's header that are no choice of its leader."""

    height: int
    epoch: int
    base_fee: int
    parent_state_root: bytes
    parent_receipts_root: bytes
    params_hash: bytes
    next_committee_hash: bytes


def derive(tip: Tip, params: Params, committee_hash: bytes, time_ms: int) -> Derived:
    """Return the derivable header fields of a block at ``time_ms`` above ``tip``."""
    height = tip.height + 1
    epoch = epoch_of(height, params.epoch_length)
    if tip.height == 0:
        base_fee = params.base_fee_genesis
    else:
        base_fee = fees.next_base_fee(params, tip.base_fee, tip.units, time_ms - tip.time_ms)
    at_end = height == last_height(epoch, params.epoch_length)
    return Derived(
        height,
        epoch,
        base_fee,
        tip.state_root,
        tip.receipts_root,
        params.hash(),
        committee_hash if at_end else ZERO_HASH,
    )


def require_derived(header: Header, derived: Derived, units: int) -> None:
    """Refuse a header that says something else than follows from its parent (B6).

    Raises ``block/<Field>``: a differing root names both values, so an operator can see which
    node is wrong.
    """
    checks = (
        ("block/Height", header.height, derived.height),
        ("block/Epoch", header.epoch, derived.epoch),
        ("block/BaseFee", header.base_fee, derived.base_fee),
        ("block/UnitsUsed", header.units_limit_used, units),
        ("block/StateRoot", header.parent_state_root, derived.parent_state_root),
        ("block/ReceiptsRoot", header.parent_receipts_root, derived.parent_receipts_root),
        ("block/Params", header.params_hash, derived.params_hash),
        ("block/NextCommittee", header.next_committee_hash, derived.next_committee_hash),
    )
    for code, found, expected in checks:
        if found != expected:
            raise Rejected(
                code, f"the header says {_show(found)}, this node computes {_show(expected)}"
            )


def _show(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
