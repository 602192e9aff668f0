"""Long jobs on the event loop, a few milliseconds at a time (protocol.md C19)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chain.application import Job

T = TypeVar("T")


async def run_steps(job: Job[T], before: Callable[[], Awaitable[None]] | None = None) -> T:
    """Run a job to its end, letting the loop serve others between its steps.

    ``before`` is awaited before every step: it may hold the job up, or end it by raising. The
    job is closed in any case.
    """
    try:
        while True:
            if before is not None:
                await before()
            try:
                next(job)
            except StopIteration as stop:
                result: T = stop.value
                return result
            await asyncio.sleep(0)
    finally:
        job.close()
