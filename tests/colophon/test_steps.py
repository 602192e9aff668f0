"""Long jobs on the event loop (protocol.md C19)."""

from __future__ import annotations

import asyncio

import pytest

from chain.application import Job
from colophon.gate import Gate
from colophon.steps import run_steps


class Work:
    """A job of three steps that says how far it came and how it ended."""

    def __init__(self) -> None:
        self.steps = 0
        self.is_closed = False

    def job(self) -> Job[str]:
        try:
            for _ in range(3):
                self.steps += 1
                yield
        finally:
            self.is_closed = True
        return "done"


def test_others_have_their_turn_after_each_step() -> None:
    async def play() -> None:
        work = Work()
        running = asyncio.create_task(run_steps(work.job()))
        for step in range(3):
            await asyncio.sleep(0)
            assert work.steps == step + 1
        assert await running == "done"

    asyncio.run(play())


def test_a_job_waits_before_each_step() -> None:
    async def play() -> None:
        gate, work = Gate(), Work()
        gate.close()
        running = asyncio.create_task(run_steps(work.job(), gate.wait))
        for step in range(3):
            for _ in range(3):
                await asyncio.sleep(0)
            assert work.steps == step
            gate.open()
            await asyncio.sleep(0)
            gate.close()
        gate.open()
        assert await running == "done"

    asyncio.run(play())


def test_a_job_that_is_not_wanted_any_more_is_closed() -> None:
    class Unwanted(Exception):
        pass

    async def play() -> None:
        work = Work()

        async def before() -> None:
            if work.steps == 2:
                raise Unwanted

        with pytest.raises(Unwanted):
            await run_steps(work.job(), before)
        assert work.steps == 2 and work.is_closed

    asyncio.run(play())


def test_a_job_is_closed_if_its_task_is_cancelled() -> None:
    async def play() -> None:
        work = Work()
        running = asyncio.create_task(run_steps(work.job()))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert work.steps == 1 and work.is_closed

    asyncio.run(play())
