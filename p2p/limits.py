"""How much a peer may say in a time: token buckets (protocol.md W9)."""

from __future__ import annotations

from .channels import Channel

MILLI = 1_000
"""A rate per second gains as many thousandths per millisecond, so all is exact in integers."""


class TokenBucket:
    """Holds up to ``burst`` tokens and gains ``per_second`` of them each second.

    A cost may exceed what is left: the bucket goes into debt and says how long it takes to come
    out. So whoever keeps to the waits never passes more than burst + one cost + rate × time.
    """

    __slots__ = ("_burst", "_left", "_per_second", "_then_ms")

    def __init__(self, *, per_second: int, burst: int, now_ms: int) -> None:
        """``per_second`` is at least 1; ``burst`` may be 0. A new bucket is full."""
        self._per_second = per_second
        self._burst = burst * MILLI
        self._left = self._burst
        self._then_ms = now_ms

    def take(self, cost: int, now_ms: int) -> int:
        """Take ``cost`` tokens; return the milliseconds to wait before the next is welcome."""
        left = self._left
        if now_ms > self._then_ms:
            left = min(self._burst, left + (now_ms - self._then_ms) * self._per_second)
            self._then_ms = now_ms
        self._left = left = left - cost * MILLI
        return 0 if left >= 0 else -(left // self._per_second)

    def allow(self, now_ms: int) -> bool:
        """Take one token if there is one; a refusal costs nothing, so there is never a debt."""
        if self.take(1, now_ms) == 0:
            return True
        self._left += MILLI
        return False

    def is_full(self, now_ms: int) -> bool:
        """Tell whether the bucket has forgotten all that was taken."""
        return self._left + (now_ms - self._then_ms) * self._per_second >= self._burst


class ChannelRate:
    """The two rates of one channel for one peer: messages and bytes."""

    __slots__ = ("_bytes", "_messages")

    def __init__(self, channel: Channel, now_ms: int) -> None:
        self._messages = TokenBucket(
            per_second=channel.messages_per_second, burst=channel.messages_burst, now_ms=now_ms
        )
        self._bytes = TokenBucket(
            per_second=channel.bytes_per_second, burst=channel.bytes_burst, now_ms=now_ms
        )

    def take(self, size: int, now_ms: int) -> int:
        """Count one message of ``size`` bytes; return the milliseconds to wait after it."""
        return max(self._messages.take(1, now_ms), self._bytes.take(size, now_ms))
