"""What benchmarks send to a network: signed beforehand, a hundred transactions a request.

The generator shares the machine with the validators; what it costs is part of the report.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec

from chain.codec import encode_amount
from chain.ids import address_of
from chain.transaction import Body, sign_body
from state.module import Message

from .workloads import WORKLOADS, signer

BATCH = 100
"""Transactions of one request."""
BUSY_S = 0.5
"""Pause of a saturating sender that was told that the node is busy: what the node asks for."""
BUSY = ("pool/Full", "pool/Busy")
"""Refusals that say nothing of the transaction: it may be sent again soon."""
OPEN_MAX = 16
"""Requests open at one node in an open loop; beyond, the load is not sent but counted as late."""
TIMEOUT_S = 60
USED_UP = "the load is used up: sign more before the clock starts"


class _Outcome(msgspec.Struct):
    """One transaction of the answer to ``tx.submit_batch``."""

    id: str | None = None
    error: dict[str, object] | None = None


class _Answer(msgspec.Struct):
    result: list[_Outcome] | None = None
    error: dict[str, object] | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


@dataclass(slots=True)
class Tally:
    """What became of what was sent."""

    admitted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By code."""
    late: int = 0
    """Not sent: the nodes had not answered what was sent before."""

    @property
    def busy(self) -> int:
        """How often a node said "later"."""
        return sum(self.refused[code] for code in BUSY)


class Load:
    """Signed requests, a share for each node; a sender's transactions all go to one node."""

    def __init__(
        self, name: str, genesis_hash: bytes, senders: int, nodes: int, *, first: int = 0
    ) -> None:
        """``first`` is the number of the first of the ``senders`` accounts."""
        self._name = name
        self._genesis_hash = genesis_hash
        self._senders = senders
        self._next = [0] * nodes
        self._shares = [range(first + node, first + senders, nodes) for node in range(nodes)]
        self._ready: list[deque[bytes]] = [deque() for _ in range(nodes)]

    def prepare(self, count: int) -> None:
        """Sign ``count`` further transactions, for all nodes together."""
        for node in range(len(self._ready)):
            for _ in range(-(-count // (BATCH * len(self._ready)))):
                self._ready[node].append(self._request(node))

    def take(self, node: int) -> bytes | None:
        """Return the next request for a node, None if nothing is left."""
        return self._ready[node].popleft() if self._ready[node] else None

    def give_back(self, node: int, request: bytes) -> None:
        """Send this one again, before all others: it was refused for the time being."""
        self._ready[node].appendleft(request)

    def _request(self, node: int) -> bytes:
        share = self._shares[node]
        txs = []
        for _ in range(BATCH):
            seq, place = divmod(self._next[node], len(share))
            self._next[node] += 1
            txs.append(b'"0x' + self._sign(share[place], seq).hex().encode() + b'"')
        return (
            b'{"jsonrpc":"2.0","id":1,"method":"tx.submit_batch","params":{"txs":['
            + b",".join(txs)
            + b"]}}"
        )

    def _sign(self, number: int, seq: int) -> bytes:
        key = signer(number)
        make = WORKLOADS[self._name].make
        body: Body[Message] = Body(
            1, self._genesis_hash, address_of(key.public_key), [key.public_key], 0, seq, 0,
            encode_amount(10**12), b"", None,
            make(self._genesis_hash, number + seq * self._senders),
        )  # fmt: skip
        return sign_body(body, [key], [])


class Sender:
    """Sends a load to the nodes of a network."""

    def __init__(self, urls: Sequence[str], load: Load) -> None:
        self.tally = Tally()
        self._urls = urls
        self._load = load

    async def saturate(self, seconds: float, lines: int) -> None:
        """Keep ``lines`` requests open at every node."""
        until = time.monotonic() + seconds
        async with _session() as session, asyncio.TaskGroup() as tasks:
            for node in range(len(self._urls)):
                for _ in range(lines):
                    tasks.create_task(self._keep_sending(session, node, until))

    async def offer(self, seconds: float, per_second: float) -> None:
        """Send at a fixed rate, whatever becomes of it."""
        async with _session() as session, asyncio.TaskGroup() as tasks:
            for node, turns in enumerate(self._turns(seconds, per_second)):
                tasks.create_task(self._send_at(session, node, turns))

    def _turns(self, seconds: float, per_second: float) -> list[Iterator[float]]:
        """Return for each node the times at which it is sent a request, evenly interleaved."""
        started, nodes = time.monotonic(), len(self._urls)
        gap = BATCH * nodes / per_second
        count = int(seconds / gap)
        return [
            iter([started + (turn + node / nodes) * gap for turn in range(count)])
            for node in range(nodes)
        ]

    async def _keep_sending(self, session: aiohttp.ClientSession, node: int, until: float) -> None:
        while time.monotonic() < until:
            request = self._load.take(node)
            if request is None:
                raise AssertionError(USED_UP)
            if await self._send_or_keep(session, node, request):
                await asyncio.sleep(BUSY_S)

    async def _send_at(
        self, session: aiohttp.ClientSession, node: int, turns: Iterator[float]
    ) -> None:
        open_requests: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as sending:
            for turn in turns:
                await asyncio.sleep(max(0.0, turn - time.monotonic()))
                if len(open_requests) >= OPEN_MAX:
                    self.tally.late += BATCH
                    continue
                request = self._load.take(node)
                if request is None:
                    raise AssertionError(USED_UP)
                task = sending.create_task(self._send_once(session, node, request))
                open_requests.add(task)
                task.add_done_callback(open_requests.discard)

    async def _send_once(self, session: aiohttp.ClientSession, node: int, request: bytes) -> None:
        """Send one request; what was refused is offered again in its next turn."""
        await self._send_or_keep(session, node, request)

    async def _send_or_keep(
        self, session: aiohttp.ClientSession, node: int, request: bytes
    ) -> bool:
        """Send one request, or keep it for later; tell whether the node was busy.

        A request that is not sent again leaves gaps in lanes, and what comes after them fills the
        pools. Sending it twice does no harm.
        """
        busy = True
        try:
            busy = await self._send(session, node, request)
        finally:
            if busy:
                self._load.give_back(node, request)
        return busy

    async def _send(self, session: aiohttp.ClientSession, node: int, request: bytes) -> bool:
        """Send one request; tell whether a part of it was refused for the time being."""
        async with session.post(self._urls[node], data=request) as response:
            answer = _ANSWER.decode(await response.read())
        if answer.result is None:
            raise AssertionError(f"the node answered {answer.error}")
        busy = False
        for outcome in answer.result:
            if outcome.error is None:
                self.tally.admitted += 1
                continue
            data = outcome.error.get("data")
            code = str(data.get("code")) if isinstance(data, dict) else str(outcome.error)
            self.tally.refused[code] += 1
            busy = busy or code in BUSY
        return busy


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"content-type": "application/json"},
    )
