"""What follows from an executed parent, computed in one place (protocol.md B7)."""

from __future__ import annotations

from dataclasses import dataclass

from chain import fees
from chain.application import Derived
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


def base_fee_above(tip: Tip, params: Params, time_ms: int) -> int:
    """Return the base fee of a block at ``time_ms`` above ``tip`` (F3)."""
    if tip.height == 0:
        return params.base_fee_genesis
    return fees.next_base_fee(params, tip.base_fee, tip.units, time_ms - tip.time_ms)


def derive(tip: Tip, params: Params, committee_hash: bytes, time_ms: int, units: int) -> Derived:
    """Return the consequences that the header of a block above ``tip`` must name (B7)."""
    height = tip.height + 1
    ends_epoch = height == last_height(epoch_of(height, params.epoch_length), params.epoch_length)
    return Derived(
        base_fee=base_fee_above(tip, params, time_ms),
        units_limit_used=units,
        parent_state_root=tip.state_root,
        parent_receipts_root=tip.receipts_root,
        params_hash=params.hash(),
        next_committee_hash=committee_hash if ends_epoch else ZERO_HASH,
    )


def require_derived(header: Header, derived: Derived) -> None:
    """Refuse a header that says something else than follows from its parent (B7).

    ``block/Derived`` names the field and both values, so an operator sees which node is wrong.
    """
    for name in Derived.__struct_fields__:
        found, expected = getattr(header, name), getattr(derived, name)
        if found != expected:
            raise Rejected(
                "block/Derived",
                f"{name} is {_show(found)} in the header, this node computes {_show(expected)}",
                field=name,
            )


def _show(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
