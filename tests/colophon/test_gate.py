"""Admission waits for consensus, but not for ever (docs/decisions/0010)."""

from __future__ import annotations

import asyncio

import pytest

from chain.application import Job
from colophon import gate as gate_module
from colophon.gate import Gate


def test_an_open_gate_lets_pass_at_once() -> None:
    async def play() -> None:
        gate = Gate()
        waiting = gate.wait()
        with pytest.raises(StopIteration):
            waiting.send(None)

    asyncio.run(play())


def test_a_closed_gate_opens_for_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "PATIENCE_S", 3_600)

    async def play() -> None:
        gate = Gate()
        gate.close()
        waiting = asyncio.create_task(gate.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.open()
        await waiting

    asyncio.run(play())


def test_a_job_waits_before_each_step_and_returns_its_result() -> None:
    async def play() -> None:
        gate = Gate()
        steps: list[int] = []

        def work() -> Job[str]:
            for step in range(3):
                steps.append(step)
                gate.close()
                yield
            return "done"

        running = asyncio.create_task(gate.run(work()))
        for step in range(3):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert steps == list(range(step + 1))
            gate.open()
            await asyncio.sleep(0)
        assert await running == "done"

    asyncio.run(play())


def test_one_step_passes_a_gate_that_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "PATIENCE_S", 0)

    async def play() -> None:
        gate = Gate()
        gate.close()
        await gate.wait()

    asyncio.run(play())
