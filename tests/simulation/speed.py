"""How fast the simulator is, beside what the same core makes of Ed25519 at the same time.

Machines differ by a factor of two, and a shared one changes by as much within seconds. So the
parts are measured in turn, several rounds of each, in seconds of this process; what is printed
are medians. V1 is strict checks of signatures per second, as in ``colophon bench``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from chain.crypto import SigningKey, verify_signature

from .cluster import Cluster
from .run import run

ROUNDS = 5
HEIGHTS = 400
"""Of a clean round: four validators, every block with a transaction, nothing goes wrong."""
HARDEST = "everything"
SEEDS = range(8)
"""Runs of a hard round, always the same ones."""
SIGNATURES = 2_000


def measure() -> str:
    """Return one line: heights per second clean and under the hardest profile, and V1."""
    _play_clean(HEIGHTS // 4)  # The interpreter learns what is called with which types.
    clean, hard, v1 = [], [], []
    for _ in range(ROUNDS):
        v1.append(_per_second(_verify))
        clean.append(_per_second(lambda: _play_clean(HEIGHTS)))
        hard.append(_per_second(_play_hard))
    return (
        f"clean {median(clean):.0f} heights/s, {HARDEST} {median(hard):.0f} heights/s, "
        f"V1 {median(v1):.0f} signatures/s"
    )


def _per_second(work: Callable[[], int]) -> float:
    began = time.process_time()
    done = work()
    return done / (time.process_time() - began)


def _play_clean(heights: int) -> int:
    cluster = Cluster([1] * 4)
    cluster.keep_busy()
    cluster.run_to_height(heights, limit_ms=10**9)
    return heights


def _play_hard() -> int:
    return sum(run(seed, HARDEST).heights for seed in SEEDS)


def _verify() -> int:
    key = SigningKey(bytes(range(32)))
    message = bytes(32)
    signature = key.sign(message)
    for _ in range(SIGNATURES):
        verify_signature(key.public_key, message, signature)
    return SIGNATURES
