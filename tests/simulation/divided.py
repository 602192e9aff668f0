"""Honest members divided over two rival blocks go on (protocol.md C4, C6).

A view may be notarized and nullified. Who saw the notarization first executes its block; who saw
the nullification first need not. After two such views, two members may stand on the block of the
first and two on that of the second, and every proposal extends one that half of them passed over.
"""

from __future__ import annotations

import msgspec

from chain.vote import NOTARIZE, NULLIFY
from consensus.messages import CertificateMessage, Message, ProposalMessage, VoteMessage

from .application import PARAMS
from .cluster import Cluster
from .node import Delays

FIRST, SECOND = 1, 2
DELTA_MS = 200
"""A network patient enough that all wait while messages are held back."""


class Divided:
    """Four honest members; the messages of two views reach them in the order that divides them."""

    def __init__(self, delays: Delays) -> None:
        patient = msgspec.structs.replace(PARAMS, delta_ms=DELTA_MS)
        self.cluster = Cluster([1] * 4, patient, delays)
        self.cluster.keep_busy()
        self.cluster.deliver = self._deliver
        shared = self.cluster.nodes[0].core.shared
        second, fourth = shared.leader(SECOND), shared.leader(FIRST - 1)
        self.sides = {FIRST: {0, 1, 2, 3} - {second, fourth}, SECOND: {second, fourth}}
        """By view: who sees its notarization before its nullification."""
        self._held: list[tuple[int, int, Message]] = []
        self._healed = False

    def divide(self) -> None:
        """Let both views be notarized for one side and nullified for the other."""
        for view in (FIRST, SECOND):
            self.cluster.run_until(lambda view=view: self._is_over(view), limit_ms=20_000)

    def heal(self) -> None:
        """Let everything arrive from now on."""
        self._healed = True

    def is_divided(self) -> bool:
        """Tell whether each side has executed one of the two blocks, and nobody both."""
        return {view: self.executed(view) for view in (FIRST, SECOND)} == self.sides

    def executed(self, view: int) -> set[int]:
        """Return who has executed the block of a view."""
        return {n.index for n in self.cluster.nodes if self._has_executed(n.index, view)}

    def _is_over(self, view: int) -> bool:
        self._release()
        return all(node.core.shared.view > view for node in self.cluster.nodes)

    def _has_executed(self, member: int, view: int) -> bool:
        shared = self.cluster.nodes[member].core.shared
        round_ = shared.rounds.get(view)
        block = None if round_ is None else round_.block
        return block is not None and shared.is_executed(block.id)

    def _release(self) -> None:
        """Send on its way what may arrive by now."""
        held, self._held = self._held, []
        for source, target, message in held:
            if self._may_arrive(target, message):
                self.cluster.host.wire.send(self.cluster.nodes[source], target, message)
            else:
                self._held.append((source, target, message))

    def _deliver(self, source: int, target: int, message: Message) -> bool:
        may_arrive = self._may_arrive(target, message)
        if not may_arrive:
            self._held.append((source, target, message))
        return may_arrive

    def _may_arrive(self, target: int, message: Message) -> bool:
        if self._healed or isinstance(message, ProposalMessage):
            return True
        if isinstance(message, VoteMessage):
            said = message.vote
        elif isinstance(message, CertificateMessage):
            said = message.certificate
        else:
            return True
        if said.view > SECOND:
            return False
        side = self.sides[said.view]
        if said.kind == NOTARIZE:
            return target in side and self._all_gave_up(said.view)
        return said.kind == NULLIFY and self.executed(said.view) == side

    def _all_gave_up(self, view: int) -> bool:
        rounds = [node.core.shared.rounds.get(view) for node in self.cluster.nodes]
        return all(round_ is not None and NULLIFY in round_.promised for round_ in rounds)
