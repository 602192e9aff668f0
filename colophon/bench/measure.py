"""Rows of a benchmark, and the limit everything is measured against.

V1 is the rate of strict Ed25519 checks of one process, V that of all cores together, both taken
beside what is measured and as means, as it is: machines differ by a factor of two, and a shared
one changes by as much within seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from chain.crypto import SigningKey
from colophon.signatures import ITEM_BYTES, verify_items

SAMPLE = 4_000
"""Signatures per round: about 0.2 s on one core."""
ROUNDS = 4
GAUGE = 100
"""Signatures that tell how fast the machine is: few enough to be no load themselves."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure; ``ratio`` is value over reference."""

    name: str
    value: float
    unit: str
    reference: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Report:
    """What ``colophon bench`` prints."""

    bench: str
    machine: dict[str, Any]
    v1: float
    v: float
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        return platform.processor()
    return names[0] if names else platform.processor()


@cache
def _sample(count: int) -> bytes:
    key = SigningKey(bytes(range(32)))
    messages = [number.to_bytes(32, "big") for number in range(count)]
    return b"".join(key.public_key + message + key.sign(message) for message in messages)


def _verify_sample(items: bytes) -> float:
    """Return the seconds that verifying the items takes in this process."""
    started = time.perf_counter()
    if not all(verify_items(items)):
        raise AssertionError("a signature the bench made does not verify")
    return time.perf_counter() - started


def measure_check() -> float:
    """Return the µs of processor time of one check just now: how fast the machine is under load."""
    items = _sample(GAUGE)
    started = time.thread_time()
    verify_items(items)
    return (time.thread_time() - started) * 10**6 / GAUGE


def measure_limit(rounds: int = ROUNDS) -> tuple[float, float]:
    """Return (V1, V) in checks per second: the means of so many rounds on one and all cores."""
    items = _sample(SAMPLE)
    v1 = rounds * SAMPLE / sum(_verify_sample(items) for _ in range(rounds))
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(max_workers=cores, mp_context=context) as pool:
        list(pool.map(_verify_sample, [items[: 100 * ITEM_BYTES]] * cores))  # start the processes
        started = time.perf_counter()
        for _ in range(rounds):
            list(pool.map(_verify_sample, [items] * cores))
        return v1, rounds * cores * SAMPLE / (time.perf_counter() - started)
