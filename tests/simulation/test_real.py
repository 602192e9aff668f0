"""The real state machine, keys and transactions under the same weather and crashes."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from colophon.testnet.make import local_params

from .node import Delays
from .real import RealCluster
from .weather import Link, Storm

PARAMS = msgspec.structs.replace(local_params(dev=False), epoch_length=7)


@pytest.mark.parametrize("seed", range(3))
def test_real_nodes_agree_on_money_and_roots(seed: int) -> None:
    chance = Random(f"{seed} script")
    storm = Storm(4, Random(f"{seed} weather"), Link(jitter_ms=20, loss=20, tail=20, tail_ms=300))
    cluster = RealCluster(4, PARAMS, Delays(sync=4), chance, storm)
    for step in range(6):
        cluster.spend(8)
        cluster.run_for(chance.randint(200, 2_000))
        if step % 3 == 2:
            node = chance.choice(cluster.nodes)
            cluster.crash(node)
            cluster.run_for(500)
            cluster.restart(node)
    storm.clear(Link())

    height = max(len(node.app.blocks) for node in cluster.nodes)
    cluster.run_to_height(height + 4, limit_ms=60_000)

    cluster.check()
    for app in cluster.applications:
        app.check()
    blocks = cluster.applications[0].blocks
    assert sum(len(block.body.transactions) for block in blocks) >= 20
