"""Whether a node is healthy, and if not why: the sentence of ``/health`` and ``chain.status``."""

from __future__ import annotations

from typing import Any

from .application import NodeApplication
from .clock import Clock, may_travel
from .host import Host
from .network.router import Router

SILENT_HEARTBEATS = 2
"""An idle chain has a block every heartbeat; one that has none for two stands still, unless the
turns of leaders that are not there came in a row: each takes about one."""


class Health:
    """Listens for final blocks, and looks at everything else when it is asked."""

    def __init__(
        self, application: NodeApplication, host: Host, router: Router, clock: Clock
    ) -> None:
        self._application = application
        self._host = host
        self._router = router
        self._clock = clock
        self._began_ms = clock.now_ms()
        self._final_ms: int | None = None
        """When a block became final here, on the monotonic clock; None since the start."""
        application.listeners.append(self._on_final)

    def _on_final(self, *_: Any) -> None:
        self._final_ms = self._clock.now_ms()

    def reason(self) -> str:
        """Return why the node is not healthy, in one sentence; empty if it is."""
        if self._host.stop_reason:
            return self._host.stop_reason
        head = self._application.machine.head
        target = self._router.catching_up.target
        if target:
            return f"catching up: height {head.height} of at least {target}"
        return self._why_alone() or self._why_waiting() or self._why_silent()

    @property
    def _silent_ms(self) -> int:
        since_ms = self._began_ms if self._final_ms is None else self._final_ms
        return self._clock.now_ms() - since_ms

    def _is_silent(self, absent: int) -> bool:
        """Tell whether no block came for too long, where so many leaders are not there."""
        heartbeat_ms = self._application.machine.params.heartbeat_ms
        return self._silent_ms > (SILENT_HEARTBEATS + absent) * heartbeat_ms

    def _why_alone(self) -> str:
        """Too few are connected; while blocks do become final, others pass on what they say."""
        if self._final_ms is not None and not self._is_silent(absent=0):
            return ""
        committee = self._application.machine.committee
        connected = self._router.connected_power
        if committee.is_quorum(connected):
            return ""
        return (
            f"validators with {connected} of {committee.total} votes are connected, "
            "more than two thirds are needed: no block can become final"
        )

    def _why_waiting(self) -> str:
        machine = self._application.machine
        ahead_ms = machine.head.time_ms - self._clock.wall_ms()
        if ahead_ms <= machine.params.precision_ms:
            return ""
        return f"the newest block lies {ahead_ms} ms ahead of this machine's clock: waiting"

    def _why_silent(self) -> str:
        is_silent = self._is_silent(self._router.absent)
        if not is_silent or may_travel(self._application.machine):
            return ""
        reason = f"no block for {_duration(self._silent_ms)}"
        refused = [
            f"a proposal of validator {member} was refused: {why}"
            for member, why in sorted(self._host.reports.refused.items())
        ]
        return "; ".join([reason, *refused])


def _duration(time_ms: int) -> str:
    """Return a time as people say it: the heartbeat of a network may be far below a second."""
    return f"{time_ms} ms" if time_ms < 1_000 else f"{time_ms // 1_000} s"
