"""The benchmarks run and print what they promise; what they measure is no matter of tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from colophon.bench import execute, latency, load, network, rpc, state_bench, worst
from colophon.bench.measure import Report
from colophon.bench.workloads import WORKLOADS

RUNS: dict[str, Callable[[], Report]] = {
    "execute": lambda: execute.run(keys=60, blocks=1),
    "worst": lambda: worst.run(transactions_max=1),
    "state": lambda: state_bench.run(60_000, 1_000, lambda line: None),
    "rpc": lambda: rpc.run(seconds=0.2),
    "latency": lambda: latency.run(samples=3),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_bench_prints_machine_limit_and_rows(name: str) -> None:
    form: dict[str, Any] = RUNS[name]().as_json()

    assert form["bench"] == name
    assert set(form) == {"bench", "machine", "v1", "v", "rows"}
    assert form["v"] > 0 and form["rows"]
    for row in form["rows"]:
        assert set(row) == {"name", "value", "unit", "reference", "ratio"}
        assert row["value"] > 0


def test_worst_measures_every_message_succeeding_and_undone() -> None:
    """A case that does not do what it is for fails the run: each of its blocks is looked at."""
    names = [row.name for row in worst.run(("ip.register",), transactions_max=1).rows]

    cases = ("ip.register", "ip.register, bytes")
    both = [name for case in cases for name in (case, f"{case}, undone")]
    assert names == ["bank.send, plain", *both]


def test_execute_measures_every_workload() -> None:
    names = {row.name for row in RUNS["execute"]().rows}

    assert set(WORKLOADS) <= names


def test_network_measures_load_overload_and_the_loss_of_a_validator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = {"FILL_S": 3.0, "SETTLE_S": 0.5, "WARM_S": 0.5, "DRAINED_S": 0.5, "BEREAVED_S": 2.0}
    for name, value in {**times, "POOL": 8_000, "EXPECTED": 4.0}.items():
        monkeypatch.setattr(network, name, value)

    report = network.run(("bank.send",), seconds=3.0, senders=1_000, limit_rounds=1)

    values = {row.name: row.value for row in report.rows}
    assert values["bank.send"] > 0 and values["bank.send memory"] > 0
    assert values["bank.send, one of four killed: interval max"] > 0
    assert values["bank.send at 200 %: other refusals"] == 0


@pytest.mark.parametrize("fails", [True, False], ids=["by an error", "by itself"])
def test_a_load_that_ends_before_it_is_measured_fails_the_run(fails: bool) -> None:
    async def play() -> None:
        sending = asyncio.create_task(ended(fails))
        network._require_load(sending)
        await asyncio.wait([sending])
        network._require_load(sending)

    with pytest.raises(AssertionError, match="used up" if fails else "the load ended"):
        asyncio.run(play())


async def ended(fails: bool) -> None:
    """A load that sends nothing."""
    if fails:
        raise AssertionError(load.USED_UP)


def test_what_the_nodes_are_late_for_stays_in_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is lost leaves gaps in lanes, and what follows them fills the pools."""
    monkeypatch.setattr(load, "BATCH", 1)
    monkeypatch.setattr(load, "OPEN_MAX", 2)
    given = load.Load("bank.send", bytes(32), 10, 1)
    given.prepare(10)
    sender = load.Sender(["http://nowhere"], given)

    async def never(*request: object) -> bool:
        await asyncio.sleep(3_600)
        return False

    monkeypatch.setattr(sender, "_send", never)

    async def play() -> None:
        offering = asyncio.create_task(sender.offer(0.01, 1_000))
        while sender.tally.late < 8:
            await asyncio.sleep(0)
        offering.cancel()

    asyncio.run(play())

    assert sender.tally.late == 8
    assert len(given._ready[0]) == 10
