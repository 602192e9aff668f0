"""Who goes first on the event loop: consensus (docs/decisions/0010).

A node that checks signatures for clients while a block waits to be verified holds up everybody's
block. So work for the pool waits at the gate while consensus has a job; now and then it passes
all the same, because a pool that nothing enters makes no block. Who is behind waits there too.
"""

from __future__ import annotations

import asyncio

PATIENCE_S = 0.05
"""Longest wait at a closed gate: with steps of 4 ms, admission still has a twelfth of the time."""


class Gate:
    """Open while consensus has no job."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    def open(self) -> None:
        """Consensus has nothing to do."""
        self._open.set()

    def close(self) -> None:
        """Consensus has a job."""
        self._open.clear()

    async def wait(self) -> None:
        """Return when the gate is open, after ``PATIENCE_S`` in any case."""
        if self._open.is_set():
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._open.wait()
        except TimeoutError:
            pass  # this one step may pass
