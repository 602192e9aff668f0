"""What stays the same through a run: the network, its members, and who judges whom."""

from __future__ import annotations

from dataclasses import dataclass

from chain.committee import EPOCH_ZERO_ID, Committee, leader_seed
from chain.params import Params
from chain.vote import Verifier
from consensus import events as ev

from .application import Application
from .node import Delays, Node
from .oracle import Oracle


@dataclass(frozen=True, slots=True)
class Setting:
    """A network, how long its nodes take, and who watches."""

    genesis_hash: bytes
    genesis_time_ms: int
    params: Params
    committee: Committee
    verifier: Verifier
    delays: Delays
    honest: frozenset[int]
    """Whom the oracle watches and who must agree."""
    oracle: Oracle | None

    def judge(self, node: Node) -> Oracle | None:
        """Return who judges what this node does: nobody, if it need not be honest."""
        return self.oracle if node.index in self.honest else None

    def index_of(self, peer: bytes) -> int:
        """Return which member a peer is; peers are known by their keys, as on the wire."""
        index = self.committee.index_of(peer)
        assert index is not None
        return index

    def where(self, app: Application) -> tuple[ev.EpochStart, ev.Head | None]:
        """Return where a node's chain stands: its epoch, and its newest block in that."""
        length = self.params.epoch_length
        epoch = len(app.blocks) // length
        base = app.blocks[epoch * length - 1] if epoch else None
        start = ev.EpochStart(
            epoch=epoch,
            committee=self.committee,
            base_id=self.genesis_hash if base is None else base.id,
            base_height=epoch * length,
            base_time_ms=self.genesis_time_ms if base is None else base.header.time_ms,
            seed=leader_seed(
                self.genesis_hash, epoch, EPOCH_ZERO_ID if base is None else base.header.parent_id
            ),
            base_has_transactions=base is not None and bool(base.body.transactions),
        )
        if len(app.blocks) == epoch * length:
            return start, None
        block = app.blocks[-1]
        return start, ev.Head(
            header=block.header,
            finalization=app.proofs[block.header.height].finalization,
            has_transactions=bool(block.body.transactions),
        )
