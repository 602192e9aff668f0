"""The door between consensus and the peers: which message goes where, by channel.

A peer is the Ed25519 key its node introduced itself with. A validator's node introduces itself
with its consensus key, so that who a peer is in the committee is proved by the handshake
(docs/decisions/0014-who-a-peer-is.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from chain.codec import encode
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.transaction import Envelope
from chain.vote import VoteKind
from consensus.core import Core
from consensus.effects import Blame
from consensus.gossip import Gossip
from consensus.messages import (
    BlockAnswer,
    BlockRequest,
    CertificateMessage,
    CompactProposal,
    EpochEnded,
    LookbackAnswer,
    LookbackQuestion,
    Message,
    ProposalMessage,
    ViewRequest,
    VoteMessage,
)
from p2p.identity import Identity
from p2p.network import Network
from p2p.settings import Settings

from ..admission import Admission
from ..application import NodeApplication
from ..clock import Clock
from ..config import P2pSection
from ..gate import Gate
from ..signatures import SignatureWorkers
from .catching_up import CatchingUp
from .channels import (
    BLOCKS_ASKED,
    CONSENSUS,
    MISSING_ASKED,
    PROPOSALS,
    RANGES_ASKED,
    TRANSACTIONS,
    channel_table,
)
from .exchange import Exchange
from .questions import ask, members_first, read
from .ranges import Ranges
from .relay import Relay

log = logging.getLogger("colophon.network")

BLOCK_ANSWER_MS = 5_000
"""How long a block is waited for; others are asked much sooner."""
ON_CONSENSUS: tuple[type[Message], ...] = (
    VoteMessage,
    CertificateMessage,
    ViewRequest,
    EpochEnded,
    LookbackQuestion,
    LookbackAnswer,
)

Deliver = Callable[[bytes, Message], None]
"""Takes a peer and its message for the core."""


class Router:
    """One node's part in the network; fills in ``p2p.contract.Handler`` and ``host.Network``."""

    def __init__(
        self,
        key: SigningKey,
        core: Core,
        application: NodeApplication,
        workers: SignatureWorkers,
        clock: Clock,
        gate: Gate,
        config: P2pSection,
    ) -> None:
        self._core = core
        self._config = config
        self._committee = application.machine.committee
        self._deliver: Deliver = lambda peer, message: None
        self._asking: set[asyncio.Task[None]] = set()
        admission = Admission(application.machine, application.pool)
        channels = channel_table(application.machine.params)
        self.net = Network(
            Identity(key), application.machine.genesis_hash, channels, _settings(config, channels),
            self,
        )  # fmt: skip
        self.catching_up = CatchingUp(self.net, application, self._blame)
        self._ranges = Ranges(self.net, application, gate)
        me = self._committee.index_of(key.public_key)
        relays = 0 if me is None else 1
        gossip = Gossip(key.public_key, application.pool.transactions, relays=relays)
        self.relay = Relay(
            self.net, gossip, admission, application.pool, workers, gate, self._blame,
            application.is_signed,
        )  # fmt: skip

        def check(envelope: Envelope) -> None:
            application.expect(admission.inspect(envelope, len(encode(envelope))))

        self._exchange = Exchange(
            self.net, core, application, clock, unread=self.relay.unread, check=check,
            take=self._take, blame=self._blame,
        )  # fmt: skip
        application.pool.on_admitted.append(self.relay.admitted)

    # --- life ---------------------------------------------------------------------------------

    async def open(self, listen: tuple[str, int] | None, deliver: Deliver) -> str:
        """Hand messages to ``deliver``, listen, call the peers; return the address listened on.

        Raises ``Rejected`` with ``p2p/CannotListen`` or ``p2p/BadAddress``.
        """
        self._deliver = deliver
        self._exchange.moved()
        address = ""
        if listen is not None:
            host, port = listen
            address = f"{host}:{await self.net.listen(host, port)}"
        self.net.call(self._config.peers)
        return address

    async def run(self) -> None:
        """Do what lasts, once open, until cancelled; what it raises is a bug of this node."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.relay.run(), name="relay")
            tasks.create_task(self._ranges.run(), name="ranges")
            tasks.create_task(self.net.ended(), name="calling")

    async def close(self) -> None:
        """Leave."""
        for task in self._asking:
            task.cancel()
        self._exchange.close()
        self.relay.close()
        await self.net.close()

    @property
    def connected_power(self) -> int:
        """Voting power of the validators that are connected, and of this node."""
        return self._committee.power_of(self._connected())

    @property
    def absent(self) -> int:
        """How many validators are neither connected nor this node."""
        return len(self._committee) - self._connected().bit_count()

    def _connected(self) -> int:
        members = 0
        for key in (self.net.setup.identity.peer_id, *self.net.peers):
            index = self._committee.index_of(key)
            if index is not None:
                members |= 1 << index
        return members

    # --- what the host says -------------------------------------------------------------------

    def moved(self) -> None:
        """The core has handled events: its view or epoch may be another."""
        self._exchange.moved()

    def send(self, peer: bytes, message: Message) -> None:
        """Send a message of the core to one peer."""
        self.net.send(peer, CONSENSUS, encode(message))

    def broadcast(self, message: Message) -> None:
        """Send a message of the core to every peer; a proposal goes with short ids."""
        if isinstance(message, ProposalMessage):
            self.relay.flush()
            self._exchange.spread(message)
        else:
            self.net.broadcast(CONSENSUS, encode(message))

    def request(
        self, message: ViewRequest | BlockRequest, member: int | None, attempt: int
    ) -> None:
        """Ask one peer: the member first, then every peer in turn, other members first."""
        peer = self._whom(member, attempt)
        if peer is None:
            return
        if isinstance(message, ViewRequest):
            self.send(peer, message)
        else:
            task = asyncio.get_running_loop().create_task(self._ask_block(peer, message))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def blame(self, peer: bytes, code: str, message: str) -> None:
        """Keep away a peer that did what no honest node does."""
        self.net.ban(peer, code, message)

    def catch_up(self, height: int) -> Coroutine[Any, Any, None]:
        """Fetch and commit final blocks up to a height (C18)."""
        return self.catching_up.catch_up(height)

    def _whom(self, member: int | None, attempt: int) -> bytes | None:
        """Return a peer to ask; strangers cost nothing, so they come last."""
        peers = members_first(self.net.peers, self._committee)
        if member is not None:
            key = self._committee.members[member].public_key
            if key in peers:
                peers.remove(key)
                peers.insert(0, key)
        return peers[attempt % len(peers)] if peers else None

    async def _ask_block(self, peer: bytes, request: BlockRequest) -> None:
        try:
            answer = await ask(
                self.net, peer, BLOCKS_ASKED, request, (BlockAnswer,), self._blame, BLOCK_ANSWER_MS
            )
        except Rejected as refusal:
            log.debug("block_unanswered peer=%s reason=%s", peer.hex(), refusal)
            return
        if answer is not None:
            self._take(peer, answer)

    def _take(self, peer: bytes, message: Message) -> None:
        self._deliver(peer, message)

    def _blame(self, blame: Blame) -> None:
        self.blame(blame.peer, blame.code, blame.message)

    # --- what p2p says ------------------------------------------------------------------------

    def on_connected(self, peer: bytes) -> None:
        """See ``p2p.contract.Handler``."""
        self._exchange.joined(peer)
        self.relay.joined(peer, is_validator=self._committee.index_of(peer) is not None)

    def on_gone(self, peer: bytes, code: str) -> None:
        """See ``p2p.contract.Handler``."""
        self._exchange.left(peer)
        self._ranges.left(peer)
        self.relay.left(peer)

    def on_message(self, peer: bytes, channel: str, data: bytes) -> None:
        """See ``p2p.contract.Handler``."""
        try:
            if channel == TRANSACTIONS:
                self.relay.take(peer, data)
            elif channel == PROPOSALS:
                self._take_proposal(peer, data)
            else:
                self._take_consensus(peer, data)
        except Rejected as refusal:
            self.blame(peer, refusal.code, refusal.message)

    def on_request(self, peer: bytes, channel: str, request_id: int, data: bytes) -> None:
        """See ``p2p.contract.Handler``; every question is answered, if only with nothing."""
        try:
            if channel == MISSING_ASKED:
                self._exchange.on_question(peer, request_id, data)
            elif channel == RANGES_ASKED:
                self._ranges.on_question(peer, request_id, data)
            else:
                self._on_block_question(peer, request_id, data)
        except Rejected as refusal:
            self.blame(peer, refusal.code, refusal.message)

    def _take_consensus(self, peer: bytes, data: bytes) -> None:
        message = read(data, ON_CONSENSUS, CONSENSUS)
        if isinstance(message, LookbackAnswer) and self._committee.index_of(peer) is None:
            return  # C15 counts answers: of more than f members one is honest, strangers are free.
        if isinstance(message, VoteMessage):
            vote = message.vote
            is_own = self._committee.index_of(peer) == vote.signer
            if is_own and vote.kind == VoteKind.NOTARIZE and vote.block_id is not None:
                self._exchange.holds(peer, vote.block_id)
        self._take(peer, message)

    def _take_proposal(self, peer: bytes, data: bytes) -> None:
        self._exchange.on_compact(peer, read(data, (CompactProposal,), PROPOSALS))

    def _on_block_question(self, peer: bytes, request_id: int, data: bytes) -> None:
        """C9: a body by its id, while it may still be missing somewhere."""
        question = read(data, (BlockRequest,), BLOCKS_ASKED)
        block = self._core.block(question.block_id)
        reply = b"" if block is None else encode(BlockAnswer(block.header, block.body))
        self.net.answer(peer, BLOCKS_ASKED, request_id, reply)


def _settings(config: P2pSection, channels: tuple[Any, ...]) -> Settings:
    """Return the room's settings; a queue has room for the largest message in any case."""
    return Settings(
        inbound_max=config.inbound_max,
        per_address_max=config.per_address_max,
        dial_retry_ms_max=config.dial_retry_ms_max,
        ping_ms=config.ping_ms,
        idle_ms=config.idle_ms,
        queue_bytes_max=max(config.queue_bytes_max, *(row.bytes_max for row in channels)),
        ban_ms=config.ban_ms,
        address=config.address,
    )
