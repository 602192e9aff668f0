"""Proposals between nodes: sent with short ids, made whole again on arrival (protocol.md C17).

``consensus.proposals`` decides whom to ask and whom to believe; here is what asks and waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from chain.codec import encode
from chain.committee import Committee
from chain.crypto import verify_signature
from chain.errors import Rejected
from chain.transaction import Envelope, transaction_id
from consensus.compact import Held, shrink
from consensus.core import Core
from consensus.effects import Blame
from consensus.messages import (
    CompactProposal,
    IdsAnswer,
    Message,
    ProposalMessage,
    TransactionsAnswer,
    TransactionsRequest,
)
from consensus.proposals import NEVER_MS, Action, Ask, Deliver, Proposals
from p2p.network import Network

from ..application import NodeApplication
from ..clock import Clock
from .channels import MISSING_ASKED, PROPOSALS, TRANSACTIONS
from .intake import Arrival
from .questions import ask, read

log = logging.getLogger("colophon.network")

ANSWER_MS = 5_000
"""How long an answer is waited for; others are asked much sooner."""

ANSWERS: tuple[type[TransactionsAnswer | IdsAnswer], ...] = (TransactionsAnswer, IdsAnswer)

Take = Callable[[bytes, Message], None]
"""Gives the core a message of a peer."""


class Exchange:
    """The proposals of one node."""

    def __init__(
        self,
        network: Network,
        core: Core,
        application: NodeApplication,
        clock: Clock,
        *,
        unread: Callable[[bytes], Arrival | None],
        check: Callable[[Envelope], None],
        take: Take,
        blame: Callable[[Blame], None],
    ) -> None:
        """``unread`` looks for a well-formed transaction among those that nobody has read, by
        short id; ``check`` raises ``Rejected`` unless one is well formed (T3, T5, T6).
        """
        self._network = network
        self._core = core
        self._application = application
        self._clock = clock
        self._unread = unread
        self._check = check
        self._take = take
        self._blame = blame
        self._proposals: Proposals | None = None
        self._epoch = -1
        self._place = (0, 0)
        self._early: dict[bytes, CompactProposal] = {}
        """Proposals of the next epoch wait until it opens here (C11), the newest of each member:
        nothing of them can be checked before. What is missed is sent again (C8)."""
        self._timer: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Stop asking."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._asking:
            task.cancel()

    # --- following the core and the peers -----------------------------------------------------

    def moved(self) -> None:
        """Follow the core to its view and epoch."""
        shared = self._core.shared
        place = (shared.view, shared.finalised_view)
        if shared.epoch != self._epoch:
            self._open_epoch()
        elif place != self._place and self._proposals is not None:
            self._proposals.moved(*place)
        self._place = place

    def _open_epoch(self) -> None:
        shared = self._core.shared
        self._epoch = shared.epoch
        if self._proposals is not None:
            self._proposals.open(shared.start)
        else:
            self._proposals = Proposals(
                shared.start,
                shared.genesis_hash,
                verify_signature,
                find=self._find,
                check=self._check,
                bytes_max=shared.params.block_bytes_max,
            )
            for peer in self._network.peers:
                self._proposals.joined(peer)
        self._proposals.moved(shared.view, shared.finalised_view)
        early, self._early = self._early, {}
        for peer, message in early.items():
            self.on_compact(peer, message)

    def _find(self, short_id: bytes) -> Sequence[Held]:
        """Return what this node has that may be meant: in the pool, or on its way into it."""
        pooled = self._application.pool.mempool.with_short_id(short_id)
        if pooled:
            return pooled
        arrival = self._unread(short_id)
        if arrival is None or arrival.tx is None:
            return ()
        self._application.expect(arrival.tx)
        return (arrival,)

    def joined(self, peer: bytes) -> None:
        """A peer is connected."""
        if self._proposals is not None:
            self._proposals.joined(peer)

    def left(self, peer: bytes) -> None:
        """A peer is gone."""
        if self._proposals is not None:
            self._proposals.left(peer)

    def holds(self, peer: bytes, block_id: bytes) -> None:
        """A validator voted for a block: it holds it."""
        if self._proposals is not None:
            self._proposals.holds(peer, block_id)

    # --- sending ------------------------------------------------------------------------------

    def spread(self, message: ProposalMessage) -> None:
        """Send a proposal to every peer, behind the transactions that wait for it there."""
        if self._proposals is None:
            return
        body = message.proposal.body
        ids = [transaction_id(tx.body, tx.signatures) for tx in body.transactions]
        self._proposals.keep(message, ids)
        data = encode(shrink(message, ids))
        self._network.broadcast(PROPOSALS, data, after=TRANSACTIONS)

    def on_question(self, peer: bytes, request_id: int, data: bytes) -> None:
        """Answer a peer that rebuilds a proposal; with nothing, if it is not kept here.

        Raises ``Rejected`` as ``read`` does if that is no question.
        """
        question = read(data, (TransactionsRequest,), MISSING_ASKED)
        answer = None if self._proposals is None else self._proposals.answer(peer, question)
        reply = b"" if answer is None else encode(answer)
        self._network.answer(peer, MISSING_ASKED, request_id, reply)

    # --- receiving ----------------------------------------------------------------------------

    def on_compact(self, peer: bytes, message: CompactProposal) -> None:
        """Take up a proposal."""
        if self._proposals is None:
            return
        header = message.header
        if header.epoch == self._epoch + 1:
            if self._core.shared.committee.index_of(peer) is not None:
                self._early[peer] = message
            return
        leader = None
        if header.epoch == self._epoch:
            leader = _leader(self._core.shared.committee, self._core.shared.leader(header.view))
        now_ms = self._clock.now_ms()
        self._perform(self._proposals.on_compact(peer, message, leader, now_ms))
        self._look()

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Deliver():
                    self._take(action.peer, action.message)
                case Ask():
                    self._spawn(self._ask(action.peer, action.request))
                case Blame():
                    self._blame(action)

    def _look(self) -> None:
        """Ask for what is due, and come back when more is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._proposals is None:
            return
        now_ms = self._clock.now_ms()
        if self._proposals.next_ms <= now_ms:
            delta_ms = self._core.shared.pace.delta_now_ms
            self._perform(self._proposals.due(now_ms, delta_ms))
        next_ms = self._proposals.next_ms
        if next_ms < NEVER_MS:
            delay_s = max(next_ms - self._clock.now_ms(), 1) / 1_000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    async def _ask(self, peer: bytes, request: TransactionsRequest) -> None:
        try:
            answer = await ask(
                self._network, peer, MISSING_ASKED, request, ANSWERS, self._blame, ANSWER_MS
            )
        except Rejected as refusal:
            log.debug("missing_unanswered peer=%s reason=%s", peer.hex(), refusal)
            return
        if answer is None or self._proposals is None:
            return
        self._perform(self._proposals.on_answer(peer, answer, self._clock.now_ms()))
        self._look()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)


def _leader(committee: Committee, index: int) -> bytes:
    return committee.members[index].public_key
