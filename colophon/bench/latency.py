"""``bench latency``: submit → final, one at a time, on an otherwise idle network of four."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chain.codec import encode_amount
from colophon.async_client import AsyncClient
from colophon.flows import sign_flow, submit_flow
from colophon.home import new_key
from colophon.testnet.network import new_network
from colophon.wallet import Draft
from state.modules.bank import Send

from .measure import Report, Row, machine, measure_limit

VALIDATORS = 4
SAMPLES = 60
TARGET_P50_MS = 80.0
TARGET_P99_MS = 250.0
PAUSE_S = 0.15
"""Between two transactions, with jitter: the network is idle again before the next."""


def run(progress: Callable[[str], None] = lambda line: None, samples: int = SAMPLES) -> Report:
    """Measure ``samples`` transactions."""
    progress("measuring the limit V")
    v1, v = measure_limit()
    with (
        tempfile.TemporaryDirectory(prefix="colophon-bench-") as temporary,
        new_network(Path(temporary) / "network", VALIDATORS) as network,
    ):
        progress(f"{samples} transactions, one at a time")
        taken = sorted(asyncio.run(_measure(network.url(), samples)))
    p50 = taken[len(taken) // 2]
    p99 = taken[min(len(taken) - 1, len(taken) * 99 // 100)]
    rows = [
        Row("p50", round(p50, 1), "ms", "80 ms", round(p50 / TARGET_P50_MS, 3)),
        Row("p99", round(p99, 1), "ms", "250 ms", round(p99 / TARGET_P99_MS, 3)),
    ]
    return Report("latency", machine(), round(v1), round(v), rows)


async def _measure(url: str, samples: int) -> list[float]:
    rng = random.Random(1)
    taken = []
    async with AsyncClient(url) as client:
        wallet = await client.wallet(new_key())
        await client.call("dev.faucet", address=wallet.address_text, amount=str(10**15))
        for number in range(samples):
            await asyncio.sleep(PAUSE_S + rng.random() / 10)
            target = b"\0" + number.to_bytes(20, "big")
            draft = Draft(messages=[Send(target, b"", encode_amount(1))])
            signed = await client.run(sign_flow(wallet, draft))
            started = time.perf_counter()
            await client.run(submit_flow(signed))
            taken.append((time.perf_counter() - started) * 1000)
    return taken
