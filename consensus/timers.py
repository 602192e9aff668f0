"""How long a node waits: the timers of a view and the pace they follow (protocol.md C13).

Times are whole milliseconds on the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum

from chain.params import Params

DELTA_GROWTH_MAX = 40
"""Δ_now never exceeds 40 Δ: a node that was cut off for a day is back in step in seconds."""
RETRY_MS_MIN = 500
RETRY_MS_MAX = 5_000
"""Re-sending starts at max(0.5 s, 2 Δ_now) after entering a view and slows to every 5 s."""
LOOKBACK_MS = 3_000
"""With an intact journal, so much silence of the others means there is nothing to remember."""
LOOKBACK_ASK_MS = 1_000
"""The look-back question is repeated this often, lest a lost message count as silence."""
ANSWER_INTERVAL_MS = 1_000
"""A stale peer is told at most once per second that it is stale."""
LIMITER_KEYS_MAX = 1_024
"""Keys a limiter remembers; beyond it the oldest is forgotten and may be answered again."""


class Timer(IntEnum):
    """The timers of the core; there is never more than one of a kind."""

    LEADER = 0
    """No proposal came: nullify."""
    ADVANCE = 1
    """The view did not advance: nullify."""
    RETRY = 2
    """Send again what others may lack."""
    PROPOSE = 3
    """The time for my proposal has come."""
    CERTIFY = 4
    """Certifying took too long: stop suspending ADVANCE."""
    VERIFY = 5
    """A block time that lay in the future may have come."""
    REQUEST = 6
    """Ask the next peer for what is missing."""
    LOOKBACK = 7
    """Nobody knows of a vote of mine."""


class Pace:
    """Δ_now and what is derived from it (C13).

    Δ_now is this node's own guess of one network hop. It grows by half whenever a timer makes the
    node sign NULLIFY and falls by 1/32 whenever a view is finalised while views take at most a
    quarter of t_advance: else a loaded network would give up a view in a dozen, only to learn again
    what it needs (docs/decisions/0017). A notarization changes nothing, else a network slower than
    1.5 Δ would notarize for ever and finalise nothing.
    """

    def __init__(self, params: Params) -> None:
        self._delta_ms = params.delta_ms
        self._interval_ms = params.block_interval_ms_min
        self._heartbeat_ms = params.heartbeat_ms
        self.delta_now_ms = params.delta_ms
        self._is_tight = False
        """The last view took more than a quarter of what it had: the slowest take four times as
        long, and less would soon be too little for them."""

    def view_left(self, took_ms: int) -> None:
        """A view was left so long after its leader could propose."""
        self._is_tight = took_ms > self.delta_now_ms

    def timer_nullified(self) -> None:
        """A timer made this node sign NULLIFY."""
        grown = -(-self.delta_now_ms * 3 // 2)
        self.delta_now_ms = min(grown, DELTA_GROWTH_MAX * self._delta_ms)

    def view_finalised(self) -> None:
        """A view was finalised; unless views need the time, the next ones get less."""
        if not self._is_tight:
            self.delta_now_ms = max(self.delta_now_ms * 31 // 32, self._delta_ms)

    def leader_ms(self, interval_left_ms: int, idle: bool) -> int:
        """Return t_leader; the interval counts from the parent's proposal."""
        return 2 * self.delta_now_ms + interval_left_ms + self._idle_ms(idle)

    def advance_ms(self, interval_left_ms: int, idle: bool) -> int:
        """Return t_advance."""
        return 4 * self.delta_now_ms + interval_left_ms + self._idle_ms(idle)

    def interval_left_ms(self, now_ms: int, parent_seen_ms: int) -> int:
        """Return how long the earliest time of a proposal lies ahead."""
        return max(0, parent_seen_ms + self._interval_ms - now_ms)

    def propose_at_ms(self, parent_seen_ms: int, idle: bool) -> int:
        """Return when a leader proposes: heartbeats when idle, else at the interval."""
        return parent_seen_ms + (self._heartbeat_ms if idle else self._interval_ms)

    def retry_ms(self, attempt: int, idle: bool) -> int:
        """Return the wait before re-sending for the ``attempt``-th time (0 is the first)."""
        wait_ms = max(RETRY_MS_MIN, 2 * self.delta_now_ms)
        for _ in range(min(attempt, 8)):
            wait_ms = min(wait_ms * 3 // 2, RETRY_MS_MAX)
        return wait_ms + self._idle_ms(idle and attempt == 0)

    def body_ms(self) -> int:
        """Return how long the body of a block that others voted for may still be on its way.

        Not longer than a block takes, else who keeps it from one member costs all a hop a turn.
        """
        return min(self.delta_now_ms, self._interval_ms)

    def request_ms(self) -> int:
        """Return how long one peer has to answer a request."""
        return 2 * self.delta_now_ms

    def message_delay_ms(self, message_delay_ms: int) -> int:
        """Return MSGDELAY grown like Δ_now, so that a slow network can agree on times (C3)."""
        return message_delay_ms * self.delta_now_ms // self._delta_ms

    def _idle_ms(self, idle: bool) -> int:
        return self._heartbeat_ms if idle else 0


class Limiter:
    """Allows something once per interval and key."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._last_ms: dict[Hashable, int] = {}

    def allow(self, key: Hashable, now_ms: int) -> bool:
        """Tell whether the interval is over for ``key``, and start it anew if so."""
        last = self._last_ms.get(key)
        if last is not None and now_ms - last < self._interval_ms:
            return False
        self._last_ms.pop(key, None)
        self._last_ms[key] = now_ms
        if len(self._last_ms) > LIMITER_KEYS_MAX:
            del self._last_ms[next(iter(self._last_ms))]
        return True
