"""The benchmarks run and print what they promise; what they measure is no matter of tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from colophon.bench import execute, latency, rpc, state_bench
from colophon.bench.measure import Report
from colophon.bench.workloads import WORKLOADS

RUNS: dict[str, Callable[[], Report]] = {
    "execute": lambda: execute.run(keys=60, blocks=1),
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


def test_execute_measures_every_workload() -> None:
    names = {row.name for row in RUNS["execute"]().rows}

    assert set(WORKLOADS) <= names
