"""How much work is done between two yields of whatever runs rules (protocol.md C19)."""

from __future__ import annotations

STEP_UNITS = 3_000
"""Units of work between two yields: about 4 ms with everything around them."""


class Pace:
    """Counts units of work since the last pause."""

    __slots__ = ("_units",)

    def __init__(self) -> None:
        self._units = 0

    def is_over(self, done: int) -> bool:
        """Count so many units more; tell whether to pause now."""
        self._units += done
        if self._units < STEP_UNITS:
            return False
        self._units = 0
        return True
