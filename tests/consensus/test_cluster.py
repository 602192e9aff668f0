"""Whole committees in virtual time (see cluster.py) finalise, agree and keep their promises.

Every run ends with ``Cluster.check``: equal chains, no double vote, valid finality proofs, and no
vote that left before it was durable (asserted while running).
"""

from __future__ import annotations

import msgspec
import pytest

from chain.header import KIND_FILLER
from chain.vote import VoteKind
from consensus.journal import BegunRecord
from consensus.messages import CertificateMessage, Message, ProposalMessage, VoteMessage
from consensus.shared import DEPTH_MAX, Mode
from consensus.timers import LOOKBACK_MS
from tests.simulation.application import PARAMS
from tests.simulation.cluster import Cluster
from tests.simulation.node import Delays


def params(**changes: object) -> object:
    return msgspec.structs.replace(PARAMS, **changes)


@pytest.mark.parametrize(
    "powers",
    [[1], [1] * 4, [1] * 7, [5, 3, 2, 2, 1], [2**58, 2**58, 2**58, 2**57], [1, 1]],
    ids=["one", "four", "seven", "weighted", "huge", "two"],
)
def test_a_committee_finalises_two_hundred_heights(powers: list[int]) -> None:
    cluster = Cluster(powers)

    cluster.run_to_height(200, limit_ms=200 * 2_100)

    cluster.check()


