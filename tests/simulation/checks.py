"""What must hold of every run, judged by nobody but the nodes' own stores and votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.finality import LightClient
from chain.header import last_height
from chain.vote import Vote, VoteKind

from .node import Node

if TYPE_CHECKING:
    from .cluster import Cluster


def check(cluster: Cluster) -> None:
    """Check what must hold in every run: agreement, promises, proofs, no stop."""
    nodes = [node for node in cluster.nodes if node.index in cluster.setting.honest]
    longest = max((node.app.blocks for node in nodes), key=len)
    for node in nodes:
        assert node.stopped is None, node.stopped
        mine = [block.id for block in node.app.blocks]
        assert mine == [block.id for block in longest[: len(mine)]], "two histories"
        check_promises(node.sent)
    _check_proofs(cluster, max(nodes, key=lambda node: len(node.app.blocks)))


def check_refusals(cluster: Cluster) -> None:
    """Check that no honest node gave up a view because of what an honest leader proposed.

    Only the time of a block may be judged differently by honest nodes, and what is final.
    """
    for node in cluster.nodes:
        if node.index not in cluster.setting.honest:
            continue
        for view, round_ in node.core.shared.rounds.items():
            refusal, proposal = round_.refusal, round_.proposal
            if refusal is None or proposal is None:
                continue
            if proposal.header.proposer_index in cluster.setting.honest:
                assert refusal.code in ("block/Time", "block/Stale"), f"view {view}: {refusal}"


def _check_proofs(cluster: Cluster, node: Node) -> None:
    client = LightClient(
        cluster.setting.genesis_hash,
        cluster.setting.params.epoch_length,
        0,
        cluster.setting.committee,
    )
    for height, proof in sorted(node.app.proofs.items()):
        assert proof.target == node.app.blocks[height - 1].header
        client.verify(proof, cluster.setting.verifier)
        if height == last_height(client.epoch, cluster.setting.params.epoch_length):
            client = client.hop(
                proof, list(cluster.setting.committee.members), cluster.setting.verifier
            )


def check_promises(sent: list[Vote]) -> None:
    """Check that one key's votes contain no double vote and no NULLIFY beside a FINALIZE."""
    first: dict[tuple[int, int, int], Vote] = {}
    for vote in sent:
        place = (vote.epoch, vote.view, vote.kind)
        assert first.setdefault(place, vote) == vote, "a double vote"
    for epoch, view, kind in first:
        if kind == VoteKind.NULLIFY:
            assert (epoch, view, VoteKind.FINALIZE) not in first, "NULLIFY and FINALIZE"
