"""Units and fees (protocol.md F1–F4).

A block has two limits, work and bytes; one price covers both. What a transaction is charged is its
work, or the part of a block's units that its bytes take of a block's bytes, whichever is more.
"""

from __future__ import annotations

from .params import Params

SIGNATURE_UNITS = 40
"""One strict Ed25519 check on the reference core, measured."""
KEY_WRITE_UNITS = 10
"""Tree, batch and receipt cost of one changed key."""
BYTES_PER_UNIT = 32
FEE_WINDOW_MS = 1_250
"""Longest time one block can move the base fee for, so a pause is no free burst."""


def envelope_units(body_bytes: int, signatures: int) -> int:
    """Return the work every transaction costs before its messages (F1)."""
    return SIGNATURE_UNITS * signatures + body_bytes // BYTES_PER_UNIT + KEY_WRITE_UNITS


def bytes_units(params: Params, size: int) -> int:
    """Return ``ceil(bytes · block_units_max / block_bytes_max)``: a full block is full (F1)."""
    return -(-size * params.block_units_max // params.block_bytes_max)


def base_part(units: int, base_fee: int) -> int:
    """Return ``ceil(units·base_fee / 10^6)`` in ncolo (F2); ``base_fee`` in µncolo per unit."""
    return -(-units * base_fee // 1_000_000)


def base_fee_within(units: int, ncolo: int) -> int:
    """Return the highest base fee at which ``base_part`` asks at most so much; below 0 if none."""
    return ncolo * 1_000_000 // units


def next_base_fee(params: Params, parent_fee: int, parent_units: int, elapsed_ms: int) -> int:
    """Return the base fee of a block ``elapsed_ms`` after its parent (F3)."""
    window_ms = min(elapsed_ms, FEE_WINDOW_MS)
    target = params.units_per_second * window_ms // 1000
    excess = parent_units - target
    step = parent_fee * abs(excess) // (10 * params.units_per_second)
    step = min(step, parent_fee // 8)
    if excess > 0:
        return parent_fee + max(step, 1)
    return max(parent_fee - step, params.base_fee_floor)
