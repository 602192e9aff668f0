"""Checking signatures in worker processes, in chunks (docs/decisions/0010).

Threads would starve beside a busy loop: libsodium gives the GIL back after every signature.
A result says only that each signature fits the key beside it, never that the key may act.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import wait
from threading import Thread

from chain.crypto import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, verify_signature
from chain.errors import Rejected
from chain.state_proof import HASH_BYTES
from chain.transaction import signing_hash
from state.registry import Transaction

from .gate import Gate

CHUNK = 128
"""Signatures per message to a worker: 2.4 % overhead, about 5 ms of work (measured)."""

CHUNK_OF_MANY = 512
"""The same where nobody waits for the first ones: less hand-over beside a busy loop."""

INLINE_MAX = 32
"""Fewer signatures than this are verified where they are: about 1 ms."""

WAITING_MAX = 4_096
"""Signatures that wait to be verified for clients, and one question more: half a second's work of
one slow core."""

NICENESS = 5
"""The loop goes first: with all cores busy it waited 12 µs a transaction for one, so 7 µs."""

Item = bytes
"""Public key ‖ 32-byte message ‖ signature: one string crosses to a worker faster than three."""

_MESSAGE_AT = PUBLIC_KEY_BYTES
_SIGNATURE_AT = _MESSAGE_AT + HASH_BYTES
ITEM_BYTES = _SIGNATURE_AT + SIGNATURE_BYTES


def items_of(tx: Transaction) -> list[Item]:
    """Return what has to be verified for a transaction (T2)."""
    digest = signing_hash(tx.raw_body)
    keys, signatures = tx.body.keys, tx.signatures
    if len(keys) == 1:
        return [keys[0] + digest + signatures[0]]
    return [key + digest + signature for key, signature in zip(keys, signatures, strict=True)]


def verify_items(packed: bytes) -> list[bool]:
    """Return for each item of a joined list whether its signature verifies."""
    results = []
    for start in range(0, len(packed), ITEM_BYTES):
        item = packed[start : start + ITEM_BYTES]
        public_key, message = item[:_MESSAGE_AT], item[_MESSAGE_AT:_SIGNATURE_AT]
        try:
            verify_signature(public_key, message, item[_SIGNATURE_AT:])
        except Rejected:
            results.append(False)
        else:
            results.append(True)
    return results


def _begin_worker() -> None:
    """Give way to the node, and end with it: nobody else ends the workers of a killed one."""
    os.nice(NICENESS)
    parent = multiprocessing.parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(parent.sentinel,), name="watch", daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(0)


def default_workers() -> int:
    """Return how many workers a node on a machine of its own uses: cores - 1."""
    return max((os.cpu_count() or 1) - 1, 0)


class SignatureWorkers:
    """A pool of processes; with 0 workers everything is verified inline."""

    def __init__(self, workers: int) -> None:
        self._pool = None
        if workers:
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(
                max_workers=workers, mp_context=context, initializer=_begin_worker
            )

    @property
    def are_processes(self) -> bool:
        """Whether signatures are verified elsewhere than in the caller."""
        return self._pool is not None

    def submit(self, items: list[Item]) -> Future[list[bool]]:
        """Verify a chunk; the future is done at once where there are no workers.

        It fails with ``BrokenExecutor`` once a worker has died.
        """
        packed = b"".join(items)
        done: Future[list[bool]] = Future()
        if self._pool is None:
            done.set_result(verify_items(packed))
            return done
        try:
            return self._pool.submit(verify_items, packed)
        except BrokenExecutor as error:
            done.set_exception(error)
            return done

    async def verify(self, items: list[Item]) -> list[bool]:
        """Verify a chunk without holding up the loop, unless there are no workers."""
        if self._pool is None:
            return verify_items(b"".join(items))
        return await asyncio.wrap_future(self.submit(items))

    def submit_all(self, transactions: Iterable[Transaction]) -> list[Future[list[bool]]]:
        """Verify what many transactions need, in large chunks."""
        waiting: list[Item] = []
        for tx in transactions:
            waiting += items_of(tx)
        return [
            self.submit(waiting[start : start + CHUNK_OF_MANY])
            for start in range(0, len(waiting), CHUNK_OF_MANY)
        ]

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Question:
    """Transactions that somebody waits for, together."""

    verdicts: list[bool]
    left: int
    """How many have no verdict yet."""
    answer: asyncio.Future[list[bool]]

    def settle(self, index: int, verdict: bool) -> None:
        """Note the verdict on one; the last one wakes who asked."""
        self.verdicts[index] = verdict
        self.left -= 1
        if not self.left and not self.answer.done():
            self.answer.set_result(self.verdicts)

    def fail(self, error: BaseException) -> None:
        """There will be no verdicts: whoever asked gets this error."""
        if not self.answer.done():
            self.answer.set_exception(error)


_Part = tuple[list[Item], _Question, int]
"""A transaction's signatures, who asked, and its place in the question."""


class BatchVerifier:
    """Collects what is to be verified in one turn of the loop, and checks it in chunks.

    A single transaction costs less inline than a message to another process; a batch of a
    thousand at once would hold up the loop for 40 ms.
    """

    def __init__(self, workers: SignatureWorkers, gate: Gate) -> None:
        self._workers = workers
        self._gate = gate
        self._chunk = CHUNK if workers.are_processes else INLINE_MAX
        self._waiting: deque[_Part] = deque()
        self._size = 0
        self._checking: asyncio.Task[None] | None = None

    async def verify(self, transactions: list[list[Item]]) -> list[bool]:
        """Tell for each transaction whether all its signatures verify.

        Raises ``Rejected`` with ``pool/Busy`` if too many wait already, and ``BrokenExecutor``
        once a worker has died.
        """
        if not transactions:
            return []
        if self._size >= WAITING_MAX:
            raise Rejected("pool/Busy", f"{self._size} signatures wait to be verified")
        loop = asyncio.get_running_loop()
        count = len(transactions)
        question = _Question([False] * count, count, loop.create_future())
        for index, items in enumerate(transactions):
            self._size += len(items)
            self._waiting.append((items, question, index))
        if self._checking is None:
            self._checking = loop.create_task(self._check_all(), name="signatures")
        return await question.answer

    async def _check_all(self) -> None:
        """Check what waits, a chunk a turn, so that everybody else has theirs."""
        while self._waiting:
            await self._gate.wait()
            batch: list[_Part] = []
            size = 0
            while self._waiting and size < self._chunk:
                part = self._waiting.popleft()
                batch.append(part)
                size += len(part[0])
            self._size -= size
            self._check(batch, size)
            await asyncio.sleep(0)
        self._checking = None

    def _check(self, batch: list[_Part], size: int) -> None:
        everything = [item for items, _, _ in batch for item in items]
        if size < INLINE_MAX or not self._workers.are_processes:
            _settle(batch, verify_items(b"".join(everything)))
            return
        answer = asyncio.wrap_future(self._workers.submit(everything))
        answer.add_done_callback(lambda done: _settle_later(batch, done))


def _settle_later(batch: list[_Part], done: asyncio.Future[list[bool]]) -> None:
    """Give every question its part of a worker's results, or tell it that there will be none."""
    try:
        results = done.result()
    except (BrokenExecutor, asyncio.CancelledError) as error:
        for _, question, _ in batch:
            question.fail(error)
    else:
        _settle(batch, results)


def _settle(batch: list[_Part], results: list[bool]) -> None:
    """Give every question its part of the results."""
    start = 0
    for items, question, index in batch:
        end = start + len(items)
        question.settle(index, all(results[start:end]))
        start = end
