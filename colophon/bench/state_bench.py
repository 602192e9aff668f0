"""``bench state``: start-up, root update, merge, proof and memory of the state tree.

No store and no signatures: what the tree alone costs. Times are the median over the rounds, as
parts of one signature check (1/V1), so that figures of different machines can be compared.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable
from statistics import median

from chain.codec import encode
from state.tree import Tree, prove, update

from .measure import Report, Row, machine, measure_limit

ROUNDS = 20
VALUE_BYTES = 48
"""Length of a value: about that of an account record."""

BYTES_PER_KEY_MAX = 350
PROOF_BYTES_MAX = 2_048
"""Targets, for a million keys."""

UPDATE_CHECKS_MAX = 0.25
"""Target: a changed key costs a quarter of a signature check (10 µs where V1 is 25 000)."""

START_CHECKS_MAX = 0.15
START_REFERENCE = f"{START_CHECKS_MAX} signature checks per key"
"""Target: a million keys in 6 s where V1 is 25 000."""


def run(
    keys: int = 1_000_000,
    batch: int = 5_000,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure a tree of ``keys`` keys that changes by ``batch`` keys at a time."""
    progress("measuring the limit V")
    v1, v = measure_limit()
    progress(f"building a tree of {keys} keys")
    return Report("state", machine(), round(v1), round(v), measure(keys, batch, v1))


def measure(keys: int, batch: int, v1: float) -> list[Row]:
    """Return the figures; ``v1`` is the machine's signature checks per second."""
    source = random.Random(keys)
    memory = _resident_bytes()
    started = time.perf_counter()
    tree = Tree.build((_key(number), source.randbytes(VALUE_BYTES)) for number in range(keys))
    start = time.perf_counter() - started
    gc.freeze()
    per_key = max(_resident_bytes() - memory, 0) / keys
    updates, merges = [], []
    for _ in range(ROUNDS):
        changed = [source.randrange(keys) for _ in range(batch)]
        changes: dict[bytes, bytes | None] = {
            _key(number): source.randbytes(VALUE_BYTES) for number in changed
        }
        started = time.perf_counter()
        diff = update(tree, changes)
        updated = time.perf_counter()
        tree.merge(diff)
        merges.append((time.perf_counter() - updated) / len(changes))
        updates.append((updated - started) / len(changes))
    proofs = [encode(prove(tree, _key(source.randrange(keys)))) for _ in range(ROUNDS)]
    proof = sum(map(len, proofs)) / len(proofs)
    gc.unfreeze()
    return [
        Row(
            "start",
            round(start, 2),
            "s",
            START_REFERENCE,
            round(start * v1 / START_CHECKS_MAX / keys, 3),
        ),
        _cost("update", median(updates), v1),
        _cost("merge", median(merges), v1),
        Row("hashes", round(diff.hashes / len(changes), 2), "per changed key", "1 at least", 0.0),
        _row("memory", per_key, "B/key", BYTES_PER_KEY_MAX),
        _row("proof", proof, "B", PROOF_BYTES_MAX),
    ]


def _row(name: str, value: float, unit: str, most: int) -> Row:
    return Row(name, round(value, 2), unit, f"{most} {unit}", round(value / most, 3))


def _cost(name: str, seconds: float, v1: float) -> Row:
    reference = f"{UPDATE_CHECKS_MAX} signature checks"
    ratio = seconds * v1 / UPDATE_CHECKS_MAX
    return Row(name, round(seconds * 1e6, 2), "µs/changed key", reference, round(ratio, 3))


def _key(number: int) -> bytes:
    return b"bench\0\1" + number.to_bytes(21, "big")


def _resident_bytes() -> int:
    """Return the process's resident memory (0 where /proc is missing)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
