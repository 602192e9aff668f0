"""How much a server takes on, and from whom (the values stand in node.toml, section rpc)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BURST_SECONDS = 10
"""The request rate is an average over so long: a page that loads is no attack."""
ADDRESSES_MAX = 10_000
"""Addresses remembered; then those that asked for nothing lately are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one server."""

    body_bytes_max: int = 1_048_576
    batch_max: int = 100
    connections_max: int = 1_000
    subscriptions_max: int = 32
    queue_max: int = 1_000
    requests_per_second: int = 0
    """Per address; 0 is no limit."""
    allowed_origins: tuple[str, ...] = field(default=())
    """Origins of web pages that may call the node; ``*`` is all."""

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Tell whether a browser's page of ``origin`` may call; no origin is no browser."""
        if origin is None or "*" in self.allowed_origins or origin in self.allowed_origins:
            return True
        try:
            return urlsplit(origin).netloc == host  # the node's own page
        except ValueError:
            return False


class RateLimit:
    """A token bucket for each address."""

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        """``clock`` returns seconds that never go back."""
        self._rate = per_second
        self._burst = float(per_second * BURST_SECONDS)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, address: str) -> float:
        """Take a token; return 0, or the seconds until there is one (then none is taken)."""
        if self._rate == 0:
            return 0.0
        now = self._clock()
        tokens, then = self._buckets.get(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        if tokens < 1:
            return (1 - tokens) / self._rate
        self._buckets[address] = (tokens - 1, now)
        if len(self._buckets) > ADDRESSES_MAX:
            self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop full buckets; if all are in use, start again with none."""
        kept = {
            address: (tokens, then)
            for address, (tokens, then) in self._buckets.items()
            if tokens + (now - then) * self._rate < self._burst
        }
        self._buckets = kept if len(kept) <= ADDRESSES_MAX // 2 else {}
