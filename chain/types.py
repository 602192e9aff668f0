"""Distinct names for the integers that must not be mixed up, and the widths they keep.

The type checker tells them apart; at run time they are plain integers, because ranges are
checked once, where bytes are decoded (protocol.md E3).
"""

from __future__ import annotations

from typing import NewType

Amount = NewType("Amount", int)
"""Money in the smallest unit of its denomination: 0 .. 2^128-1 (1 COLO = 10^9 ncolo)."""

Height = NewType("Height", int)
"""Number of finalised blocks below; the genesis state has height 0, the first block height 1."""

ViewNumber = NewType("ViewNumber", int)
"""A round of consensus inside an epoch, from 1; several views may pass for one height."""

UnixMs = NewType("UnixMs", int)
"""Milliseconds since 1970-01-01T00:00:00Z, without leap seconds."""

PERCENT = 100_000_000
"""100 % in every share, rate and percentage of the protocol (units of 1e-8)."""

ROYALTY_UNITS = 100_000_000
"""Royalty units of one IP asset; their number never changes."""

AMOUNT_MAX = 2**128 - 1
U8_MAX = 2**8 - 1
U16_MAX = 2**16 - 1
U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1
U192_MAX = 2**192 - 1
"""Width of cumulative counters such as ``received``; an addition past it is refused."""

COLO = 10**9
"""ncolo in one COLO."""

YEAR_MS = 31_536_000_000
DURATION_MAX_MS = 100 * YEAR_MS
"""No duration in the protocol is longer than a hundred years."""
