"""Amounts as people write them: ``1.5colo`` is 1 500 000 000 ncolo, exactly."""

from __future__ import annotations

import re

from chain.errors import Rejected
from chain.types import AMOUNT_MAX, COLO, PERCENT

COLO_DIGITS = 9
"""Decimal places of a COLO."""
SHOWN_FROM = 1_000_000
"""Smaller amounts of ncolo have too many zeros as COLO."""
PERCENT_DIGITS = 6
"""Decimal places of a percentage: shares are in units of 1e-8."""
_COLO = re.compile(r"([0-9][0-9_]*)(?:\.([0-9]{1,9}))?\s*colo", re.IGNORECASE)
_PLAIN = re.compile(r"([0-9][0-9_]*)\s*(?:ncolo)?", re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,6}))?\s*%")
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h|d|y)")
_UNIT_MS = {
    "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "y": 31_536_000_000,
}  # fmt: skip


def parse_amount(text: str) -> int:
    """Return an amount in the smallest unit: ``1500``, ``1500ncolo``, ``1.5colo`` or ``1.5 COLO``.

    Raises ``Rejected`` with ``amount/Malformed``; nothing is ever rounded.
    """
    colo, plain = _COLO.fullmatch(text.strip()), _PLAIN.fullmatch(text.strip())
    if plain is not None:
        amount = int(plain[1])
    elif colo is not None:
        amount = int(colo[1]) * COLO + int((colo[2] or "").ljust(COLO_DIGITS, "0"))
    else:
        raise Rejected(
            "amount/Malformed",
            f"{text!r} is no amount: expected 1500, 1500ncolo or 1.5colo (at most 9 decimals)",
        )
    if amount > AMOUNT_MAX:
        raise Rejected("amount/Malformed", f"{text!r} is above 2^128-1")
    return amount


def show_amount(amount: int) -> str:
    """Return an amount of ncolo for people, exactly: ``1.5 COLO``, small ones as ``89 ncolo``."""
    if 0 < amount < SHOWN_FROM:
        return f"{amount} ncolo"
    whole, rest = divmod(amount, COLO)
    decimals = f"{rest:0{COLO_DIGITS}d}".rstrip("0")
    return f"{whole}.{decimals} COLO" if decimals else f"{whole} COLO"


def parse_share(text: str) -> int:
    """Return a share in units of 1e-8 from ``10%`` or from the integer itself."""
    percent = _PERCENT.fullmatch(text.strip())
    if percent is not None:
        return int(percent[1]) * (PERCENT // 100) + int((percent[2] or "").ljust(6, "0"))
    if text.isascii() and text.isdecimal():
        return int(text)
    raise Rejected("share/Malformed", f"{text!r} is no share: expected 10% or units of 1e-8")


def show_share(share: int) -> str:
    """Return a share as a percentage, exactly: ``10%``."""
    whole, rest = divmod(share, PERCENT // 100)
    decimals = f"{rest:0{PERCENT_DIGITS}d}".rstrip("0")
    return f"{whole}.{decimals}%" if decimals else f"{whole}%"


def parse_duration(text: str) -> int:
    """Return milliseconds from ``90d``, ``12h``, ``30m``, ``10s``, ``1y``, ``500ms`` or digits."""
    if text.isascii() and text.isdecimal():
        return int(text)
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise Rejected("duration/Malformed", f"{text!r} is no duration: expected 90d, 12h, 30m …")
    return int(match[1]) * _UNIT_MS[match[2]]
