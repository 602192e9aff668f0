"""Checking signatures in worker processes, in chunks (protocol P12).

Threads would starve beside a busy loop: libsodium gives the GIL back after every signature.
A result says only that each signature fits the key beside it, never that the key may act.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor

from chain.crypto import verify_signature
from chain.errors import Rejected
from chain.transaction import signing_hash
from state.registry import Transaction

CHUNK = 128
"""Signatures per message to a worker: 2.4 % overhead, about 5 ms of work (measured)."""

Item = tuple[bytes, bytes, bytes]
"""Public key, message, signature."""


def items_of(tx: Transaction) -> list[Item]:
    """Return what has to be verified for a transaction (T2)."""
    digest = signing_hash(tx.raw_body)
    return [
        (key, digest, signature) for key, signature in zip(tx.body.keys, tx.signatures, strict=True)
    ]


def verify_items(items: list[Item]) -> list[bool]:
    """Return for each item whether its signature verifies."""
    results = []
    for public_key, message, signature in items:
        try:
            verify_signature(public_key, message, signature)
        except Rejected:
            results.append(False)
        else:
            results.append(True)
    return results


def default_workers() -> int:
    """Return how many workers a node on a machine of its own uses: cores - 1."""
    return max((os.cpu_count() or 1) - 1, 0)


class SignatureWorkers:
    """A pool of processes; with 0 workers everything is verified inline."""

    def __init__(self, workers: int) -> None:
        self._pool = None
        if workers:
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(max_workers=workers, mp_context=context)

    def submit(self, items: list[Item]) -> Future[list[bool]]:
        """Verify a chunk; the future is done at once where there are no workers."""
        if self._pool is not None:
            return self._pool.submit(verify_items, items)
        done: Future[list[bool]] = Future()
        done.set_result(verify_items(items))
        return done

    def submit_all(self, items: Iterable[Item]) -> list[Future[list[bool]]]:
        """Verify any number of items in chunks."""
        waiting = list(items)
        return [
            self.submit(waiting[start : start + CHUNK]) for start in range(0, len(waiting), CHUNK)
        ]

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