@pytest.mark.parametrize("away", [0, 1])
def test_a_new_network_begins_before_a_look_back_would_be_over(away: int) -> None:
    cluster = Cluster([1] * 4)
    for node in cluster.nodes[:away]:
        cluster.crash(node)
    cluster.keep_busy()

    cluster.run_to_height(3, limit_ms=LOOKBACK_MS // 3)

    cluster.check()


def test_an_idle_network_makes_a_block_per_heartbeat() -> None:
    cluster = Cluster([1] * 4)

    cluster.run_to_height(1, limit_ms=20_000)
    began_ms = cluster.now_ms
    cluster.run_to_height(51, limit_ms=200_000)

    assert cluster.now_ms - began_ms == pytest.approx(50 * 2_000, rel=0.02)
    cluster.check()


def test_a_busy_network_makes_blocks_at_the_interval() -> None:
    cluster = Cluster([1] * 4)
    cluster.submit(1_000)  # Ten go into a block.
    cluster.run_to_height(1, limit_ms=10_000)
    begin_ms = cluster.now_ms

    cluster.run_to_height(100, limit_ms=20_000)

    # The interval counts from the arrival of the parent, one hop after it was sent.
    assert cluster.now_ms - begin_ms == pytest.approx(99 * 110, rel=0.02)
    cluster.check()


def test_the_results_of_a_block_with_transactions_follow_without_a_heartbeat() -> None:
    cluster = Cluster([1] * 4)
    cluster.run_to_height(3, limit_ms=20_000)
    cluster.submit(1)
    cluster.run_until(lambda: not cluster.nodes[0].app.pool, limit_ms=500)
    height = len(cluster.nodes[0].app.blocks)

    cluster.run_to_height(height + 1, limit_ms=200)

    assert cluster.nodes[0].app.blocks[height - 1].body.transactions
    cluster.check()


def test_a_transaction_wakes_an_idle_network() -> None:
    cluster = Cluster([1] * 4)
    cluster.run_to_height(3, limit_ms=20_000)
    cluster.run_for(500)
    begin_ms = cluster.now_ms

    cluster.submit(1)
    cluster.run_until(lambda: not cluster.nodes[0].app.pool, limit_ms=1_000)

    assert cluster.now_ms - begin_ms < 100
    cluster.check()


@pytest.mark.parametrize("hop_ms", [25, 40, 50, 70, 74, 76, 90, 99, 101, 130, 200, 300, 400, 500])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_any_constant_delay_up_to_ten_delta_finalises(hop_ms: int, busy: bool) -> None:
    cluster = Cluster([1] * 4, delays=Delays(hop=hop_ms))
    if busy:
        cluster.keep_busy()

    cluster.run_to_height(40, limit_ms=400_000)

    cluster.check()


def test_a_dead_leader_costs_a_view_not_the_chain() -> None:
    cluster = Cluster([1] * 4)
    cluster.run_to_height(3, limit_ms=20_000)
    cluster.crash(cluster.nodes[2])
    cluster.keep_busy()

    cluster.run_to_height(60, limit_ms=60_000)

    views = {block.header.view for block in cluster.nodes[0].app.blocks}
    assert len(views) == 60 and max(views) > 70
    cluster.check()


def test_epochs_follow_each_other_over_their_boundaries() -> None:
    cluster = Cluster([1] * 4, params(epoch_length=5))

    cluster.run_to_height(52, limit_ms=52 * 2_100)

    first = cluster.nodes[0].app.blocks[5].header
    assert (first.epoch, first.parent_view) == (1, 0)
    cluster.check()


def test_fillers_gather_the_finalization_that_the_boundary_block_lost() -> None:
    cluster = Cluster([1] * 4, params(epoch_length=5))
    boundary_views: set[int] = set()
    fillers: list[int] = []

    def deliver(source: int, target: int, message: Message) -> bool:
        if isinstance(message, ProposalMessage):
            header = message.proposal.header
            if header.epoch == 0 and header.kind == KIND_FILLER:
                fillers.append(header.view)
            elif header.epoch == 0 and header.height == 5:
                boundary_views.add(header.view)
        if isinstance(message, VoteMessage) and message.vote.view in boundary_views:
            return message.vote.kind != VoteKind.FINALIZE or message.vote.epoch > 0
        return True

    cluster.deliver = deliver
    cluster.run_to_height(12, limit_ms=60_000)

    assert fillers
    assert all(block.header.kind != KIND_FILLER for block in cluster.nodes[0].app.blocks)
    assert cluster.nodes[0].app.proofs[5].headers[0].kind == KIND_FILLER
    cluster.check()


@pytest.mark.parametrize("epoch_length", [6, 100_000])
def test_restarted_nodes_keep_their_promises(epoch_length: int) -> None:
    cluster = Cluster([1] * 4, params(epoch_length=epoch_length), Delays(hop=7, sync=4, execute=3))
    cluster.keep_busy()
    for number in range(24):
        node = cluster.nodes[number % 4]
        cluster.run_for(37 + 13 * number)
        cluster.crash(node)
        cluster.run_for(211)
        cluster.restart(node)
        cluster.run_for(5_000)

    height = max(len(node.app.blocks) for node in cluster.nodes)
    cluster.run_to_height(height + 20, limit_ms=60_000)

    cluster.check()


@pytest.mark.parametrize("pause_ms", [3, 11, 17, 23, 29, 41, 57, 101])
def test_all_nodes_may_crash_in_one_instant(pause_ms: int) -> None:
    cluster = Cluster([1] * 4, params(epoch_length=9), Delays(hop=7, sync=4, execute=3))
    cluster.keep_busy()
    cluster.run_to_height(2, limit_ms=20_000)
    for _ in range(6):
        cluster.run_for(600 + pause_ms)
        for node in cluster.nodes:
            cluster.crash(node)
        for node in cluster.nodes:
            cluster.restart(node)
        cluster.run_for(4_000)

    height = max(len(node.app.blocks) for node in cluster.nodes)
    cluster.run_to_height(height + 20, limit_ms=60_000)

    cluster.check()


def test_a_node_that_was_away_catches_up() -> None:
    cluster = Cluster([1] * 4, params(epoch_length=50))
    cluster.keep_busy()
    cluster.run_to_height(5, limit_ms=20_000)
    cluster.crash(cluster.nodes[3])
    cluster.run_for(30_000)
    away = len(cluster.nodes[3].app.blocks)

    cluster.restart(cluster.nodes[3])
    cluster.run_for(10_000)

    assert len(cluster.nodes[3].app.blocks) > away + 60
    assert len(cluster.nodes[3].app.blocks) >= len(cluster.nodes[0].app.blocks) - 2
    cluster.check()


def test_a_lost_journal_is_quarantined_and_released() -> None:
    cluster = Cluster([1] * 4)
    cluster.keep_busy()
    cluster.run_to_height(10, limit_ms=20_000)
    node = cluster.nodes[1]
    cluster.crash(node)
    node.synced = 0
    cluster.restart(node, journal_lost=True)
    cluster.run_until(lambda: node.core.shared.mode is Mode.QUARANTINE, limit_ms=5_000)
    until = node.core.shared.quarantine_until
    sent = len(node.sent)

    cluster.run_until(lambda: node.core.shared.mode is Mode.ACTIVE, limit_ms=60_000)
    cluster.run_for(3_000)

    assert node.core.shared.finalised_view >= until
    assert all(vote.view > until for vote in node.sent[sent:])
    assert len(node.sent) > sent
    cluster.check()


def test_a_crash_before_the_first_vote_is_durable_costs_nobody_his_vote() -> None:
    cluster = Cluster([1] * 4, delays=Delays(sync=4_000))
    slow = cluster.nodes[0]
    cluster.run_for(4_000)  # It signed, but the disk is not done.
    assert slow.core.shared.mode is Mode.ACTIVE
    cluster.crash(slow)
    cluster.setting.delays.sync = 0
    cluster.run_to_height(3, limit_ms=60_000)
    cluster.crash(cluster.nodes[3])

    cluster.restart(slow)
    cluster.run_to_height(6, limit_ms=60_000)

    assert slow.journal[0] == BegunRecord()
    cluster.check()


def test_a_network_of_keys_without_journals_begins() -> None:
    cluster = Cluster([1] * 4, start=False)
    for node in cluster.nodes:
        node.journal, node.synced = [], 0
        cluster.start(node)

    cluster.run_to_height(3, limit_ms=20_000)

    assert all(node.journal[0] == BegunRecord() for node in cluster.nodes)
    cluster.check()


def test_after_a_power_cut_a_lost_journal_waits_until_the_others_have_listened() -> None:
    cluster = Cluster([1] * 4)
    cluster.keep_busy()
    cluster.run_to_height(10, limit_ms=20_000)
    for node in cluster.nodes:
        cluster.crash(node, journal_lost=node.index == 1)
    for node in cluster.nodes:
        cluster.restart(node)
    began_ms = cluster.now_ms
    lost = cluster.nodes[1].core.shared

    cluster.run_until(lambda: lost.mode is Mode.QUARANTINE, limit_ms=10_000)
    assert cluster.now_ms - began_ms > 3_000
    cluster.run_until(lambda: lost.mode is Mode.ACTIVE, limit_ms=60_000)

    cluster.check()


def test_an_old_journal_stops_the_start() -> None:
    cluster = Cluster([1] * 4)
    cluster.keep_busy()
    cluster.run_to_height(3, limit_ms=20_000)
    node = cluster.nodes[1]
    older = node.synced
    cluster.run_to_height(8, limit_ms=20_000)
    cluster.crash(node)
    node.synced = older
    node.guard = None  # else it would say so before any peer is asked
    node.app.blocks = node.app.blocks[:3]
    node.app.headers = {block.id: block.header for block in node.app.blocks}

    cluster.restart(node)
    cluster.run_for(3_500)

    assert node.stopped is not None and "journal" in node.stopped


def test_an_execution_bug_of_one_node_stops_neither_chain_nor_node() -> None:
    cluster = Cluster([1] * 4)
    cluster.submit(100)
    node = cluster.nodes[0]
    real = node.app.execute
    failed: list[bytes] = []

    cluster.run_to_height(2, limit_ms=10_000)
    execute = cluster.host.execute

    def fail_once(target: object, block: object) -> None:
        if target is node and not failed:
            failed.append(block.id)  # type: ignore[attr-defined]  # a Block; typed where it counts
            node.app.faulty.add(block.id)  # type: ignore[attr-defined]  # as above
        execute(target, block)  # type: ignore[arg-type]  # as above

    cluster.host.execute = fail_once  # type: ignore[method-assign]  # the point of the test
    cluster.run_to_height(30, limit_ms=60_000)

    assert failed and real is not None
    finalized = [vote.block_id for vote in node.sent if vote.kind == VoteKind.FINALIZE]
    assert failed[0] not in finalized
    cluster.check()


def test_a_block_that_nobody_can_execute_is_nullified() -> None:
    cluster = Cluster([1] * 4)
    cluster.submit(100)
    cluster.run_to_height(2, limit_ms=10_000)
    execute = cluster.host.execute
    faulty: list[bytes] = []

    def fail(target: object, block: object) -> None:
        if not faulty:
            faulty.append(block.id)  # type: ignore[attr-defined]  # a Block; typed where it counts
        for node in cluster.nodes:
            node.app.faulty.update(faulty)
        execute(target, block)  # type: ignore[arg-type]  # as above

    cluster.host.execute = fail  # type: ignore[method-assign]  # the point of the test
    cluster.run_to_height(30, limit_ms=60_000)

    assert faulty[0] not in [block.id for block in cluster.nodes[0].app.blocks]
    cluster.check()


def test_a_slow_execution_suspends_giving_up() -> None:
    cluster = Cluster([1] * 4, delays=Delays(hop=10, execute=900))
    cluster.keep_busy()

    cluster.run_to_height(20, limit_ms=40_000)

    nullified = {v.view for node in cluster.nodes for v in node.sent if v.kind == VoteKind.NULLIFY}
    assert nullified <= {1}, "the first view is over before anybody may sign"
    cluster.check()


def test_lost_certificates_and_votes_are_sent_again() -> None:
    cluster = Cluster([1] * 4)
    cluster.keep_busy()
    count = 0

    def deliver(source: int, target: int, message: Message) -> bool:
        nonlocal count
        count += 1
        lossy = isinstance(message, VoteMessage | CertificateMessage | ProposalMessage)
        return not lossy or (count * 2_654_435_761 >> 7) % 100 >= 25

    cluster.deliver = deliver
    cluster.run_to_height(100, limit_ms=400_000)

    cluster.check()


def test_a_node_makes_two_journal_syncs_per_block() -> None:
    cluster = Cluster([1] * 4)

    cluster.run_to_height(50, limit_ms=200_000)

    assert all(node.syncs <= 2 * 51 for node in cluster.nodes)


def test_a_chain_that_is_notarized_and_not_finalised_grows_by_heartbeats() -> None:
    """So that one finality proof reaches over it when votes come through again (C12, V12)."""
    cluster = Cluster([1] * 4, params(block_interval_ms_min=0))  # type: ignore[arg-type]  # as above
    cluster.keep_busy()
    cluster.run_to_height(5, limit_ms=10_000)
    height = len(cluster.nodes[0].app.blocks)

    def deliver(source: int, target: int, message: Message) -> bool:
        return not (isinstance(message, VoteMessage) and message.vote.kind == VoteKind.FINALIZE)

    cluster.deliver = deliver
    away_ms = 30_000
    cluster.run_for(away_ms)
    heights = [
        entry.header.height for node in cluster.nodes for entry in node.core.shared.entries.values()
    ]

    assert max(heights) - height <= DEPTH_MAX + away_ms // PARAMS.heartbeat_ms + 2
    cluster.deliver = lambda source, target, message: True
    cluster.run_to_height(max(heights) + 5, limit_ms=20_000)
    cluster.check()
