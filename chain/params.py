"""The parameters of a network, fixed at genesis (protocol.md G2)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .codec import U32, U64, Record, encode
from .errors import Rejected
from .fields import Share, listing, text
from .hashing import tagged_hash


class ModuleVersion(Record, order=True):
    """A native family that is active, and the version of its rules."""

    name: Annotated[str, text(20)]
    version: U32


class Params(Record, kw_only=True):
    """Every number of the protocol that a network may choose. Units stand in the names."""

    block_units_max: U64 = 250_000
    """Units of work in a block; 1 unit is about 1 µs of a reference core."""
    block_bytes_max: U64 = 1_048_576
    """Bytes of a block's transactions with their attachments."""
    tx_units_max: U64 = 62_500
    tx_bytes_max: U64 = 65_536
    block_interval_ms_min: U64 = 100
    heartbeat_ms: U64 = 2_000
    """An idle network makes an empty block this often."""
    delta_ms: U64 = 50
    """First guess of one network hop; 50 on a local network, 300 elsewhere."""
    precision_ms: U64 = 500
    message_delay_ms: U64 = 10_000
    certify_ms_max: U64 = 10_000
    units_per_second: U64 = 1_000_000
    """Target R of the base fee: above it the fee rises, below it falls."""
    base_fee_genesis: U64 = 1_000_000
    """µncolo per unit."""
    base_fee_floor: U64 = 1_000_000
    fee_burn: Share = 50_000_000
    """Share of the base part of fees that is burned; the rest and tips go to the treasury."""
    deposit_per_byte: U64 = 1_000
    """ncolo per byte of key and value of an object."""
    royalty_fee: Share = 0
    """Protocol fee on royalty payments."""
    epoch_length: Annotated[int, msgspec.Meta(ge=2, le=2**32)] = 100_000
    """Heights in an epoch."""
    dev: bool = False
    """A development network: faucet and time travel exist."""
    modules: Annotated[list[ModuleVersion], listing(64, ascending=True)]

    def hash(self) -> bytes:
        """Return the ``params_hash`` of headers: ``H("params", encoding)``."""
        return tagged_hash("params", encode(self))


def check_params(params: Params) -> None:
    """Refuse parameters that contradict each other (``genesis/BadParams``)."""
    problems = [
        (params.tx_units_max > params.block_units_max, "tx_units_max exceeds block_units_max"),
        (params.tx_bytes_max > 65_536, "tx_bytes_max exceeds 65536"),
        (params.tx_bytes_max > params.block_bytes_max, "tx_bytes_max exceeds block_bytes_max"),
        (params.block_bytes_max > 2**24, "block_bytes_max exceeds 16 MiB"),
        (params.base_fee_genesis < params.base_fee_floor, "base_fee_genesis is below the floor"),
        (params.units_per_second == 0, "units_per_second is 0"),
        (params.delta_ms == 0, "delta_ms is 0"),
        (params.block_interval_ms_min == 0, "block_interval_ms_min is 0"),
        (params.heartbeat_ms < params.block_interval_ms_min, "heartbeat_ms is below the interval"),
    ]
    for broken, problem in problems:
        if broken:
            raise Rejected("genesis/BadParams", f"genesis parameters: {problem}")
