"""The node's two clocks: monotonic for timers, wall for block times (protocol.md C3, C13)."""

from __future__ import annotations

import time

from state.machine import StateMachine


class Clock:
    """Milliseconds. On a development network the wall clock can be moved ahead."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def now_ms(self) -> int:
        """Return monotonic time; it has no meaning but its differences."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """Return Unix time, moved by the development offset."""
        return time.time_ns() // 1_000_000 + self.offset_ms


def may_travel(machine: StateMachine) -> bool:
    """Tell whether a clock may be moved here: one development node alone says what time it is."""
    return machine.params.dev and len(machine.committee) == 1
