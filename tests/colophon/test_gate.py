"""Admission waits for consensus, but not for ever (docs/decisions/0010)."""

from __future__ import annotations

import asyncio

import pytest

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


def test_one_step_passes_a_gate_that_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "PATIENCE_S", 0)

    async def play() -> None:
        gate = Gate()
        gate.close()
        await gate.wait()

    asyncio.run(play())
