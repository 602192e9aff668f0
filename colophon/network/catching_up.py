"""Final blocks taken: a node that is behind fetches ranges of them (protocol.md C18)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from chain.block import Block
from chain.crypto import verify_signature
from chain.errors import Rejected
from chain.finality import FinalityProof, LightClient
from chain.header import epoch_of
from consensus.catchup import Base, check_range, is_own_finalization, next_range
from consensus.effects import Blame
from consensus.messages import RangeAnswer, RangeRequest
from p2p.network import Network

from ..application import NodeApplication
from ..steps import run_steps
from .channels import RANGES_ASKED
from .questions import ask, members_first

log = logging.getLogger("colophon.network")

ANSWER_MS = 10_000
"""How long one peer has for a range; it may be four megabytes."""
SLOW_S = 2.0
"""Who takes longer is asked after the others: one faulty member must not set the pace."""
FEW = 8
"""So few new blocks in an answer: consensus asks for the rest one by one (C7)."""
SAY_S = 5.0
"""How often the log says how far catching up has come."""


class CatchingUp:
    """One node on its way to where the others are."""

    def __init__(
        self, network: Network, application: NodeApplication, blame: Callable[[Blame], None]
    ) -> None:
        self.target = 0
        """A height known to be final that this node is catching up with; 0 when it is not."""
        self._network = network
        self._application = application
        self._blame = blame
        self._turn = 0
        self._slow: set[bytes] = set()
        """Peers that left my last question to them unanswered, or took long over it."""

    async def catch_up(self, height: int) -> None:
        """Fetch and commit final blocks up to ``height`` or more, as far as peers give them.

        While one range is executed the next is fetched. Raises ``Rejected`` or ``CertifyFault``
        if a final block cannot be executed here: then the node must stop (C7).
        """
        self.target = height
        said_s = asyncio.get_running_loop().time()
        log.info("catching_up height=%d target=%d", self._base().height, height)
        coming = asyncio.create_task(self._fetch(self._base()))
        try:
            while (found := await coming) is not None:
                blocks, proof = found
                last = blocks[-1]
                self.target = max(self.target, last.header.height)
                base = Base(last.id, last.header.height, last.header.time_ms)
                if self._is_near(blocks, height) and is_own_finalization(proof):
                    await self._commit(blocks, proof)
                    break
                coming = asyncio.create_task(self._fetch(base))
                await self._commit(blocks, proof)
                if asyncio.get_running_loop().time() - said_s >= SAY_S:
                    said_s = asyncio.get_running_loop().time()
                    log.info("catching_up height=%d target=%d", base.height, self.target)
        finally:
            coming.cancel()
            self.target = 0
        log.info("caught_up height=%d", self._application.machine.head.height)

    def _is_near(self, blocks: list[Block], height: int) -> bool:
        """Tell whether a range says that little is left; one that ends its epoch says nothing."""
        last = blocks[-1].header.height
        ends_epoch = last % self._application.machine.params.epoch_length == 0
        return len(blocks) <= FEW and last >= height and not ends_epoch

    def _base(self) -> Base:
        head = self._application.machine.head
        return Base(head.block_id, head.height, head.time_ms)

    async def _commit(self, blocks: list[Block], proof: FinalityProof) -> None:
        for block in blocks:
            await run_steps(self._application.execute(block))
        await self._application.finalise(blocks, proof)

    async def _fetch(self, base: Base) -> tuple[list[Block], FinalityProof] | None:
        """Return checked blocks after ``base`` from the first peer that has any."""
        machine = self._application.machine
        length = machine.params.epoch_length
        epoch = epoch_of(base.height + 1, length)
        client = LightClient(machine.genesis_hash, length, epoch, machine.committee)
        request = next_range(base, client)
        for peer in self._in_turn():
            answer = await self._ask(peer, request)
            if answer is None:
                continue
            try:
                blocks = check_range(answer, request, base, client, verify_signature)
            except Rejected as refusal:
                self._blame(Blame(peer, refusal.code, refusal.message))
                continue
            return blocks, answer.proof
        return None

    async def _ask(self, peer: bytes, request: RangeRequest) -> RangeAnswer | None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            answer = await ask(
                self._network, peer, RANGES_ASKED, request, (RangeAnswer,), self._blame, ANSWER_MS
            )
        except Rejected as refusal:
            log.info("range_unanswered peer=%s reason=%s", peer.hex(), refusal)
            self._slow.add(peer)
            return None
        if loop.time() - began_s > SLOW_S:
            self._slow.add(peer)
        else:
            self._slow.discard(peer)
        return answer

    def _in_turn(self) -> list[bytes]:
        """Return whom to ask: members before others, another one first each time.

        Who was slow last time comes last, so that a fetch waits for it only if nobody else has any.
        """
        peers = self._network.peers
        self._slow.intersection_update(peers)
        self._turn += 1
        start = self._turn % len(peers) if peers else 0
        turned = members_first(peers[start:] + peers[:start], self._application.machine.committee)
        return sorted(turned, key=lambda peer: peer in self._slow)
