"""How values of the chain look to people: COLO, dates, percentages, one line per event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from colophon.amounts import show_amount, show_share

NCOLO_FIELDS = frozenset(
    {"balance", "fee", "tip", "max_fee", "bond", "penalty_per_leaf", "deposit", "bond_add"}
)
"""Amounts that are always in ncolo."""
AMOUNT_FIELDS = frozenset(
    {"amount", "net", "minting_fee", "received", "inflow", "outflow", "claimed", "accrued",
     "entitled", "due", "settled", "fee", "rev_ceiling", "derivative_rev_ceiling"}
)  # fmt: skip
"""Amounts in the denomination (``denom`` or ``currency``) of the same object."""
TIME_FIELDS = frozenset({"from", "to", "time", "last_to", "closed_at", "expires_at", "created_at",
                         "registered_ms", "time_ms", "block_time_ms", "valid_until", "generated_at",
                         "taken_ms"})  # fmt: skip
SHARE_FIELDS = frozenset({"share", "shares", "rev_share", "max_rev_share", "stack", "contribution",
                          "fee_burn", "royalty_fee", "output_share"})  # fmt: skip
DURATION_FIELDS = frozenset({"retention", "max_merge_delay", "block_interval_ms_min", "delta_ms",
                             "certify_ms_max", "heartbeat_ms", "message_delay_ms",
                             "precision_ms"})  # fmt: skip
PRICE_FIELDS = frozenset({"base_fee", "suggested_base_fee", "base_fee_floor", "base_fee_genesis"})
"""µncolo per unit of work."""
TIMES_FROM_MS = 10**12
"""Smaller numbers under a time's name are no dates of ours (0 means never)."""


def readable(form: Any) -> Any:
    """Return a JSON form in which numbers say their units; everything else stays."""
    if isinstance(form, list):
        return [readable(item) for item in form]
    if not isinstance(form, dict):
        return form
    denom = form.get("denom", form.get("currency"))
    return {name: _value(name, value, denom) for name, value in form.items()}


def _value(name: str, value: Any, denom: Any) -> Any:
    if isinstance(value, list):
        return [_value(name, item, denom) for item in value]
    if isinstance(value, dict):
        return readable(value)
    number = _integer(value)
    if number is None:
        return value
    is_elsewhere = name in AMOUNT_FIELDS and denom not in (None, "ncolo")
    if (name in NCOLO_FIELDS and not is_elsewhere) or (name in AMOUNT_FIELDS and denom == "ncolo"):
        return show_amount(number)
    if name in PRICE_FIELDS:
        return show_price(number)
    if name in TIME_FIELDS:
        return show_time(number)
    if name in SHARE_FIELDS:
        return show_share(number)
    if name in DURATION_FIELDS:
        return show_duration(number)
    return value


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else None


def show_price(micro: int) -> str:
    """Return a price per unit of work, exactly."""
    whole, rest = divmod(micro, 1_000_000)
    decimals = f".{rest:06d}".rstrip("0").rstrip(".")
    return f"{whole}{decimals} ncolo per unit"


def show_time(ms: int) -> str:
    """Return a date and time in UTC; small numbers as they are."""
    if not TIMES_FROM_MS <= ms <= 100 * TIMES_FROM_MS:
        return str(ms) if ms else "never"
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ", "milliseconds")


def show_duration(ms: int) -> str:
    """Return a duration in its largest whole unit."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if ms and ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"


def event_line(event: dict[str, Any]) -> str:
    """Return one line about an event: its name, then its fields that are not empty."""
    shown = readable(event)
    parts = [
        f"{name}={_short(value)}"
        for name, value in shown.items()
        if name != "type" and value not in (None, "", [], {})
    ]
    return "  ".join([str(event["type"]), *parts])


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(_short(item) for item in value)
    if isinstance(value, dict):
        inner = ", ".join(f"{k}: {_short(v)}" for k, v in value.items() if v not in (None, [], ""))
        return "{" + inner + "}"
    return str(value)
