"""Clocks were wrong by an hour and are right again: the chain goes on (C3, docs/operating.md)."""

from __future__ import annotations

import msgspec
import pytest

from tests.simulation.application import GENESIS_TIME_MS, PARAMS
from tests.simulation.cluster import Cluster

HOUR_MS = 3_600_000
PATIENCE_MS = 60_000
"""After so long it must go on."""


def set_clocks_ahead(cluster: Cluster, error_ms: int) -> None:
    for node in cluster.nodes:
        node.clock_error_ms = error_ms


def height_of(cluster: Cluster) -> int:
    return len(cluster.nodes[0].app.blocks)


def cluster_an_hour_ahead() -> Cluster:
    cluster = Cluster([1] * 4, msgspec.structs.replace(PARAMS, delta_ms=500))
    set_clocks_ahead(cluster, HOUR_MS)
    cluster.keep_busy()
    cluster.run_to_height(20, limit_ms=PATIENCE_MS)
    return cluster


@pytest.mark.parametrize("restarted", [False, True])
def test_the_chain_goes_on_by_itself_when_time_has_caught_up(restarted: bool) -> None:
    cluster = cluster_an_hour_ahead()
    set_clocks_ahead(cluster, 0)
    for node in cluster.nodes if restarted else ():
        cluster.crash(node)
        cluster.restart(node)
    height = height_of(cluster)
    head_ms = cluster.nodes[0].app.blocks[-1].header.time_ms - GENESIS_TIME_MS

    cluster.run_for(head_ms - cluster.now_ms - PATIENCE_MS)
    assert height_of(cluster) <= height + 1, "at most what was under way"
    cluster.run_to_height(height + 10, limit_ms=2 * PATIENCE_MS)

    cluster.check()


def test_clocks_that_are_set_ahead_again_let_the_chain_go_on_at_once() -> None:
    cluster = cluster_an_hour_ahead()
    set_clocks_ahead(cluster, 0)
    cluster.run_for(10 * PATIENCE_MS)
    height = height_of(cluster)

    set_clocks_ahead(cluster, HOUR_MS)
    cluster.run_to_height(height + 10, limit_ms=PATIENCE_MS)

    cluster.check()


def test_clocks_that_are_slewed_back_never_hold_the_chain_up() -> None:
    cluster = cluster_an_hour_ahead()
    step_ms = PARAMS.precision_ms // 2
    for steps in range(1, 101):
        set_clocks_ahead(cluster, HOUR_MS - steps * step_ms)
        cluster.run_to_height(height_of(cluster) + 1, limit_ms=PARAMS.precision_ms)
        cluster.run_for(2 * step_ms)

    last_ms = cluster.nodes[0].app.blocks[-1].header.time_ms - GENESIS_TIME_MS
    assert last_ms <= cluster.now_ms + HOUR_MS - 99 * step_ms, "block times came back, too"
    cluster.check()


def test_two_of_four_clocks_an_hour_wrong_hold_the_chain_up_until_they_are_right() -> None:
    cluster = Cluster([1] * 4, msgspec.structs.replace(PARAMS, delta_ms=500))
    cluster.keep_busy()
    cluster.run_to_height(20, limit_ms=PATIENCE_MS)
    for node in cluster.nodes[:2]:
        node.clock_error_ms = HOUR_MS
    cluster.run_for(10 * PATIENCE_MS)
    height = height_of(cluster)
    assert height <= 22, "at most what was under way"

    set_clocks_ahead(cluster, 0)
    cluster.run_to_height(height + 10, limit_ms=PATIENCE_MS)

    cluster.check()
