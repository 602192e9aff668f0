"""``bench network``: four validators on this machine under a saturating load.

Transactions of distinct accounts are signed beforehand and sent a hundred a request to all nodes.
Measured on a network of its own for each kind of message: what becomes final per second while
the nodes take all they can, before and after twice that is offered, so that the two can be
compared whatever the machine does meanwhile, with how long a signature check takes at each of
these times; how long one transaction takes at four fifths of it; and how long no block comes
when a validator is killed. V is measured just before the load and just after it, with the
network at rest.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.ids import address_of
from colophon.async_client import AsyncClient
from colophon.flows import sign_flow, submit_flow
from colophon.testnet.make import local_params
from colophon.testnet.network import Network, new_network
from colophon.wallet import Draft
from state.modules.bank import Send

from .load import Load, Sender, Tally
from .measure import Report, Row, machine, measure_check, measure_limit
from .workloads import signer

VALIDATORS = 4
NAMES = ("bank.send", "ip.register")
SENDERS = 20_000
"""Accounts that send; a round of all of them is longer than anything waits in a pool."""
PACED_SENDERS = 4_000
BEREAVED_SENDERS = 3_000
BEREAVED_S = 10.0
DRAINED_S = 3.0
"""A pool that does not change for so long holds nothing that a block could take."""
PROBE = SigningKey(b"\x77" * 32)
"""Its transactions are timed one by one."""
POOL = 12_000
"""A little more than half a pool: what is admitted before the nodes say that they are busy."""
FILL_S = 60.0
"""Longest time that filling the pools may take, and that a block is waited for."""
WARM_S = 3.0
GAUGE_S = 0.5
SETTLE_S = 10.0
"""From when the nodes can take no more: filling all pools at once is no steady state."""
LINES = 3
"""Requests that a saturating sender keeps open at each node."""
PACED = 0.8
OVERLOAD = 2.0
LIMIT_ROUNDS = 16
"""V for six seconds: it changes within one as the machine does."""
EXPECTED = 0.6
"""More of V/4 than any run reaches: so much load is signed."""
UNITS_PER_SECOND = 2_500_000
"""R high enough that the base fee stays where it is."""
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Span:
    """What happened on the network between two moments."""

    per_second: float
    """Transactions that became final."""
    intervals_ms: list[int]
    """Between the times of consecutive blocks."""
    node_cpu: float
    """Processor seconds per second, all nodes together."""
    generator_cpu: float
    """With its own signature checks, about 0.015."""
    check_us: float
    """Processor time of a signature check beside it: how fast the machine was."""

    @property
    def checks_each(self) -> float:
        """Processor time of a final transaction at each validator, in signature checks."""
        return self.node_cpu * 1_000_000 / (self.per_second * VALIDATORS * self.check_us)


def run(
    only: tuple[str, ...] = (),
    seconds: float = 30.0,
    progress: Callable[[str], None] = lambda line: None,
    *,
    senders: int = SENDERS,
    limit_rounds: int = LIMIT_ROUNDS,
) -> Report:
    """Measure every kind of message, or ``only`` some."""
    rows: list[Row] = []
    limits: list[tuple[float, float]] = []
    for name in [name for name in NAMES if not only or name in only]:
        with tempfile.TemporaryDirectory(prefix="colophon-bench-") as temporary:
            numbers = range(senders + PACED_SENDERS + BEREAVED_SENDERS)
            rich = [address_of(signer(number).public_key) for number in numbers]
            rich.append(address_of(PROBE.public_key))
            params = local_params(dev=True)
            params = msgspec.structs.replace(params, units_per_second=UNITS_PER_SECOND)
            progress(f"{name}: starting {VALIDATORS} validators")
            root = Path(temporary) / "network"
            with new_network(root, VALIDATORS, params=params, rich=rich) as network:
                bench = _Bench(network, name, senders, limit_rounds, progress)
                found = asyncio.run(bench.run(seconds))
        limits += found.limits
        rows += found.rows(name)
    v1 = sum(limit[0] for limit in limits) / len(limits)
    v = sum(limit[1] for limit in limits) / len(limits)
    return Report("network", machine(), round(v1), round(v), rows)


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured for one kind of message."""

    limits: list[tuple[float, float]]
    """V1 and V before and after the load."""
    saturated: Span
    saturated_again: Span
    """After the overload."""
    paced_ms: list[float]
    overloaded: Span
    overload: Tally
    memory_mib: list[float]
    """Of each node, once everything is final."""
    memory_mib_max: float
    """Of any node while it was loaded, with the files that LevelDB has mapped to rewrite them."""
    bereaved: Span

    def rows(self, name: str) -> list[Row]:
        """Return the report's rows; the reference of rates is V/4."""
        saturated, overloaded = self.saturated, self.overloaded
        both = (saturated, self.saturated_again)
        intervals_ms = [interval for span in both for interval in span.intervals_ms]
        share = sum(v for _, v in self.limits) / len(self.limits) / VALIDATORS
        around = _around(saturated, self.saturated_again)
        paced = sorted(self.paced_ms)
        busy = self.overload.busy
        other = sum(self.overload.refused.values()) - busy
        answered = self.overload.admitted + busy + other
        memory, bereaved = max(self.memory_mib), self.bereaved.intervals_ms
        return [
            _row(f"{name}", around, "tx/s", "V/4", around / share),
            _row(f"{name} V/4", share, "checks/s", "", 0.0),
            _row(f"{name} interval p50", _middle(intervals_ms), "ms", "", 0.0),
            _row(f"{name} interval max", max(intervals_ms), "ms", "1 000 ms",
                 max(intervals_ms) / 1_000),
            _row(f"{name} nodes' processors", sum(span.node_cpu for span in both) / 2, "cores",
                 "", 0.0),
            _row(f"{name} each, at each", sum(span.checks_each for span in both) / 2, "checks",
                 "", 0.0),
            _row(f"{name} generator's", sum(span.generator_cpu for span in both) / 2, "cores",
                 "", 0.0),
            _row(f"{name} at 80 %: p50", _middle(paced), "ms", "1 000 ms",
                 _middle(paced) / 1_000),
            _row(f"{name} at 200 %", overloaded.per_second, "tx/s", "around it",
                 overloaded.per_second / around),
            _row(f"{name} after it", self.saturated_again.per_second, "tx/s", "before",
                 self.saturated_again.per_second / saturated.per_second),
            _row(f"{name}: a check", saturated.check_us, "µs", "", 0.0),
            _row(f"{name} at 200 %: a check", overloaded.check_us, "µs", "before",
                 overloaded.check_us / saturated.check_us),
            _row(f"{name} after it: a check", self.saturated_again.check_us, "µs", "before",
                 self.saturated_again.check_us / saturated.check_us),
            _row(f"{name} at 200 %: nodes'", overloaded.node_cpu, "cores", "", 0.0),
            _row(f"{name} at 200 %: generator's", overloaded.generator_cpu, "cores", "", 0.0),
            _row(f"{name} at 200 %: interval max", max(overloaded.intervals_ms), "ms",
                 "1 000 ms", max(overloaded.intervals_ms) / 1_000),
            _row(f"{name} at 200 %: told busy", busy, "tx", "answered", busy / max(answered, 1)),
            _row(f"{name} at 200 %: other refusals", other, "tx", "answered",
                 other / max(answered, 1)),
            _row(f"{name} at 200 %: not sent, nodes late", self.overload.late, "tx", "", 0.0),
            _row(f"{name}, one of four killed: interval max", max(bereaved), "ms", "1 000 ms",
                 max(bereaved) / 1_000),
            _row(f"{name} memory", memory, "MiB a node", "250 MiB", memory / 250),
            _row(f"{name} memory at most", self.memory_mib_max, "MiB a node", "", 0.0),
        ]  # fmt: skip


