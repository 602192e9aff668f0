"""Every waiter gets the verdict on its own signatures, however they are packed together."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from chain.crypto import SigningKey
from chain.errors import Rejected
from colophon import signatures
from colophon.gate import Gate
from colophon.signatures import CHUNK, BatchVerifier, Item, SignatureWorkers, verify_items


def item(number: int, *, good: bool = True) -> Item:
    key, message = SigningKey(bytes([number % 256]) * 32), number.to_bytes(32, "big")
    signature = key.sign(message if good else bytes(32))
    return key.public_key + message + signature


def test_each_item_is_judged_by_itself() -> None:
    items = [item(n + 1, good=n % 3 != 1) for n in range(9)]

    assert verify_items(b"".join(items)) == [n % 3 != 1 for n in range(9)]
    assert verify_items(b"") == []


@pytest.mark.parametrize("each", [1, 3, 50])
@pytest.mark.parametrize("count", [1, 5, CHUNK + 40])
@pytest.mark.parametrize("processes", [0, 1])
def test_each_waiter_hears_of_its_own_transactions(processes: int, count: int, each: int) -> None:
    bad = {0, count // 2, count - 1} if count > 1 else set[int]()
    transactions = [[item(3 * n + 1), item(3 * n + 2, good=n not in bad)] for n in range(count)]
    workers = SignatureWorkers(processes)

    async def run() -> list[list[bool]]:
        verifier = BatchVerifier(workers, Gate())
        asked = [verifier.verify(transactions[n : n + each]) for n in range(0, count, each)]
        return list(await asyncio.gather(*asked))

    verdicts = [n not in bad for n in range(count)]
    try:
        assert asyncio.run(run()) == [verdicts[n : n + each] for n in range(0, count, each)]
    finally:
        workers.close()


def test_a_dead_worker_leaves_nobody_waiting() -> None:
    workers = SignatureWorkers(1)
    many = [[item(n)] for n in range(CHUNK)]

    async def run() -> None:
        verifier = BatchVerifier(workers, Gate())
        assert await verifier.verify(many) == [True] * CHUNK
        (worker,) = multiprocessing.active_children()
        worker.kill()
        worker.join()
        for _ in range(3):
            with pytest.raises(BrokenExecutor):
                await verifier.verify(many)
        assert await verifier.verify([[item(1)]]) == [True]  # few are checked here

    try:
        asyncio.run(run())
    finally:
        workers.close()


def test_too_many_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "WAITING_MAX", 2)

    async def run() -> list[bool]:
        verifier = BatchVerifier(SignatureWorkers(0), Gate())
        first = asyncio.create_task(verifier.verify([[item(1)], [item(2)]]))
        await asyncio.sleep(0)
        with pytest.raises(Rejected, match="pool/Busy"):
            await verifier.verify([[item(3)]])
        assert await verifier.verify([]) == []
        return await first

    assert asyncio.run(run()) == [True, True]


END_S = 60
"""A worker that has not ended by then never will; one that ends takes a moment."""

KILLED = """
from colophon.signatures import SignatureWorkers
if __name__ == "__main__":
    SignatureWorkers(1).submit([]).result()
    print("up", flush=True)
    input()
"""


def test_workers_end_with_a_node_that_is_killed(tmp_path: Path) -> None:
    """They hold its output open: whoever reads that sees the end when all are gone."""
    program = tmp_path / "node.py"
    program.write_text(KILLED)
    root = Path(__file__).parents[2]
    command = [sys.executable, str(program)]
    with subprocess.Popen(
        command, cwd=root, env={"PYTHONPATH": str(root)}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as node:  # fmt: skip
        try:
            assert what_comes(node) == b"up\n"
            node.kill()

            assert what_comes(node) == b""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)  # workers that did not end, and no others


def what_comes(process: subprocess.Popen[bytes]) -> bytes:
    """Return the next line that a process or what it left writes; nothing once all are gone."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], END_S)
    assert ready, "nothing was written, and nobody ended"
    return process.stdout.readline()
