"""``bench rpc``: reads per second of ``ip.get``, beside a bare aiohttp handler.

Both servers are processes of their own and get the same request from the same generator over the
same number of kept connections; the bare one answers with the very bytes the node answered.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from colophon.home import new_key
from colophon.testnet.network import Network, new_network

from .measure import Report, Row, machine, measure_limit

CONNECTIONS = 16
SECONDS = 3.0
ROUNDS = 3


def run(progress: Callable[[str], None] = lambda line: None, seconds: float = SECONDS) -> Report:
    """Measure both servers in turn, three rounds; the medians count."""
    progress("measuring the limit V")
    v1, v = measure_limit()
    with tempfile.TemporaryDirectory(prefix="colophon-bench-") as temporary:
        root = Path(temporary)
        with new_network(root / "network", 1) as network:
            request, answer = _prepare(network)
            (root / "answer.json").write_bytes(answer)
            command = [
                sys.executable,
                "-m",
                "colophon.bench.bare_server",
                str(root / "answer.json"),
            ]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bare:
                assert bare.stdout is not None
                bare_port = int(bare.stdout.readline())
                ours, theirs = [], []
                for number in range(ROUNDS):
                    progress(f"round {number + 1} of {ROUNDS}")
                    port = urlsplit(network.url()).port or 0
                    ours.append(asyncio.run(_load(port, request, seconds)))
                    theirs.append(asyncio.run(_load(bare_port, request, seconds)))
                bare.terminate()
    mine, reference = sorted(ours)[ROUNDS // 2], sorted(theirs)[ROUNDS // 2]
    rows = [
        Row("ip.get", round(mine), "reads/s", "bare aiohttp", round(mine / reference, 3)),
        Row("bare aiohttp", round(reference), "reads/s", "itself", 1.0),
    ]
    return Report("rpc", machine(), round(v1), round(v), rows)


def _prepare(network: Network) -> tuple[bytes, bytes]:
    """Register an IP; return the request for it and the node's answer."""
    with network.client() as client:
        wallet = client.wallet(new_key())
        client.call("dev.faucet", address=wallet.address_text, amount=str(10**12))
        outcome = client.register(wallet, kind="text", content_hash="0x" + "11" * 32, title="bench")
        ip = outcome.ids[0]
        call = {"jsonrpc": "2.0", "id": 1, "method": "ip.get", "params": {"ip": ip}}
        answer = {"jsonrpc": "2.0", "id": 1, "result": client.call("ip.get", ip=ip)}
    body = json.dumps(call).encode()
    head = (
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body, json.dumps(answer, separators=(",", ":")).encode()


async def _load(port: int, request: bytes, seconds: float) -> float:
    """Return answers per second over all connections."""
    deadline = time.perf_counter() + seconds
    started = time.perf_counter()
    counts = await asyncio.gather(
        *(_one_connection(port, request, deadline) for _ in range(CONNECTIONS))
    )
    return sum(counts) / (time.perf_counter() - started)


async def _one_connection(port: int, request: bytes, deadline: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.perf_counter() < deadline:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head.decode())
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        count += 1
    writer.close()
    await writer.wait_closed()
    return count