class _Bench:
    """One network, from its start to the last figure."""

    def __init__(
        self,
        network: Network,
        name: str,
        senders: int,
        limit_rounds: int,
        progress: Callable[[str], None],
    ) -> None:
        self._network = network
        self._urls = [network.url(index) for index in range(VALIDATORS)]
        self._pids = [_pid(network, index) for index in range(VALIDATORS)]
        self._name = name
        self._senders = senders
        self._limit_rounds = limit_rounds
        self._progress = progress
        self._genesis_hash = b""
        self._memory_mib_max = 0.0

    async def run(self, seconds: float) -> Found:
        """Saturate, overload, pace, and take one validator away."""
        async with AsyncClient(self._urls[0]) as client:
            self._genesis_hash = bytes.fromhex((await client.call("chain.genesis"))["hash"][2:])
            load = Load(self._name, self._genesis_hash, self._senders, VALIDATORS)
            limits = [self._limit()]
            expected = EXPECTED * limits[0][1] / VALIDATORS
            self._prepare(load, POOL + int(expected * (2.5 * seconds + 4 * SETTLE_S)))
            saturated = await self._saturate(client, load, seconds)
            offered = OVERLOAD * saturated.per_second
            self._progress(f"{self._name}: offering {offered:.0f} a second")
            sender = Sender(self._urls, load)
            offering = sender.offer(2 * FILL_S + seconds, offered)
            overloaded = await self._while_busy(client, sender, offering, seconds / 2)
            again = await self._saturate(client, load, seconds / 2)
            await self._drained(client)
            memory = [_memory_mib(pid) for pid in self._pids]
            limits.append(self._limit())
            around = _around(saturated, again)
            paced_ms = await self._pace(client, PACED * around, seconds / 2)
            bereaved = await self._bereave(client, around / 2)
        return Found(
            limits, saturated, again, paced_ms, overloaded, sender.tally, memory,
            self._memory_mib_max, bereaved,
        )  # fmt: skip

    def _limit(self) -> tuple[float, float]:
        self._progress(f"{self._name}: measuring the limit V")
        return measure_limit(self._limit_rounds)

    async def _saturate(self, client: AsyncClient, load: Load, seconds: float) -> Span:
        """Return what happens while the nodes take all they can."""
        self._progress(f"{self._name}: saturating for {seconds:.0f} s")
        sender = Sender(self._urls, load)
        saturating = sender.saturate(2 * FILL_S + seconds, LINES)
        return await self._while_busy(client, sender, saturating, seconds)

    async def _while_busy(
        self, client: AsyncClient, sender: Sender, load: Coroutine[Any, Any, None], seconds: float
    ) -> Span:
        """Return what happens in so many seconds, from when the nodes can take no more."""
        sending = asyncio.create_task(load)
        until = time.monotonic() + FILL_S - SETTLE_S
        try:
            while not sender.tally.busy and time.monotonic() < until:
                _require_load(sending)
                await asyncio.sleep(0.1)
            await asyncio.sleep(SETTLE_S)
            span = await self._span(client, seconds)
            _require_load(sending)
        finally:
            sending.cancel()
            await asyncio.wait([sending])  # until what was not answered is given back
        return span

    async def _pace(self, client: AsyncClient, paced: float, seconds: float) -> list[float]:
        """Return how long transactions take while so many others come in a second, in ms."""
        # Other senders: what was refused before has left gaps in the lanes of the first.
        load = Load(self._name, self._genesis_hash, PACED_SENDERS, VALIDATORS, first=self._senders)
        self._prepare(load, int(paced * (seconds + 1)))
        self._progress(f"{self._name}: {paced:.0f} a second")
        pacing = Sender(self._urls, load).offer(seconds, paced)
        _, paced_ms = await asyncio.gather(pacing, self._probe(client, seconds - 1))
        return paced_ms

    async def _bereave(self, client: AsyncClient, paced: float) -> Span:
        """Return what happens while the last validator is killed under half the load."""
        first = self._senders + PACED_SENDERS
        load = Load(self._name, self._genesis_hash, BEREAVED_SENDERS, VALIDATORS - 1, first=first)
        self._prepare(load, int(paced * (BEREAVED_S + 2 * WARM_S)))
        self._progress(f"{self._name}: one of four is killed at {paced:.0f} a second")
        sending = asyncio.create_task(
            Sender(self._urls[:-1], load).offer(BEREAVED_S + 2 * WARM_S, paced)
        )
        await asyncio.sleep(WARM_S)
        self._network.node(VALIDATORS - 1).kill()
        self._pids.pop()
        span = await self._span(client, BEREAVED_S)
        await sending
        return span

    def _prepare(self, load: Load, count: int) -> None:
        self._progress(f"{self._name}: signing {count} transactions")
        load.prepare(count)

    async def _span(self, client: AsyncClient, seconds: float) -> Span:
        """Return what happens in so many seconds."""
        nodes, own, started = self._cpu(), time.process_time(), time.monotonic()
        first = int((await client.call("chain.status"))["height"])
        checks_us = [measure_check()]
        while time.monotonic() < started + seconds:
            await asyncio.sleep(min(GAUGE_S, seconds))
            checks_us.append(measure_check())
            self._memory_mib_max = max(self._memory_mib_max, *map(_memory_mib, self._pids))
        last = await self._height_above(client, first + 1)
        elapsed = time.monotonic() - started
        cpu = (self._cpu() - nodes) / elapsed, (time.process_time() - own) / elapsed
        blocks = await self._blocks(client, first, last)
        times = [int(block["time_ms"]) for block in blocks]
        count = sum(int(block["transactions"]) for block in blocks[1:])
        intervals = [later - earlier for earlier, later in pairwise(times)]
        check_us = sum(checks_us) / len(checks_us)
        return Span(count * 1_000 / (times[-1] - times[0]), intervals, *cpu, check_us)

    async def _height_above(self, client: AsyncClient, height: int) -> int:
        """Return the height, once it is above this one: two blocks make an interval."""
        until = time.monotonic() + FILL_S
        while (found := int((await client.call("chain.status"))["height"])) <= height:
            if time.monotonic() > until:
                raise AssertionError(f"no block above height {height} within {FILL_S:.0f} s")
            await asyncio.sleep(0.1)
        return found

    async def _blocks(self, client: AsyncClient, first: int, last: int) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        while first <= last:
            until = min(last, first + 99)
            blocks += await client.call("chain.blocks", **{"from": first, "to": until})
            first = until + 1
        return blocks

    async def _drained(self, client: AsyncClient) -> None:
        """Wait until what can become final is final: what waits behind a gap stays."""
        before = -1
        while (pending := (await client.call("chain.status"))["pending"]) != before:
            before = pending
            await asyncio.sleep(DRAINED_S)

    async def _probe(self, client: AsyncClient, seconds: float) -> list[float]:
        """Return how long one transaction after the other takes from submit to final, in ms."""
        taken: list[float] = []
        wallet = await client.wallet(PROBE)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            target = b"\0" + len(taken).to_bytes(20, "big")
            draft = Draft(messages=[Send(target, b"", encode_amount(1))])
            signed = await client.run(sign_flow(wallet, draft))
            started = time.perf_counter()
            await client.run(submit_flow(signed))
            taken.append((time.perf_counter() - started) * 1_000)
        return taken

    def _cpu(self) -> float:
        """Return the processor seconds of all nodes so far."""
        return sum(_cpu_s(pid) for pid in self._pids)


def _pid(network: Network, index: int) -> int:
    running = network.node(index).running()
    assert running is not None, "a network that was waited for runs"
    return running.pid


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _memory_mib(pid: int) -> float:
    """Return a process's resident memory."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * PAGE_BYTES / MIB


def _require_load(sending: asyncio.Task[None]) -> None:
    """Refuse to measure without load: raises what ended it, or that it was too little."""
    if sending.done():
        sending.result()
        raise AssertionError("the load ended before it had been measured")


def _around(before: Span, after: Span) -> float:
    """Return the rate that the overload between them is compared with."""
    return (before.per_second + after.per_second) / 2


def _middle(values: list[Any]) -> float:
    return float(sorted(values)[len(values) // 2])


def _row(name: str, value: float, unit: str, reference: str, ratio: float) -> Row:
    return Row(name, round(value, 2), unit, reference, round(ratio, 3))
