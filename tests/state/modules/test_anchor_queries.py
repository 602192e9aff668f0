"""What can be asked of the native family ``anchor``: logs, batches, proofs, interactions.

Logs of any shape are compared with a plain list of batch hashes and the RFC's tree over it; every
proof a query returns is checked.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.errors import Rejected
from chain.merkle import LogTree, verify_log_consistency, verify_log_inclusion
from chain.record import (
    BATCH_LEAVES_MAX,
    Facets,
)
from state.modules import anchor
from state.modules.anchor import LOGS
from tests.state.modules.anchor_world import (
    ALICE,
    BOB,
    CAROL,
    ROOT,
    World,
    fill,
    interaction,
    leaf_of,
    register_agent,
)


@pytest.fixture
def world():
    return World()


counts = st.lists(st.integers(1, BATCH_LEAVES_MAX), max_size=40)


@settings(deadline=None)
@given(counts, st.data())
def test_every_log_is_the_rfc_tree_over_its_batches(counts, data):
    world = World()
    log = world.open_log()
    leaves = [leaf_of(message) for message in fill(world, log, counts)]
    sizes = st.integers(0, len(leaves))

    view = world.query("get", log=log)
    old, new = sorted((data.draw(sizes), data.draw(sizes)))
    consistency = world.query("consistency", log=log, old_size=old, new_size=new)

    assert view.root == LogTree(leaves).root
    assert (view.batches, view.leaves) == (len(counts), sum(counts))
    assert consistency.old.root == LogTree(leaves[:old]).root
    assert consistency.path == LogTree(leaves[:new]).consistency_proof(old)
    verify_log_consistency(consistency.old.root, old, consistency.new.root, new, consistency.path)
    assert anchor.check_logs(world.state) is None
    if new:
        number = data.draw(st.integers(0, new - 1))
        proof = world.query("proof", log=log, batch_no=number, size=new)
        assert proof.path == LogTree(leaves[:new]).inclusion_proof(number)
        assert proof.checkpoint.leaves == sum(counts[:new])
        verify_log_inclusion(proof.checkpoint.root, leaves[number], number, new, proof.path)


def test_a_proof_reads_few_rows_of_a_long_log(world):
    log = world.open_log()
    fill(world, log, [1] * 200)
    reads = []
    read = world.index.get
    world.index.get = lambda key: reads.append(key) or read(key)

    world.query("proof", log=log, batch_no=100)

    assert len(reads) <= 20


def test_batches_are_listed_in_order(world):
    log = world.open_log()
    sent = fill(world, log, [3, 1, 7])

    views = world.query("batches", log=log, cursor=1, limit=5).items

    assert [view.batch_no for view in views] == [1, 2]
    assert [view.leaf for view in views] == [leaf_of(message) for message in sent[1:]]
    assert views[0] == world.query("batch", log=log, batch_no=1)
    assert (views[1].first_index, views[1].count, views[1].writer) == (4, 7, BOB)


def test_logs_are_listed_in_pages(world):
    logs = sorted(world.open_log() for _ in range(5))

    first = world.query("list", limit=2)
    second = world.query("list", limit=2, cursor=first.cursor)
    last = world.query("list", limit=2, cursor=second.cursor)

    assert [view.log for page in (first, second, last) for view in page.items] == logs
    assert last.cursor is None
    assert world.query("list", owner=ALICE, limit=5).items == world.query("list").items


def test_interactions_are_found_by_everything_they_name(world):
    agent = register_agent(world)
    model = b"\x02" + sha256(b"model").digest()[:20]
    facets = Facets(model=model, agent=agent, owner=CAROL)
    (event,) = world.send(ALICE, interaction(facets=facets, parents=[ROOT, sha256(b"p").digest()]))
    world.send(BOB, interaction())

    view = world.query("record", record=event.record)

    for name, subject in (
        ("actor", ALICE),
        ("agent", agent),
        ("model", model),
        ("owner", CAROL),
        ("leaf", event.leaf),
        ("parent", ROOT),
    ):
        assert world.query("records", **{name: subject}).items == [view]
    assert (view.facets, view.leaf, view.height) == (facets, event.leaf, 1)
    assert world.query("records", model=agent).items == []


def test_interactions_are_listed_oldest_first_in_pages(world):
    made = []
    for _ in range(5):
        (event,) = world.send(ALICE, interaction())
        made.append(event.record)
        world.height += 1

    first = world.query("records", actor=ALICE, limit=3)
    second = world.query("records", actor=ALICE, limit=3, cursor=first.cursor)

    assert [view.record for view in (*first.items, *second.items)] == made
    assert second.cursor is None


def test_asking_for_what_is_not_there_says_so(world):
    log = world.open_log()
    fill(world, log, [1, 1])

    for name, arguments, code in (
        ("get", {"log": b"\x05" + bytes(20)}, "anchor/UnknownLog"),
        ("record", {"record": b"\x06" + bytes(20)}, "anchor/UnknownRecord"),
        ("records", {}, "anchor/OneFilter"),
        ("records", {"actor": ALICE, "agent": ALICE}, "anchor/OneFilter"),
        ("batch", {"log": log, "batch_no": 2}, "anchor/UnknownBatch"),
        ("proof", {"log": log, "batch_no": 1, "size": 1}, "anchor/UnknownBatch"),
        ("checkpoint", {"log": log, "size": 3}, "anchor/UnknownBatch"),
        ("consistency", {"log": log, "old_size": 2, "new_size": 1}, "anchor/UnknownBatch"),
    ):
        with pytest.raises(Rejected) as caught:
            world.query(name, **arguments)
        assert caught.value.code == code


def test_an_index_without_the_batch_says_what_to_do(world):
    log = world.open_log()
    fill(world, log, [1])
    world.index.clear()

    with pytest.raises(Rejected, match="reindex") as caught:
        world.query("batch", log=log, batch_no=0)
    assert caught.value.code == "anchor/NotIndexed"


def test_the_invariant_names_a_broken_log(world):
    log = world.open_log()
    row = LOGS.get(world, log)

    LOGS.put(world, log, msgspec.structs.replace(row, batches=1, leaves=1))
    assert "0 peaks at 1 batches" in anchor.check_logs(world.state)
    LOGS.put(world, log, msgspec.structs.replace(row, batches=1, peaks=[ROOT]))
    assert "1 batches of 0 records" in anchor.check_logs(world.state)
