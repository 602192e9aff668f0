"""The process dies once at every disk operation of a run: before, in the middle of, after it.

After each death it starts again from what the disk kept. Nothing that was final may be missing or
moved, no two votes that were released may conflict, and the database passes the node's check.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chain.certificate import conflicts
from chain.vote import Vote
from colophon.maintenance import check
from state.queries import ChainReader
from tests.colophon.lonely import (
    AFTER,
    BEFORE,
    MIDDLE,
    Died,
    Disk,
    Lonely,
    SimulatedStore,
    VirtualClock,
)

HEIGHTS = 5
MORE = 3
"""Heights after the new start: the node goes on, not only comes up."""


def clean_run(root: Path) -> list[str]:
    """Return the disk operations of a run without a death, the genesis's own left out."""
    disk = Disk()
    store, clock, sent = SimulatedStore(), VirtualClock(), list[Vote]()
    node = Lonely(root, store, clock, disk, sent)
    play(node)
    node.close()
    return disk.operations


def play(node: Lonely) -> None:
    """Run with a few transactions in every block."""
    for height in range(1, HEIGHTS + 1):
        node.submit(3)
        node.run_to(height)


def die_and_rise(root: Path, at: int, how: str) -> None:
    """Die at one operation, start again, check everything."""
    store, clock, sent = SimulatedStore(), VirtualClock(), list[Vote]()
    final: dict[bytes, int] = {}
    node: Lonely | None = None
    try:
        node = Lonely(root, store, clock, Disk(at, how), sent)
        node.final = final
        play(node)
        raise AssertionError(f"operation {at} was never reached")
    except Died:
        if node is not None:
            node.close()
    clock.time_ms += 1_000

    again = Lonely(root, store, clock, Disk(), sent)
    reader = ChainReader(again.application.machine)
    for tx_id, height in final.items():
        assert reader.place_of(tx_id).height == height
    again.submit(2)
    again.run_to(again.application.machine.head.height + MORE)

    report = check(again.application.machine, {})
    again.close()
    assert report["ok"], report["problems"]
    by_view: dict[tuple[int, int], list[Vote]] = {}
    for vote in sent:
        by_view.setdefault((vote.epoch, vote.view), []).append(vote)
    for votes in by_view.values():
        assert not any(conflicts(one, other) for one in votes for other in votes)


def test_a_block_costs_at_most_four_syncs(tmp_path: Path) -> None:
    """Two of the journal, one of the store, and every other write of the guard."""
    operations = Counter(clean_run(tmp_path))

    genesis, guard = 1, operations.pop("guard")
    assert guard <= 2 * HEIGHTS + 1
    assert operations.total() - genesis <= 3 * HEIGHTS + 1, operations
    assert {"journal", "store"} == set(operations)


@pytest.mark.parametrize("how", [BEFORE, MIDDLE, AFTER])
def test_every_point_of_death_is_survived(tmp_path: Path, how: str) -> None:
    operations = clean_run(tmp_path / "clean")

    for at in range(len(operations)):
        die_and_rise(tmp_path / f"{how}-{at}", at, how)
