"""Maintenance beside a running node: the loop goes on, the head stands still."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from chain.application import Job, finish
from chain.errors import Rejected
from colophon.admin import AdminServer, ask
from consensus import effects as fx
from state.executor import Executed
from state.machine import StateMachine
from tests.colophon.lonely import Disk, Lonely, SimulatedStore, VirtualClock


class Undecided(Lonely):
    """Keeps its first final block instead of making it durable."""

    final_block: fx.Finalize | None = None

    def _finalize(self, effect: fx.Finalize) -> None:
        for block in effect.blocks:
            finish(self.application.execute(block))
        self.final_block = effect


@pytest.fixture
def node(tmp_path: Path) -> Undecided:
    node = Undecided(tmp_path, SimulatedStore(), VirtualClock(), Disk(), [])
    node.submit(3)
    while node.final_block is None:
        node.step()
    return node


def test_nothing_becomes_final_while_maintenance_works_and_the_loop_goes_on(
    node: Undecided,
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def work(machine: StateMachine) -> tuple[int, int]:
        before = machine.head.height
        started.set()
        assert go_on.wait(30)
        return before, machine.head.height

    async def run() -> tuple[int, int]:
        final = node.final_block
        assert final is not None
        working = asyncio.create_task(node.application.maintain(work))
        await asyncio.to_thread(started.wait, 30)
        committing = asyncio.create_task(node.application.finalise(list(final.blocks), final.proof))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not committing.done()
        go_on.set()
        await committing
        return await working

    assert asyncio.run(run()) == (0, 0)
    assert node.application.machine.head.height == 1


def test_maintenance_never_finds_a_block_that_is_written_and_not_yet_adopted(
    node: Undecided, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = node.application.machine
    adopt = machine.adopt

    def slowly(block_id: bytes) -> Job[Executed]:
        for _ in range(1_000):
            yield
        return (yield from adopt(block_id))

    async def run() -> int:
        monkeypatch.setattr(machine, "adopt", slowly)
        final = node.final_block
        assert final is not None
        committing = asyncio.create_task(node.application.finalise(list(final.blocks), final.proof))
        await asyncio.sleep(0)
        height = await node.application.maintain(lambda machine: machine.head.height)
        await committing
        return height

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"garbage", "admin/Malformed"),
        (b"[]", "admin/Malformed"),
        (b"x" * 100_000, "admin/Malformed"),
        (b'{"arguments": {}}', "admin/Malformed"),
        (b'{"command": "reboot", "arguments": {}}', "admin/UnknownCommand"),
        (b'{"command": ["check"], "arguments": {}}', "admin/Malformed"),
        (b'{"command": "erase", "arguments": {}}', "json/WrongType"),
        (b'{"command": "erase", "arguments": {"hash": "0x00"}}', "node/NoBlob"),
        (b'{"command": "erase", "arguments": 7}', "admin/Malformed"),
    ],
)
def test_a_wrong_command_gets_a_typed_error(
    node: Undecided, tmp_path: Path, line: bytes, code: str
) -> None:
    async def run() -> dict[str, Any]:
        server = AdminServer(tmp_path / "admin.sock", node.application)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "admin.sock")
        writer.write(line + b"\n")
        answer: dict[str, Any] = json.loads(await reader.read())
        writer.close()
        await writer.wait_closed()
        await server.stop()
        return answer

    assert asyncio.run(run())["error"]["code"] == code


def test_a_command_is_answered_over_the_socket(node: Undecided, tmp_path: Path) -> None:
    async def run() -> Any:
        server = AdminServer(tmp_path / "admin.sock", node.application)
        await server.start()
        try:
            with pytest.raises(Rejected, match="is stored under"):
                await asyncio.to_thread(
                    ask, tmp_path / "admin.sock", "erase", {"hash": "0x" + "00" * 32}
                )
            return await asyncio.to_thread(ask, tmp_path / "admin.sock", "export", {})
        finally:
            await server.stop()

    exported = asyncio.run(run())

    assert exported["height"] == 0
    assert exported["pairs"]
