"""Whether a peer still makes progress: the limits in time of an open connection (W9)."""

from __future__ import annotations

from chain.errors import Rejected

from .settings import Settings

TICKS = 4
"""The limits are looked at so many times within the shortest of them."""


class Watch:
    """What was heard when; the caller says what time it is."""

    __slots__ = ("_heard_ms", "_partial_ms", "_settings", "paused")

    def __init__(self, settings: Settings, now_ms: int) -> None:
        self.paused = False
        """Whether nothing is read because the peer is above a rate: then it is not to blame."""
        self._settings = settings
        self._heard_ms = now_ms
        self._partial_ms: int | None = None

    @property
    def tick_ms(self) -> int:
        """How often to look."""
        return max(1, min(self._settings.ping_ms, self._settings.message_ms) // TICKS)

    def heard(self, now_ms: int) -> None:
        """Note that a message is complete."""
        self._heard_ms = now_ms
        self._partial_ms = None

    def waiting(self, now_ms: int, *, partial: bool) -> None:
        """Note that no complete message is left, and whether one has begun."""
        if not partial:
            self._partial_ms = None
        elif self._partial_ms is None:
            self._partial_ms = now_ms

    def resume(self, now_ms: int) -> None:
        """Note that the peer is read again: its time starts now."""
        self.paused = False
        self.heard(now_ms)

    def require_progress(self, now_ms: int, blocked_ms: int | None) -> None:
        """Refuse a peer that has stopped; ``blocked_ms``: since when it reads too little.

        Raises ``Rejected`` with ``p2p/NotReading``, ``p2p/TooSlow`` or ``p2p/Idle``.
        """
        settings = self._settings
        if blocked_ms is not None and now_ms - blocked_ms > settings.idle_ms:
            raise Rejected("p2p/NotReading", f"it reads too little for {settings.idle_ms} ms")
        if self.paused:
            return
        if self._partial_ms is not None:
            if now_ms - self._partial_ms > settings.message_ms:
                raise Rejected(
                    "p2p/TooSlow", f"a message is not complete after {settings.message_ms} ms"
                )
        elif now_ms - self._heard_ms > settings.idle_ms:
            raise Rejected("p2p/Idle", f"it was silent for {settings.idle_ms} ms")
