"""``bench state`` runs and reports every figure; no time is asserted."""

from __future__ import annotations

from colophon.bench.state_bench import measure


def test_the_state_bench_reports_its_figures() -> None:
    rows = {row.name: row for row in measure(keys=2_000, batch=100, v1=25_000)}

    assert list(rows) == ["start", "update", "merge", "hashes", "memory", "proof"]
    assert 1 <= rows["hashes"].value <= 6
    assert rows["proof"].value < 2_000
